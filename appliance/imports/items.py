"""MAPI items as entries of a file: which of them are wanted, and the message that is made of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.imports.base import Entry, Kind, Message, Meta, Options
from appliance.mapi import rebuild
from appliance.mapi.base import AddressBook, Item

_LEFT: Final[dict[Kind, str]] = {
    "calendar": "It is an appointment, and only mail is wanted.",
    "contact": "It is a contact, and only mail is wanted.",
    "task": "It is a task, and only mail is wanted.",
    "journal": "It is an entry of a journal, and only mail is wanted.",
    "note": "It is a note, and only mail is wanted.",
    "other": "It is neither mail nor anything else that is known, and only mail is wanted.",
}


def left(kind: Kind, options: Options) -> str:
    """Why an item of that kind is not wanted, "" where it is."""
    return "" if options.others else _LEFT.get(kind, "")


def entry(id: str, open_item: Callable[[], Item], options: Options) -> Entry:
    """The entry of a file that is one item. It is opened to see what it is, and once more for its content.

    Raises ItemError where it cannot be opened.
    """
    kind = rebuild.kind(open_item())
    why = left(kind, options)
    return Entry(id, (), kind, content=None if why else lambda: message(open_item()), left=why)


def message(item: Item, *, book: AddressBook = rebuild.NOBODY) -> Message:
    """The message that the item was, made anew. Raises ItemError."""
    made = rebuild.message(item, book=book)
    return Message(made.pieces, Meta(received=made.received, flags=made.flags, exact=False, warnings=made.warnings))
