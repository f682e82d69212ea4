"""Telling who started this process how it is: systemd by its notification socket, others by a line on standard output.

Sources: sd_notify(3), sd_watchdog_enabled(3). A process that gives up sockets makes its ``Notifier`` before.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Self, TextIO

_SOCKET = "NOTIFY_SOCKET"
_WATCHDOG = "WATCHDOG_USEC"
_WATCHDOG_PID = "WATCHDOG_PID"
_DESCRIPTOR = "fd:"
"""How a program that becomes another one (``hand_over``) names its open notification socket."""


class Notifier:
    """The way to the service manager; without one nothing is said, or ``ready`` on a line of ``out``."""

    def __init__(
        self, way: socket.socket | None = None, interval: float | None = None, *, out: TextIO | None = None
    ) -> None:
        """``interval``: within how many seconds ``alive`` has to be called again; None where nobody watches."""
        self._way = way
        self._out = out
        self._told = float("-inf")
        self.interval = interval

    @classmethod
    def from_environment(cls) -> Self:
        """As systemd has told this process. What it told is taken away, so that children say nothing for it."""
        place = os.environ.pop(_SOCKET, "")
        microseconds = os.environ.pop(_WATCHDOG, "")
        watched = os.environ.pop(_WATCHDOG_PID, "") in ("", str(os.getpid()))
        if not place:
            return cls(out=sys.stdout)
        # Twice in the time that is allowed, as sd_watchdog_enabled(3) advises.
        interval = int(microseconds) / 2e6 if microseconds.isdigit() and watched else None
        return cls(_connected(place), interval)

    def ready(self) -> None:
        """This process works, or waits to be unlocked."""
        if self._out is not None:
            print("ready", file=self._out, flush=True)
        self._tell("READY=1")

    def alive(self) -> None:
        """This process still does its work; to be called from the loop that does it, as often as it likes."""
        if self.interval is not None and time.monotonic() - self._told > self.interval / 2:
            self._told = time.monotonic()
            self._tell("WATCHDOG=1")

    @contextlib.contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """In this block nobody calls ``alive``, for so many seconds at most."""
        if self.interval is None:
            yield
            return
        self._tell(f"WATCHDOG_USEC={seconds * 1e6:.0f}")
        try:
            yield
        finally:
            self._tell(f"WATCHDOG_USEC={self.interval * 2e6:.0f}")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``."""
        self._tell(f"STATUS={text}")

    def stopping(self) -> None:
        """This process has begun to end."""
        self._tell("STOPPING=1")

    def hand_over(self) -> None:
        """Leave the way to the program that this process becomes (execve), which cannot open one itself."""
        if self._way is not None:
            self._way.set_inheritable(True)
            os.environ[_SOCKET] = f"{_DESCRIPTOR}{self._way.fileno()}"
            if self.interval is not None:
                os.environ[_WATCHDOG] = str(round(self.interval * 2e6))

    def _tell(self, message: str) -> None:
        if self._way is None:
            return
        try:
            self._way.send(message.encode())
        except OSError:
            # systemd is being restarted itself, or is slow: the next word will do.
            return


def _connected(place: str) -> socket.socket:
    if place.startswith(_DESCRIPTOR):
        way = socket.socket(fileno=int(place.removeprefix(_DESCRIPTOR)))
        way.set_inheritable(False)
        return way
    way = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    way.connect(f"\0{place[1:]}" if place.startswith("@") else place)
    way.setblocking(False)
    return way
