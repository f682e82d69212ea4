"""Whether memory can reach a disk unencrypted: swap, and the file system that the live index lies on.

Pages of a tmpfs are swapped out like any other. Where swap is not encrypted, the words of the mail would end up on
the disk after all, so ``serve`` asks here before it starts. Pages of a tmpfs are counted to the control group of the
process that wrote them, which may forbid that they are swapped. Sources: swapon(8), proc_swaps(5), tmpfs(5)
(``noswap``, Linux 6.4), the kernel's sysfs-block, zram and dm-uuid ABI documents, its cgroup-v2 document
(memory.swap.max), cgroups(7).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from appliance.errors import UsageError

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_ESCAPED = re.compile(r"\\([0-7]{3})")
_DEEPEST = 16
"""Block devices on top of one another: LVM on LUKS on RAID is three."""


class Mount(msgspec.Struct, frozen=True):
    """The file system that a folder is on."""

    kind: str
    options: frozenset[str]

    @property
    def in_memory(self) -> bool:
        """Whether it has no place on a disk of its own."""
        return self.kind in _IN_MEMORY

    @property
    def may_be_swapped(self) -> bool:
        """Whether its pages can be written to swap."""
        return self.kind != "ramfs" and "noswap" not in self.options


class System(msgspec.Struct, frozen=True):
    """Where the kernel tells of swap, mounts and block devices."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    def plain_swaps(self) -> tuple[str, ...]:
        """The swap areas in use that are not known to be encrypted, as the kernel names them."""
        try:
            lines = (self.proc / "swaps").read_text().splitlines()[1:]
        except OSError:
            return ()  # a kernel without swap has no such file
        areas = [_unescaped(line.split()[0]) for line in lines if line.strip()]
        return tuple(area for area in areas if not self._is_safe(Path(area)))

    def mount_of(self, folder: Path) -> Mount:
        """What ``folder`` (or the nearest folder above it that exists) is on."""
        place = folder
        while not place.exists():
            place = place.parent
        place = place.resolve()
        found = Mount("", frozenset())
        longest = -1
        for line in (self.proc / "self" / "mountinfo").read_text().splitlines():
            head, _, tail = line.partition(" - ")
            at, mounted = Path(_unescaped(head.split()[4])), tail.split()
            if place.is_relative_to(at) and len(at.parts) >= longest:  # of two on one place the later is seen
                longest = len(at.parts)
                found = Mount(mounted[0], frozenset(mounted[-1].split(",")))
        return found

    def never_swaps(self, pid: int | None = None) -> bool:
        """Whether the control group of a process (of this one, without ``pid``), or one above it, forbids swapping."""
        groups = (_line(self.proc / (str(pid) if pid else "self") / "cgroup") or "").splitlines()
        group = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), None)
        if group is None or ".." in Path(group).parts:
            return False  # without cgroup v2, or in a group that is out of this one's sight
        top = self.sys / "fs" / "cgroup"
        place = top / group
        return any(_line(one / "memory.swap.max") == "0" for one in (place, *place.parents) if one.is_relative_to(top))

    # -- block devices ----------------------------------------------------------------------------------------

    def _is_safe(self, area: Path) -> bool:
        try:
            status = area.stat()
        except OSError:
            return False  # in a container the kernel names devices that are not to be seen: nothing is known of them
        device = status.st_rdev or status.st_dev  # a swap file is as safe as the disk under it
        return self._is_encrypted(self.sys / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}", _DEEPEST)

    def _is_encrypted(self, device: Path, deepest: int) -> bool:
        """Whether everything that reaches the device is encrypted, or stays in memory (zram)."""
        if (backing := _line(device / "backing_dev")) is not None:
            return backing == "none" or self._is_safe(Path(backing))
        if (_line(device / "dm" / "uuid") or "").startswith("CRYPT-"):
            return True
        below = list((device / "slaves").glob("*"))
        return bool(below) and deepest > 0 and all(self._is_encrypted(one, deepest - 1) for one in below)


SYSTEM = System()


def plain_swaps_of(live: Path, system: System = SYSTEM) -> tuple[str, ...]:
    """The unencrypted swap areas that pages which this process writes to the index in ``live`` can end up in."""
    return system.plain_swaps() if system.mount_of(live).may_be_swapped and not system.never_swaps() else ()


def require_memory_stays(live: Path, *, allow_plain_swap: bool, system: System = SYSTEM) -> None:
    """Raises UsageError where the index in ``live`` would be readable on a disk, with the ways out.

    ``allow_plain_swap`` takes swap into the bargain; a place that is a disk itself is refused in any case.
    """
    if not (mount := system.mount_of(live)).in_memory:
        raise UsageError(
            f"{live.parent} is not in memory ({mount.kind or 'unknown'}), so the words of the mail would lie readable "
            "on the disk. Nothing was started. Mount a tmpfs there, or name one in MAILKEEP_LIVE."
        )
    plain = plain_swaps_of(live, system)
    if plain and not allow_plain_swap:
        raise UsageError(
            f"This box swaps to {', '.join(plain)}, which is not encrypted: words of the mail could reach the disk "
            "readable. Nothing was started. Switch swap off (`swapoff -a`, and its line in /etc/fstab), or encrypt it "
            "(a random key in /etc/crypttab will do), or take it into the bargain with `serve --allow-plain-swap`."
        )


def _line(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
