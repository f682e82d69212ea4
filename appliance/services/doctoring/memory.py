"""Memory: nothing of the mail's words may reach a disk unencrypted, and the live index has to fit."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from appliance.errors import MailkeepError
from appliance.host import processes
from appliance.host.machine import Machine
from appliance.language import _
from appliance.services.doctoring.finding import Finding
from appliance.services.paths import PACKAGED_DATA, Paths
from appliance.services.sizes import size
from appliance.services.swap import SYSTEM, System
from appliance.services.unlock import agent_of

SMALL_TMPFS = 256 * 1024 * 1024
"""Bytes for the live index below which a warning is due: about 100,000 messages."""
SMALL_MEMORY = 1024 * 1024 * 1024
"""Bytes of memory below which the processes crowd each other out."""

_SLICE = "mailkeep.slice"
_MACHINE = Machine()
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
    if _never_swapped(paths, system):
        text = _("{areas} is not encrypted, but the archive’s processes are never swapped out.")
        return Finding("swap", "ok", text.format(areas=areas))
    return Finding(
        "swap", "problem",
        _("{areas} is not encrypted: words of the mail could reach the disk.").format(areas=areas),
        _("Switch it off with `swapoff -a`, encrypt it with a random key in /etc/crypttab, or serve with "
          "--allow-plain-swap."),
    )  # fmt: skip


def _never_swapped(paths: Paths, system: System) -> bool:
    """Whether all of the archive's processes are where swapping is forbidden; before they run, whether they will be."""
    pids = [one.pid for one in processes.of(paths.data, system.proc)]
    return all(map(system.never_swaps, pids)) if pids else system.never_swaps() or units_never_swap(paths.data)


def units_never_swap(data: Path, machine: Machine = _MACHINE) -> bool:
    """Whether systemd is to run the archive in a slice that does not swap."""
    if data != PACKAGED_DATA or not machine.has_systemd:
        return False
    told = machine.run("systemctl", "show", "--property=MemorySwapMax", "--value", _SLICE)
    return told.ok and told.out.strip() == "0"


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


def lock(paths: Paths) -> Finding:
    """Whether the key agent can keep its memory from swap: what a running one says, else what this user might."""
    mend = _("Set LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`.")
    kept = _agents_word(paths)  # under systemd it has a limit of its own, none of the process's that looks
    if kept is False:
        return Finding("memory lock", "warning", _("The key agent could not keep its memory from swap."), mend)
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if kept or resource.RLIM_INFINITY in (soft, hard) or may(_CAP_IPC_LOCK):
        return Finding("memory lock", "ok", _("The key agent can keep its memory from swap."))
    text = _("The key agent may lock {limit} of memory, which is too little.")
    return Finding("memory lock", "warning", text.format(limit=size(soft)), mend)


def _agents_word(paths: Paths) -> bool | None:
    """Whether the agent that runs has locked its memory; None where none runs, or does not answer this user."""
    try:
        return agent_of(paths, "archiver").state().memory_locked
    except (MailkeepError, OSError):
        return None


def may(capability: int) -> bool:
    """Whether this process has a capability in force (capabilities(7))."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return False
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return bool(held >> capability & 1)
