"""Listening sockets that the service manager opened for this process (sd_listen_fds(3)).

systemd keeps them open while the process is exchanged: who connects meanwhile waits and is not refused. And it may
open ports below 1024, so that no process of the archive needs a privilege for it.
"""

from __future__ import annotations

import os
import socket

_FIRST = 3
"""The descriptor that the first one comes as (SD_LISTEN_FDS_START)."""
_PID, _COUNT, _NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"


def inherited() -> dict[str, list[socket.socket]]:
    """The sockets by the name that their unit gives them (FileDescriptorName=); none where nobody opened any.

    They do not block, and are closed in children. They are told once: a second call finds none.
    """
    pid, count, names = (os.environ.pop(name, "") for name in (_PID, _COUNT, _NAMES))
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    found: dict[str, list[socket.socket]] = {}
    for place, name in enumerate(_named(names, int(count)), start=_FIRST):
        listener = socket.socket(fileno=place)
        listener.set_inheritable(False)
        listener.setblocking(False)
        found.setdefault(name, []).append(listener)
    return found


def plain_ip(address: str) -> str:
    """The form that networks are given in: an IPv4 client of an IPv6 socket by its IPv4 address, no zone."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if address.startswith("::ffff:") and "." in address else address


def _named(names: str, count: int) -> list[str]:
    given = names.split(":") if names else []
    return [*given, *["unknown"] * count][:count]
