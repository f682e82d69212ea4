"""The parent's side: a pool of confined children that read mail, so that no message can harm who asks for it.

One thread keeps all children busy over non-blocking sockets. It also starts them, because a child dies with the
thread that started it. Each child has a few jobs waiting in its socket, so it never idles between two; the time
limit runs for the first of them. A child that dies or exceeds it is replaced, the job it was on is tried again
with less ambition (``_FALLBACKS``), the others as they were. A job always ends in a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future
from types import TracebackType

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.extract.protocol import Answer, Content, Described, Job, Kind, Ready, Sanitised
from appliance.extract.worker import Task, Worker
from appliance.mail.facts import MessageFacts, Reading

_log = logging.getLogger(__name__)

MEMORY = 1536 * 1024 * 1024  # address space of a child, bytes; a 150 MB message needs about a third of it
ATTACHMENT_SECONDS = 20.0  # for the attachments of one message together
_MOST_FAILED_STARTS = 5
_WAITING_JOBS = 8  # sent ahead to one child …
_WAITING_BYTES = 4 * 1024 * 1024  # … as long as they are no more than this

_FALLBACKS: dict[Kind, Kind | None] = {
    "describe": "describe-without-attachments",
    "list": "describe-without-attachments",
    "describe-without-attachments": "describe-head",
    "describe-head": None,
    "sanitise": None,
    "contents": None,
}
_NOTHING_SHOWN = Sanitised(
    "<p>The HTML of this message could not be made safe to show. Its text and the original are there.</p>"
)
_UNREADABLE = "Reading it took more time or memory than any message may; it is kept as it came."


class ExtractPool:
    """Children that describe and sanitise messages. Close it, or use it in a ``with``."""

    def __init__(self, workers: int = 2, memory: int = MEMORY, seconds: float = ATTACHMENT_SECONDS) -> None:
        self._memory = memory
        self._seconds = seconds
        self._queue: deque[Task] = deque()
        self._lock = threading.Lock()
        self._closing = False
        self._wake_out, self._wake_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._workers = [Worker() for _ in range(workers)]
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0
        self._thread = threading.Thread(target=self._run, name="extract-pool", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Jobs to have under way so that no child waits."""
        return len(self._workers) * _WAITING_JOBS

    def describe(self, raw: bytes, *, attachments: bool = True) -> Future[Described]:
        """Read a received message: what it is, its facts, its fingerprints; with ``attachments`` also their text.

        The future always gets a Described; what cannot be read within the limits is "unparsed" with empty facts.
        UnavailableError only if no child can be started at all.
        """
        future: Future[Described] = Future()
        kind: Kind = "describe" if attachments else "list"
        self._add(Task(Job(kind, seconds=self._seconds), raw, future))
        return future

    def sanitise(self, raw: bytes, *, cid_base: str, remote: bool = False) -> Future[Sanitised]:
        """The HTML of an original made safe to show; its text where it has no HTML.

        Pictures inside the message get the address ``cid_base`` + part number.
        """
        future: Future[Sanitised] = Future()
        self._add(Task(Job("sanitise", remote=remote, cid_base=cid_base), raw, future))
        return future

    def contents(self, raw: bytes, parts: Collection[int]) -> Future[tuple[Content, ...]]:
        """Attachments that lie in a message's TNEF parts, by their numbers; those that cannot be had are left out."""
        future: Future[tuple[Content, ...]] = Future()
        self._add(Task(Job("contents", seconds=self._seconds, parts=tuple(parts)), raw, future))
        return future

    def close(self) -> None:
        """End all children; jobs that are not finished are cancelled."""
        with self._lock:
            self._closing = True
        self._wake()
        self._thread.join()

    def __enter__(self) -> ExtractPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, task: Task) -> None:
        with self._lock:
            if self._closing:
                raise UnavailableError("The reader of mail has been stopped; nothing is lost. Try again shortly.")
            self._queue.append(task)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_in, b"\0")

    # -- the pool's own thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        self._selector.register(self._wake_out, selectors.EVENT_READ, None)
        try:
            while not self._closing:
                for worker in self._workers:
                    self._tend(worker)
                for key, events in self._selector.select(self._patience()):
                    if key.data is None:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_out, 4096)
                    else:
                        self._exchange(key.data, events)
        finally:
            self._end()

    def _tend(self, worker: Worker) -> None:
        """Start, refill or replace one worker."""
        if worker.is_late(time.monotonic()):
            self._replace(worker)
        if worker.process is None and self._queue:
            self._start(worker)
        if worker.ready:
            self._refill(worker)

    def _refill(self, worker: Worker) -> None:
        while len(worker.tasks) < _WAITING_JOBS and worker.waiting_bytes < _WAITING_BYTES:
            with self._lock:
                # A job is worth more to a child that has none than to one that has some waiting.
                if not self._queue or (worker.tasks and self._idle_elsewhere(worker)):
                    break
                task = self._queue.popleft()
            if task.started or task.future.set_running_or_notify_cancel():
                task.started = True
                worker.send(task)
        self._watch(worker)

    def _idle_elsewhere(self, worker: Worker) -> bool:
        return any(other is not worker and other.ready and not other.tasks for other in self._workers)

    def _patience(self) -> float | None:
        deadlines = [worker.deadline for worker in self._workers if worker.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) + 0.01 if deadlines else None

    def _start(self, worker: Worker) -> None:
        try:
            worker.start(self._memory)
        except OSError as error:
            _log.warning("no process for reading mail can be started: %s", error.strerror)
            self._start_failed()
            return
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _start_failed(self) -> None:
        self._failed_starts += 1
        if self._failed_starts < _MOST_FAILED_STARTS:
            return
        self._failed_starts = 0
        with self._lock:
            waiting, self._queue = self._queue, deque()
        error = UnavailableError("The processes that read mail cannot be started. Received mail is safe and waits.")
        for task in waiting:
            if task.started or task.future.set_running_or_notify_cancel():
                task.future.set_exception(error)

    def _watch(self, worker: Worker) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outgoing else 0)
        if self._selector.get_key(worker.channel).events != events:
            self._selector.modify(worker.channel, events, worker)

    def _exchange(self, worker: Worker, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                worker.write()
            alive = not events & selectors.EVENT_READ or worker.receive()
        except OSError:
            alive = False
        for frame in worker.frames():
            self._take(worker, frame)
        if worker.retiring:
            self._replace(worker, guilty=False)
        elif not alive:
            self._replace(worker)
        else:
            self._watch(worker)

    def _take(self, worker: Worker, frame: bytes) -> None:
        if not worker.ready:
            ready = decoding.from_msgpack(frame, Ready)
            self._failed_starts = 0
            if not (ready.filesystem and ready.network):
                _log.warning("this kernel confines readers of mail only in part: %s", ready)
            worker.ready = True
            worker.restart_clock()
            return
        answer = _ANSWERS.decode(frame)
        worker.retiring = answer.retiring
        task = worker.tasks.popleft()
        worker.restart_clock()
        result = next((one for one in (answer.described, answer.sanitised, answer.contents) if one is not None), None)
        if result is None:
            self._try_again(task)
        else:
            task.future.set_result(result)

    def _try_again(self, task: Task) -> None:
        """Put a job that failed back with less ambition, or finish it with what can be said without reading."""
        kind = _FALLBACKS[task.job.kind]
        if kind is not None:
            task.job = msgspec.structs.replace(task.job, kind=kind)
            with self._lock:
                self._queue.appendleft(task)
        elif task.job.kind == "sanitise":
            task.future.set_result(_NOTHING_SHOWN)
        elif task.job.kind == "contents":
            task.future.set_result(())
        else:
            task.future.set_result(_unparsed(task.raw))

    def _replace(self, worker: Worker, guilty: bool = True) -> None:
        """Give up a child; the job it was on is suspect, what waited behind it is not."""
        was_ready = worker.ready
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(worker.channel)
        tasks = worker.stop()
        suspect = tasks.pop(0) if guilty and tasks else None
        with self._lock:
            self._queue.extendleft(reversed(tasks))
        if suspect is not None:
            self._try_again(suspect)
        elif guilty and not was_ready:
            self._start_failed()

    def _end(self) -> None:
        tasks = [task for worker in self._workers for task in worker.stop()]
        with self._lock:
            tasks.extend(self._queue)
            self._queue.clear()
        for task in tasks:
            if task.started:
                task.future.set_exception(UnavailableError("The reader of mail was stopped; nothing is lost."))
            else:
                task.future.cancel()
        self._selector.close()
        os.close(self._wake_out)
        os.close(self._wake_in)


_ANSWERS = msgspec.msgpack.Decoder(Answer)


def _unparsed(raw: bytes) -> Described:
    fingerprint = hashlib.sha256(raw).digest()
    reading = Reading("unparsed", original=(0, len(raw)), reason=_UNREADABLE)
    facts = MessageFacts(size=len(raw), identity=fingerprint, defects=("could not be read",))
    return Described(reading, facts, fingerprint, fingerprint)
