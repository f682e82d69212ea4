"""Where things lie in a data folder (docs/format.md lists every file)."""

from __future__ import annotations

from pathlib import Path

import msgspec


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
    def lock(self) -> Path:
        """Held by the one process that may write settings."""
        return self.run / "archiver.lock"
