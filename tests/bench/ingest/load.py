"""The loads: Postfix's smtp-source with messages of one size, and corporate mail by smtpload.py."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.bench.ingest.servers import RECIPIENT, Server

_LIMIT = 300.0  # seconds that one load may take


class Load(NamedTuple):
    """Messages of ``size`` bytes over ten connections; with ``reuse`` each carries many of them."""

    size: int
    count: int
    reuse: bool

    @property
    def name(self) -> str:
        """For the table."""
        size = f"{self.size // 1000} KB" if self.size < 1_000_000 else f"{self.size // 1_000_000} MB"
        return f"{size}, {'connections reused' if self.reuse else 'a connection a message'}"


class Mix(NamedTuple):
    """What smtpload.py measured: messages per second, latency of the acknowledgement in milliseconds."""

    rate: float
    p50: float
    p99: float


def run(server: Server, load: Load) -> float:
    """Messages per second, from the first connection to the last acknowledgement."""
    command = ["smtp-source", "-s", "10", "-m", str(load.count), "-l", str(load.size), "-t", RECIPIENT]
    command += ["-d"] if load.reuse else []
    command += ["-L"] if server.lmtp else []
    command += ["-N"] if server.mailboxes > 1 else []
    started = time.perf_counter()
    done = subprocess.run(
        [*command, f"127.0.0.1:{server.port}"], timeout=_LIMIT, capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - started
    if done.returncode != 0 or done.stderr:
        raise RuntimeError(f"{server.name}, {load.name}: {done.stderr.strip()[:400]}")
    server.drain()
    return load.count / elapsed


def make_mix(tools: Path, folder: Path, count: int) -> None:
    """Corporate mail in ``folder``: the same for every server."""
    subprocess.run(
        [sys.executable, tools / "corporategen.py", str(count), folder],
        timeout=_LIMIT,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def run_mix(server: Server, tools: Path, folder: Path) -> Mix:
    """Send the corporate mail over ten connections that stay open."""
    command = [sys.executable, tools / "smtpload.py", "127.0.0.1", str(server.port), RECIPIENT, folder]
    done = subprocess.run(command, timeout=_LIMIT, capture_output=True, text=True, check=True)
    found = re.search(
        r"([\d.]+) msg/s.* p50 ([\d.]+) ms, p99 ([\d.]+) ms; refused 0, broken connections 0", done.stdout
    )
    if found is None:
        raise RuntimeError(f"{server.name}, corporate mail: {done.stdout}{done.stderr}")
    server.drain()
    return Mix(*map(float, found.groups()))
