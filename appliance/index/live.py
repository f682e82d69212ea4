"""The live index's folder in memory: made for one user alone, removed when nobody needs it, and how large it may be."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from pathlib import Path

from appliance.errors import UnavailableError, UsageError

MEMORY_SHARE, TMPFS_SHARE = 4, 2
"""By default a quarter of the memory, and at most half of the tmpfs."""

VARIABLE = "MAILKEEP_INDEX_MEMORY"

SPARE = 16 * 2**20
"""Bytes of the tmpfs that reading leaves free, for the writer to go on."""

_SIZE = re.compile(r"(\d{1,15})([KMG]?)i?B?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}


def budget(folder: Path, wanted: str | None = None) -> int:
    """Bytes that the live index may take: ``wanted`` (such as ``512M``; by default what the environment says in
    ``MAILKEEP_INDEX_MEMORY``), else a share of what there is. Raises UsageError."""
    text = os.environ.get(VARIABLE, "") if wanted is None else wanted
    if not text:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return min(memory // MEMORY_SHARE, room(folder)[0] // TMPFS_SHARE)
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{VARIABLE} is a number of bytes, or one with K, M or G behind it, such as 512M.")
    return int(found[1]) << _UNITS[found[2].upper()]


def room(live: Path) -> tuple[int, int]:
    """Bytes that the file system of ``live`` holds in all, and that are free. The folder need not exist."""
    place = live
    while not place.exists() and place != place.parent:
        place = place.parent
    status = os.statvfs(place)
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def make(root: Path, folder: Path) -> None:
    """Make ``folder``, which is ``root`` or lies below it; nobody else can look into ``root``.

    ``root`` lies where every user may make folders. Raises UnavailableError where somebody else made it, or where
    there is no room for it.
    """
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            root.mkdir(0o700)
        status = root.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise UnavailableError(
                f"{root} is not a folder of this user alone, so the search index is not opened in it. The mail itself "
                "is safe. Find out who made it, and remove it."
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_room(root) from error
        raise UnavailableError(
            f"The folder for the live search index, {root}, cannot be made: {error.strerror}. Mail is received and "
            "kept."
        ) from error


def no_room(root: Path) -> UnavailableError:
    """The error for people where the memory for the index is full."""
    return UnavailableError(
        f"There is no room in memory for the search index ({root.parent} is full). Mail is received and kept; what "
        "fits can still be searched. Give the box more memory, or enlarge that tmpfs."
    )


def remove(root: Path, folder: Path) -> None:
    """Remove ``folder`` with all in it, then its parents up to ``root`` as far as nobody else has something there."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in folder.parents:
        if not parent.is_relative_to(root):
            return
        with contextlib.suppress(OSError):
            parent.rmdir()
