"""Files that lie on a remote, beside the replica, as sources of imports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Protocol

from appliance.cloud.outside import LARGEST_PIECE
from appliance.cloud.remote import RemoteFile


class Remotes(Protocol):
    """What reads files of remotes: ``replicas.Replicas``."""

    def file(self, name: str, path: str) -> RemoteFile:
        """What is known of a file."""
        ...

    def piece(self, name: str, path: str, offset: int, size: int) -> bytes:
        """Bytes of it, fewer than ``size`` only at its end."""
        ...


class RemoteSource:
    """A file on a remote (``supplying.Source``). The replicator reads it, who alone has the credentials."""

    def __init__(self, remotes: Remotes, remote: str, path: str) -> None:
        self._remotes = remotes
        self._remote = remote
        self._path = path

    @property
    def name(self) -> str:
        """Its name, without folders."""
        return PurePosixPath(self._path).name

    def look(self) -> RemoteFile:
        """What it is now."""
        return self._remotes.file(self._remote, self._path)

    def pieces(self, offset: int) -> Iterator[bytes]:
        """Its bytes from there on."""
        while piece := self._remotes.piece(self._remote, self._path, offset, LARGEST_PIECE):
            yield piece
            if len(piece) < LARGEST_PIECE:
                return
            offset += len(piece)
