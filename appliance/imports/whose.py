"""What a message's own header says of it that its file did not: when it was sent, and whose it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from appliance.imports.base import Message
from appliance.mail import headers, journal, message
from appliance.mail.facts import Provenance

LOOKED_AT: Final = 8 * 1024 * 1024
"""Bytes from the beginning of a message in which its addresses are looked for: the header is there, and so is a journal
report's envelope, which comes before the message that it encloses."""
_HEAD: Final = 64 * 1024
_DATE = re.compile(rb"^date[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE | re.MULTILINE)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LATEST: Final = 4_102_444_800  # the year 2100: what a clock says that was never set


def completed(imported: Message, *, addresses: bool) -> Message:
    """The same message, with the date of its header where its file does not say when it was received, and, with
    ``addresses``, everybody who sent or got it."""
    meta = imported.meta
    if meta.received is not None and not addresses:
        return imported
    pieces = iter(imported.pieces)
    head = _beginning(pieces, LOOKED_AT if addresses else _HEAD)
    if meta.received is None:
        meta = msgspec.structs.replace(meta, received=date_of(head))
    if addresses:
        meta = msgspec.structs.replace(meta, addresses=addresses_of(head))
    return Message(_again(head, pieces), meta)


def addresses_of(raw: bytes) -> tuple[str, ...]:
    """Who sent or got a message, normalised: by a journal report's envelope, else by the header. Never raises."""
    reading = journal.read(raw)
    facts = message.read_head(journal.original(raw, reading))
    return journal.owners_addresses(reading, facts, Provenance())


def date_of(raw: bytes) -> int | None:
    """The date of a message's header in microseconds; None where there is none that can be true."""
    end = _BLANK_LINE.search(raw, 0, _HEAD)
    found = _DATE.search(raw, 0, end.start() if end else _HEAD)
    seconds = headers.date(found[1]) if found else None
    return seconds * 1_000_000 if seconds is not None and 0 < seconds < _LATEST else None


def _beginning(pieces: Iterator[bytes], count: int) -> bytes:
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= count:
            break
    return bytes(held)


def _again(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest
