"""An archive volume while it is being made: filled under another name, and without a seal of no account to anybody."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from appliance.errors import ConflictError
from appliance.files import Buffer, Files, write_all
from appliance.store import directory
from appliance.store.directory import Contents, Place
from appliance.store.failures import check_room
from appliance.store.names import (
    UNFINISHED_SUFFIX,
    ArchiveName,
    parse_archive,
    sealed_by,
)


class ArchiveFile:
    """One archive volume being filled. Used by one thread; left by ``with``, it is gone unless ``finish`` was called.

    All methods raise OSError, and DiskFullError where less than ``reserve`` bytes would stay free.
    """

    def __init__(self, files: Files, volumes: Path, name: ArchiveName, *, reserve: int) -> None:
        """Raises ConflictError where another process makes one of that name."""
        self.name = name
        self._files = files
        self._folder = volumes / name.mailbox.hex()
        self._reserve = reserve
        self._unfinished = self._folder / (name.file + UNFINISHED_SUFFIX)
        self._size = 0
        self._open = True
        try:
            self._descriptor = files.create(self._unfinished)
        except FileExistsError:
            if not remove_unfinished(files, self._unfinished):
                raise ConflictError(
                    "Another process compacts this mailbox already. Wait until it has finished."
                ) from None
            self._descriptor = files.create(self._unfinished)
        files.lock(self._descriptor)

    def add(self, data: Sequence[Buffer]) -> int:
        """Append; where it begins."""
        check_room(self._files, self._folder, sum(map(len, data)), self._reserve)
        offset = self._size
        self._size = write_all(self._files, self._descriptor, data, offset)
        return offset

    def finish(self, contents: Contents, places: Iterable[Place]) -> None:
        """Write the directory and give the file its name, durable on return; it still has no seal."""
        self.add([directory.pack(self._size, contents, places)])
        self._files.sync(self._descriptor)
        self._files.rename(self._unfinished, self._folder / self.name.file)
        self._files.sync_directory(self._folder)
        self._close()

    def __enter__(self) -> ArchiveFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            with contextlib.suppress(OSError):
                self._files.unlink(self._unfinished)
            self._close()

    def _close(self) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._files.close(self._descriptor)


def remove_unfinished(files: Files, path: Path) -> bool:
    """Remove an archive volume that was never finished; False while somebody is making it. Raises OSError."""
    try:
        descriptor = files.open(path)
    except FileNotFoundError:
        return True
    try:
        if files.is_locked(descriptor):
            return False
        files.unlink(path)
    finally:
        files.close(descriptor)
    return True


def next_name(files: Files, volumes: Path, mailbox: bytes, kind: str) -> ArchiveName:
    """The name of a mailbox's next archive volume; no number is given out that a seal has ever had. Raises OSError."""
    folder = mailbox.hex()
    found = (sealed_by(f"{folder}/{name}") or f"{folder}/{name}" for name in files.names(volumes / folder))
    taken = [name.sequence for name in map(parse_archive, found) if name is not None and name.kind == kind]
    return ArchiveName(mailbox, kind, max(taken, default=0) + 1)
