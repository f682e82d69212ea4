"""A remote: the place that a replica lies in, as the rest of the product sees it.

``rclone.RcloneRemote`` is the one there is; tests have others that fail at will.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

Moved = Callable[[int], None]
"""Told now and then how many bytes of a file have been moved so far."""


class RemoteConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """A remote as the administrator set it up. ``options`` are the backend's own, secrets in the clear among them:
    this is only ever stored encrypted."""

    name: str  # [a-z0-9][a-z0-9-]{0,31}
    type: str  # rclone's name of the backend: s3, webdav, sftp, local, …
    options: Mapping[str, str] = {}
    path: str = ""  # folder, or bucket and folder, inside the remote
    paused: bool = False
    interval: int = 300  # seconds between runs: what can be lost at most with the box
    snapshot_interval: int = 86_400  # seconds between copies of catalogue and index
    bandwidth: str = ""  # rclone's timetable: "512k", or "08:00,512k 19:00,off"
    transfers: int = 4
    lock_days: int = 0  # object lock (S3): nobody can delete an object for so long
    lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] = "GOVERNANCE"
    keep_daily: int = 7
    keep_weekly: int = 4

    @property
    def erased_stay_days(self) -> int:
        """The longest time that an erased message can survive there: what a kept generation names stays, and what is
        locked; what nobody needs is looked for once a day."""
        return max(self.keep_daily, 7 * (self.keep_weekly + 1), self.lock_days) + 1

    def __repr__(self) -> str:
        return f"RemoteConfig({self.name}, {self.type}, …)"


class RemoteObject(msgspec.Struct, frozen=True):
    """An object as listed. ``name`` counts from the replica's folder; ``modified`` is microseconds."""

    name: str
    size: int
    modified: int


class RemoteEntry(msgspec.Struct, frozen=True):
    """A file or folder on a remote. ``size`` is -1 where it is not told; ``modified`` is microseconds."""

    path: str
    folder: bool
    size: int
    modified: int


class RemoteFile(msgspec.Struct, frozen=True):
    """A file on a remote. ``hash`` (hex) is of the best kind that the service keeps; both are empty where it keeps
    none, or would have to read the file for it."""

    path: str
    size: int
    modified: int  # microseconds
    hash_kind: str = ""
    hash: str = ""


class Room(msgspec.Struct, frozen=True):
    """Bytes on the remote; None where it does not tell."""

    free: int | None = None
    used: int | None = None


class Remote(Protocol):
    """Objects by name. Threads may share it.

    Every call raises UnavailableError where trying again later is right (no network, 5xx, slow down),
    RemoteDeniedError where the credentials or rights are wrong, RemoteFullError where there is no room, each with
    a sentence for the administrator; transient trouble has been tried again with back-off before.
    """

    @property
    def config(self) -> RemoteConfig:
        """What it was made from."""
        ...

    def list(self, folder: str = "") -> Sequence[RemoteObject]:
        """All objects below a folder, at any depth; none where there is no such folder."""
        ...

    def put(self, source: Path, name: str, moved: Moved | None = None, *, lock_until: int = 0) -> None:
        """Upload a file; complete on return, and checked against size and, where the remote has them, hashes.

        Objects are never overwritten: the same bytes again are nothing, other bytes raise ConflictError.
        ``lock_until`` (microseconds) asks for object lock until then, where the remote has it.
        """
        ...

    def get(self, name: str, target: Path, moved: Moved | None = None) -> None:
        """Download to a new file; whole and synced on return, else it is not there. Raises NotFoundError."""
        ...

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of an object. Raises NotFoundError."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error. Raises ForbiddenError while it is locked."""
        ...

    def room(self) -> Room:
        """How much there is."""
        ...

    def stop(self) -> None:
        """Break off what is being moved by other threads; they get UnavailableError."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


@runtime_checkable
class TellsHashes(Protocol):
    """A remote that can say what its objects' bytes hash to, without their being read over the network."""

    def hashes(self, folder: str) -> Mapping[str, tuple[str, str]]:
        """Of the objects below a folder, by name: the kind of hash (``sha256``, ``md5``, …) and the hash in hex.

        What the service keeps no hash of is left out, and everything where it would have to make them first. Raises
        as ``Remote.list``.
        """
        ...

    def hash_of(self, name: str) -> tuple[str, str] | None:
        """The hash of one object, which the service may make now; None where it has none. Raises as ``Remote.read``."""
        ...
