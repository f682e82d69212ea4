"""Memory: nothing of the mail's words may reach a disk unencrypted, and the live index has to fit."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from appliance.language import _
from appliance.services.doctoring.finding import Finding
from appliance.services.paths import Paths
from appliance.services.sizes import size
from appliance.services.swap import SYSTEM, System

SMALL_TMPFS = 256 * 1024 * 1024
"""Bytes for the live index below which a warning is due: about 100,000 messages."""
SMALL_MEMORY = 1024 * 1024 * 1024
"""Bytes of memory below which the processes crowd each other out."""

_CAP_IPC_LOCK = 14
_STATUS = Path("/proc/self/status")


def swap(paths: Paths, system: System = SYSTEM) -> Finding:
    """Whether memory can be written to a disk as it is."""
    plain = system.plain_swaps()
    if not plain:
        return Finding("swap", "ok", _("There is none, or it is encrypted or stays in memory."))
    areas = ", ".join(plain)
    if not system.mount_of(paths.live).may_be_swapped:
        text = _("{areas} is not encrypted, but the live index is never swapped.")
        return Finding("swap", "ok", text.format(areas=areas))
    return Finding(
        "swap", "problem",
        _("{areas} is not encrypted: words of the mail could reach the disk.").format(areas=areas),
        _("Switch it off with `swapoff -a`, encrypt it with a random key in /etc/crypttab, or serve with "
          "--allow-plain-swap."),
    )  # fmt: skip


def live(paths: Paths, system: System = SYSTEM) -> Finding:
    """Whether the live index has a place in memory that is large enough."""
    place = paths.live.parent
    mount = system.mount_of(paths.live)
    if not mount.in_memory:
        return Finding(
            "live index", "problem",
            _("{place} is not in memory ({kind}).").format(place=place, kind=mount.kind or _("unknown")),
            _("Mount a tmpfs, and name it in MAILKEEP_LIVE."),
        )  # fmt: skip
    total = shutil.disk_usage(place).total
    if total < SMALL_TMPFS:
        return Finding(
            "live index", "warning",
            _("{place} has {total}: too little for a large archive.").format(place=place, total=size(total)),
            _("Mount a larger one (`size=` of tmpfs(5)), or give the machine more memory."),
        )  # fmt: skip
    return Finding("live index", "ok", _("{place} is in memory, {total}.").format(place=place, total=size(total)))


def size_of(_paths: Paths, system: System = SYSTEM) -> Finding:
    """Whether there is memory enough at all."""
    lines = (system.proc / "meminfo").read_text().splitlines()
    total = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")), 0)
    if total < SMALL_MEMORY * 0.9:  # what the kernel keeps for itself is not told
        return Finding(
            "memory", "warning",
            _("This machine has {total} of memory, which is little.").format(total=size(total)),
            _("Give it 2 GB or more: searching is done in memory."),
        )  # fmt: skip
    return Finding("memory", "ok", _("This machine has {total} of memory.").format(total=size(total)))


def lock(_paths: Paths) -> Finding:
    """Whether the key agent can keep its memory from swap."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if resource.RLIM_INFINITY in (soft, hard) or may(_CAP_IPC_LOCK):
        return Finding("memory lock", "ok", _("The key agent can keep its memory from swap."))
    return Finding(
        "memory lock", "warning",
        _("The key agent may lock {limit} of memory, which is too little.").format(limit=size(soft)),
        _("Set LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`."),
    )  # fmt: skip


def may(capability: int) -> bool:
    """Whether this process has a capability in force (capabilities(7))."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return False
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return bool(held >> capability & 1)
