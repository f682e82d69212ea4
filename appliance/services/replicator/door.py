"""The replicator's socket: what the archiver and the projector ask of it, each with the secret that lies beside it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from appliance.cloud.backends import check_config
from appliance.cloud.probe import RemoteTest, test_remote
from appliance.cloud.remote import RemoteConfig
from appliance.errors import UsageError
from appliance.files import FILES, replace_file
from appliance.services.calling import Service
from appliance.services.paths import Paths
from appliance.services.replicator.history import Kind, Run
from appliance.services.replicator.replication import Replication
from appliance.services.server import Answer, Listeners, guarded
from appliance.services.wire import Call, pack, read


class Desk:
    """What may be asked of a replication, in whichever process it works."""

    def __init__(self, replication: Replication) -> None:
        self._replication = replication

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By name."""
        return {"begin": self.begin, "stop": self.stop, "test": self.test, "fetch": self.fetch, "lacking": self.lacking}

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

    def fetch(self, *, path: str) -> None:
        """Have a volume that is not on this disk (``<mailbox>/<file>``) in its place on return."""
        self._replication.fetching.fetch(path)

    def lacking(self, *, config: RemoteConfig) -> tuple[str, ...]:
        """Of the volumes that are not on this disk, those that a remote does not have. Raises as ``Remote.list``."""
        check_config(config)
        with closing(self._replication.open(config)) as remote:
            return tuple(one.path for one in self._replication.fetching.lacking(remote))


def door_answers(paths: Paths) -> None:
    """Return when the replicator has answered on its socket, whatever it said. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(str(paths.replica_socket))
        with door.makefile("rwb") as stream:
            stream.write(pack(Call(method="")))
            stream.flush()
            if not read(stream):
                raise ConnectionResetError("the replicator hung up")


class Door:
    """The desk's socket."""

    def __init__(self, paths: Paths, desk: Desk) -> None:
        self._paths = paths
        self._services = {name: Service(function) for name, function in desk.methods().items()}
        self._secret = secrets.token_hex(32)
        self._listeners = Listeners()

    def start(self) -> None:
        """Answer until ``close``. Raises OSError."""
        replace_file(FILES, self._paths.replica_secret, self._secret.encode("ascii"), 0o640)
        self._listeners.open(self._paths.replica_socket, self._accept)

    def close(self) -> None:
        """Stop listening."""
        self._listeners.close()

    def _accept(self, _connection: socket.socket) -> Answer:
        return guarded("replica", self._secret, self._answer)

    def _answer(self, call: Call) -> Any:
        service = self._services.get(call.method)
        if service is None:
            raise UsageError("There is no such service.")
        return service(params=call.params)
