"""huey: the queue of runs, the workers that do them, the tick that begins those that are due, and locks.

The queue lies in the file that the history of its runs is in, or in Redis where MAILKEEP_REDIS names one. It holds
numbers of runs and nothing else; what a run is stands in the history, from which the queue is filled anew at each
start. Tasks are JSON: huey's own way, pickle, would run whatever somebody puts into that file.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from huey import Huey, MemoryHuey, RedisHuey, SqliteHuey
from huey.consumer import Consumer, Scheduler
from huey.exceptions import RetryTask, TaskLockedException
from huey.registry import Message
from huey.serializer import Serializer

from appliance import decoding
from appliance.errors import UsageError

REDIS: Final = "MAILKEEP_REDIS"
"""Environment variable: the URL of a Redis for the queue."""
WORKERS: Final = 8
"""Runs at one time. One that hangs on what does not answer keeps a worker for itself."""
LONGEST_POLL: Final = 0.5
"""Seconds until a worker that has nothing to do looks again."""
TICK_SECONDS: Final = 5
AGAIN_SECONDS: Final = 1.0
"""Until a run that another one is in the way of is tried again."""

logging.getLogger("huey").setLevel(logging.ERROR)  # it would tell of every task


class _Task(msgspec.Struct, frozen=True):
    """What of huey's message is used."""

    id: str
    name: str
    args: tuple[int, ...]
    eta: datetime | None = None
    retries: int = 0
    retry_delay: float = 0


class _Json(Serializer):  # type: ignore[misc]
    """huey's messages and its locks' marks as JSON."""

    def _serialize(self, data: Any) -> bytes:
        if isinstance(data, Message):
            data = _Task(data.id, data.name, tuple(data.args), data.eta, data.retries, data.retry_delay or 0)
        return msgspec.json.encode(data)

    def _deserialize(self, data: bytes) -> Any:
        if not bytes(data).startswith(b"{"):
            return decoding.from_json(data, Any)
        one = decoding.from_json(data, _Task)
        return Message(
            id=one.id, name=one.name, eta=one.eta, retries=one.retries, retry_delay=one.retry_delay, args=one.args,
            kwargs={},
        )  # fmt: skip


class Queue:
    """Runs by number, each done once by ``perform``, those with one lock one after the other."""

    def __init__(self, jobs: Path | None, name: str, perform: Callable[[int], None]) -> None:
        """In the file ``jobs`` or in Redis, under ``name``; with None in this process's memory, where the caller's
        thread does it.

        Raises UsageError where MAILKEEP_REDIS is set and Redis cannot be used.
        """
        self._huey = _huey(jobs, name)
        self._consumer: _Consumer | None = None
        self._waited_for: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

        def run(id: int) -> None:
            try:
                perform(id)
            except TaskLockedException as locked:
                raise RetryTask(delay=AGAIN_SECONDS) from locked

        self._run = self._huey.task(name="run")(run)

    def put(self, id: int, *, after: float = 0.0) -> None:
        """Have a run done, ``after`` seconds from now; in memory, it has been done on return."""
        if after and not self._huey.immediate:
            self._run.schedule(args=(id,), delay=after)
        else:
            self._run(id)

    def lock(self, name: str) -> AbstractContextManager[Any]:
        """For a ``with`` block in ``perform``: while it is held, other runs that want it are tried again later, or, in
        memory, wait."""
        if self._huey.immediate:
            return self._waited_for[name]
        lock: AbstractContextManager[Any] = self._huey.lock_task(name)
        return lock

    def start(self, tick: Callable[[], None]) -> None:
        """Forget what a former process left, call ``tick`` now and every few seconds, and do what is put."""
        self._huey.flush()

        def periodic() -> None:
            tick()

        self._huey.periodic_task(lambda _now: True, name="tick")(periodic)
        self._consumer = _Consumer(
            self._huey, workers=WORKERS, max_delay=LONGEST_POLL, scheduler_interval=1, flush_locks=True
        )
        self._consumer.start()

    def close(self) -> None:
        """Begin nothing more. Who performs a run is told by others to end it."""
        if self._consumer is not None:
            self._consumer.stop()
        self._huey.storage.close()


class _Scheduler(Scheduler):  # type: ignore[misc]
    """huey's scheduler, which would look for what is due once a minute."""

    periodic_task_seconds = TICK_SECONDS


class _Consumer(Consumer):  # type: ignore[misc]
    """huey's consumer, whose process looks after signals itself."""

    scheduler_class = _Scheduler

    def _set_signal_handlers(self) -> None:
        """None."""


def _huey(jobs: Path | None, name: str) -> Huey:
    plain = {"serializer": _Json(), "results": False}
    if jobs is None:
        return MemoryHuey(name, immediate=True, **plain)
    url = os.environ.get(REDIS)
    if not url:
        return SqliteHuey(name, filename=str(jobs), timeout=30, **plain)
    try:
        huey = RedisHuey(name, url=url, **plain)
        huey.storage.conn.ping()
    except Exception as error:  # whatever the client, which is an optional package, raises
        raise UsageError(
            f"{REDIS} is set, but that Redis cannot be used for the queue of runs ({error}). Unset it to have the "
            "queue in a file, or install the package redis and look whether the server answers."
        ) from error
    return huey
