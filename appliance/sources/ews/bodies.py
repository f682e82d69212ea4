"""The bytes of messages, several to a request.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/getitem-operation

An answer holds its messages one behind the other, in the order in which they were asked for, and each is handed on
while it is read: a large message takes as much memory as a small one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from appliance.errors import UnavailableError
from appliance.framing import in_words
from appliance.language import _, later
from appliance.sources.base import CHUNK, Failed, Fetched, Item
from appliance.sources.breaks import Breaks
from appliance.sources.ews.exchange import FINE, GONE, Exchange, about_all, code
from appliance.sources.ews.soap import Began, Element, item_id

_TOGETHER: Final = 20
_BYTES: Final = 4 * 1024 * 1024
"""How many messages, and of how many bytes together, are asked for at once. Exchange makes an answer ready as a whole,
so that it should not become too large for it; a single message may be of any size."""


def fetch(exchange: Exchange, items: Sequence[Item], breaks: Breaks) -> Iterator[Fetched | Failed]:
    """As ``Session.fetch``, in the order of the items. Raises RemoteDeniedError, UnavailableError."""
    for some in _batches(items):
        wanted = []
        for item in some:
            if breaks.too_many(exchange.whose.account, item.id):
                yield Failed(item, _("The message broke off each time before all of it had come."))
            else:
                wanted.append(item)
        if wanted:
            yield from _Answer(exchange, wanted, breaks).each()


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    some: list[Item] = []
    octets = 0
    for item in items:
        size = _BYTES if item.size is None else item.size
        if some and (len(some) >= _TOGETHER or octets + size > _BYTES):
            yield some
            some, octets = [], 0
        some.append(item)
        octets += size
    if some:
        yield some


class _Answer:
    """An answer to a request for several messages, while it is read."""

    def __init__(self, exchange: Exchange, items: Sequence[Item], breaks: Breaks) -> None:
        self._exchange = exchange
        self._items = items
        self._breaks = breaks
        ids = "".join(item_id(item.id) for item in items)
        self._pieces = exchange.stream(
            "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent>"
            f"</m:ItemShape><m:ItemIds>{ids}</m:ItemIds></m:GetItem>"
        )

    def each(self) -> Iterator[Fetched | Failed]:
        """Each item, once."""
        for item in self._items:
            piece = next(self._pieces, None)
            if isinstance(piece, Began):
                left = self._bytes(item)
                yield Fetched(item, left, exact=False)
                for _rest in left:
                    """What its reader left over; the next message is behind it."""
            elif isinstance(piece, Element):
                yield self._failed(item, piece)
            else:
                raise UnavailableError(_SHORT)
        if next(self._pieces, None) is not None:
            raise UnavailableError(_SHORT)

    def _bytes(self, item: Item) -> Iterator[bytes]:
        """A message's bytes. They count only once Exchange has said whose they were, and that it was all."""
        held = bytearray()
        try:
            for piece in self._pieces:
                if isinstance(piece, Element):
                    self._is_whole(item, piece)
                    if held:
                        yield bytes(held)
                    return
                if isinstance(piece, bytes):
                    held += piece
                if len(held) >= CHUNK:
                    yield bytes(held)
                    held.clear()
            raise UnavailableError(_SHORT)
        except UnavailableError:
            self._breaks.add(self._exchange.whose.account, item.id)
            raise

    def _is_whole(self, item: Item, message: Element) -> None:
        said = next(message.every("ItemId"), None)
        if code(message) != FINE or said is None or said.attributes.get("Id") != item.id:
            raise UnavailableError(
                later("Exchange gave another message than was asked for, or broke off. It is asked for again.")
            )

    def _failed(self, item: Item, message: Element) -> Failed:
        reason = code(message)
        if reason in GONE:
            return Failed(item, _("It is no longer there."), gone=True)
        if about_all(reason):
            raise self._exchange.trouble(message)
        if reason == FINE:
            return Failed(item, _("Exchange gives no content for it."))
        return Failed(item, in_words(self._exchange.in_words(reason, message.said("MessageText"))))


_SHORT = later("Exchange answered with fewer messages than were asked for. They are asked for again.")
