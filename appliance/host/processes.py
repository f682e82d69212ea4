"""The processes of an archive as /proc shows them (proc(5)): what ``mailkeep serve`` runs where there is no systemd."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

_MODULES: Final = {
    "appliance.keys.agent": "agent",
    "gateway": "gateway",
    "gateway.pop3": "pop3",
    "webadmin": "web",
}
_ROLES: Final = ("archiver", "projector", "replicator", "collector")
_ORDER: Final = ("supervisor", "agent", *_ROLES, "gateway", "pop3", "web", "redirect")


class Process(msgspec.Struct, frozen=True):
    """One process: the part of the product that it is, and for how long it has run."""

    pid: int
    part: str
    seconds: float


def of(data: Path, proc: Path = Path("/proc")) -> tuple[Process, ...]:
    """The processes that work on a data folder, as far as this process may see them."""
    found = []
    for place in proc.iterdir():
        if not place.name.isdigit():
            continue
        try:
            command = (place / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
            part = _part(command, data, place)
            if part:
                found.append(Process(int(place.name), part, _age(place)))
        except OSError:
            continue  # it has ended
    return tuple(sorted(found, key=lambda one: (_ORDER.index(one.part), one.pid)))


def _part(command: Sequence[str], data: Path, place: Path) -> str:
    """Which part of the product the command line is; empty for one of another folder or another program."""
    folder = _after("--data", command) or str(Path(_after("--keyring", command)).parent)
    if folder == "." or _absolute(folder, place) != data.absolute():
        return ""
    if "serve" in command:
        return "supervisor"
    module = _after("-m", command)
    if module == "appliance.services":
        return next((role for role in _ROLES if role in command), "")
    if module == "webadmin" and "--redirect-to" in command:
        return "redirect"
    return _MODULES.get(module, "")


def _absolute(folder: str, place: Path) -> Path:
    """Where a folder of a command line is. One that gave up its dumps shows its working folder to root only."""
    return Path(folder) if Path(folder).is_absolute() else (place / "cwd").readlink() / folder


def _after(option: str, command: Sequence[str]) -> str:
    """What follows an option; empty where it is not there."""
    at = command.index(option) + 1 if option in command else len(command)
    return command[at] if at < len(command) else ""


def _age(place: Path) -> float:
    """Seconds since the process began: field 22 of stat, in clock ticks since the system's boot."""
    started = int((place / "stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)
