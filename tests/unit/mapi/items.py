"""Items for tests, out of plain dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from appliance.mapi import rebuild, tags
from appliance.mapi.base import AddressBook, Item, ItemError, Properties, Value
from appliance.mapi.tags import Key

MOMENT = datetime(2024, 5, 3, 9, 30, 15, tzinfo=UTC)


@dataclass(frozen=True)
class Bag:
    """Properties by their numbers and names."""

    values: Mapping[Key, object]
    damaged: Sequence[str] = ()

    def get(self, id: int) -> Value | None:
        return self.values.get(id)  # type: ignore[return-value]

    def named(self, set: UUID, name: int | str) -> Value | None:
        return self.values.get((set, name))  # type: ignore[return-value]


@dataclass(frozen=True)
class File:
    """An attachment, by value or an item."""

    values: Mapping[Key, object]
    data: bytes = b""
    embedded: Item | None = None
    breaks_at: int | None = None
    pieces_of: int = 1000

    @property
    def properties(self) -> Properties:
        return Bag(self.values)

    def pieces(self) -> Iterator[bytes]:
        end = len(self.data) if self.breaks_at is None else self.breaks_at
        for at in range(0, end, self.pieces_of):
            yield self.data[at : min(at + self.pieces_of, end)]
        if self.breaks_at is not None:
            raise ItemError("A block of it is missing.")

    def item(self) -> Item | None:
        return self.embedded


@dataclass(frozen=True)
class Made:
    """An item."""

    values: Mapping[Key, object]
    people: Sequence[Mapping[Key, object]] = ()
    attachments: Sequence[File] = ()
    damaged: Sequence[str] = field(default=())

    @property
    def properties(self) -> Properties:
        return Bag(self.values, self.damaged)

    @property
    def recipients(self) -> Sequence[Properties]:
        return [Bag(one) for one in self.people]


@dataclass(frozen=True)
class Book:
    """An address book."""

    known: Mapping[str, str]

    def smtp(self, exchange: str) -> str:
        return self.known.get(exchange, "")


def sent(**changed: object) -> dict[Key, object]:
    """Properties of a mail that Outlook sent, with others in their place by their names in ``tags``."""
    values: dict[Key, object] = {
        tags.MESSAGE_CLASS: "IPM.Note",
        tags.SUBJECT: "The offer",
        tags.BODY: "Dear Ben,\r\n\r\nhere it is.\r\n",
        tags.CLIENT_SUBMIT_TIME: MOMENT,
        tags.SENDER_NAME: "Anna Bauer",
        tags.SENDER_ADDRESS_TYPE: "SMTP",
        tags.SENDER_EMAIL_ADDRESS: "anna@example.com",
        tags.SENT_REPRESENTING_NAME: "Anna Bauer",
        tags.SENT_REPRESENTING_ADDRESS_TYPE: "SMTP",
        tags.SENT_REPRESENTING_EMAIL_ADDRESS: "anna@example.com",
        tags.INTERNET_MESSAGE_ID: "<1@example.com>",
        tags.MESSAGE_FLAGS: 1,
    }
    return {**values, **{getattr(tags, name): value for name, value in changed.items()}}


def person(address: str, name: str = "", kind: int = 1) -> dict[Key, object]:
    """A row of the recipient table; kind 1 is To, 2 Cc, 3 Bcc."""
    return {
        tags.RECIPIENT_TYPE: kind,
        tags.ADDRESS_TYPE: "SMTP",
        tags.EMAIL_ADDRESS: address,
        tags.DISPLAY_NAME: name or address,
    }


def exchange(name: str, address: str, kind: int = 1, **more: object) -> dict[Key, object]:
    """A row of somebody whom Exchange knows by a name of its own."""
    row: dict[Key, object] = {
        tags.RECIPIENT_TYPE: kind,
        tags.ADDRESS_TYPE: "EX",
        tags.EMAIL_ADDRESS: address,
        tags.DISPLAY_NAME: name,
    }
    return {**row, **{getattr(tags, key): value for key, value in more.items()}}


def by_value(name: str, data: bytes, **more: object) -> File:
    """An attached file."""
    values: dict[Key, object] = {tags.ATTACH_METHOD: 1, tags.ATTACH_LONG_FILENAME: name}
    return File({**values, **{getattr(tags, key): value for key, value in more.items()}}, data)


def raw(item: Item, book: AddressBook = rebuild.NOBODY) -> bytes:
    """The bytes of the item's message."""
    return b"".join(rebuild.message(item, book=book).pieces)
