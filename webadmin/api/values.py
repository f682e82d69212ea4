"""What the API takes and gives, as JSON. The document's schemas are made from these."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.services import api

MOST_LISTED = 1000
MOST_ACKNOWLEDGED = 10_000

MessageId = Annotated[
    str, Meta(pattern="^[0-9a-f]{32}$", description="The message's name for ever; the same as its POP3 UIDL.")
]
Cursor = Annotated[str, Meta(description="A position in the mailbox, as a page gave it. Opaque; never expires.")]


class Message(msgspec.Struct, frozen=True):
    """A message that can be fetched."""

    id: MessageId
    received_at: datetime


class Page(msgspec.Struct, frozen=True):
    """Messages in the order in which they were received, and the cursor behind the last."""

    messages: tuple[Message, ...]
    cursor: Cursor
    more: Annotated[bool, Meta(description="There are messages behind the cursor now.")]


class Acknowledgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the program has stored safely. ``ids`` are erased where the mailbox deletes after pulling; ``cursor`` is
    kept for the token, so that a list without a cursor begins behind it."""

    ids: Annotated[tuple[MessageId, ...], Meta(max_length=MOST_ACKNOWLEDGED)] = ()
    cursor: Cursor = ""


class Acknowledged(msgspec.Struct, frozen=True):
    """How many messages were erased, and the cursor that is kept, if one was given."""

    erased: int
    cursor: Cursor


class Problem(msgspec.Struct, frozen=True):
    """What went wrong: a code that stays, and a sentence for a person."""

    code: str
    message: str


def page_of(found: api.PullPage) -> Page:
    """A page as the API gives it."""
    return Page(
        tuple(Message(one.id, datetime.fromtimestamp(one.received_at / 1e6, UTC)) for one in found.messages),
        found.cursor,
        found.more,
    )
