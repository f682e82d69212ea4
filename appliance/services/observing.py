"""What can be seen of the box itself, whether the archive is unlocked or not: disk, memory, swap, certificate."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from appliance.files import FILES, read_file
from appliance.index import live
from appliance.services.alarms.conditions import Certificate, Observed
from appliance.services.paths import Paths
from appliance.services.swap import plain_swaps_of

_DAY = 86_400.0


def box_observed(paths: Paths, now: float, **more: Any) -> Observed:
    """The box at ``now`` (seconds), with what else was observed."""
    total, free = live.room(paths.live)
    return Observed(
        now=now,
        disk_used=disk_used(paths.data),
        memory_used=1 - free / total if total else 0.0,
        plain_swaps=plain_swaps_of(paths.live),
        certificate=certificate(paths.tls, now),
        **more,
    )


def disk_used(place: Path) -> float:
    """The share of a file system that is in use, of what its ordinary users may use: as df(1) tells it."""
    disk = shutil.disk_usage(place)
    return disk.used / (disk.used + disk.free) if disk.used + disk.free else 0.0


def certificate(folder: Path, now: float) -> Certificate | None:
    """The certificate of gateway and web; None where there is none yet, as before the first start."""
    try:
        found = x509.load_pem_x509_certificate(read_file(FILES, folder / "certificate.pem"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return Certificate(0.0, 0.0, "It cannot be read.")
    left = (found.not_valid_after_utc - datetime.fromtimestamp(now, UTC)).total_seconds() / _DAY
    lifetime = (found.not_valid_after_utc - found.not_valid_before_utc).total_seconds() / _DAY
    return Certificate(left, lifetime)
