"""A gateway worker in this process: the real one on a real socket, over a log that keeps all in memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop

from appliance.mail.facts import Provenance
from appliance.mail.published import (
    GatewayMailbox,
    GatewaySettings,
    RetiredAddress,
    decode_stats,
    encode,
    settings_path,
    stats_folder,
    stats_path,
)
from gateway import doors, tls
from gateway.worker import Options, Worker, listen

ANNA = GatewayMailbox(id="aa" * 16, addresses=("anna@archive.example", "anna.alias@archive.example"), public_key=b"a")
BERT = GatewayMailbox(id="bb" * 16, addresses=("bert@archive.example",), public_key=b"b")
CLOSED = GatewayMailbox(id="cc" * 16, addresses=("closed@archive.example",), public_key=b"c", state="suspended")
OFFICE = GatewayMailbox(
    id="dd" * 16, addresses=("office@archive.example",), public_key=b"d", networks=("198.51.100.0/24",)
)
LOCAL = GatewayMailbox(
    id="ee" * 16, addresses=("local@archive.example",), public_key=b"e", networks=("127.0.0.0/8", "::1/128")
)
SECRET = GatewayMailbox(id="ff" * 16, addresses=("secret@archive.example",), public_key=b"f", tls_required=True)
DISABLED = GatewayMailbox(
    id="22" * 16, addresses=("disabled@archive.example",), public_key=b"h", state="disabled",
    catch_all=("closed.example",),
)  # fmt: skip
CAUGHT = GatewayMailbox(
    id="33" * 16, addresses=("all@archive.example",), public_key=b"i", catch_all=("caught.example", "köln.example")
)
IDN = GatewayMailbox(id="11" * 16, addresses=("jürgen@bücher.example",), public_key=b"g")
SETTINGS = GatewaySettings(
    version=1,
    hostname="gate.example",
    generation=7,
    mailboxes=(ANNA, BERT, CLOSED, OFFICE, LOCAL, SECRET, DISABLED, CAUGHT, IDN),
    retired=(
        RetiredAddress("gone@archive.example", until=time.time_ns() // 1000 + 10**12),
        RetiredAddress("long-gone@archive.example", until=1),
        RetiredAddress("gone@caught.example", until=time.time_ns() // 1000 + 10**12),
        RetiredAddress("*@let-go.example", until=time.time_ns() // 1000 + 10**12),
    ),
)


class Reference(NamedTuple):
    record_id: bytes


@dataclass(frozen=True)
class Stored:
    mailbox_id: bytes
    original: bytes
    provenance: Provenance
    record_id: bytes
    streamed: bool


class MemoryLog:
    """Stands for LogWriter. ``failure`` is what the disk does; ``durable`` cleared keeps syncs from returning."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.failure: Exception | None = None
        self.failing_mailbox: bytes | None = None
        self.durable = threading.Event()
        self.durable.set()
        self.aborted = 0
        self.opened = 0
        self.closed = False
        self._lock = threading.Lock()

    def append(
        self, mailbox_id: bytes, public_key: bytes, original: bytes, provenance: Provenance
    ) -> Future[Reference]:
        future: Future[Reference] = Future()
        threading.Thread(
            target=self._append, args=(future, mailbox_id, bytes(original), provenance), daemon=True
        ).start()
        return future

    def stream(self, mailbox_id: bytes, public_key: bytes, provenance: Provenance) -> MemoryStream:
        self.opened += 1
        return MemoryStream(self, mailbox_id, provenance)

    def roll(self, *, older_than: float = 0) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def keep(self, mailbox_id: bytes, original: bytes, provenance: Provenance, *, streamed: bool) -> Reference:
        self.durable.wait(20)
        if self.failure is not None and self.failing_mailbox in (None, mailbox_id):
            raise self.failure
        with self._lock:
            reference = Reference((len(self.stored) + 1).to_bytes(16))
            self.stored.append(Stored(mailbox_id, original, provenance, reference.record_id, streamed))
        return reference

    def _append(self, future: Future[Reference], mailbox_id: bytes, original: bytes, provenance: Provenance) -> None:
        try:
            future.set_result(self.keep(mailbox_id, original, provenance, streamed=False))
        except Exception as error:
            future.set_exception(error)


class MemoryStream:
    def __init__(self, log: MemoryLog, mailbox_id: bytes, provenance: Provenance) -> None:
        self._log = log
        self._mailbox_id = mailbox_id
        self._provenance = provenance
        self._pieces: list[bytes] = []

    def write(self, octets: bytes) -> None:
        if self._log.failure is not None:
            raise self._log.failure
        self._pieces.append(bytes(octets))

    def commit(self) -> Reference:
        return self._log.keep(self._mailbox_id, b"".join(self._pieces), self._provenance, streamed=True)

    def abort(self) -> None:
        self._log.aborted += 1


class Client:
    """A raw SMTP client that shows exactly what is sent and what comes back."""

    def __init__(self, port: int, *, greet: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        if greet:
            assert self.reply().startswith("220 ")
            assert self.say("EHLO client.example").startswith("250-gate.example")

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> str:
        """One reply, all its lines; "" when the server has closed."""
        lines = []
        while True:
            while b"\r\n" not in self._buffer:
                try:
                    octets = self.socket.recv(65536)
                except ConnectionResetError:
                    return ""
                if not octets:
                    assert not self._buffer, self._buffer
                    return ""
                self._buffer += octets
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            lines.append(line.decode())
            if line[3:4] != b"-":
                return "\n".join(lines)

    def say(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def open_transaction(self, *recipients: str) -> None:
        assert self.say("MAIL FROM:<sender@example.org>") == "250 2.1.0 OK"
        for recipient in recipients or ("anna@archive.example",):
            assert self.say(f"RCPT TO:<{recipient}>") == "250 2.1.5 OK"

    def send_data(self, message: bytes) -> str:
        """``message`` by DATA; it is empty or ends in CRLF."""
        assert self.say("DATA").startswith("354")
        stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
        self.send(stuffed + b".\r\n")
        return self.reply()

    def is_closed(self) -> bool:
        return self.reply() == ""

    def close(self) -> None:
        self.socket.close()


class Gateway:
    """A running worker."""

    def __init__(self, data: Path, **options: float) -> None:
        self.data = data
        self.log = MemoryLog()
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        listeners = listen("127.0.0.1", 0)
        self.port: int = listeners[0].getsockname()[1]
        stats_folder(data).mkdir(parents=True)
        self.worker = Worker(Options(data=data, worker=0, **options), self.log, self._loop)  # type: ignore[arg-type]
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self.worker.run(listeners, self._stop),), daemon=True
        )
        self._thread.start()
        while not stats_path(data, 0).exists():
            time.sleep(0.005)
        self._clients: list[Client] = []

    def client(self, *, greet: bool = True) -> Client:
        client = Client(self.port, greet=greet)
        self._clients.append(client)
        return client

    def publish(self, settings: GatewaySettings | bytes | None) -> None:
        """What the archiver does; returns when the worker has had the time to see it."""
        path = settings_path(self.data)
        if settings is None:
            path.unlink()
        else:
            fresh = path.with_suffix(".fresh")
            fresh.write_bytes(settings if isinstance(settings, bytes) else encode(settings))
            fresh.replace(path)
        time.sleep(0.15)

    def begin_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        self.begin_stop()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the worker does not stop"

    def close(self) -> None:
        for client in self._clients:
            client.close()
        with contextlib.suppress(RuntimeError):
            self.stop()
        self._loop.close()

    def stats(self):  # type: ignore[no-untyped-def]
        return decode_stats(stats_path(self.data, 0).read_bytes())


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gateway]]:
    """Start a worker with these settings and options."""
    monkeypatch.setattr(doors, "_LOOK_EVERY", 0.05)
    monkeypatch.setattr(tls, "_LOOK_EVERY", 0.05)
    running: list[Gateway] = []

    def start_gateway(settings: GatewaySettings = SETTINGS, **options: float) -> Gateway:
        data = tmp_path / f"data{len(running)}"
        settings_path(data).parent.mkdir(parents=True)
        settings_path(data).write_bytes(encode(settings))
        running.append(Gateway(data, **options))
        return running[-1]

    yield start_gateway
    for gateway in running:
        gateway.log.durable.set()
        gateway.close()


@pytest.fixture
def gateway(start: Callable[..., Gateway]) -> Gateway:
    """A worker with the usual mailboxes."""
    return start()


@pytest.fixture
def settings() -> GatewaySettings:
    return SETTINGS
