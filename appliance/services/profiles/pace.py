"""How fast a run goes, and when it is over."""

from __future__ import annotations

from typing import NamedTuple

from appliance.services import api


class Pace(NamedTuple):
    """Messages and bytes a second since the run has begun, and the seconds that are left; None where nobody knows."""

    messages: float
    bytes: float
    left: float | None


def pace(run: api.ProfileRun, now: float) -> Pace:
    """The pace of a run that is under way, at ``now`` (seconds)."""
    taken = max(now - run.begun, 0.0) if run.begun is not None else 0.0
    if not taken or not run.counts.seen:
        return Pace(0.0, 0.0, None)
    messages = run.counts.seen / taken
    left = None if run.expected is None else max(run.expected - run.counts.seen, 0) / messages
    return Pace(messages, run.counts.bytes / taken, left)
