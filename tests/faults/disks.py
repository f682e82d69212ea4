"""Scratch file systems: an ext4 in a file, whose copy is what a power cut leaves, and a small tmpfs that fills."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

LAZY = "loop,commit=300"
"""Mount options of a disk that writes nothing by itself for five minutes: what is on it was synced."""

LAZY_INIT = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"

JOURNAL_MEGABYTES = 256
"""So large that ext4 never takes anything out of the journal during a test. A copy is not made in one instant: were
the journal's start moved meanwhile, the copy could miss both the entry and what it stood for."""


class Disk(NamedTuple):
    """A mounted file system and the file that holds it."""

    image: Path
    root: Path

    def cut(self, copy: Path) -> Path:
        """What would be left if the power went now: a copy of the backing file, page cache of the mount excluded."""
        _do("cp", "--sparse=auto", "--reflink=never", str(self.image), str(copy))
        return copy


@contextlib.contextmanager
def ext4(folder: Path, megabytes: int = 1024, *, journal: int = JOURNAL_MEGABYTES) -> Iterator[Disk]:
    """A new ext4 in ``folder``/disk.img, mounted on ``folder``/disk; its ``journal`` is in megabytes."""
    disk = Disk(folder / "disk.img", folder / "disk")
    with disk.image.open("wb") as file:
        file.truncate(megabytes << 20)
    _do("mkfs.ext4", "-q", "-F", "-E", LAZY_INIT, "-J", f"size={journal}", str(disk.image))
    with mounted(disk.image, disk.root):
        yield disk


@contextlib.contextmanager
def mounted(image: Path, root: Path) -> Iterator[Path]:
    """The ext4 in a file, its journal replayed as after a power cut."""
    root.mkdir(exist_ok=True)
    _do("mount", "-t", "ext4", "-o", LAZY, str(image), str(root))
    try:
        yield root
    finally:
        _unmount(root)


@contextlib.contextmanager
def tmpfs(root: Path, megabytes: int) -> Iterator[Path]:
    """A small file system in memory."""
    root.mkdir(exist_ok=True)
    _do("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(root))
    try:
        yield root
    finally:
        _unmount(root)


def fill(root: Path, leave: int = 0) -> Path:
    """Write a file that leaves only so many bytes free; remove it to make room again."""
    filler = root / "filler"
    with filler.open("ab") as file:
        while (free := os.statvfs(root).f_bavail * os.statvfs(root).f_frsize - leave) > 0:
            try:
                os.write(file.fileno(), bytes(min(free, 1 << 20)))
            except OSError:
                break
    return filler


def _unmount(root: Path) -> None:
    """Unmount; a process that was just killed may hold a file a moment longer."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return _do("umount", str(root))
        except OSError:
            if time.monotonic() > deadline:
                _do("umount", "--lazy", str(root))
                raise
            time.sleep(0.1)


def _do(*words: str) -> None:
    done = subprocess.run(words, env={**os.environ, "PATH": _PATH}, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
