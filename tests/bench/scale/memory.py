"""How much memory this process and what is in a folder take."""

from __future__ import annotations

import os
from pathlib import Path


def memory_taken() -> int:
    """Bytes of this process and its children, shared pages in parts, without what is mapped of a tmpfs."""
    total = 0
    for pid in [os.getpid(), *_children(os.getpid())]:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        found = {line.split()[0]: int(line.split()[1]) * 1024 for line in rollup.splitlines()[1:]}
        total += found["Pss:"] - found["Pss_Shmem:"]
    return total


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def used(folder: Path) -> int:
    """Bytes that the files in ``folder`` take; a hole takes none."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total
