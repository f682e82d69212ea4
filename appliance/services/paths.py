"""Where things lie in a data folder (docs/format.md lists every file)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from appliance.keys.agent_wire import role_secret

PACKAGED_DATA = Path("/var/lib/mailkeep/archive")
"""The data folder that the units of the package serve."""


def local_secret_beside(local_socket: Path) -> Path:
    """The secret that belongs to a local socket."""
    return local_socket.with_name("secret")


class Paths(msgspec.Struct, frozen=True):
    """The places of one data folder."""

    data: Path

    @property
    def keyring(self) -> Path:
        """Wrapped keys."""
        return self.data / "keyring.json"

    @property
    def keyfile(self) -> Path:
        """The key for an unattended start; outside the data folder, so that a copy of the folder opens nothing."""
        return self.data.with_name(self.data.name + ".keyfile")

    @property
    def volumes(self) -> Path:
        """The log."""
        return self.data / "volumes"

    @property
    def service_keyfile(self) -> Path:
        """The key with which replication goes on while the archive is locked; outside the data folder, too."""
        return self.data.with_name(self.data.name + ".servicekey")

    @property
    def setup(self) -> Path:
        """How far set-up is, and in which language the console speaks; beside the data folder, since it comes first."""
        return self.data.with_name(self.data.name + ".setup")

    @property
    def replicas(self) -> Path:
        """What the replicator knows of its remotes: sealed lists, states, what waits to be uploaded."""
        return self.data / "replicas"

    @property
    def jobs(self) -> Path:
        """jobs.db: the replicator's queue and the history of its runs."""
        return self.data / "jobs.db"

    @property
    def settings(self) -> Path:
        """settings.db."""
        return self.data / "settings.db"

    @property
    def projections(self) -> Path:
        """Generations of catalogue and index, and the file that names the one in use."""
        return self.data / "projections"

    @property
    def tls(self) -> Path:
        """Certificate and key of the gateway and the web."""
        return self.data / "tls"

    @property
    def exports(self) -> Path:
        """Finished exports, encrypted with keys that only the running archiver holds."""
        return self.data / "exports"

    @property
    def run(self) -> Path:
        """Sockets and the counters of running processes."""
        return self.data / "run"

    @property
    def local_socket(self) -> Path:
        """Where the command line on the box reaches the archiver."""
        return self.run / "local" / "archive.sock"

    @property
    def local_secret(self) -> Path:
        """What a caller on the local socket has to have read: who cannot open files there cannot call either."""
        return local_secret_beside(self.local_socket)

    @property
    def web_socket(self) -> Path:
        """Where the web process reaches the archiver: with people's sessions only."""
        return self.run / "web" / "archive.sock"

    @property
    def pull_socket(self) -> Path:
        """Where the pull server (POP3) reaches the archiver, to have erased what a reader deleted."""
        return self.run / "pull" / "archive.sock"

    @property
    def pull_secret(self) -> Path:
        """What a caller on the pull socket has to have read."""
        return self.run / "pull" / "secret"

    @property
    def replica_run(self) -> Path:
        """The replicator's socket and its secret, rclone's socket, how far each run is."""
        return self.run / "replica"

    @property
    def replica_socket(self) -> Path:
        """Where the replicator answers archiver and projector."""
        return self.replica_run / "replica.sock"

    @property
    def replica_secret(self) -> Path:
        """What a caller on the replicator's socket has to have read."""
        return local_secret_beside(self.replica_socket)

    @property
    def collecting(self) -> Path:
        """What the collector is told, what providers have changed since, and its ledger."""
        return self.data / "collecting"

    @property
    def ledger(self) -> Path:
        """ledger.db: what the collector has fetched from where, and the history of its runs."""
        return self.collecting / "ledger.db"

    @property
    def scratch(self) -> Path:
        """Files that are imported, sealed, until they have been read."""
        return self.collecting / "scratch"

    @property
    def collector_socket(self) -> Path:
        """Where the collector answers the archiver."""
        return self.run / "collector" / "collector.sock"

    @property
    def agent_socket(self) -> Path:
        """Where the key agent answers."""
        return self.run / "agent" / "agent.sock"

    def agent_secret(self, role: str) -> Path:
        """What a caller of the key agent in one role has to have read: each in a folder of its own."""
        return role_secret(self.agent_socket.parent, role)

    @property
    def live(self) -> Path:
        """The live search index, on tmpfs: nothing readable of it ever reaches the disk."""
        place = Path(os.environ.get("MAILKEEP_LIVE", "/dev/shm"))  # noqa: S108 - a folder of its own, mode 0700
        name = hashlib.sha256(bytes(self.data.absolute())).hexdigest()[:16]
        return place / f"mailkeep-{os.getuid()}-{name}"

    @property
    def challenges(self) -> Path:
        """What port 80 answers an authority with that is asked for a certificate: all that the redirect can read."""
        return self.run / "acme"

    @property
    def listening(self) -> Path:
        """Where ``serve`` notes what it listens on, for those who talk to its ports or tell people of them."""
        return self.run / "listening.json"

    @property
    def timestamps(self) -> Path:
        """Timestamps (RFC 3161) of the chain's heads."""
        return self.data / "timestamps"

    @property
    def positions(self) -> Path:
        """How far programs have pulled over the API: a file for each token."""
        return self.data / "positions"

    @property
    def alarms(self) -> Path:
        """The alarms that stand, and those that stood."""
        return self.data / "alarms.json"

    @property
    def notifying(self) -> Path:
        """How alarms are told while the archive is locked; sealed with the service key."""
        return self.data / "notifying"

    @property
    def lock(self) -> Path:
        """Held by the one process that may write settings."""
        return self.run / "archiver.lock"
