"""What the archiver and the projector ask of the replicator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from appliance.cloud.backends import check_config
from appliance.cloud.probe import RemoteTest, test_remote
from appliance.cloud.remote import RemoteConfig
from appliance.services.replicator.history import Kind, Run
from appliance.services.replicator.replication import Replication


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
