"""What else lies where a replica does: the files that a remote's credentials open, but for the replica's own.

Old mail often lies in the same account or on the same server that the archive is copied to. Paths begin at the top of
what the remote's settings lead to: for object storage at the buckets, for a folder of this machine at that very folder,
so that nobody looks about on the box's disk through a remote.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final, Protocol, runtime_checkable

import msgspec

from appliance.cloud.remote import RemoteConfig, RemoteEntry, RemoteFile
from appliance.errors import ForbiddenError, NotFoundError, RemoteDeniedError, UsageError
from appliance.language import later

MOST_LISTED: Final = 10_000
"""Entries of one folder that are listed; a file beyond them can be named."""
LARGEST_PIECE: Final = 8 * 1024 * 1024
"""Most bytes of a file that are read at a time."""
_OWN: Final = frozenset({"objects", "keyrings", "generations", "epochs"})  # cloud.objects
_LONGEST_PATH: Final = 4096


class Listing(msgspec.Struct, frozen=True):
    """What is in a folder: folders first, each by name. ``unlisted`` more are there."""

    folder: str
    entries: tuple[RemoteEntry, ...]
    unlisted: int = 0


@runtime_checkable
class Browsable(Protocol):
    """A remote whose folders can be looked into, as ``rclone.RcloneRemote`` is one."""

    def entries(self, folder: str) -> Sequence[RemoteEntry]:
        """What is in a folder, and not below. Raises NotFoundError, UsageError where it is too much to list."""
        ...

    def file(self, name: str) -> RemoteFile | None:
        """What is known of a file; None where there is none."""
        ...

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a file. Raises NotFoundError."""
        ...

    def store(self, name: str, data: bytes) -> bool:
        """A new file; False where these bytes are there already. Raises ConflictError where another file is."""
        ...


def whole(config: RemoteConfig) -> RemoteConfig:
    """The settings of all that a remote's credentials open: those of its replica, from the top."""
    if config.type == "local":
        return config
    return msgspec.structs.replace(config, path="/" if config.path.startswith("/") else "")


def clean(path: str) -> str:
    """A path as it is kept: names apart by one slash, none at its ends. Raises UsageError for what is none."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or len(path) > _LONGEST_PATH or any(ord(character) < 32 for character in path):
        raise UsageError(later("“{path}” is no path inside a remote."), path=path[:100])
    return "/".join(parts)


class Outside:
    """The files beside a replica. Threads may share it. Every call raises as the calls of ``remote.Remote``, and
    UsageError for what is no path, ForbiddenError for what is the replica's."""

    def __init__(self, remote: Browsable, replica: RemoteConfig) -> None:
        """``remote`` is one of the settings ``whole`` of the ``replica``."""
        self._remote = remote
        self._name = replica.name
        self._bucket = "" if replica.type == "local" else replica.path.strip("/").partition("/")[0]
        self._replica = () if replica.type == "local" else _folded(PurePosixPath(replica.path.strip("/")))

    def list(self, folder: str) -> Listing:
        """What is in a folder. Raises NotFoundError."""
        folder = clean(folder)
        self._require_not_own(folder)
        try:
            found = [one for one in self._remote.entries(folder) if not self._is_own(one.path)]
        except RemoteDeniedError:
            if folder or not self._bucket:
                raise
            # A key may be for one bucket only, and not allow to ask which there are.
            found = [RemoteEntry(self._bucket, folder=True, size=-1, modified=0)]
        found.sort(key=lambda one: (not one.folder, one.path.casefold(), one.path))
        return Listing(folder, tuple(found[:MOST_LISTED]), max(len(found) - MOST_LISTED, 0))

    def file(self, path: str) -> RemoteFile:
        """What is known of a file. Raises NotFoundError."""
        path = clean(path)
        self._require_not_own(path)
        found = self._remote.file(path) if path else None
        if found is None:
            text = later("There is no file “{path}” on the remote “{name}”.")
            raise NotFoundError(text, path=path, name=self._name)
        return found

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file, fewer than ``size`` only at its end. Raises NotFoundError."""
        path = clean(path)
        self._require_not_own(path)
        if offset < 0 or not 0 < size <= LARGEST_PIECE:
            raise UsageError(later("So much of a file cannot be read at a time."))
        return self._remote.read(path, offset, size)

    def store(self, path: str, data: bytes) -> bool:
        """A new file; False where these bytes are there already. Raises ConflictError where another file is, and
        ForbiddenError for a place in the replica's folder, in which nothing else may be."""
        path = clean(path)
        parts = _folded(PurePosixPath(path))
        if parts[: len(self._replica)] == self._replica:
            text = later("“{path}” is in the replica's folder on the remote “{name}”. Choose a folder beside that one.")
            raise ForbiddenError(text, path=path, name=self._name)
        return self._remote.store(path, data)

    def _require_not_own(self, path: str) -> None:
        if self._is_own(path):
            text = later("“{path}” on the remote “{name}” belongs to the replica of the archive; it is not shown.")
            raise ForbiddenError(text, path=path, name=self._name)

    def _is_own(self, path: str) -> bool:
        parts = _folded(PurePosixPath(path))
        depth = len(self._replica)
        return len(parts) > depth and parts[:depth] == self._replica and parts[depth] in _OWN


def _folded(path: PurePosixPath) -> tuple[str, ...]:
    """Some services do not tell capital letters from small ones."""
    return tuple(part.casefold() for part in path.parts if part not in ("", "."))
