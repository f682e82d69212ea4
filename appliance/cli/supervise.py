"""``mailkeep serve``: the whole product in one command, as processes that each can do one thing.

The supervisor starts the key agent, then the archiver, then the projector, the web process, replicator, collector and a
gateway worker a core, and starts again what dies. It holds no keys; a passphrase goes through a pipe to the agent,
once, and to nobody else: an agent that has to be started again has to be unlocked again, unless the box does that by
itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import click
import msgspec

from appliance.errors import KeyringError, UnavailableError
from appliance.keys.agent import EXIT_WRONG_PASSPHRASE
from appliance.services.__main__ import EXIT_LOCKED
from appliance.services.paths import Paths
from appliance.services.service_key import CREDENTIAL, CREDENTIAL_PLACE

START_SECONDS = 60.0
STOP_SECONDS = 40.0
"""Longer than a gateway worker's grace for messages in transit."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts decrypted credentials; for the key agent only."""


class Process:
    """One supervised child."""

    def __init__(self, name: str, command: Sequence[str], *, says_ready: bool = False) -> None:
        self.name = name
        self._command = command
        self._says_ready = says_ready
        self._started = 0.0
        self._pause = FIRST_PAUSE
        self.child: subprocess.Popen[str] | None = None
        self.ready = threading.Event()

    def start(self) -> None:
        """Start the child."""
        self.ready.clear()
        self._started = time.monotonic()
        self.child = self._popen()
        threading.Thread(target=self._listen, args=(self.child,), daemon=True).start()
        if not self._says_ready:
            self.ready.set()

    def start_again(self, stop: threading.Event) -> None:
        """Start the child again after it died, more slowly each time it dies soon."""
        lived = time.monotonic() - self._started
        self._pause = FIRST_PAUSE if lived > LONGEST_PAUSE else min(self._pause * 2, LONGEST_PAUSE)
        code = self.child.returncode if self.child else None
        if code == EXIT_LOCKED:
            self._pause = FIRST_PAUSE
            click.echo(f"mailkeep: the {self.name} waits for the archive to be unlocked", err=True)
        else:
            click.echo(f"mailkeep: {self.name} ended ({code}); starting it again", err=True)
        if not stop.wait(self._pause):
            self.start()

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self.child is None else self.child.poll()

    @property
    def is_dead(self) -> bool:
        """Whether it has to be started again."""
        return self.child is not None and self.child.poll() is not None

    def terminate(self) -> None:
        """Ask it to end."""
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def wait(self, deadline: float) -> None:
        """Wait until it has ended; kill it at the deadline."""
        if self.child is None:
            return
        try:
            self.child.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def _popen(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=self._environment()
        )

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != CREDENTIALS}

    def _listen(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "ready":
                self.ready.set()


class AgentProcess(Process):
    """The key agent: the only child that is handed a secret, and that only once."""

    def __init__(self, paths: Paths, passphrase: str) -> None:
        command = [
            *(sys.executable, "-m", "appliance.keys.agent"),
            *("--keyring", str(paths.keyring), "--socket", str(paths.agent_socket)),
            *("--secrets", str(paths.agent_socket.parent), "--keyfile", str(paths.keyfile)),
        ]
        super().__init__("key agent", command, says_ready=True)
        self._passphrase = passphrase

    def _popen(self) -> subprocess.Popen[str]:
        passphrase, self._passphrase = self._passphrase, ""
        child = subprocess.Popen(
            [*self._command, *(["--passphrase-stdin"] if passphrase else [])],
            stdin=subprocess.PIPE if passphrase else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
                pipe.write(passphrase + "\n")
        return child


class ServiceProcess(Process):
    """Replicator or collector: told of the one credential that is for it, where systemd keeps that."""

    def _environment(self) -> dict[str, str]:
        folder = os.environ.get(CREDENTIALS)
        place = {CREDENTIAL_PLACE: str(Path(folder) / CREDENTIAL)} if folder else {}
        return {**super()._environment(), **place}


class Listen(msgspec.Struct, frozen=True):
    """Where the product listens, each place as HOST:PORT.

    ``redirect`` only sends browsers to HTTPS; ``pop3`` asks for TLS by STLS, ``pop3s`` speaks TLS from the start.
    """

    smtp: tuple[str, ...]
    http: tuple[str, ...]
    redirect: tuple[str, ...] = ()
    pop3s: tuple[str, ...] = ()
    pop3: tuple[str, ...] = ()

    @property
    def https_port(self) -> str:
        """The port that browsers are sent to."""
        return self.http[0].rpartition(":")[2]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.smtp, *self.http, *self.redirect, *self.pop3s, *self.pop3))


class Supervisor:
    """The processes of one data folder."""

    def __init__(self, data: Path, listen: Listen, passphrase: str, tls: Sequence[str]) -> None:
        python = [sys.executable, "-m"]
        own = [*python, "appliance.services"]
        self._paths = Paths(data)
        self.agent = AgentProcess(self._paths, passphrase)
        self.archiver = Process("archiver", [*own, "archiver", "--data", str(data)], says_ready=True)
        self.others = [
            Process("projector", [*own, "projector", "--data", str(data)], says_ready=True),
            *(
                Process(
                    f"web {place}",
                    [*python, "webadmin", "--data", str(data), "--http", place, *tls],
                    says_ready=True,
                )
                for place in listen.http
            ),
            *(
                Process(
                    f"redirect {place}",
                    [*python, "webadmin", "--data", str(data), "--http", place, "--redirect-to", listen.https_port],
                    says_ready=True,
                )
                for place in listen.redirect
            ),
        ]
        # Not waited for: mail is received and read whatever is wrong with the way to a remote, or to a source.
        self.replicator = ServiceProcess("replicator", [*own, "replicator", "--data", str(data)])
        self.collector = ServiceProcess("collector", [*own, "collector", "--data", str(data)])
        places = [word for place in listen.smtp for word in ("--smtp", place)]
        self.gateways = [
            Process(f"gateway {n}", [*python, "gateway", "--data", str(data), "--worker", str(n), *places])
            for n in range(os.cpu_count() or 1)
        ]
        self.pullers = _pullers(data, listen)
        self._stop = threading.Event()

    @property
    def _all(self) -> list[Process]:
        return [
            self.agent, self.archiver, *self.others, self.replicator, *self._incoming, *self.pullers
        ]  # fmt: skip

    @property
    def _incoming(self) -> list[Process]:
        """What takes mail in."""
        return [self.collector, *self.gateways]

    def start(self) -> None:
        """Start everything, the key agent first and then the archiver.

        Raises UnavailableError where a part does not come up, KeyringError where the passphrase does not fit.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for process in (self.agent, self.archiver):
            process.start()
            self._await(process)
        for process in (*self.others, self.replicator, *self._incoming, *self.pullers):
            process.start()
        for process in self.others:
            self._await(process)

    def run(self) -> None:
        """Start again what dies, until told to stop."""
        while not self._stop.wait(0.2):
            for process in self._all:
                if process.is_dead and not self._stop.is_set():
                    process.start_again(self._stop)

    def stop(self) -> None:
        """Stop everything: first what takes mail in, last what others depend on."""
        for group in (self._incoming + self.pullers, [*self.others, self.replicator], [self.archiver], [self.agent]):
            for process in group:
                process.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            for process in group:
                process.wait(deadline)

    def _await(self, process: Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not process.ready.wait(0.05):
            if process.is_dead or time.monotonic() > deadline or self._stop.is_set():
                self.stop()
                if process is self.agent and process.exit_code == EXIT_WRONG_PASSPHRASE:
                    raise KeyringError("The passphrase is not right. Nothing was started.")
                raise UnavailableError(f"The {process.name} did not start; the lines above say why.")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()


def _pullers(data: Path, listen: Listen) -> list[Process]:
    """The workers of the POP3 server, where one is wanted."""
    if not (listen.pop3s or listen.pop3):
        return []
    places = [word for place in listen.pop3s for word in ("--pop3s", place)]
    places += [word for place in listen.pop3 for word in ("--pop3", place)]
    command = [sys.executable, "-m", "gateway.pop3", "--data", str(data)]
    return [Process(f"pop3 {n}", [*command, "--worker", str(n), *places]) for n in range(os.cpu_count() or 1)]
