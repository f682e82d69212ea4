"""The bytes of messages, a few requests ahead.

    GET /messages/{id}/$value

https://learn.microsoft.com/en-us/graph/outlook-get-mime-message

A request takes some tenths of a second however small the message is, so as many are under way as Graph allows for one
mailbox. Of each no more than ``HELD`` is read before its turn has come, so that a large message is as much memory as a
small one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from itertools import chain
from typing import Final, NamedTuple
from urllib.parse import quote

from appliance.errors import ThrottledError, UnavailableError
from appliance.framing import in_words
from appliance.language import _
from appliance.sources.base import CHUNK, Failed, Fetched, Item
from appliance.sources.breaks import Breaks
from appliance.sources.graph.mailbox import AT_ONCE, Mailbox
from appliance.vendor.web import RefusedError, Stream

HELD: Final = 1024 * 1024
"""Bytes of a message that are held, at most, while it waits for its turn."""
_TRIES: Final = 3
"""Of a message that breaks off before any of it was handed on."""


class _Begun(NamedTuple):
    """A message of which the first bytes are here; ``stream`` has the others, None where that was all."""

    head: bytes
    size: int | None
    stream: Stream | None
    pieces: Iterator[bytes]


class Bodies:
    """Fetches for one session."""

    def __init__(self, mailbox: Mailbox, breaks: Breaks) -> None:
        self._mailbox = mailbox
        self._breaks = breaks
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="graph")

    def close(self) -> None:
        """Ask for nothing more; what is under way ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def fetch(self, items: Sequence[Item]) -> Iterator[Fetched | Failed]:
        """As ``Session.fetch``, in the order of the items. Raises RemoteDeniedError, UnavailableError."""
        left = deque(items)
        ahead: deque[tuple[Item, Future[_Begun | Failed]]] = deque()
        try:
            while left or ahead:
                while left and len(ahead) < AT_ONCE:
                    item = left.popleft()
                    ahead.append((item, self._pool.submit(self._begin, item)))
                item, future = ahead.popleft()
                begun = self._ready(item, future.result())
                if isinstance(begun, Failed):
                    yield begun
                    continue
                try:
                    yield Fetched(item, self._chunks(item, begun), begun.size, exact=False)
                finally:
                    if begun.stream is not None:
                        begun.stream.close()
        finally:
            for _item, future in ahead:
                if not future.cancel():
                    future.add_done_callback(_drop)

    def _ready(self, item: Item, begun: _Begun | Failed) -> _Begun | Failed:
        """A message whose turn has come. While it waited its connection may have ended: that is found out before any of
        it is handed on, as long as it can be asked for again."""
        if isinstance(begun, Failed) or begun.stream is None:
            return begun
        try:
            piece = next(begun.pieces, b"")
        except UnavailableError:
            return self._begin(item)
        return begun._replace(pieces=chain([piece], begun.pieces))

    def _chunks(self, item: Item, begun: _Begun) -> Iterator[bytes]:
        if begun.head:
            yield begun.head
        try:
            yield from begun.pieces
        except UnavailableError:
            self._breaks.add(self._mailbox.user, item.id)
            raise

    def _begin(self, item: Item) -> _Begun | Failed:
        """Ask for a message, and read as much of it as may be held."""
        if self._breaks.too_many(self._mailbox.user, item.id):
            return Failed(item, _("The message broke off each time before all of it had come."))
        broke: UnavailableError | None = None
        for _try in range(_TRIES):
            try:
                stream = self._mailbox.stream(f"/messages/{quote(item.id, safe='')}/$value")
            except RefusedError as error:
                return self._refused(item, error)
            except ThrottledError:
                raise
            except UnavailableError as error:
                return self._out_of_order(item, error)
            try:
                return _read(stream)
            except UnavailableError as error:
                broke = error
        assert broke is not None
        return self._out_of_order(item, broke)

    def _refused(self, item: Item, error: RefusedError) -> Failed:
        """A refusal that is about this one message; any other is raised, in words."""
        said = self._mailbox.in_words(error)
        if said is not error:
            raise said from error
        gone = error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
        return Failed(item, _("It is no longer there.") if gone else in_words(error), gone=gone)

    def _out_of_order(self, item: Item, error: UnavailableError) -> Failed:
        """Large messages and odd ones may never come. Whether it is this one or all of Exchange Online, another
        question tells."""
        if self._mailbox.answers():
            return Failed(item, in_words(error))
        raise error


def _read(stream: Stream) -> _Begun:
    """As much of a message as may be held."""
    pieces = stream.pieces(CHUNK)
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) >= HELD:
            return _Begun(bytes(head), stream.size, stream, pieces)
    return _Begun(bytes(head), len(head), None, pieces)


def _drop(future: Future[_Begun | Failed]) -> None:
    if not future.cancelled() and future.exception() is None:
        begun = future.result()
        if isinstance(begun, _Begun) and begun.stream is not None:
            begun.stream.close()
