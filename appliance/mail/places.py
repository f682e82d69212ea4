"""Places: where mail that was fetched or imported lay, in whose mailbox and in which folder. Pure.

Fetched mail belongs to the archives that its places name, not to the people that its header names. A place is a record
of its own in the log (type ``place``): a message that is found in several folders, or in several people's mailboxes, is
stored once and has several places. Projecting is independent of their order.
"""

from __future__ import annotations

import msgspec

from appliance import decoding
from appliance.errors import DamageError
from appliance.mail.folders import Role

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


def encode(place: Place) -> bytes:
    """The original of a record of type ``place``: a MessagePack map."""
    return _encoder.encode(place)


def decode(raw: bytes) -> Place:
    """Reverse of ``encode``. Raises DamageError."""
    try:
        place = decoding.from_msgpack(raw, Place)
    except msgspec.DecodeError as error:
        raise DamageError("A place in the log cannot be read.") from error
    if len(place.record) != 16:
        raise DamageError("A place in the log names no record.")
    return place
