"""Slowing down who guesses: after some free tries, each further one has to wait twice as long as the one before."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from appliance.errors import SignInError

FORGET_SECONDS = 3600.0
_MOST_KEYS = 10_000


class _Failures(NamedTuple):
    tries: int
    last: float
    wait: float


class Brake:
    """Counts failures by key. ``free`` tries cost nothing, later ones 1, 2, 4 … up to ``longest`` seconds."""

    def __init__(self, *, free: int, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[Hashable, _Failures] = OrderedDict()

    def check(self, key: Hashable) -> None:
        """Raises SignInError while the key has to wait."""
        with self._lock:
            failures = self._recent(key)
        wait = failures.last + failures.wait - self._clock()
        if wait > 0:
            raise SignInError(f"There were too many wrong tries. Try again in {int(wait) + 1} seconds.")

    def failed(self, key: Hashable) -> None:
        """One more failure."""
        with self._lock:
            count = self._recent(key).tries + 1
            over = count - self._free
            wait = min(2.0 ** min(over - 1, 30), self._longest) if over > 0 else 0.0
            self._failures[key] = _Failures(count, self._clock(), wait)
            self._failures.move_to_end(key)
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def passed(self, key: Hashable) -> None:
        """Forget the key's failures."""
        with self._lock:
            self._failures.pop(key, None)

    def _recent(self, key: Hashable) -> _Failures:
        failures = self._failures.get(key)
        if failures is None or self._clock() - failures.last > FORGET_SECONDS:
            return _Failures(0, 0.0, 0.0)
        return failures
