"""Starting the product from set-up: by systemd where its units are installed, else as a detached ``mailkeep serve``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from appliance.errors import UnavailableError
from appliance.host import accounts, units
from appliance.language import _
from appliance.services.box import RunningBox
from appliance.services.paths import PACKAGED_DATA, Paths
from appliance.services.setup.progress import Listen

START_SECONDS = 120.0
PAUSE = 0.2
_SHOWN_LINES = 5


class Runtime(Protocol):
    """What runs the product's processes."""

    def start(self) -> None:
        """Start it, unless it runs; return when it answers and listens. Raises UnavailableError in words."""

    def is_running(self) -> bool:
        """Whether the archiver answers."""


class Detached:
    """``mailkeep serve`` in a session of its own: it goes on when the console ends."""

    def __init__(self, paths: Paths, listen: Listen) -> None:
        self._paths = paths
        self._listen = listen

    def start(self) -> None:
        """As ``Runtime.start``."""
        if self.is_running():
            return
        self._paths.listening.unlink(missing_ok=True)  # written again when every port answers
        log = self._paths.run / "serve.log"
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as out:
            child = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/"
            )
        deadline = time.monotonic() + START_SECONDS
        while not (self._paths.listening.exists() and self.is_running()):
            if child.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError(
                    _("The archive did not start. Nothing is lost; mend this and try again: {reason}").format(
                        reason=_end_of(log)
                    )
                )
            time.sleep(PAUSE)

    def is_running(self) -> bool:
        """As ``Runtime.is_running``."""
        return answers(self._paths)

    def _command(self) -> list[str]:
        listen = self._listen
        words = [sys.executable, "-m", "appliance.cli", "--data", str(self._paths.data), "serve"]
        for option, places in (
            ("--smtp", listen.smtp), ("--http", listen.http), ("--redirect", listen.redirect),
            ("--pop3s", listen.pop3s),
        ):  # fmt: skip
            words += [word for place in places for word in (option, place)]
        return [*words, *(["--allow-plain-swap"] if listen.allow_plain_swap else [])]


class Systemd:
    """The product's units."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def start(self) -> None:
        """As ``Runtime.start``."""
        if self.is_running():
            return
        accounts.settle(self._paths.data)
        units.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.is_running():
            if time.monotonic() > deadline:
                raise UnavailableError(
                    _("The archive did not start. Nothing is lost. `journalctl -u 'mailkeep*'` says why. Try again.")
                )
            time.sleep(PAUSE)

    def is_running(self) -> bool:
        """As ``Runtime.is_running``."""
        return answers(self._paths)


def runtime_of(paths: Paths, listen: Listen) -> Runtime:
    """What starts the product on this box: its units, where they are installed for this data folder."""
    if units.available() and accounts.installed() and paths.data == PACKAGED_DATA:
        return Systemd(paths)
    return Detached(paths, listen)


def answers(paths: Paths) -> bool:
    """Whether an archiver answers on the box's own socket."""
    try:
        RunningBox(paths.local_socket).close()
    except OSError:
        return False
    return True


def _end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return " ".join(line.strip() for line in lines[-_SHOWN_LINES:] if line.strip()) or _("it said nothing.")
