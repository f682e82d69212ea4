"""Real places to replicate to: `rclone serve` on a loopback port over a folder, and what can go wrong on the way there.

    with s3_target(tmp_path) as target:
        remote = rclone.remote(target.config)
        target.kill()       # the server dies, in the middle of whatever it does
        target.restart()    # and is there again, on the same port

With ``faults=True`` a proxy stands between, which can cut, slow down, refuse and pretend to be full (``target.proxy``).
With ``within`` the server runs in a network namespace of its own, whose line can go down (``tests/namespaces.py``).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from appliance.cloud.remote import RemoteConfig
from tests.namespaces import Namespace
from tests.ports import free_port

RCLONE = Path(sys.executable).with_name("rclone")
USER, PASSWORD = "replica-user", "replica-password-7Qx"
ACCESS_KEY, SECRET_KEY = "REPLICAACCESSKEY", "replica-secret-key-9Zt4"
BUCKET = "replica"
START_SECONDS = 20.0

Fault = Literal["none", "cut", "hang", "busy", "flaky", "full"]


@dataclass
class Target:
    """A server, the folder that its bytes lie in, and the remote that leads there."""

    config: RemoteConfig
    folder: Path
    """Where the objects lie on disk: ``folder / name``."""
    proxy: FaultProxy | None = None
    command: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    log: Path | None = None
    server: subprocess.Popen[bytes] | None = None

    def named(self, name: str, **changes: object) -> RemoteConfig:
        """The same place under another name, or with other settings."""
        return msgspec.structs.replace(self.config, name=name, **changes)

    def objects(self) -> list[str]:
        """The names of what lies there, as the disk has it."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def kill(self) -> None:
        """The server dies at once (SIGKILL)."""
        if self.server is not None:
            self.server.kill()
            self.server.wait(10)
            self.server = None

    def restart(self) -> None:
        """The server is there again, where it was."""
        if not self.command:
            return
        self.kill()
        with (self.log or Path(os.devnull)).open("ab") as log:
            self.server = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError(f"{' '.join(self.command)} did not start; see {self.log}")


class FaultProxy:
    """A TCP proxy on loopback that does to its connections what ``fault`` says; a change breaks those there are.

    ``cut`` closes them at once, ``hang`` passes nothing on, ``busy`` answers every HTTP request with 503, ``flaky``
    every fourth one, ``full`` every upload with 507. ``rate`` (bytes a second) slows all down together, ``cut_after``
    cuts once when so many bytes have gone up.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._fault: Fault = "none"
        self._asked = 0
        self.rate = 0.0
        self.cut_after = 0
        self.sent_up = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def fault(self) -> Fault:
        """What it does."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        self.break_all()

    def break_all(self) -> None:
        """Close every connection there is."""
        with self._lock:
            open_now, self._open = self._open, set()
        for one in open_now:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), self._kept(client):
            if self._fault == "cut":
                return
            if self._fault == "hang":
                select.select([client], [], [], 600)
                client.recv(1)
                select.select([client], [], [], 600)
                return
            first = b""
            if self._fault != "none":
                first = self._one_request(client)
                if not first:
                    return
            with socket.create_connection(("127.0.0.1", self._to), 10) as server, self._kept(server):
                self._pass(client, server, first)

    def _one_request(self, client: socket.socket) -> bytes:
        """The head of a request that may pass, and its connection ends after it; nothing where it was answered here."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(65536)
            if not more:
                return b""
            head += more
        self._asked += 1
        uploads = head.startswith((b"PUT", b"POST", b"MKCOL"))
        status = ""
        if self._fault == "busy" or (self._fault == "flaky" and self._asked % 4 == 2):
            status = "503 Service Unavailable"
        elif self._fault == "full" and uploads:
            status = "507 Insufficient Storage"
        if not status:
            line, _, rest = head.partition(b"\r\n")
            return line + b"\r\nConnection: close\r\n" + rest
        while select.select([client], [], [], 0.1)[0] and client.recv(262_144):
            pass  # an answer to an upload that goes on is lost when the connection closes under it
        client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        return b""

    def _pass(self, client: socket.socket, server: socket.socket, first: bytes) -> None:
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # SSH's small answers would wait 40 ms each
        server.sendall(first)
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                if self.rate:
                    time.sleep(len(data) / self.rate)
                if source is client:
                    self.sent_up += len(data)
                    if self.cut_after and self.sent_up >= self.cut_after:
                        self.cut_after = 0
                        self.break_all()
                        return
                (server if source is client else client).sendall(data)

    @contextlib.contextmanager
    def _kept(self, one: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(one)


def local_target(folder: Path) -> AbstractContextManager[Target]:
    """A folder, as a mounted disk or share is one."""
    place = folder / "local" / BUCKET
    return contextlib.nullcontext(Target(RemoteConfig("local", "local", {}, path=str(place)), place))


def s3_target(folder: Path, *, faults: bool = False, within: Namespace | None = None) -> AbstractContextManager[Target]:
    """`rclone serve s3`, with a bucket in it."""
    options = {"provider": "Rclone", "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    return _served(
        "s3",
        folder,
        RemoteConfig("s3", "s3", options, path=f"{BUCKET}/box"),
        address="endpoint",
        environment={"RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{SECRET_KEY}"'},
        faults=faults,
        within=within,
    )


def webdav_target(
    folder: Path, *, faults: bool = False, within: Namespace | None = None
) -> AbstractContextManager[Target]:
    """`rclone serve webdav`."""
    return _served(
        "webdav",
        folder,
        RemoteConfig("webdav", "webdav", {"user": USER, "pass": PASSWORD, "vendor": "other"}, path=f"{BUCKET}/box"),
        address="url",
        environment={"RCLONE_USER": USER, "RCLONE_PASS": PASSWORD},
        faults=faults,
        within=within,
    )


def sftp_target(
    folder: Path, *, faults: bool = False, within: Namespace | None = None
) -> AbstractContextManager[Target]:
    """`rclone serve sftp`. Its proxy can cut, hang, slow down; the faults of HTTP mean nothing to it."""
    return _served(
        "sftp",
        folder,
        RemoteConfig("sftp", "sftp", {"user": USER, "pass": PASSWORD}, path=f"{BUCKET}/box"),
        address="port",
        environment={"RCLONE_USER": USER, "RCLONE_PASS": PASSWORD},
        faults=faults,
        within=within,
    )


@contextlib.contextmanager
def _served(
    kind: str, folder: Path, config: RemoteConfig, *, address: str, environment: dict[str, str], faults: bool,
    within: Namespace | None,
) -> Iterator[Target]:  # fmt: skip
    place = folder / kind
    (place / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    host = within.address if within else "127.0.0.1"
    target = Target(
        config,
        place / config.path,
        command=(
            *(within.command if within else ()),
            *(str(RCLONE), "serve", kind, str(place), "--addr", f"{host}:{port}"),
            *("--config", "", "--cache-dir", str(folder / f"{kind}-cache"), "--vfs-cache-mode", "off"),
            # Tests change what lies there behind the server's back. With 0s each folder keeps a processor busy.
            *("--dir-cache-time", "10ms"),
        ),
        environment={"HOME": str(folder), "PATH": os.environ.get("PATH", ""), **environment},
        host=host,
        port=port,
        log=folder / f"{kind}.log",
    )
    target.restart()
    try:
        if faults:
            target.proxy = FaultProxy(port)
        at = target.proxy.port if target.proxy else port
        web = f"http://{host}:{at}"
        place_of = {"endpoint": {"endpoint": web}, "url": {"url": web}, "port": {"host": host, "port": str(at)}}
        target.config = msgspec.structs.replace(config, options={**config.options, **place_of[address]})
        yield target
    finally:
        if target.proxy:
            target.proxy.close()
        target.kill()
