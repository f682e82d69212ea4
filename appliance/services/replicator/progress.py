"""How far a run is: in memory, and in a small file beside the replicator's socket for whoever may read there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from appliance import decoding
from appliance.services.paths import Paths

WRITE_SECONDS: Final = 0.5
RATE_SECONDS: Final = 15.0
"""The rate is that of the last so many seconds."""


class HowFar(msgspec.Struct, frozen=True):
    """A run under way. Bytes; seconds since 1970."""

    run: int
    kind: str
    done: int = 0
    total: int = 0  # 0 where it is not known yet
    rate: float = 0.0  # bytes a second
    eta: float | None = None  # seconds that are left, at this rate
    what: str = ""
    at: float = 0.0


class Progress:
    """What a run says of itself, and how it learns that it is to stop (``cloud.replicate.Progress``)."""

    def __init__(self, run: int, kind: str, place: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._written = -WRITE_SECONDS
        self._before = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.now = HowFar(run, kind, at=time.time())

    def report(self, done: int, total: int, what: str) -> None:
        """Say how far it is, in bytes, and what it is at."""
        with self._lock:
            now = self._clock()
            if done < self.now.done:  # another stage has begun
                self._seen.clear()
                self._before += self.now.done
            self._seen.append((now, done))
            while len(self._seen) > 2 and self._seen[0][0] < now - RATE_SECONDS:
                self._seen.popleft()
            rate = self._rate()
            left = (total - done) / rate if rate > 0 and total > done else None
            before, self.now = self.now, HowFar(self.now.run, self.now.kind, done, total, rate, left, what, time.time())
            if now - self._written < WRITE_SECONDS and before.what == what:
                return
            self._written = now
            self._write()

    @property
    def moved(self) -> int:
        """Bytes in all, through all its stages."""
        return self._before + self.now.done

    def stopped(self) -> bool:
        """Whether it is to end at the next place where nothing is lost."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask it to end."""
        self._stop.set()

    def close(self) -> None:
        """It is over."""
        with self._lock, contextlib.suppress(FileNotFoundError):
            self._place.unlink()

    def _rate(self) -> float:
        (first, start), (last, end) = self._seen[0], self._seen[-1]
        return (end - start) / (last - first) if last > first else 0.0

    def _write(self) -> None:
        # Whole for every reader, and gone with the run: nothing has to be durable.
        beside = self._place.with_name(f"{self._place.name}.new")
        with contextlib.suppress(OSError):
            beside.write_bytes(msgspec.json.encode(self.now))
            beside.replace(self._place)


def progress_place(paths: Paths, remote: str) -> Path:
    """Where the run that concerns a remote says how far it is; an empty name stands for all remotes together."""
    return paths.replica_run / f"{remote or 'all'}.json"


def how_far(place: Path) -> HowFar | None:
    """What a run last said of itself; None where there is none."""
    try:
        return decoding.from_json(place.read_bytes(), HowFar)
    except (OSError, msgspec.DecodeError):
        return None
