"""Wrong passwords and codes of the last hour, counted: by how many somebody who guesses gives himself away."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from appliance.services.alarms.conditions import Tries

WINDOW_SECONDS = 3600.0
MOST = 100_000
"""Tries that are remembered; of more, the last ones."""


class WrongTries:
    """What was tried in vain within the last hour. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, str]] = deque(maxlen=MOST)
        self._total = 0

    def add(self, client: str) -> None:
        """One more, from where ``client`` says."""
        with self._lock:
            self._recent.append((self._clock(), client))
            self._total += 1

    @property
    def total(self) -> int:
        """All since the process began."""
        return self._total

    def recent(self) -> Tries:
        """Those of the last hour."""
        begin = self._clock() - WINDOW_SECONDS
        with self._lock:
            while self._recent and self._recent[0][0] < begin:
                self._recent.popleft()
            return Tries(len(self._recent), len({client for _, client in self._recent}))
