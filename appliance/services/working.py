"""Which of the archive's processes answer or work, seen from the archiver, which does.

Agent, replicator and collector are asked for a connection, the projector holds a lock, gateway workers write down
their counters. POP3 server and web process call nobody as long as nobody calls them: systemd knows of them, or, under
`mailkeep serve`, the list of processes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.host import processes as running
from appliance.host.units import Units
from appliance.mail.published import WorkerStats
from appliance.services.alarms.conditions import UNHEARD_SECONDS
from appliance.services.generations import Generations
from appliance.services.paths import Paths

_DOORS: Final = {"pop3": ("pop3s", "pop3"), "web": ("http",), "redirect": ("redirect",)}
"""Processes that wait at doors, with what ``listening.json`` calls these."""


def processes(
    paths: Paths, workers: Iterable[WorkerStats], now: float, units: Units | None = None
) -> Iterator[tuple[str, bool]]:
    """Each process by its name, and whether it is up at ``now`` (seconds)."""
    yield "archiver", True
    yield "agent", _answers(paths.agent_socket)
    yield "replicator", _answers(paths.replica_socket)
    yield "collector", _answers(paths.collector_socket)
    yield "projector", _is_held(Generations(paths).current().folder / "index" / "writer.lock")
    for worker in workers:
        yield f"gateway-{worker.worker}", now - worker.updated_at / 1e6 <= UNHEARD_SECONDS
    by_systemd = _by_systemd(units or Units())
    yield from (_by_process_list(paths) if by_systemd is None else by_systemd).items()


def _by_systemd(units: Units) -> dict[str, bool] | None:
    """The same of those at doors, where systemd runs this process; up where all of their units are."""
    if "INVOCATION_ID" not in os.environ:  # systemd.exec(5)
        return None
    try:
        found = units.states()
    except UnavailableError:
        return {}
    if not any(one.part == "archiver" and one.pid == os.getpid() for one in found):
        return None
    return {
        part: all(one.state == "running" for one in found if one.part == part)
        for part in _DOORS
        if any(one.part == part for one in found)
    }


def _by_process_list(paths: Paths) -> dict[str, bool]:
    try:
        places = decoding.from_json(paths.listening.read_bytes(), dict[str, list[str]])
    except (OSError, msgspec.DecodeError):
        return {}
    parts = {one.part for one in running.of(paths.data)}
    return {part: part in parts for part, doors in _DOORS.items() if any(places.get(door) for door in doors)}


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(1.0)
        try:
            door.connect(str(place))
        except OSError:
            return False
    return True


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock on the file, without trying to take it, which could be in that process's way."""
    try:
        inode = lock.stat().st_ino
        return any(
            line.split()[5].rpartition(":")[2] == str(inode) for line in Path("/proc/locks").open() if "->" not in line
        )
    except (OSError, IndexError):
        return False
