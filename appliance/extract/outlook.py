"""What Outlook writes instead of mail, as mail: the message that a TNEF stream (winmail.dat) or an MSG file holds."""

from __future__ import annotations

import io
from typing import NamedTuple

from appliance.mapi import tnef
from appliance.mapi.base import Item
from appliance.mapi.msg import open_msg

TNEF_SIGNATURE = tnef.SIGNATURE
MSG_MARK = "__properties_version1.0".encode("utf-16-le")
"""A name that is in every MSG file and in no other compound file (MS-OXMSG section 2.4)."""


class Made(NamedTuple):
    """A message (RFC 5322), and whether all is in it that it was made of."""

    raw: bytes
    whole: bool


def from_tnef(data: bytes) -> Made:
    """The message that a TNEF stream tells of. Raises ItemError."""
    return _message(tnef.open_tnef(data))


def from_msg(data: bytes) -> Made:
    """The message that an MSG file holds. Raises ItemError."""
    return _message(open_msg(io.BytesIO(data)))


def _message(item: Item) -> Made:
    from appliance.mapi import rebuild  # with all that it takes to make calendars and cards, which few mails need

    rebuilt = rebuild.message(item)
    return Made(b"".join(rebuilt.pieces), not rebuilt.warnings)
