"""Which messages break off in the midst, again and again."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

_BREAKS: Final = 2
"""How often a message may break off after some of it was handed on, before it is one that cannot be given."""


class Breaks:
    """Which messages have broken off in the midst, over all sessions of a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[tuple[str, str]] = Counter()

    def add(self, user: str, item: str) -> None:
        """One more time."""
        with self._lock:
            self._count[user, item] += 1

    def too_many(self, user: str, item: str) -> bool:
        """Whether it is not to be tried again just now; next time it is."""
        with self._lock:
            if self._count[user, item] < _BREAKS:
                return False
            del self._count[user, item]
            return True
