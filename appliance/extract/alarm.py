"""A time limit inside a child: SIGALRM, so it works in the main thread and between Python instructions only. Code
that hangs in C is ended by the pool, which kills the child."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OutOfTime(BaseException):
    """The time limit is over. No Exception, or parsers that catch everything would swallow it."""


@contextmanager
def after(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block once ``seconds`` have passed."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
