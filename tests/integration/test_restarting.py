"""Processes that are exchanged while mail comes in, as systemd does it: it listens, they are handed its sockets.

No systemd is needed: ``Manager`` hands over sockets and hears notifications by the same protocol.
"""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_smtp_process import ANNA, ROOT, Box

pytestmark = pytest.mark.integration

CLIENTS = 4
BECOME = """
import os, sys
count = int(sys.argv[1])
for place, descriptor in enumerate(map(int, sys.argv[2 : 2 + count]), start=100):
    os.dup2(descriptor, place)
for place in range(count):
    os.dup2(100 + place, 3 + place)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2 + count :]])
"""
"""Gives a program its sockets as 3, 4, … and tells it that they are for it (sd_listen_fds(3))."""


class Manager:
    """What systemd is to a service: it opens ports, starts, listens to notifications, and stops."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listeners: dict[str, socket.socket] = {}
        self._processes: list[Service] = []

    def listen(self, name: str) -> int:
        """Open a port under a name; which one it is."""
        self._listeners[name] = listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        port: int = listener.getsockname()[1]
        return port

    def start(self, name: str, *command: str, watchdog: float = 60.0) -> Service:
        """Start a program with the socket of that name, and return when it says that it is ready."""
        service = Service(
            self._folder / f"notify-{len(self._processes)}", name, self._listeners[name], command, watchdog
        )
        self._processes.append(service)
        service.await_("READY=1")
        return service

    def close(self) -> None:
        """End everything."""
        for service in self._processes:
            service.kill()
        for listener in self._listeners.values():
            listener.close()


class Service:
    """One process and what it has told."""

    def __init__(
        self, place: Path, name: str, listener: socket.socket, command: tuple[str, ...], watchdog: float
    ) -> None:
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.bind(str(place))
        self._end.settimeout(60)
        told = {
            "LISTEN_FDS": "1", "LISTEN_FDNAMES": name, "NOTIFY_SOCKET": str(place),
            "WATCHDOG_USEC": str(int(watchdog * 1e6)),
        }  # fmt: skip
        descriptor = listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", BECOME, "1", str(descriptor), *command],
            cwd=ROOT, env={**os.environ, **told}, pass_fds=[descriptor], stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def await_(self, message: str) -> None:
        """Return when the process has said that."""
        while self._end.recv(4096).decode() != message:
            pass

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing is heard of it for so long; what it said before does not count."""
        self._end.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            while True:
                self._end.recv(4096)
        self._end.settimeout(seconds)
        try:
            self._end.recv(4096)
        except TimeoutError:
            return True
        return False

    def stop(self) -> None:
        """SIGTERM; it says that it ends, and ends by itself."""
        self.process.send_signal(signal.SIGTERM)
        self.await_("STOPPING=1")
        assert self.process.wait(60) in (0, -signal.SIGTERM)  # systemd takes both for a good end

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)
        self._end.close()


class Load:
    """Mail servers that send one message after the other, a connection a message."""

    def __init__(self, port: int) -> None:
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _send(self, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"{client}.{number}"
            try:
                session = smtplib.SMTP("127.0.0.1", self._port, timeout=60)
                session.sendmail("a@load.example", [ANNA], f"Subject: {name}\r\n\r\nx\r\n")
                self.accepted.append(name)
                session.close()
            except (OSError, smtplib.SMTPException) as error:
                self.failures.append(f"{name}: {error!r}")

    def await_(self, count: int) -> None:
        """Return when so many more have been accepted."""
        goal = len(self.accepted) + count
        while len(self.accepted) < goal and not self.failures:
            time.sleep(0.01)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "data")


def gateway(box: Box, worker: int) -> tuple[str, ...]:
    return ("gateway", "--data", str(box.data), "--worker", str(worker))


def stored(box: Box) -> set[str]:
    return {record.original.split(b"\r\n")[0].decode().removeprefix("Subject: ") for record in box.records()}


def test_old_and_new_workers_overlap_and_nobody_is_refused(manager: Manager, box: Box) -> None:
    port = manager.listen("smtp")
    workers = [manager.start("smtp", *gateway(box, number)) for number in range(2)]
    load = Load(port)
    try:
        for _ in range(2):
            for number in range(2):
                load.await_(50)
                workers[number].stop()
                load.await_(20)  # the other one receives
                workers[number] = manager.start("smtp", *gateway(box, number))
        load.await_(50)
    finally:
        load.end()
    assert load.failures == []
    for worker in workers:
        worker.stop()
    assert stored(box) == set(load.accepted)


def test_with_a_single_worker_those_who_come_meanwhile_wait(manager: Manager, box: Box) -> None:
    port = manager.listen("smtp")
    worker = manager.start("smtp", *gateway(box, 0))
    load = Load(port)
    try:
        load.await_(50)
        worker.stop()
        time.sleep(0.5)  # nobody is there
        worker = manager.start("smtp", *gateway(box, 0))
        load.await_(50)
    finally:
        load.end()
    assert load.failures == []
    worker.stop()
    assert stored(box) == set(load.accepted)


def test_who_has_just_come_may_bring_a_message_before_the_end(manager: Manager, box: Box) -> None:
    port = manager.listen("smtp")
    worker = manager.start("smtp", *gateway(box, 0))
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        worker.process.send_signal(signal.SIGTERM)
        worker.await_("STOPPING=1")
        assert client.sendmail("a@load.example", [ANNA], "Subject: last\r\n\r\nx\r\n") == {}
        client.close()
    assert worker.process.wait(60) == 0
    assert stored(box) == {"last"}


def test_a_worker_that_hangs_falls_silent(manager: Manager, box: Box) -> None:
    manager.listen("smtp")
    worker = manager.start("smtp", *gateway(box, 0), watchdog=2.0)
    worker.await_("WATCHDOG=1")
    assert not worker.is_silent(10)
    worker.process.send_signal(signal.SIGSTOP)
    try:
        assert worker.is_silent(4)
    finally:
        worker.process.send_signal(signal.SIGCONT)


def test_browsers_wait_while_the_web_process_is_exchanged(manager: Manager, box: Box) -> None:
    port = manager.listen("http")
    command = ("webadmin", "--data", str(box.data), "--redirect-to", "443")
    web = manager.start("http", *command)
    web.stop()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as browser:
        browser.sendall(b"GET /a HTTP/1.1\r\nHost: mail.example\r\nConnection: close\r\n\r\n")
        web = manager.start("http", *command)
        answer = browser.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 308") and b"https://mail.example/a" in answer
    web.stop()
