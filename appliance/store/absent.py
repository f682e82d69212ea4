"""Volumes and archive volumes that belong to the archive and are not on this disk: replicas hold them.

One small file, ``volumes/absent``, lists them: a JSON object on a line for each (docs/format.md). A file that is there
is there, whatever the list says: an entry is written before its file goes, and taken off after the file has come back.
Seals are never absent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from appliance.errors import DamageError, UnavailableError, UsageError
from appliance.files import FILES, Files, read_file, replace_file
from appliance.store.failures import storage_error
from appliance.store.names import parse_archive, parse_volume

log = logging.getLogger(__name__)

NAME: Final = "absent"
"""The list, in the folder of the volumes."""

_MODE: Final = 0o640
_PAUSE: Final = 0.01


class AbsentFile(msgspec.Struct, frozen=True):
    """A file that is somewhere else."""

    path: str  # relative to the volumes folder
    size: int
    hash: bytes  # SHA-256 of the file; hex in the list


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    size: int
    hash: str


_decode_lines = msgspec.json.Decoder(_Line).decode_lines

_Listed = Mapping[str, Mapping[str, AbsentFile]]
"""By mailbox folder and path."""


class AbsentFiles:
    """The list below one folder. Threads and processes may share it; it is read again when it has changed."""

    def __init__(self, volumes: Path, *, files: Files = FILES) -> None:
        self._volumes = volumes
        self._path = volumes / NAME
        self._files = files
        self._lock = threading.Lock()
        self._read: tuple[object, _Listed] = None, {}
        self._problem = ""

    def all(self) -> Mapping[str, AbsentFile]:
        """Every entry by its path. Raises DamageError where the list is damaged, StorageError."""
        try:
            return _flat(self._look())
        except OSError as error:
            raise storage_error(error) from error

    def of(self, folder: str) -> Mapping[str, AbsentFile]:
        """The entries of a mailbox's folder by their paths, for who reads: a damaged list counts as an empty one.

        Raises OSError.
        """
        try:
            return self._look().get(folder, {})
        except DamageError as error:
            if self._problem != error.message:  # once, not at every look
                self._problem = error.message
                log.error("%s", error.message)
            return {}

    def add(self, entries: Iterable[AbsentFile]) -> None:
        """List these; durable on return. Raises DamageError, UnavailableError, StorageError."""
        wanted = {one.path: one for one in entries}
        for path in wanted:
            if parse_volume(path) is None and parse_archive(path) is None:
                raise UsageError(f"{path!r} is not the path of a volume.")
        self._change(lambda listed: {**listed, **wanted})

    def remove(self, paths: Iterable[str]) -> None:
        """Take these off the list; durable on return. Raises DamageError, UnavailableError, StorageError."""
        gone = frozenset(paths)
        if gone.isdisjoint(self.all()):
            return
        self._change(lambda listed: {path: one for path, one in listed.items() if path not in gone})

    def _change(self, change: Callable[[Mapping[str, AbsentFile]], Mapping[str, AbsentFile]]) -> None:
        with held(self._volumes, files=self._files):
            try:
                before = _flat(self._look())
                after = change(before)
                if after == before:
                    return
                if after:
                    replace_file(self._files, self._path, b"".join(map(_line, after.values())), _MODE)
                else:
                    self._files.unlink(self._path)
                    self._files.sync_directory(self._volumes)
            except OSError as error:
                raise storage_error(error) from error

    def _look(self) -> _Listed:
        with self._lock:
            stamp = self._files.stamp(self._path)
            if stamp is None:
                return {}
            if stamp != self._read[0]:
                self._read = stamp, _parse(read_file(self._files, self._path))
            return self._read[1]


@contextmanager
def held(folder: Path, *, seconds: float = 60, files: Files = FILES) -> Iterator[None]:
    """Hold a folder, so that nobody else who asks for it has it until the end of the block.

    The volumes folder is held to change the list, a mailbox's folder to make archive volumes or to let files go.
    Raises UnavailableError where somebody has it for ``seconds``, StorageError.
    """
    try:
        descriptor = files.open(folder)
    except OSError as error:
        raise storage_error(error) from error
    try:
        deadline = time.monotonic() + seconds
        while not files.lock(descriptor):
            if time.monotonic() >= deadline:
                raise UnavailableError(
                    f"Other work is going on with the volumes in {folder.name}. Nothing was changed; it is tried again."
                )
            time.sleep(_PAUSE)
        yield
    finally:
        files.close(descriptor)


def _parse(content: bytes) -> _Listed:
    listed: dict[str, dict[str, AbsentFile]] = {}
    try:
        for line in _decode_lines(content):
            digest = bytes.fromhex(line.hash)
            if (parse_volume(line.path) is None and parse_archive(line.path) is None) or len(digest) != 32:
                raise ValueError
            listed.setdefault(line.path.partition("/")[0], {})[line.path] = AbsentFile(line.path, line.size, digest)
    except (ValueError, msgspec.DecodeError) as error:
        raise DamageError(
            f"volumes/{NAME}, which lists the volumes that are on a replica only, is damaged. What is on this disk is "
            "safe, and so is the replica. Restore the archive from the replica into another folder."
        ) from error
    return listed


def _line(one: AbsentFile) -> bytes:
    return msgspec.json.encode(_Line(one.path, one.size, one.hash.hex())) + b"\n"


def _flat(listed: _Listed) -> dict[str, AbsentFile]:
    return {path: one for folder in listed.values() for path, one in folder.items()}
