"""The disk: how much room there is, and how long a synced write takes, which every message waits for."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from pathlib import Path

from appliance.language import _
from appliance.services.doctoring.finding import Finding
from appliance.services.paths import Paths
from appliance.services.sizes import size

LOW, FULL = 0.2, 0.05
"""Parts of the disk that are free below which a warning, and a problem, is due."""
WRITES = 100
WRITE_BYTES = 4096
MOST_SECONDS = 5.0
"""How long is measured at most: a disk that slow is known to be by then."""
SLOW_SECONDS, TOO_SLOW_SECONDS = 0.025, 0.25


def room(paths: Paths) -> Finding:
    """Whether there is room for more mail."""
    place = _nearest(paths.data)
    usage = shutil.disk_usage(place)
    text = _("{free} free of {total} at {place}.").format(free=size(usage.free), total=size(usage.total), place=place)
    if usage.free < usage.total * FULL:
        return Finding("disk", "problem", f"{text} {_('Mail is put off when it is full.')}", _more_room())
    if usage.free < usage.total * LOW:
        return Finding("disk", "warning", text, _more_room())
    return Finding("disk", "ok", text)


def speed(paths: Paths) -> Finding:
    """How long the disk takes to keep something for good: small synced writes, as the log makes them."""
    place = _nearest(paths.data)
    try:
        taken = measure(place)
    except OSError as error:
        text = _("Could not be measured at {place} ({reason}).")
        return Finding("disk speed", "warning", text.format(place=place, reason=error.strerror))
    middle, worst = statistics.median(taken), max(taken)
    figures = _("A synced write takes {middle:.1f} ms, at worst {worst:.0f} ms.").format(
        middle=middle * 1000, worst=worst * 1000
    )
    if middle > TOO_SLOW_SECONDS:
        return Finding(
            "disk speed", "problem", f"{figures} {_('Senders give up waiting at such a disk.')}", _faster_disk()
        )
    if middle > SLOW_SECONDS:
        return Finding(
            "disk speed",
            "warning",
            f"{figures} {_('That is slow: mail comes in no faster than this allows.')}",
            _faster_disk(),
        )
    word = _("That is fast.") if middle < 0.003 else _("That is enough.")
    return Finding("disk speed", "ok", f"{figures} {word}")


def measure(place: Path) -> list[float]:
    """Seconds that each of a hundred small synced writes takes, into a file that never has a name. Raises OSError."""
    descriptor = os.open(place, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        block, taken, until = os.urandom(WRITE_BYTES), [], time.monotonic() + MOST_SECONDS
        for number in range(WRITES):
            begin = time.perf_counter()
            os.pwrite(descriptor, block, number * WRITE_BYTES)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - begin)
            if time.monotonic() > until:
                break
        return taken
    finally:
        os.close(descriptor)


def _nearest(place: Path) -> Path:
    while not place.exists():
        place = place.parent
    return place


def _more_room() -> str:
    return _("Make the disk larger, or let older volumes lie on remotes only (`mailkeep remote settings`).")


def _faster_disk() -> str:
    return _("Put the data folder on an SSD, and see that the virtual machine's disk has a write cache that is safe.")
