"""The whole product for a test: an archive in a scratch folder, ``mailkeep serve`` on it, and the command line.

Everything goes the way of a user: the console script, the SMTP port, the web port. Only ``call`` takes a short cut,
the socket that the command line itself uses, where a new interpreter for each question would be most of the time.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from appliance.cli.exporting import export_query
from appliance.errors import UnavailableError
from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.paths import Paths
from appliance.services.verifying import Checked
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
MAILKEEP = Path(sys.executable).with_name("mailkeep")
JOURNAL = "journal@archive.example"
START_SECONDS, STOP_SECONDS, COMMAND_SECONDS = 120.0, 90.0, 300.0

T = TypeVar("T")


class Product:
    """One archive and the processes on it. Use ``create`` for a new one, the constructor for one that is there.

    ``environment`` is added to that of every process. What ``serve`` says on standard error is in ``log``.
    """

    def __init__(
        self,
        data: Path,
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        passphrase: str = "",
    ) -> None:
        self.data = data
        self.passphrase = passphrase
        self.log = log or data.with_name(data.name + ".log")
        self.environment = dict(environment or {})
        self.admin_user = self.admin_password = self.recovery_key = ""
        self.smtp, self.http, self.pop3s = free_port(), free_port(), free_port()
        self.pulls = False
        """Whether ``serve`` lets mailboxes be pulled, on the port ``pop3s``."""
        self.redirect = 0
        """The port that sends browsers to HTTPS and answers an authority's challenges; 0 for none."""
        self._serve: subprocess.Popen[str] | None = None

    @classmethod
    def create(
        cls,
        data: Path,
        *,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        mailbox: str = JOURNAL,
        passphrase: str = "",
    ) -> Product:
        """A new archive with one mailbox, which unlocks itself or, given a ``passphrase``, does not."""
        product = cls(data, log=log, environment=environment, passphrase=passphrase)
        created = product.run("init", *([] if passphrase else ["--unattended"]))
        product.admin_user, product.admin_password = created.get("admin_user", ""), created.get("admin_password", "")
        product.recovery_key = created["recovery_key"]
        product.run("mailbox", "create", "--name", "Journal", "--address", mailbox)
        return product

    def copy(self, data: Path, *, environment: Mapping[str, str] | None = None) -> Product:
        """The same archive in another folder, with the same keys: quicker than a new one. Nothing may run here."""
        shutil.copytree(self.data, data, ignore=shutil.ignore_patterns("*.sock"))
        if Paths(self.data).keyfile.exists():
            shutil.copy(Paths(self.data).keyfile, Paths(data).keyfile)
        twin = Product(data, environment=environment, passphrase=self.passphrase)
        twin.admin_user, twin.admin_password, twin.recovery_key = (
            self.admin_user, self.admin_password, self.recovery_key
        )  # fmt: skip
        return twin

    @property
    def web(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.http}"

    # -- the command line -------------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """The command line of a subcommand; where there is a passphrase, the first line of its standard input."""
        unlocking = ["--passphrase-stdin"] if self.passphrase else []
        return [str(MAILKEEP), "--data", str(self.data), *unlocking, *words]

    def attempt(self, *words: str, said: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run a subcommand, however it ends; ``said`` goes to its standard input."""
        return subprocess.run(
            self.command(*words), env=self._environment(), capture_output=True, timeout=COMMAND_SECONDS, check=False,
            input=f"{self.passphrase}\n{said}".encode() if self.passphrase else said.encode(),
        )  # fmt: skip

    def run(self, *words: str, said: str = "") -> Any:
        """Run a subcommand with --json, which has to succeed; what it says."""
        done = self.attempt(*words, "--json", said=said)
        assert done.returncode == 0, f"mailkeep {' '.join(words)}: {done.stderr.decode()} {done.stdout.decode()}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def verify(self) -> tuple[int, Any]:
        """``mailkeep verify --deep``: the exit code, and what it found."""
        done = self.attempt("verify", "--deep", "--json")
        return done.returncode, json.loads(done.stdout or b"null")

    # -- serve ------------------------------------------------------------------------------------------------

    def start(self, *before: str, locked: bool = False) -> None:
        """Start ``mailkeep serve`` (after the words ``before``, such as a tracer's) and wait until it is ready.

        ``locked`` withholds the passphrase.
        """
        self.launch(*before, locked=locked)
        self.await_ready()

    def launch(self, *before: str, locked: bool = False) -> None:
        """Start ``mailkeep serve`` and return at once."""
        given = bool(self.passphrase) and not locked
        words = [
            *(str(MAILKEEP), "--data", str(self.data), *(["--passphrase-stdin"] if given else [])),
            *("serve", "--smtp", f"127.0.0.1:{self.smtp}", "--http", f"127.0.0.1:{self.http}", "--allow-plain-swap"),
            *(("--pop3s", f"127.0.0.1:{self.pop3s}") if self.pulls else ()),
            *(("--redirect", f"127.0.0.1:{self.redirect}") if self.redirect else ()),
        ]
        with self.log.open("ab") as log:
            self._serve = subprocess.Popen(
                [*before, *words], env=self._environment(), text=True, cwd=ROOT,
                stdin=subprocess.PIPE if given else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        if self._serve.stdin is not None:
            self._serve.stdin.write(self.passphrase + "\n")
            self._serve.stdin.close()

    def await_ready(self) -> None:
        """Return when ``serve`` says that it is ready."""
        serve = self._serve
        assert serve is not None and serve.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(serve.stdout, selectors.EVENT_READ)
            while selector.select(max(deadline - time.monotonic(), 0)):
                line = serve.stdout.readline()
                if line.startswith("ready"):
                    return
                if not line:
                    break
        raise AssertionError(f"mailkeep serve is not ready; {self.log} ends with:\n{self.log_end()}")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        serve, self._serve = self._serve, None
        assert serve is not None
        serve.send_signal(signal.SIGTERM)
        try:
            return serve.wait(STOP_SECONDS)
        finally:
            _end(serve)

    def kill(self) -> None:
        """kill -9 of the supervisor, if it runs; its processes go with it. Returns when all of them have gone."""
        processes = [pid for pids in self.processes().values() for pid in pids]
        serve, self._serve = self._serve, None
        if serve is not None:
            _end(serve)
        await_gone(processes)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """All processes stopped in their tracks for a ``with`` block: SIGSTOP, then SIGCONT."""
        stopped = [pid for pids in self.processes().values() for pid in pids]
        try:
            for pid in stopped:
                _signal(pid, signal.SIGSTOP)
            deadline = time.monotonic() + STOP_SECONDS
            while any(not _stands_still(pid) for pid in stopped):
                assert time.monotonic() < deadline, "a process does not stop"
                time.sleep(0.001)
            yield
        finally:
            for pid in stopped:
                _signal(pid, signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether the supervisor lives."""
        return self._serve is not None and self._serve.poll() is None

    @contextlib.contextmanager
    def serving(self, *, locked: bool = False) -> Iterator[Product]:
        """``serve`` for a ``with`` block; stopped in order at its end, killed where something went wrong in it."""
        self.start(locked=locked)
        try:
            yield self
        except BaseException:
            self.kill()
            raise
        assert self.stop() == 0, self.log_end()

    def processes(self) -> dict[str, list[int]]:
        """The process ids of each part: supervisor, agent, archiver, projector, replicator, collector, nursery
        (with what it has forked), rclone, web, gateway 0 …, pop3 0 …, extract."""
        found: dict[str, list[int]] = {}
        if self._serve is None:
            return found
        for pid in _descendants(self._serve.pid):
            part = _part(_words(pid))
            if part:
                found.setdefault(part, []).append(pid)
        return found

    def pids(self, part: str) -> list[int]:
        """The processes of one part; all gateway workers for "gateway"."""
        return [
            pid for name, pids in self.processes().items() for pid in pids if name == part or name.split()[0] == part
        ]

    def await_part(self, part: str) -> int:
        """The process of a part, as soon as there is one."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := self.pids(part)):
            assert time.monotonic() < deadline, f"no {part}; {self.log} ends with:\n{self.log_end()}"
            time.sleep(0.05)
        return found[0]

    def log_end(self, size: int = 4000) -> str:
        """The end of what ``serve`` said on standard error."""
        return self.log.read_bytes()[-size:].decode("utf-8", "replace") if self.log.exists() else ""

    # -- the archiver's local socket --------------------------------------------------------------------------

    def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """One of the services that the command line calls, without a new interpreter for it.

        Where the archiver ends in the middle of the answer, as it does when its keys are taken away, the next is asked.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                box = RunningBox(Paths(self.data).local_socket)
            except OSError:
                assert self.running, f"mailkeep serve has ended; {self.log} ends with:\n{self.log_end()}"
                assert time.monotonic() < deadline, "the archiver does not answer"
                time.sleep(0.1)  # it is being started again
                continue
            try:
                return box.call(method, kind, **params)
            except UnavailableError as error:
                if error.__cause__ is None or time.monotonic() > deadline:  # it answered that itself
                    raise
                time.sleep(0.1)
            finally:
                box.close()

    def status(self) -> api.Status:
        """The numbers of the status page."""
        return self.call("status", api.Status)

    def total(self, query: str) -> int:
        """How many messages a query finds in all archives."""
        return self.call("local_search", api.SearchPage, query=query, limit=0).total

    def hits(self, query: str) -> list[api.Hit]:
        """All that a query finds in all archives."""
        found: list[api.Hit] = []
        while True:
            page = self.call("local_search", api.SearchPage, query=query, offset=len(found), limit=500, sort="date-asc")
            found += page.hits
            if not page.hits or len(found) >= page.total:
                return found

    def check(self) -> Checked:
        """What ``verify --deep`` finds."""
        job = self.call("verify_begin", api.JobInfo, deep=True)
        while job.finished_at is None:
            time.sleep(0.1)
            job = self.call("job", api.JobInfo, id=job.id)
        return self.call("verify_result", Checked, id=job.id)

    def export(self, query: str, out: Path) -> None:
        """All hits of a query as a ZIP in ``out``, as ``mailkeep export --query`` writes it."""
        box = RunningBox(Paths(self.data).local_socket)
        try:
            export_query(box, query, out)
        finally:
            box.close()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _stands_still(pid: int) -> bool:
    """Whether no thread of the process is running or in a system call."""
    try:
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()
        ]
    except OSError:
        return True  # it has ended
    return all(state in "TtZX" for state in states)


def await_gone(pids: list[int], seconds: float = 30.0) -> None:
    """Return when none of the processes is there any more."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.02)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(STOP_SECONDS)
    if process.stdout is not None:
        process.stdout.close()


def _words(pid: int) -> list[str]:
    """A process's command line; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def _lives(pid: int) -> bool:
    """Whether a process still has anything open: its command line goes first, its files after that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        # A child belongs to the thread that started it, and most are started by threads.
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def _part(words: list[str]) -> str:
    if "gateway.pop3" in words:
        return f"pop3 {words[words.index('--worker') + 1]}"
    if "gateway" in words:
        return f"gateway {words[words.index('--worker') + 1]}"
    if "serve" in words:
        return "supervisor"
    for module, part in (
        ("webadmin", "web"),
        ("appliance.extract.child", "extract"),
        ("appliance.keys.agent", "agent"),
        ("appliance.imports.child", "nursery"),
    ):
        if module in words:
            return part
    if "rcd" in words:
        return "rclone"
    return next((part for part in ("archiver", "projector", "replicator", "collector") if part in words), "")
