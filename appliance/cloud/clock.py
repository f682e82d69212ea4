"""Times that were written down while the clock of the box was wrong."""

from __future__ import annotations

from typing import Final

SLACK: Final = 600_000_000
"""Microseconds that a clock may be set back in the ordinary way, without any time being doubted."""


def not_ahead(at: int, now: int) -> int:
    """A stored time (microseconds), or 0, for never, where it is yet to come: nothing waits for a clock that was
    wrong once, and nothing counts as done until then."""
    return at if at <= now + SLACK else 0
