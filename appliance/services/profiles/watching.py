"""When a profile that runs by the clock needs a person: nothing of what it tried has worked for long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.services import api

ALARM_SECONDS: Final = 24 * 3600.0


def failing_for(runs: Sequence[api.ProfileRun], now: float, kept: int) -> float | None:
    """The seconds for which nothing has worked, where that is a day or more, or all runs that are remembered (``kept``
    of them); else None. ``runs`` are newest first; those that somebody stopped tell nothing."""
    ended = [one for one in runs if one.state in ("done", "failed")]
    failed = next((number for number, one in enumerate(ended) if one.state == "done"), len(ended))
    if not failed:
        return None
    first = ended[failed - 1]
    since = now - (first.queued if first.begun is None else first.begun)
    return since if since >= ALARM_SECONDS or failed >= kept else None
