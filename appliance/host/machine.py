"""How the machine is asked and changed: its files below a root folder, its tools as child processes.

Everything in ``appliance.host`` goes through a ``Machine``, so that a test can hand in one that answers with what real
tools printed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from appliance.errors import UnavailableError
from appliance.language import _

_NOT_THERE = 127  # what a shell says of a command that it does not find


class Answer(msgspec.Struct, frozen=True):
    """How a command ended and what it printed; ``code`` 127 where there is no such command."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return self.code == 0


class Machine(msgspec.Struct, frozen=True):
    """One machine; ``root`` is where its file system begins."""

    root: Path = Path("/")

    @property
    def is_root(self) -> bool:
        """Whether this process may change the machine."""
        return os.geteuid() == 0

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs it (sd_booted(3))."""
        return self.path("/run/systemd/system").is_dir()

    def path(self, absolute: str) -> Path:
        """Where a file of the machine is."""
        return self.root / absolute.lstrip("/")

    def run(self, *command: str, seconds: float = 10.0) -> Answer:
        """Run a command in plain English without input. Raises UnavailableError where it does not end in time."""
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment, check=False
            )
        except FileNotFoundError:
            return Answer(_NOT_THERE, err=f"{command[0]}: command not found")
        except PermissionError as error:
            return Answer(_NOT_THERE, err=f"{command[0]}: {error.strerror}")
        except subprocess.TimeoutExpired as error:
            text = _("{command} did not answer within {seconds:.0f} seconds. Try again; a restart may help.")
            raise UnavailableError(text.format(command=command[0], seconds=seconds)) from error
        return Answer(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def must_run(self, *command: str, seconds: float = 10.0) -> str:
        """What the command printed. Raises UnavailableError with its last words where it does not do what is asked."""
        answer = self.run(*command, seconds=seconds)
        if not answer.ok:
            words = (answer.err or answer.out).strip().splitlines()
            text = _("{command} could not do it: {words}. What was set before stays.")
            raise UnavailableError(
                text.format(command=command[0], words=(words[-1].rstrip(".") if words else str(answer.code)))
            )
        return answer.out

    def why_read_only(self) -> str:
        """Why this process cannot change the machine, as a sentence; empty where it can."""
        if not self.has_systemd:
            return _("This system is not run by systemd, so it is set up by its own means, not from here.")
        if not self.is_root:
            return _("Only root may change this. Start the console with sudo.")
        return ""

    def read(self, absolute: str) -> str:
        """The text of a file of the machine; empty where it cannot be read."""
        try:
            return self.path(absolute).read_text("utf-8", "replace")
        except OSError:
            return ""

    def modified(self, absolute: str) -> float | None:
        """When a file was last changed (seconds since 1970); None where there is none."""
        try:
            return self.path(absolute).stat().st_mtime
        except OSError:
            return None


MACHINE = Machine()
