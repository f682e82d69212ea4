"""How fast an import goes, and when it is over."""

from __future__ import annotations

from typing import NamedTuple

from appliance.services import api


class ImportPace(NamedTuple):
    """Items and bytes of files that are dealt with a second since the import has begun; which share of its files has
    been (0 to 1), and the seconds that are left; None where nobody knows."""

    items: float
    bytes: float
    share: float | None
    left: float | None


def pace(one: api.ImportInfo, now: float, *, size: int = 0) -> ImportPace:
    """The pace of an import that is under way, at ``now`` (seconds). ``one`` has its files; ``size`` is of all that are
    to come, in bytes, where more is known than what the archive was told of yet."""
    taken = max(now - one.begun, 0.0) if one.begun is not None else 0.0
    dealt = sum(_dealt(file) for file in one.files)
    total = max(size, one.size, sum(file.size for file in one.files))
    share = min(dealt / total, 1.0) if total and one.files else None
    if not taken:
        return ImportPace(0.0, 0.0, share, None)
    left = taken * (1 - share) / share if share else None
    return ImportPace(one.counts.found / taken, dealt / taken, share, left)


def _dealt(file: api.ImportFile) -> float:
    """Bytes of a file that have been read, as far as its items say it."""
    if file.state in ("done", "failed", "stopped"):
        return file.size
    if file.state != "running" or not file.expected:
        return 0.0
    return file.size * min(file.counts.found / file.expected, 1.0)
