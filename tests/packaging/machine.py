"""A Debian root, booted: systemd as process 1 in a container (systemd-nspawn), with a network of its own.

Made for tests: what is installed in the root runs under its real units, users and sandboxes. Needs root and
systemd-nspawn (Debian: systemd-container). The root is changed by what runs in it: hand in a copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

BOOT_SECONDS = 180.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
"""Of what runs inside; nothing of this machine's."""
_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1)
_ALLOWED = "@keyring @memlock landlock_create_ruleset landlock_add_rule landlock_restrict_self"
"""System calls that nspawn keeps from its guests by default, and our processes make."""
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
_UNBOOTED = (
    'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/dev/shm" &&'
    ' ip link set lo up && exec chroot "$0" sleep infinity'
)


def why_not() -> str:
    """Why nothing can be booted here; empty where it can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    missing = [name for name in ("systemd-nspawn", "nsenter") if shutil.which(name) is None]
    return f"there is no {missing[0]} here (Debian: systemd-container)" if missing else ""


class NotBootedError(AssertionError):
    """What systemd said as far as it came."""


class Machine:
    """One booted root."""

    def __init__(self, root: Path, name: str) -> None:
        """``name`` is known to nothing outside; two machines at a time have two names."""
        self.root = root
        self._name = name
        self._container: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Return when systemd has started everything. Raises NotBootedError with its console where it does not."""
        console = self.root.with_name(self.root.name + ".console")
        command = [
            *("systemd-nspawn", "--quiet", "-D", str(self.root), "-M", self._name, "--register=no", "--keep-unit"),
            *("--private-network", "--console=pipe", f"--system-call-filter={_ALLOWED}"),
            # A real box's systemd may give a service as much locked memory as it asks for.
            *("--rlimit=RLIMIT_MEMLOCK=infinity", "--capability=CAP_SYS_RESOURCE"),
            *("--boot", "--", "systemd.log_target=console", "systemd.show_status=1"),
        ]
        with console.open("wb") as out:
            self._container = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + BOOT_SECONDS
        while self._state() not in ("running", "degraded"):
            if self._container.poll() is not None or time.monotonic() > deadline:
                waiting = self.ask("systemctl", "list-jobs", "--no-pager").stdout if self._leader else ""
                raise NotBootedError(f"{console.read_text(errors='replace')}\n{waiting}".strip())
            time.sleep(0.3)

    def power_off(self) -> None:
        """Shut it down; nothing of it is left."""
        if self._container is None:
            return
        if self._leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, _POWER_OFF)
        try:
            self._container.wait(90)
        except subprocess.TimeoutExpired:
            self._container.kill()
            self._container.wait()
        self._container, self._leader = None, 0

    def entering(self, *command: str) -> list[str]:
        """The command line that runs a command inside, from outside."""
        return ["nsenter", "--target", str(self._leader), *_NAMESPACES, "--root", "--wd", "--", *command]

    def beside(self, *command: str) -> list[str]:
        """The command line that runs a command of this machine in the network of that one."""
        return ["nsenter", "--target", str(self._leader), "--net", "--", *command]

    def ask(self, *command: str, given: str = "", seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        return subprocess.run(
            self.entering(*command),
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=ENVIRONMENT,
            check=False,
        )

    def run(self, *command: str, given: str = "", seconds: float = 60) -> str:
        """What a command printed. Raises AssertionError where it fails."""
        done = self.ask(*command, given=given, seconds=seconds)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def journal(self, unit: str = "mailkeep*", lines: int = 100) -> str:
        """The end of the journal, for whoever wants to know why."""
        return self.ask("journalctl", "--no-pager", f"--unit={unit}", f"--lines={lines}").stdout

    def _state(self) -> str:
        self._find_leader()
        return self.ask("systemctl", "is-system-running").stdout.strip() if self._leader else ""

    def _find_leader(self) -> None:
        assert self._container is not None
        children = Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children")
        with contextlib.suppress(OSError):
            self._leader = next(map(int, children.read_text().split()), 0)


class Unbooted(Machine):
    """A root in which nothing runs but what is started by hand: no systemd, a network with nobody else in it."""

    def boot(self) -> None:
        """Return when commands can be run inside."""
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child")
        self._container = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", _UNBOOTED, str(self.root)], stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._leader or self.ask("test", "-e", "/proc/self").returncode != 0:
            assert self._container.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
            self._find_leader()

    def power_off(self) -> None:
        """End whatever runs inside."""
        if self._container is not None:
            self._container.kill()
            self._container.wait(30)
        self._container, self._leader = None, 0


M = TypeVar("M", bound=Machine)


@contextlib.contextmanager
def booted(root: Path, name: str, kind: type[M] = Machine) -> Iterator[M]:
    """The machine of a root, until the end of the block."""
    machine = kind(root, name)
    try:
        machine.boot()
        yield machine
    finally:
        machine.power_off()
