"""What a worker counts, and how the archiver gets to see it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from appliance.mail.published import WorkerStats, encode, stats_path


class Counters:
    """One worker's counters; used on its event loop only."""

    def __init__(self, worker: int, started_at: int) -> None:
        self.accepted = 0
        self.refused = 0
        self.deferred = 0
        self.bytes = 0
        self.connections = 0
        self.open = 0
        self.last_accepted_at: int | None = None
        self.confined = False
        self._worker = worker
        self._started_at = started_at
        self._reasons: Counter[str] = Counter()
        self._turned_away: Counter[str] = Counter()

    def accept(self, size: int, now: int) -> None:
        """A message of ``size`` bytes is durable."""
        self.accepted += 1
        self.bytes += size
        self.last_accepted_at = now

    def turn_away(self, reply: str, reason: str, address: str | None = None) -> None:
        """A reply that is not a success; ``address`` is the published address that mail is waiting for."""
        if reply.startswith("5"):
            self.refused += 1
        else:
            self.deferred += 1
        self._reasons[reason] += 1
        if address is not None:
            self._turned_away[address] += 1

    def snapshot(self, *, now: int, generation: int | None) -> WorkerStats:
        """The counters as they are published."""
        return WorkerStats(
            worker=self._worker,
            pid=os.getpid(),
            started_at=self._started_at,
            updated_at=now,
            generation=generation,
            accepted=self.accepted,
            refused=self.refused,
            deferred=self.deferred,
            bytes=self.bytes,
            connections=self.connections,
            open=self.open,
            last_accepted_at=self.last_accepted_at,
            confined=self.confined,
            reasons=dict(self._reasons),
            turned_away=dict(self._turned_away),
        )


def publish(data: Path, stats: WorkerStats) -> None:
    """Replace the worker's file in one step. It is not synced: after a power cut a new worker writes a new
    one."""
    path = stats_path(data, stats.worker)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(encode(stats))
    fresh.replace(path)
