"""One protocol for every kind of file that mail is imported from.

A reader is a function that goes through an open file, from its beginning to its end, always in the same order, and
yields an ``Entry`` for each item that is in it, whatever it is:

    for entry in read(file, "anna.pst", Options()):
        if entry.content is not None:
            for piece in entry.content():
                …

Entries are numbered from 0 by whoever goes through them, so what was dealt with once can be passed over: nothing of an
entry is read before its ``content`` is called. What a reader raises while it makes an entry's content concerns that
entry alone; what it raises in between concerns all that would have come after. Readers run in confined children
(``imports.child``): they may be killed at any moment, and are never trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from appliance.mail.folders import Role
from appliance.mapi.base import ItemError, Kind

__all__ = ["CHUNK", "Entry", "FileError", "Format", "ItemError", "Kind", "Message", "Meta", "Options", "Reader"]

CHUNK = 256 * 1024
"""Bytes of a message that a reader hands over at a time, about."""


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a file is wanted, and what it takes to read it."""

    recovered: bool = False
    """Orphans and what had been deleted, where the format lets that be found."""
    others: bool = False
    """Calendar, contacts, tasks, journal and notes as well, each as a message with an iCalendar or vCard part."""
    password: str = ""
    addresses: bool = False
    """Find out whose each message is: ``Meta.addresses``."""
    code_page: str = ""
    """Of 8-bit text that does not name its own, as Python calls it; empty for what the file says."""

    def __repr__(self) -> str:
        return f"Options(recovered={self.recovered}, others={self.others}, code_page={self.code_page!r})"


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a message beside its bytes, once they have been made."""

    received: int | None = None  # microseconds
    flags: tuple[str, ...] = ()  # as sources.base.Item
    labels: tuple[tuple[str, ...], ...] = ()
    """Further folders that it is in, by path (X-Gmail-Labels); the entry's own is not repeated."""
    exact: bool = True
    """Whether the bytes are those that were received once, or made anew of what the file holds."""
    addresses: tuple[str, ...] = ()
    """Of everybody who sent or got it, normalised: as a journal report's envelope says, else the header. Readers leave
    it empty; ``imports.child`` fills it in where it is asked for."""
    warnings: tuple[str, ...] = ()
    """What of the item could not be taken over, in sentences; the message is archived all the same."""


class Entry(NamedTuple):
    """One item of a file. ``id`` is how the file knows it (a node's number, an offset, a member's name) and never
    changes; exactly one of ``content``, ``left`` and ``broken`` is set."""

    id: str
    folder: tuple[str, ...]
    """Names from the top, decoded, without the file's own."""
    kind: Kind = "mail"
    role: Role = ""
    """Of the folder, where the file says it."""
    content: Callable[[], Message] | None = None
    """Makes the message; may raise ``ItemError``, or anything."""
    left: str = ""
    """Why it is not wanted, in a sentence: it is reported as skipped."""
    broken: str = ""
    """Why it cannot be read, in a sentence: it is reported as failed."""


class Message(NamedTuple):
    """A message's bytes (RFC 5322), in pieces of about ``CHUNK``, and what is known beside."""

    pieces: Iterable[bytes]
    meta: Meta = Meta()


class FileError(Exception):
    """A file, or the rest of it, cannot be read; its text says why and what to do, in a sentence or two."""


class Reader(Protocol):
    """Goes through a file. ``name`` is the file's, without folders; it is for recognising formats by their ending, and
    for words. Raises FileError before the first entry where it is no such file, needs a password, is encrypted."""

    def __call__(self, file: BinaryIO, name: str, options: Options) -> Iterator[Entry]: ...


class Format(NamedTuple):
    """A kind of file. ``recognises`` gets the first 4,096 bytes and the name."""

    name: str
    title: str
    recognises: Callable[[bytes, str], bool]
    read: Reader
