"""``mailkeep doctor``: whether this box is fit for an archive, line by line, with what to do."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click
import msgspec

from appliance.cli.credential import has_systemd_creds, has_tpm2
from appliance.cli.output import errors_in_words, say, size, table, with_json
from appliance.cli.state import State
from appliance.services.paths import Paths
from appliance.services.swap import SYSTEM, System

SMALL_TMPFS = 256 * 1024 * 1024
"""Bytes for the live index below which a warning is due: about 100,000 messages."""
LOW_DISK = 0.05
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
CAPABILITIES = Path("/proc/self/status")
_CAP_NET_BIND_SERVICE, _CAP_IPC_LOCK = 10, 14


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warning", "problem"]
    text: str


@click.command()
@with_json
@click.pass_obj
@errors_in_words
def doctor(state: State, as_json: bool) -> None:
    """Look whether this box is fit for an archive. Exit code 1 where something has to be done first."""
    found = tuple(examine(state.paths))
    if as_json:
        say(found)
    else:
        table(("", "WHAT", ""), ((one.state.upper(), one.what, one.text) for one in found))
    sys.exit(1 if any(one.state == "problem" for one in found) else 0)


def examine(paths: Paths, system: System = SYSTEM) -> Iterator[Finding]:
    """What is found, needing neither keys nor a running archive."""
    yield _swap(paths, system)
    yield _live(paths, system)
    yield _memory_lock()
    yield _systemd()
    yield _keyfile(paths)
    yield _disk(paths)
    yield _ports()


def _swap(paths: Paths, system: System) -> Finding:
    plain = system.plain_swaps()
    if not plain:
        return Finding("swap", "ok", "There is none, or it is encrypted or stays in memory.")
    if not system.mount_of(paths.live).may_be_swapped:
        return Finding("swap", "ok", f"{', '.join(plain)} is not encrypted, but the live index is never swapped.")
    return Finding(
        "swap", "problem",
        f"{', '.join(plain)} is not encrypted: words of the mail could reach the disk. Switch it off with "
        "`swapoff -a`, encrypt it with a random key in /etc/crypttab, or serve with --allow-plain-swap.",
    )  # fmt: skip


def _live(paths: Paths, system: System) -> Finding:
    place = paths.live.parent
    mount = system.mount_of(paths.live)
    if not mount.in_memory:
        return Finding(
            "live index", "problem",
            f"{place} is not in memory ({mount.kind or 'unknown'}). Mount a tmpfs, and name it in MAILKEEP_LIVE.",
        )  # fmt: skip
    total = shutil.disk_usage(place).total
    if total < SMALL_TMPFS:
        return Finding(
            "live index", "warning",
            f"{place} has {size(total)}: too little for a large archive. Mount a larger one (`size=` of tmpfs(5)).",
        )  # fmt: skip
    return Finding("live index", "ok", f"{place} is in memory, {size(total)}.")


def _memory_lock() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if resource.RLIM_INFINITY in (soft, hard) or _may(_CAP_IPC_LOCK):
        return Finding("memory lock", "ok", "The key agent can keep its memory from swap.")
    return Finding(
        "memory lock", "warning",
        f"The key agent may lock {size(soft)} of memory, which is too little. Set LimitMEMLOCK=infinity in the unit, "
        "or `ulimit -l unlimited`.",
    )  # fmt: skip


def _systemd() -> Finding:
    if not has_systemd_creds():
        return Finding("systemd-creds", "warning", "Not there; passphrase, recovery key and keyfile work without it.")
    if not has_tpm2():
        return Finding("systemd-creds", "ok", "There, without a usable TPM 2: credentials are bound to this system.")
    return Finding("systemd-creds", "ok", "There, with a TPM 2: `mailkeep slot add systemd --with-key tpm2`.")


def _keyfile(paths: Paths) -> Finding:
    inside = sorted(one for one in paths.data.glob("**/*.keyfile") if one.is_file())
    if inside:
        return Finding(
            "keyfile", "problem",
            f"{inside[0]} lies in the data folder: a copy of the folder opens itself. Move it out of there.",
        )  # fmt: skip
    if not paths.keyfile.exists():
        return Finding("keyfile", "ok", "There is none beside the data folder: a restart asks for the passphrase.")
    if paths.keyfile.stat().st_mode & 0o077:
        return Finding("keyfile", "problem", f"Others can read {paths.keyfile}. `chmod 600 {paths.keyfile}`.")
    return Finding("keyfile", "ok", f"This box unlocks itself with {paths.keyfile}. Leave it out of backups.")


def _disk(paths: Paths) -> Finding:
    place = paths.data
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    text = f"{size(usage.free)} free of {size(usage.total)} at {place}."
    if usage.free < usage.total * LOW_DISK:
        return Finding("disk", "problem", f"{text} Mail is put off when it is full. Make room.")
    return Finding("disk", "ok", text)


def _ports() -> Finding:
    try:
        first = int(UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        first = 1024
    if os.geteuid() == 0 or first <= 25 or _may(_CAP_NET_BIND_SERVICE):
        return Finding("ports", "ok", "Ports below 1024 (25, 443, 995) can be listened on.")
    return Finding(
        "ports", "warning",
        f"This user may listen from port {first} on. For 25, 443 and 995: AmbientCapabilities=CAP_NET_BIND_SERVICE in "
        "the unit, or run it as root.",
    )  # fmt: skip


def _may(capability: int) -> bool:
    """Whether this process has a capability in force (capabilities(7))."""
    try:
        lines = CAPABILITIES.read_text().splitlines()
    except OSError:
        return False
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return bool(held >> capability & 1)
