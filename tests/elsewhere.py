"""Volumes that are on a replica only, for tests: taken away, and brought back when somebody asks for them."""

from __future__ import annotations

import hmac
import secrets
import shutil
import socket
import threading
from hashlib import sha256
from pathlib import Path

import msgspec

from appliance.cloud.fetching import arriving, place
from appliance.errors import MailkeepError, UnavailableError
from appliance.services.paths import Paths
from appliance.services.wire import Call, Reply, failure_of, pack, read
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.names import parse_archive, parse_volume, seal_path


class Elsewhere:
    """A folder that stands for the replicas. ``fetched`` are the paths asked for; ``down`` keeps it from answering."""

    def __init__(self, volumes: Path, folder: Path) -> None:
        self.volumes = volumes
        self.folder = folder
        self.fetched: list[str] = []
        self.down = False
        folder.mkdir(exist_ok=True)

    def take(self, *paths: str) -> None:
        """Make these absent."""
        AbsentFiles(self.volumes).add(self.entry(path) for path in paths)
        for path in paths:
            shutil.move(self.volumes / path, self._kept(path))

    def take_all(self, mailbox: bytes) -> list[str]:
        """Make everything of a mailbox absent that has a seal; the paths."""
        folder = mailbox.hex()
        found = [f"{folder}/{path.name}" for path in (self.volumes / folder).iterdir()]
        here = [path for path in sorted(found) if parse_volume(path) or parse_archive(path)]
        sealed = [path for path in here if (self.volumes / seal_path(path)).exists()]
        self.take(*sealed)
        return sealed

    def fetch(self, path: str) -> None:
        """What a reader is given."""
        self.fetched.append(path)
        if self.down:
            raise UnavailableError("The replica cannot be reached.")
        coming = arriving(self.volumes, path)
        shutil.copy(self._kept(path), coming)
        place(self.volumes, path, coming, AbsentFiles(self.volumes).all()[path].hash)

    def entry(self, path: str) -> AbsentFile:
        content = (self.volumes / path).read_bytes()
        return AbsentFile(path, len(content), sha256(content).digest())

    def _kept(self, path: str) -> Path:
        return self.folder / path.replace("/", "-")


class ReplicatorDouble:
    """Answers on the replicator's socket as the replicator does, from an ``Elsewhere``."""

    def __init__(self, paths: Paths, elsewhere: Elsewhere) -> None:
        self._elsewhere = elsewhere
        self._secret = secrets.token_hex(32)
        paths.replica_socket.parent.mkdir(parents=True, exist_ok=True)
        paths.replica_secret.write_text(self._secret)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(paths.replica_socket))
        self._listener.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                call = msgspec.msgpack.decode(read(stream) or b"", type=Call)
                stream.write(pack(self._reply(call)))

    def _reply(self, call: Call) -> Reply:
        assert call.method == "fetch"
        assert hmac.compare_digest(call.token, self._secret)
        try:
            self._elsewhere.fetch(call.params["path"])
        except MailkeepError as error:
            return Reply(error=failure_of(error))
        return Reply(result=msgspec.Raw(msgspec.msgpack.encode(None)))
