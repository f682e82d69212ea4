"""How far a program has listed a mailbox, as text that it keeps: positions in the log, which never move.

Each writer's volumes are numbered without a gap, and grow at their ends only. So it is enough to know up to which
number a writer's volumes are finished and listed, and how far those beyond are. A mailbox has few of the latter: the
one that each writer has open, and what came after it.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from appliance import decoding
from appliance.errors import UsageError

_VERSION = 1


class WriterPosition(msgspec.Struct, frozen=True, array_like=True):
    """``done``: this volume and all before it are listed. ``listed``: offset of the last listed record of others."""

    done: int = 0
    listed: dict[int, int] = {}


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The position in one mailbox."""

    version: int
    mailbox: bytes
    writers: dict[str, WriterPosition] = {}

    def position(self, writer: str, sequence: int) -> int | None:
        """Offset of the last listed record of a volume, 0 for none; None where all of it is listed."""
        found = self.writers.get(writer, _NOWHERE)
        return None if sequence <= found.done else found.listed.get(sequence, 0)

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")


_NOWHERE = WriterPosition()


def beginning(mailbox: bytes) -> Cursor:
    """Before the first message."""
    return Cursor(_VERSION, mailbox)


def parse(text: str, mailbox: bytes) -> Cursor:
    """What ``str`` made. Raises UsageError for anything else, and for another mailbox's cursor."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = decoding.from_msgpack(raw, Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise UsageError("That is no cursor of this archive. Leave it out to begin with the oldest message.") from error
    if cursor.version != _VERSION or cursor.mailbox != mailbox:
        raise UsageError("That cursor belongs to another mailbox or to another version of mailkeep.")
    return cursor
