"""Places: where mail that was fetched or imported lay, in whose mailbox and in which folder. Pure.

Fetched mail belongs to the archives that its places name, not to the people that its header names. Places are
records of their own in the log (type ``place``, some places each): a message that is found in several folders, or in
several people's mailboxes, is stored once and has several places. Projecting is independent of their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from appliance import decoding
from appliance.errors import DamageError
from appliance.mail.folders import Role

IMPORTS_MAILBOX: Final = bytes(15) + b"\x01"
"""The mailbox of the log that takes what is fetched and imported, with its places; no mail comes in to it."""

SOURCES = frozenset({"sync", "import"})
"""Values of ``Provenance.source`` of messages whose owners are those of their places."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """That a message lay in a folder.

    ``record`` is the message's record, in the same mailbox of the log as this one; ``archive`` the user whose archive
    it belongs to. ``account`` and ``item`` are the source's own names for the mailbox and for the message in the
    folder; ``flags`` as ``sources.base.Item`` has them; ``at`` is when this was found, in microseconds.
    """

    record: bytes  # 16
    archive: str
    folder: tuple[str, ...]  # names from the top, decoded
    role: Role = ""
    profile: str = ""
    account: str = ""
    item: str = ""
    flags: tuple[str, ...] = ()
    at: int = 0


_encoder = msgspec.msgpack.Encoder()


def encode(places: Sequence[Place]) -> bytes:
    """The original of a record of type ``place``: a MessagePack array of maps."""
    return _encoder.encode(places)


def decode(raw: bytes) -> tuple[Place, ...]:
    """Reverse of ``encode``. Raises DamageError."""
    try:
        places = decoding.from_msgpack(raw, tuple[Place, ...])
    except msgspec.DecodeError as error:
        raise DamageError("Places in the log cannot be read.") from error
    if any(len(one.record) != 16 for one in places):
        raise DamageError("A place in the log names no record.")
    return places
