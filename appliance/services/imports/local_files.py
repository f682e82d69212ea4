"""Files and folders of this machine that the archive imports by itself, as sources of imports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Final

from appliance.cloud.remote import RemoteFile
from appliance.errors import UnavailableError, UsageError
from appliance.imports.packing import look_through, tar_of, tar_size
from appliance.language import later
from appliance.services.imports.supplies import Wanted
from appliance.services.imports.supplying import Source

_PIECE: Final = 1024 * 1024


def local_source(wanted: Wanted) -> Source:
    """What is wanted of this machine."""
    return PackedFolder(Path(wanted.path)) if wanted.packed else LocalFile(Path(wanted.path))


class LocalFile:
    """A file (``supplying.Source``). It is never reached through a symbolic link of its own name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """Its name, without folders."""
        return self._path.name

    def look(self) -> RemoteFile:
        """What it is now."""
        with closing(_Opened(self._path)) as file:
            return file.known

    def pieces(self, offset: int) -> Iterator[bytes]:
        """Its bytes from there on."""
        with closing(_Opened(self._path)) as file:
            while piece := file.read(offset):
                yield piece
                offset += len(piece)


class PackedFolder:
    """The files of a folder, as one archive (``imports.packing``), but for those that go by themselves."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The archive's name."""
        return f"{self._path.name}.tar"

    def look(self) -> RemoteFile:
        """What it is now; ``modified`` stands for the names, sizes and times of all files."""
        members = look_through(self._path).members
        told = "\0".join(f"{one.name}\0{one.size}\0{one.mtime}" for one in members)
        stamp = int.from_bytes(sha256(told.encode("utf-8", "surrogateescape")).digest()[:7], "big")
        return RemoteFile(str(self._path), tar_size(members), stamp)

    def pieces(self, offset: int) -> Iterator[bytes]:
        """The archive's bytes from there on."""
        for piece in tar_of(look_through(self._path).members, self._changed):
            if offset < len(piece):
                yield piece[offset:]
            offset = max(offset - len(piece), 0)

    def _changed(self, name: str) -> None:
        text = later("“{name}” was changed while it was fetched. Import it again when nothing writes to it.")
        raise UsageError(text, name=name)


class _Opened:
    """A file, open for reading. Calls raise UsageError where it cannot be opened, UnavailableError where the disk
    fails."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            text = later("“{name}” cannot be read: {reason}.")
            raise UsageError(text, name=self._name, reason=error.strerror) from error
        status = os.fstat(self._descriptor)
        self.known = RemoteFile(str(path), status.st_size, status.st_mtime_ns // 1000)

    def read(self, offset: int) -> bytes:
        """Some bytes, none at the end."""
        try:
            return os.pread(self._descriptor, _PIECE, offset)
        except OSError as error:
            text = later("“{name}” cannot be read: {reason}. It is tried again.")
            raise UnavailableError(text, name=self._name, reason=error.strerror) from error

    def close(self) -> None:
        """Give it back."""
        os.close(self._descriptor)
