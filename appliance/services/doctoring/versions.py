"""Versions: what runs here, and what of the kernel's confinement there is."""

from __future__ import annotations

import platform
import sqlite3
import sysconfig
from importlib import metadata
from pathlib import Path

from appliance.confine import landlock_version
from appliance.host.machine import MACHINE, Machine
from appliance.language import _
from appliance.services.doctoring.finding import Finding
from appliance.services.paths import Paths

_SECCOMP = "/proc/sys/kernel/seccomp/actions_avail"


def programs(_paths: Paths, machine: Machine = MACHINE) -> Finding:
    """What takes part, by version."""
    parts = {
        "mailkeep": metadata.version("mailkeep"), "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version, "Linux": platform.release(),
    }  # fmt: skip
    rclone = _rclone(machine)
    text = ", ".join(f"{name} {version}" for name, version in parts.items())
    if rclone:
        return Finding("versions", "ok", f"{text}, rclone {rclone}.")
    return Finding(
        "versions", "warning",
        _("{versions}; rclone is not there, so nothing can be replicated.").format(versions=text),
        _("Install the package again: `apt install --reinstall mailkeep`."),
    )  # fmt: skip


def confinement(_paths: Paths, machine: Machine = MACHINE) -> Finding:
    """Whether the kernel keeps processes that face the network from files that they do not need."""
    landlock, seccomp = landlock_version(), machine.path(_SECCOMP).exists()
    if landlock and seccomp:
        return Finding(
            "confinement", "ok", _("Landlock (version {number}) and seccomp are there.").format(number=landlock)
        )
    missing = ", ".join(name for name, there in (("Landlock", landlock), ("seccomp", seccomp)) if not there)
    text = _("Missing in this kernel: {missing}. What faces the network is confined by its user alone.")
    return Finding(
        "confinement", "warning",
        text.format(missing=missing),
        _("Use Debian's own kernel (6.1 or later), and no container that takes it away."),
    )  # fmt: skip


def _rclone(machine: Machine) -> str:
    first = machine.run(str(Path(sysconfig.get_path("scripts")) / "rclone"), "version").out.splitlines()[:1]
    return first[0].removeprefix("rclone").strip().lstrip("v") if first else ""
