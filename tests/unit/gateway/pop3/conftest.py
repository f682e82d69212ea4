"""A pull server in this process: the real one on real sockets, over a real log, with a key agent and an archiver that
a test holds in its hands."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import uvloop

from appliance.errors import MailkeepError, SignInError
from appliance.keys.certificate import ensure_certificate
from appliance.keys.envelope import MailboxKeyPair
from appliance.keys.mailbox_keys import UnlockedMailbox
from appliance.mail.facts import Provenance
from appliance.mail.published import GatewayMailbox, GatewaySettings, Limits, encode, erased_folder, settings_path
from appliance.store.writer import LogWriter
from gateway import doors
from gateway.pop3 import door
from gateway.pop3.worker import Options, Worker
from gateway.worker import listen

PASSWORD = "correct horse battery"


class Archiver:
    """Stands for ``gateway.pop3.archiver.Archiver``: erases by the file that the real one writes."""

    def __init__(self, data: Path) -> None:
        self.failure: MailkeepError | None = None
        self.fails_after: int | None = None
        self.erased: list[bytes] = []
        self.readers: list[str] = []
        self._data = data

    def reading(self, grant: str, client: str) -> None:
        self._fail()
        self.readers.append(client)

    def may_erase(self, grant: str) -> None:
        self._fail()

    def erase(self, grant: str, records: Sequence[bytes]) -> None:
        self._fail()
        self.erased += records
        folder = erased_folder(self._data)
        folder.mkdir(exist_ok=True)
        (folder / grant).write_bytes(b"".join(sorted(self.erased)))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Box:
    """A mailbox of the server: its mail goes straight into the log."""

    def __init__(self, server: Server, address: str, *, deletes: bool = False, state: str = "active") -> None:
        self.address = address
        self.password = PASSWORD
        self.id = os.urandom(16)
        self.pair = MailboxKeyPair.generate()
        self.published = GatewayMailbox(
            id=self.id.hex(), addresses=(address, f"alias.{address}"), public_key=self.pair.public,
            state=state, deletes=deletes,
        )  # type: ignore[arg-type]  # fmt: skip
        self._server = server

    def receive(self, *mails: bytes) -> list[bytes]:
        """The record ids. One after the other: the log keeps the order in which messages were ready."""
        append = self._server.writer.append
        return [append(self.id, self.pair.public, mail, Provenance()).result().record_id for mail in mails]


class Server:
    """A running worker."""

    def __init__(self, data: Path, **options: float) -> None:
        self.data = data
        self.archiver = Archiver(data)
        self.boxes: dict[bytes, Box] = {}
        self.open_now = 0
        self.opening_failure: MailkeepError | None = None
        settings_path(data).parent.mkdir(parents=True)
        (data / door.LOCKS).mkdir(parents=True)
        ensure_certificate(data / "tls", "localhost")
        self.writer = LogWriter(data / "volumes", "g0", reserve=0)
        self.limits = Limits()
        self.publish()
        encrypted, plain = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
        self.port: int = encrypted[0].getsockname()[1]
        self.plain_port: int = plain[0].getsockname()[1]
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        ready = threading.Event()

        async def serve() -> None:
            worker = Worker(Options(data=data, worker=0, **options), self._open, self.archiver)  # type: ignore[arg-type]
            ready.set()
            await worker.run(encrypted, plain, self._stop)

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    def box(self, address: str = "anna@archive.example", *, deletes: bool = False, state: str = "active") -> Box:
        """A new mailbox."""
        box = Box(self, address, deletes=deletes, state=state)
        self.boxes[box.id] = box
        self.publish()
        return box

    def publish(self) -> None:
        """What the archiver does."""
        settings = GatewaySettings(
            version=1, hostname="pull.example", mailboxes=tuple(box.published for box in self.boxes.values()),
            limits=self.limits,
        )  # fmt: skip
        fresh = settings_path(self.data).with_suffix(".fresh")
        fresh.write_bytes(encode(settings))
        fresh.replace(settings_path(self.data))

    def client(self, *, secure: bool = True) -> Client:
        """A connection that has been greeted."""
        return Client(self.port if secure else self.plain_port, secure=secure)

    def enter(self, box: Box) -> Client:
        """A session in the mailbox."""
        client = self.client()
        assert client.log_in(box.address, box.password).startswith("+OK")
        return client

    def stop(self) -> None:
        """SIGTERM."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the worker does not stop"

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()
        self._loop.close()
        self.writer.close()

    def _open(self, mailbox_id: bytes, password: str, client: str) -> UnlockedMailbox:
        if self.opening_failure is not None:
            raise self.opening_failure
        box = self.boxes.get(mailbox_id)
        if box is None or box.password != password:
            raise SignInError("no")
        return _Opened(self, mailbox_id, box.pair)


class _Opened(UnlockedMailbox):
    """Counts what is open; its grant names the mailbox, for ``Archiver.erase``."""

    def __init__(self, server: Server, mailbox_id: bytes, pair: MailboxKeyPair) -> None:
        super().__init__(mailbox_id, pair)
        self._server = server
        server.open_now += 1

    @property
    def grant(self) -> str:
        return self.mailbox_id.hex()

    def close(self) -> None:
        super().close()
        self._server.open_now -= 1


class Client:
    """A raw POP3 client that shows exactly what is sent and what comes back."""

    def __init__(self, port: int, *, secure: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self._encrypt()
        self._stream = self.socket.makefile("rb")
        assert self.reply().startswith("+OK")

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> str:
        """One line; "" when the server has closed."""
        try:
            return self._stream.readline().decode().removesuffix("\r\n")
        except (ConnectionResetError, ssl.SSLError):
            return ""

    def say(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def rest(self) -> bytes:
        """A multi-line response behind its first line, dots taken out where lines end in CRLF or LF."""
        lines = []
        while (line := self._stream.readline()) != b".\r\n":
            assert line, "the server closed in the middle"
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def lines(self, command: str) -> list[str]:
        """A multi-line response, which has to be one."""
        first = self.say(command)
        assert first.startswith("+OK"), first
        return self.rest().decode().splitlines()

    def message(self, number: int) -> bytes:
        first = self.say(f"RETR {number}")
        assert first.startswith("+OK"), first
        return self.rest()

    def log_in(self, address: str, password: str) -> str:
        assert self.say(f"USER {address}").startswith("+OK")
        return self.say(f"PASS {password}")

    def start_tls(self) -> None:
        assert self.say("STLS").startswith("+OK")
        self._encrypt()
        self._stream = self.socket.makefile("rb")

    def is_closed(self) -> bool:
        return self.reply() == ""

    def close(self) -> None:
        self._stream.close()
        self.socket.close()

    def _encrypt(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Start a worker with these options."""
    monkeypatch.setattr(doors, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(door, "FAILURE_SECONDS", 0.05)
    running: list[Server] = []

    def start_server(**options: float) -> Server:
        running.append(Server(tmp_path / f"data{len(running)}", **options))
        return running[-1]

    yield start_server
    for server in running:
        server.close()


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """A worker with the usual options."""
    return start()
