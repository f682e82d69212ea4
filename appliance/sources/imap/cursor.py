"""What is remembered of a folder between two runs: up to where it was read, and what was in it then."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.decoding import from_msgpack
from appliance.language import later
from appliance.sources.base import CursorLostError

FLAGS: Final = (b"SEEN", b"ANSWERED", b"FLAGGED", b"DELETED", b"DRAFT")


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Everything below ``next`` was handed over: ``known`` are the UIDs that were there, ``count`` how many.

    ``modseq`` is the HIGHESTMODSEQ up to which flags were told; 0 where the server keeps none (RFC 7162): then
    ``flags`` are the UIDs that have each of ``FLAGS``. Sets are ``GrowingUids.codes``.
    """

    validity: int
    next: int
    count: int
    known: tuple[bytes, ...]
    modseq: int = 0
    flags: tuple[tuple[bytes, ...], ...] = ()

    def encode(self) -> bytes:
        """As bytes."""
        return msgspec.msgpack.encode(self)


def decode(data: bytes) -> Cursor:
    """What ``encode`` gave. Raises CursorLostError for anything else."""
    try:
        return from_msgpack(data, Cursor)
    except msgspec.DecodeError as error:
        raise unreadable() from error


def unreadable() -> CursorLostError:
    """The error for a cursor that is none."""
    return CursorLostError(later("What was remembered of a folder cannot be read; it is read anew."))


def item_id(validity: int, uid: int) -> str:
    """A message's id: a UID means nothing without the UIDVALIDITY that it belongs to (RFC 9051, section 2.3.1.1)."""
    return f"{validity}:{uid}"


def uid_of(id: str, validity: int) -> int | None:
    """The UID in an id of this UIDVALIDITY; None for an id of another time."""
    first, _, second = id.partition(":")
    return int(second) if first == str(validity) and second.isdecimal() else None
