"""An open mailbox behind one session: what it held when the reader came in, and its messages' octets.

``Visit`` blocks and runs in threads; ``Reader`` is its face on the event loop. Messages up to ``LARGEST_WHOLE`` octets
are opened in batches ahead of a client that takes them one after the other; larger ones go out as they are opened,
in bounded memory, after they have been opened once from end to end: a reply that has begun cannot be taken back.

A session holds at most two batches and what measuring has left open, each of 2 MiB and one message more, and what its
connection has not sent yet: 12 MiB.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from functools import partial
from typing import Final, Protocol, TypeVar

from appliance.errors import DamageError, NotFoundError, StorageError
from appliance.pull.maildrop import UNKNOWN, Maildrop
from appliance.store.reader import LogReader, Record
from gateway.pop3.octets import Beginning, Stuffer, octets_of, whole

log = logging.getLogger(__name__)

LARGEST_WHOLE: Final = 1024 * 1024
"""Octets of a message that is held in memory."""

_DAMAGED: Final = -2
"""In place of the size of a message that does not open."""
_BATCH_OCTETS: Final = 2 * 1024 * 1024
_BATCH_MESSAGES: Final = 128
_KEPT_OCTETS: Final = 2 * 1024 * 1024
"""Of the messages that were opened to be measured, so many octets stay open for whoever asks for them next."""
_MEASURE_SECONDS: Final = 0.05

T = TypeVar("T")


class UnreadableError(Exception):
    """One message cannot be given; the others can. ``for_good`` where trying again will not help."""

    def __init__(self, *, for_good: bool) -> None:
        super().__init__()
        self.for_good = for_good


Loaded = dict[int, bytes | UnreadableError | None]
"""By number the response to RETR behind its first line, None for a message that is to be streamed, or what is wrong."""


class Opened(Protocol):
    """A mailbox whose private key somebody holds for us until ``close`` (``keys.agent_client.OpenedMailbox``)."""

    @property
    def grant(self) -> str:
        """What proves to the archiver that the mailbox is open here."""
        ...

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The data key sealed in a volume's header (``store.reader.KeyOpener``)."""
        ...

    def close(self) -> None:
        """Have the private key forgotten."""
        ...


class Visit:
    """The messages, numbered from 0. Methods block; one at a time."""

    def __init__(self, drop: Maildrop, reader: LogReader) -> None:
        self.drop = drop
        self._reader = reader
        self._kept: dict[int, bytes] = {}
        self._room = _KEPT_OCTETS

    def __len__(self) -> int:
        return len(self.drop)

    def uid(self, number: int) -> str:
        """The message's name for ever (RFC 1939, UIDL): its record id as 32 hex digits."""
        return self.drop.record_id(number).hex()

    def octets(self, number: int) -> int:
        """The size that LIST tells; for a message that does not open, what it takes on the disk."""
        size = self.drop.size(number)
        return size if size >= 0 else self.drop.ref(number).length

    def is_measured(self, number: int) -> bool:
        """Whether ``octets`` says the truth already."""
        return self.drop.size(number) != UNKNOWN

    def measure(self, first: int, seconds: float = _MEASURE_SECONDS) -> int:
        """Measure from ``first`` on for some time; the first message that was not. Raises MailkeepError."""
        deadline = time.monotonic() + seconds
        for start in range(first, len(self), _BATCH_MESSAGES):
            numbers = range(start, min(start + _BATCH_MESSAGES, len(self)))
            with closing(self._open([number for number in numbers if not self.is_measured(number)])) as opened:
                for number, found in opened:
                    if isinstance(found, bytes) and self._room > 0:
                        self._kept[number] = found
                        self._room -= len(found)
                    if time.monotonic() > deadline:
                        return number + 1
        return len(self)

    def measure_one(self, number: int) -> None:
        """Open the message from end to end. Raises MailkeepError only where no message can be opened."""
        length, tail = 0, b""
        try:
            for piece in self._reader.stream(self.drop.ref(number)):
                length += len(piece)
                tail = (tail + piece[-2:])[-2:]
        except (DamageError, NotFoundError, StorageError) as error:
            self._failed(number, error)
        else:
            self.drop.set_size(number, octets_of(length, tail))

    def load_batch(self, first: int, octets: int, messages: int) -> Loaded:
        """Messages from ``first`` on, up to the limits; at least one. Raises MailkeepError where none can be opened."""
        loaded: Loaded = {}
        with closing(self._open(range(first, min(first + messages, len(self))))) as opened:
            for number, found in opened:
                loaded[number] = response = whole(found) if isinstance(found, bytes) else found
                octets -= len(response) if isinstance(response, bytes) else self.octets(number)
                if octets <= 0:
                    break
        return loaded

    def top(self, number: int, lines: int) -> bytes | None:
        """The response to TOP behind its first line, or None for a message that is to be streamed.

        Raises UnreadableError, and MailkeepError where no message can be opened.
        """
        ((_, found),) = self._open((number,))
        if isinstance(found, UnreadableError):
            raise found
        return None if found is None else whole(Beginning(lines).feed(found))

    def pieces(self, number: int) -> Generator[bytes, None, None]:
        """The message's own octets as they are opened. Raises UnreadableError before or between them."""
        try:
            yield from self._reader.stream(self.drop.ref(number))
        except (DamageError, NotFoundError, StorageError) as error:
            raise _unreadable(error) from error

    def _open(self, numbers: Sequence[int]) -> Generator[tuple[int, bytes | UnreadableError | None], None, None]:
        """Messages in this order, each with its number: the original, why it cannot be had, or None for one that is
        to be streamed. What was not measured is now. Raises MailkeepError where no message can be opened."""
        together = {number for number in numbers if number not in self._kept and self._may_be_small(number)}
        refs = [self.drop.ref(number) for number in numbers if number in together]
        with closing(self._reader.read_each(refs, LARGEST_WHOLE)) as records:
            for number in numbers:
                if number in self._kept:
                    yield number, self._kept.pop(number)
                    continue
                record = next(records) if number in together else None
                if record is None:
                    yield number, self._open_alone(number)
                elif isinstance(record, Record):
                    if not self.is_measured(number):
                        self.drop.set_size(number, octets_of(len(record.original), record.original[-2:]))
                    yield number, record.original
                else:
                    yield number, self._failed(number, record)

    def _may_be_small(self, number: int) -> bool:
        size = self.drop.size(number)
        return size == UNKNOWN or 0 <= size <= LARGEST_WHOLE

    def _open_alone(self, number: int) -> bytes | UnreadableError | None:
        """As ``_open``, for what is large, damaged, or neither known before it has been opened."""
        if not self.is_measured(number):
            self.measure_one(number)
        size = self.drop.size(number)
        if size < 0:
            return UnreadableError(for_good=size == _DAMAGED)
        if size > LARGEST_WHOLE:
            return None
        try:
            return self._reader.read(self.drop.ref(number)).original
        except (DamageError, NotFoundError, StorageError) as error:
            return _unreadable(error)

    def _failed(self, number: int, error: DamageError | NotFoundError | StorageError) -> UnreadableError:
        unreadable = _unreadable(error)
        if unreadable.for_good and not self.is_measured(number):
            self.drop.set_size(number, _DAMAGED)
        return unreadable


class Reader:
    """A visit as a session uses it; ``executor`` is where the work is done."""

    def __init__(self, visit: Visit, executor: Executor) -> None:
        self.visit = visit
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._busy = threading.Lock()
        self._ready: Loaded = {}
        self._last = -1
        self._next = 0  # the first message behind the last batch
        self._batch = 1
        self._ahead: asyncio.Future[Loaded] | None = None

    async def measure(self, goes_on: Callable[[], bool]) -> None:
        """Return when all sizes are known; earlier when ``goes_on`` says that nobody waits for them."""
        first = 0
        while first < len(self.visit) and goes_on():
            first = await self._do(partial(self.visit.measure, first))

    async def total(self, left_out: bytearray) -> int:
        """Octets of all messages whose mark in ``left_out`` is 0."""
        octets = self.visit.octets
        return await self._do(lambda: sum(octets(number) for number, mark in enumerate(left_out) if not mark))

    async def measure_one(self, number: int) -> None:
        """Return when this one's size is known."""
        if not self.visit.is_measured(number):
            await self._do(partial(self.visit.measure_one, number))

    async def response(self, number: int) -> bytes | None:
        """The response to RETR behind its first line, or None for a message that is to be streamed.

        While a client takes one message after the other, the next ones are opened meanwhile. Raises UnreadableError,
        and MailkeepError where no message can be opened.
        """
        in_turn, self._last = number == self._last + 1, number
        if number not in self._ready and self._ahead is not None:
            await self._take_ahead()
        if number not in self._ready:
            self._batch = self._batch if in_turn else 1
            self._ready = await self._do(partial(self.visit.load_batch, number, _BATCH_OCTETS, self._batch))
            self._next = max(self._ready) + 1
        found = self._ready.pop(number)
        if in_turn and self._ahead is None and len(self._ready) <= self._batch // 2 and self._next < len(self.visit):
            self._batch = min(self._batch * 2, _BATCH_MESSAGES)
            work = partial(self.visit.load_batch, self._next, _BATCH_OCTETS, self._batch)
            self._ahead = asyncio.ensure_future(self._do(work))
        if isinstance(found, UnreadableError):
            raise found
        return found

    async def top(self, number: int, lines: int) -> bytes | None:
        """``Visit.top``."""
        return await self._do(partial(self.visit.top, number, lines))

    async def stuffed(self, number: int, beginning: Beginning | None = None) -> AsyncGenerator[bytes, None]:
        """The response to RETR, or TOP, in pieces. Raises UnreadableError, before the first piece or between two."""
        stuffer = Stuffer()
        pieces = self.visit.pieces(number)
        try:
            while piece := await self._do(partial(next, pieces, b"")):
                yield stuffer.feed(piece if beginning is None else beginning.feed(piece))
                if beginning is not None and beginning.complete:
                    break
            yield stuffer.finish()
        finally:
            await self._do(pieces.close)

    async def close(self) -> None:
        """Return when nothing is at work for this reader any more."""
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            self._ahead.exception()  # nobody else will ask for it
        self._ready.clear()

    async def _take_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._ready = await ahead  # what is left of the batch before was passed over
            self._next = max(self._ready) + 1

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._executor, self._alone, work)

    def _alone(self, work: Callable[[], T]) -> T:
        with self._busy:
            return work()


def _unreadable(error: DamageError | NotFoundError | StorageError) -> UnreadableError:
    """Trouble with one message."""
    if isinstance(error, StorageError):
        log.error("a message cannot be given now: %s", error.message)
    else:
        log.error("a message cannot be given: %s", error.message)
    return UnreadableError(for_good=not isinstance(error, StorageError))
