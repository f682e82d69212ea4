"""From the octets of one message to a reply: sealed into every mailbox addressed, durable, then 250.

A message is held in memory until it is complete and handed to the log in one piece. One that outgrows
``STREAM_FROM``, or arrives when all messages together hold ``BUDGET``, goes into the log as it arrives (a
stream), and its client is read no faster than the disk takes it. Streams never wait for the budget, so
that messages that wait for one another cannot stop each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol

from appliance.errors import DiskFullError, StorageError
from appliance.mail.facts import Provenance
from appliance.store.refs import RecordRef
from gateway.counters import Counters
from gateway.smtp.handler import Reply

log = logging.getLogger(__name__)

STREAM_FROM = 8 * 1024 * 1024
"""Octets from which a message is streamed."""
BUDGET = 128 * 1024 * 1024
"""Octets that all incomplete messages of a worker may hold before the next to grow is streamed."""
STREAMS = 64
"""Streams at a time; a stream holds a compressor, a frame and what is on the way to it: about 4 MiB."""
_QUEUED = 1024 * 1024  # octets that wait for a stream before its client is paused
_STREAM_THREADS = 8
_SMALL = 1024  # octets; smaller pieces are gathered, so that tiny packets do not cost an object each
_GATHER = 64 * 1024

_DISK_FULL = "452 4.3.1 There is no room for mail just now, try again later"
_FAILED = "451 4.3.0 The message could not be stored just now, try again later"


class StreamingRecord(Protocol):
    """A record that is written as it arrives; its methods block."""

    def write(self, octets: bytes) -> object: ...
    def commit(self) -> RecordRef: ...
    def abort(self) -> None: ...


class Log(Protocol):
    """The part of ``appliance.store.writer.LogWriter`` that taking mail in needs."""

    def append(
        self, mailbox_id: bytes, public_key: bytes, original: bytes, provenance: Provenance
    ) -> Future[RecordRef]: ...

    def stream(self, mailbox_id: bytes, public_key: bytes, provenance: Provenance) -> StreamingRecord: ...


class Target(NamedTuple):
    """One mailbox that a message goes to, with what is stored beside it there."""

    mailbox_id: bytes
    public_key: bytes
    provenance: Provenance


class Client(Protocol):
    """Whoever sends: can be told to wait."""

    def pause_content(self) -> None: ...
    def resume_content(self) -> None: ...


class Intake:
    """What all messages of a worker share: the log, the budget, the threads of the streams."""

    def __init__(self, writer: Log, loop: asyncio.AbstractEventLoop, counters: Counters) -> None:
        self.writer = writer
        self.loop = loop
        self.counters = counters
        self.held = 0
        self._threads = ThreadPoolExecutor(_STREAM_THREADS, thread_name_prefix="stream")
        self._streams = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._done: deque[Callable[[], None]] = deque()
        self._woken = False

    def receive(self, client: Client, targets: Sequence[Target], size_limit: int) -> IncomingMessage:
        """Where the octets of a message for ``targets`` go."""
        return IncomingMessage(self, client, targets, size_limit)

    def close(self) -> None:
        """Let the threads finish what they are at; what is still streamed then, the log aborts when it closes."""
        self._threads.shutdown(wait=True)

    # -- for messages ------------------------------------------------------------------------------------

    def soon(self, action: Callable[[], None]) -> None:
        """Run ``action`` on the loop; called from any thread. One wake-up serves all that come together."""
        self._done.append(action)
        if not self._woken:
            self._woken = True
            self.loop.call_soon_threadsafe(self._run_done)

    def in_thread(self, work: Callable[[], object]) -> None:
        """Run ``work`` in a thread; after ``close``, not at all."""
        with contextlib.suppress(RuntimeError):
            self._threads.submit(work)

    def take_streams(self, count: int, ready: Callable[[], None]) -> None:
        """Call ``ready``, now or later, when ``count`` streams may be opened; first come, first served."""
        self._waiting.append((min(count, STREAMS), ready))
        self._admit()

    def give_streams(self, count: int) -> None:
        """Streams that ``take_streams`` granted are closed."""
        self._streams -= min(count, STREAMS)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._streams + self._waiting[0][0] <= STREAMS:
            count, ready = self._waiting.popleft()
            self._streams += count
            ready()

    def _run_done(self) -> None:
        # Cleared before the deque is emptied: who appends after that wakes the loop once more than needed
        # at worst.
        self._woken = False
        while self._done:
            try:
                self._done.popleft()()
            except Exception:
                log.exception("a message's end could not be handled")


class IncomingMessage:
    """One message on its way in (a ``gateway.smtp.handler.Content``); used on the loop only."""

    def __init__(self, intake: Intake, client: Client, targets: Sequence[Target], size_limit: int) -> None:
        self._intake = intake
        self._client = client
        self._targets = targets
        self._size_limit = size_limit
        self._size = 0
        self._pieces: list[bytes] = []
        self._held = 0
        self._reply: Reply | None = None
        self._refusal: str | None = None
        self._reason = ""
        self._aborted = False
        self._stream: _Stream | None = None
        self._missing = 0  # mailboxes that the log has not answered for
        self._record_id = b""
        self._error: BaseException | None = None

    @property
    def refusal(self) -> str | None:
        """The reply if the message is lost already, else None."""
        return self._refusal

    def write(self, octets: bytes) -> None:
        """More of the message."""
        self._size += len(octets)
        if self._refusal is not None:
            return
        if self._size > self._size_limit:
            self._fail(f"552 5.3.4 Larger than {self._size_limit} octets", "too-big")
            return
        self._hold(octets)
        if self._stream is not None:
            self._stream.wake()
        elif self._held > STREAM_FROM or self._intake.held > BUDGET:
            self._stream = _Stream(self._intake, self, self._targets)

    def finish(self, reply: Reply) -> None:
        """The message is complete; ``reply`` follows when every mailbox has it, or one could not."""
        self._reply = reply
        if self._refusal is not None:
            self._intake.loop.call_soon(self._say, self._refusal)
        elif self._stream is not None:
            self._stream.end()
        else:
            self._append()

    def abort(self) -> None:
        """The client is gone or changed its mind."""
        self._aborted = True
        self._drop()

    # -- in one piece ------------------------------------------------------------------------------------

    def _append(self) -> None:
        original = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = [original]
        self._missing = len(self._targets)
        for target in self._targets:
            try:
                future = self._intake.writer.append(target.mailbox_id, target.public_key, original, target.provenance)
            except Exception as error:
                future = Future()
                future.set_exception(error)
            future.add_done_callback(self._appended)

    def _appended(self, future: Future[RecordRef]) -> None:
        self._intake.soon(partial(self._one_done, future))

    def _one_done(self, future: Future[RecordRef]) -> None:
        error = future.exception()
        if error is None:
            self._record_id = self._record_id or future.result().record_id
        else:
            self._error = self._error or error
        self._missing -= 1
        if self._missing == 0:
            self.settled(self._record_id, self._error)

    # -- what becomes of it ------------------------------------------------------------------------------

    def settled(self, record_id: bytes, error: BaseException | None) -> None:
        """Durable everywhere, or failed somewhere: then the client sends it again, and what is doubled is
        found."""
        if error is not None:
            self.failed(error)
            if self._reply is not None:
                self._say(self._refusal or _FAILED)
            return
        self._drop()
        self._intake.counters.accept(self._size, time.time_ns() // 1000)
        if self._reply is not None:
            self._say(f"250 2.0.0 {record_id.hex()} archived")

    def failed(self, error: BaseException) -> None:
        """The log did not take it."""
        if isinstance(error, DiskFullError):
            self._fail(_DISK_FULL, "disk-full")
        else:
            if not isinstance(error, StorageError):
                log.error("message of %d octets not stored", self._size, exc_info=error)
            self._fail(_FAILED, "storage")

    def take_pieces(self) -> list[bytes]:
        """What is held and waits for the stream."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def release(self, octets: int) -> None:
        """So many octets have left memory."""
        self._held -= octets
        self._intake.held -= octets

    @property
    def held(self) -> int:
        """Octets of this message in memory."""
        return self._held

    @property
    def client(self) -> Client:
        """Who sends it."""
        return self._client

    @property
    def aborted(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._aborted

    def _hold(self, octets: bytes) -> None:
        if len(octets) < _SMALL and self._pieces and len(self._pieces[-1]) < _GATHER:
            self._pieces[-1] += octets
        else:
            self._pieces.append(octets)
        self._held += len(octets)
        self._intake.held += len(octets)

    def _fail(self, reply: str, reason: str) -> None:
        if self._refusal is None:
            self._refusal = reply
            self._intake.counters.turn_away(reply, reason)
        self._drop()

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
        self._pieces = []
        self.release(self._held)

    def _say(self, reply: str) -> None:
        if not self._aborted and self._reply is not None:
            self._reply(reply)


class _Stream:
    """The records that one large message is written to as it arrives: one thread's work at a time, in
    order."""

    def __init__(self, intake: Intake, message: IncomingMessage, targets: Sequence[Target]) -> None:
        self._intake = intake
        self._message = message
        self._targets = targets
        self._records: list[StreamingRecord] = []
        self._admitted = False
        self._running = False
        self._ended = False
        self._cancelled = False
        self._closed = False
        self._paused = True
        message.client.pause_content()
        intake.take_streams(len(targets), self._admit)

    def wake(self) -> None:
        """There is more to write."""
        if not self._paused and self._message.held > _QUEUED:
            self._paused = True
            self._message.client.pause_content()
        self._work()

    def end(self) -> None:
        """What is held now is the rest of the message."""
        self._ended = True
        self._work()

    def cancel(self) -> None:
        """Leave nothing of the message behind; the rest of it is not written."""
        if not self._cancelled and not self._closed:
            self._cancelled = True
            # Not at once: the client may be in the middle of handing us octets.
            self._intake.loop.call_soon(self._resume)
            self._work()

    def _admit(self) -> None:
        self._admitted = True
        self._work()

    def _work(self) -> None:
        if self._running or self._closed or not self._admitted:
            return
        if self._cancelled:
            self._close()
            self._intake.in_thread(self._abort_records)
            return
        pieces = self._message.take_pieces()
        if pieces:
            self._start(partial(self._write_records, pieces), partial(self._written, sum(map(len, pieces))))
        elif self._ended:
            self._start(self._commit_records, self._committed)

    def _start(self, work: Callable[[], bytes], then: Callable[[bytes, Exception | None], None]) -> None:
        self._running = True
        self._intake.in_thread(partial(self._run, work, then))

    def _written(self, octets: int, _nothing: bytes, error: Exception | None) -> None:
        self._running = False
        if error is not None and not self._cancelled:
            self._message.settled(b"", error)
        if not self._cancelled:
            self._message.release(octets)
            if self._message.held <= _QUEUED:
                self._resume()
        self._work()

    def _committed(self, record_id: bytes, error: Exception | None) -> None:
        self._running = False
        if error is None:
            self._close()
        self._message.settled(record_id, error)
        self._work()

    def _resume(self) -> None:
        if self._paused and not self._message.aborted:
            self._paused = False
            self._message.client.resume_content()

    def _close(self) -> None:
        self._closed = True
        self._intake.give_streams(len(self._targets))

    # -- in a thread -------------------------------------------------------------------------------------

    def _run(self, work: Callable[[], bytes], then: Callable[[bytes, Exception | None], None]) -> None:
        try:
            result, error = work(), None
        except Exception as problem:
            result, error = b"", problem
        self._intake.soon(partial(then, result, error))

    def _write_records(self, pieces: list[bytes]) -> bytes:
        if not self._records:
            for target in self._targets:
                self._records.append(
                    self._intake.writer.stream(target.mailbox_id, target.public_key, target.provenance)
                )
        for piece in pieces:
            for record in self._records:
                record.write(piece)
        return b""

    def _commit_records(self) -> bytes:
        first = b""
        while self._records:
            reference = self._records[0].commit()
            first = first or reference.record_id
            del self._records[0]
        return first

    def _abort_records(self) -> None:
        for record in self._records:
            try:
                record.abort()
            except Exception:
                log.exception("a record that was given up could not be removed")
        self._records = []
