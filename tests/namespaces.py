"""A network namespace with one line to it, which can go down: what a router that dies, or a pulled cable, looks like.

Whoever sends into a line that is down gets no answer, and no refusal either. Needs root and iproute2.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Namespace:
    """The namespace, and the two ends of its line."""

    name: str
    address: str
    """Of the end inside."""
    outer: str
    inner: str

    @property
    def command(self) -> Sequence[str]:
        """What a command begins with that is to run inside."""
        return "ip", "netns", "exec", self.name

    def cut(self) -> None:
        """The line goes down at its far end: packets vanish."""
        _ip("-n", self.name, "link", "set", self.inner, "down")

    def join(self) -> None:
        """The line is there again."""
        _ip("-n", self.name, "link", "set", self.inner, "up")

    @property
    def sent(self) -> int:
        """Bytes that went to the inside so far."""
        return self._count("tx_bytes")

    @property
    def received(self) -> int:
        """Bytes that came from the inside so far."""
        return self._count("rx_bytes")

    def _count(self, what: str) -> int:
        return int(Path(f"/sys/class/net/{self.outer}/statistics/{what}").read_text())


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A new namespace, gone afterwards. Skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace")
    number = next(_numbers)
    name = f"mailkeep-{os.getpid()}-{number}"
    net = f"10.{200 + os.getpid() // 256 % 50}.{os.getpid() % 256}.{number * 4 % 252}"
    first, second = (f"{net.rpartition('.')[0]}.{int(net.rpartition('.')[2]) + one}" for one in (1, 2))
    line = Namespace(name, second, f"mk{os.getpid()}o{number}", f"mk{os.getpid()}i{number}")
    try:
        _ip("netns", "add", name)
    except OSError as error:
        pytest.skip(f"no network namespace can be made here: {error}")
    try:
        _ip("link", "add", line.outer, "type", "veth", "peer", "name", line.inner, "netns", name)
        _ip("addr", "add", f"{first}/30", "dev", line.outer)
        _ip("link", "set", line.outer, "up")
        _ip("-n", name, "addr", "add", f"{second}/30", "dev", line.inner)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", line.inner, "up")
        yield line
    finally:
        # The line's ends go together; the namespace with the last process in it.
        with contextlib.suppress(OSError):
            _ip("link", "del", line.outer)
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(
            ("ip", *words), env={**os.environ, "PATH": _PATH}, capture_output=True, text=True, timeout=30
        )
    except FileNotFoundError as error:
        raise OSError("iproute2 is not installed") from error
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
