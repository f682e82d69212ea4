"""How long somebody who guesses has to wait: longer with each failure, by mailbox name and by client.

The key agent slows down tries of a mailbox too; this is before it, and the same for names that no mailbox has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

FORGET_AFTER = 600.0
"""Seconds."""
LONGEST_PAUSE = 8.0
FREE_BY_NAME = 2
"""Failures of one name before the first pause."""
FREE_BY_PEER = 20
"""The same for one client's address, behind which there may be a whole office."""

_MOST_NAMES = 10_000


class Throttle:
    """Failures by name or address. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def pause(self, name: str, peer: str) -> float:
        """Seconds to wait before the next try of either is looked at; 0 where there were few failures lately."""
        over = max(self._count(name) - FREE_BY_NAME, self._count(peer) - FREE_BY_PEER)
        return 0.0 if over < 0 else min(2.0**over, LONGEST_PAUSE)

    def failed(self, name: str, peer: str) -> None:
        """A try failed."""
        for key in (name, peer):
            self._failures[key] = (self._count(key) + 1, self._clock())
            self._failures.move_to_end(key)
        while len(self._failures) > _MOST_NAMES:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """The owner has come."""
        self._failures.pop(key, None)

    def _count(self, key: str) -> int:
        count, last = self._failures.get(key, (0, 0.0))
        return count if count and self._clock() - last < FORGET_AFTER else 0
