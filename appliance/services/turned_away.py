"""Mail that mailboxes' own states and rules sent back lately: the gateway counts from its start, an alarm is of now."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from appliance.mail.published import WorkerStats

WINDOW_SECONDS = 24 * 3600.0

_Place = tuple[int, int, str]
"""A gateway worker, when it was started, and an address."""


class TurnedAway:
    """Follows the workers' counters. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[_Place, int] = {}
        self._lately: dict[str, list[tuple[float, int]]] = {}

    def lately(self, workers: Iterable[WorkerStats], now: float) -> dict[str, int]:
        """How often mail to each address was sent back within the last day; ``now`` in seconds.

        At the first look only the counts of a worker that was started within that time are known to be of it.
        """
        with self._lock:
            for worker in workers:
                for address, count in worker.turned_away.items():
                    self._follow((worker.worker, worker.started_at, address), count, now)
            begin = now - WINDOW_SECONDS
            for address in list(self._lately):
                kept = [(at, count) for at, count in self._lately[address] if at > begin]
                if kept:
                    self._lately[address] = kept
                else:
                    del self._lately[address]
            return {address: sum(count for _, count in found) for address, found in self._lately.items()}

    def _follow(self, place: _Place, count: int, now: float) -> None:
        _, started, address = place
        known = self._counted.get(place)
        if known is None:
            known = 0 if now - started / 1e6 < WINDOW_SECONDS or self._counted else count
        self._counted[place] = count
        if count > known:
            self._lately.setdefault(address, []).append((now, count - known))
