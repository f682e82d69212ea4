"""Ports for servers that tests start, from below those that the kernel gives to outgoing connections."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator
from functools import cache

_FIRST, _SPAN, _PARTS = 12_000, 1_000, 20


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that this process did not give before.

    Tests run side by side, and what is to listen starts a while later: each worker has ports of its own until then,
    and no connection gets one of them as its own end (ip(7), ip_local_port_range: from 32768).
    """
    for port in _ports():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports go round")


@cache
def _ports() -> Iterator[int]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    part = int(worker.removeprefix("gw")) if worker else os.getpid()
    mine = list(range(_SPAN))
    random.shuffle(mine)
    return itertools.cycle(_FIRST + part % _PARTS * _SPAN + one for one in mine)
