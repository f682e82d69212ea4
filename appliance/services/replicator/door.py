"""What the archiver and the projector ask of the replicator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from appliance.cloud.backends import check_config
from appliance.cloud.outside import Listing
from appliance.cloud.probe import RemoteTest, test_remote
from appliance.cloud.remote import RemoteConfig, RemoteFile
from appliance.errors import ConflictError
from appliance.services.replicator.history import Kind, Run
from appliance.services.replicator.replication import Replication


class Desk:
    """What may be asked of a replication, in whichever process it works."""

    def __init__(self, replication: Replication) -> None:
        self._replication = replication
        self._held: dict[tuple[str, str], bytearray] = {}
        self._lock = threading.Lock()

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By name."""
        return {
            "begin": self.begin, "stop": self.stop, "test": self.test, "fetch": self.fetch, "lacking": self.lacking,
            "look": self.look, "look_at": self.look_at, "piece": self.piece, "store": self.store,
        }  # fmt: skip

    def begin(self, *, kind: Kind, remote: str = "") -> tuple[Run, ...]:
        """Begin runs (``Replication.begin``)."""
        return self._replication.begin(kind, remote)

    def stop(self, *, id: int) -> None:
        """Ask a run to end."""
        self._replication.stop(id)

    def test(self, *, config: RemoteConfig) -> RemoteTest:
        """Try a remote, whether it is set up already or not. Raises UsageError, UnavailableError without rclone."""
        check_config(config)
        with closing(self._replication.open(config)) as remote:
            return test_remote(remote)

    def look(self, *, remote: str, folder: str) -> Listing:
        """What is in a folder beside a replica. Raises as ``Outside.list``."""
        return self._replication.outside(remote).list(folder)

    def look_at(self, *, remote: str, path: str) -> RemoteFile:
        """What is known of a file beside a replica. Raises as ``Outside.file``."""
        return self._replication.outside(remote).file(path)

    def piece(self, *, remote: str, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file beside a replica. Raises as ``Outside.read``."""
        return self._replication.outside(remote).read(path, offset, size)

    def store(self, *, remote: str, path: str, data: bytes, offset: int, size: int) -> bool | None:
        """A new file beside a replica, of ``size`` bytes that come in order; None until all of them are here, then as
        ``Outside.store``. Those that came are kept in memory."""
        key = remote, path
        with self._lock:
            held = self._held.setdefault(key, bytearray())
            if offset == 0:
                held.clear()
            if offset != len(held) or offset + len(data) > size:
                del self._held[key]
                raise ConflictError("The bytes of a file to be stored did not come in order.")
            held += data
            if len(held) < size:
                return None
            del self._held[key]
        return self._replication.outside(remote).store(path, bytes(held))

    def fetch(self, *, path: str) -> None:
        """Have a volume that is not on this disk (``<mailbox>/<file>``) in its place on return."""
        self._replication.fetching.fetch(path)

    def lacking(self, *, config: RemoteConfig) -> tuple[str, ...]:
        """Of the volumes that are not on this disk, those that a remote does not have. Raises as ``Remote.list``."""
        check_config(config)
        with closing(self._replication.open(config)) as remote:
            return tuple(one.path for one in self._replication.fetching.lacking(remote))
