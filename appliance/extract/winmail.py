"""Messages with what their TNEF parts hold (winmail.dat), as if that had been attached to the message itself.

Outlook and Exchange put formatted text and attachments into one part that only they read. It is opened by making the
message anew that it tells of (``outlook``). The leaves of that message are counted on after those of the message around
it, so what is attached in winmail.dat has a number like any other attachment. The original stays as it is, and so does
what makes two originals the same message: ``MessageFacts.identity`` is of the part, not of what is in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec

from appliance.extract import outlook
from appliance.extract.protocol import Content
from appliance.mail import message, mime
from appliance.mail.facts import Attachment, MessageFacts

LARGEST = 128 * 1024 * 1024
"""Decoded bytes of a part that is opened."""

_TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_BEGINNING = 512  # encoded bytes that are looked at to recognise a part


class Inner(NamedTuple):
    """The message that a TNEF part tells of."""

    within: int
    """Number of the part."""
    first: int
    """Number of its first leaf."""
    raw: bytes
    whole: bool
    """Whether all that could be read of the part is in it; else the part is shown as well."""


def opened(raw: bytes, facts: MessageFacts) -> tuple[MessageFacts, tuple[Inner, ...]]:
    """The facts with what the message's TNEF parts hold, and those parts' own messages.

    The text in a part becomes the message's where that has none; else it is that attachment's, for searching. A part
    that cannot be opened stays an attachment like any other.
    """
    found = tuple(_inners(raw, facts))
    for one in found:
        facts = _merged(facts, one)
    return facts, found


def html(raw: bytes) -> message.Html | None:
    """The HTML of the message's own text, else of the first TNEF part that has any."""
    own = message.html(raw)
    if own is not None:
        return own
    for one in _inners(raw, message.read(raw)):
        within = message.html(one.raw)
        if within is not None:
            return message.Html(within.text, {name: one.first + number for name, number in within.parts.items()})
    return None


def contents(raw: bytes, numbers: Collection[int]) -> tuple[Content, ...]:
    """Attachments within TNEF parts by their numbers; those that are not there are left out."""
    found = []
    for one in _inners(raw, message.read(raw)):
        count = len(message.leaves(one.raw))
        for number in sorted(number for number in set(numbers) if one.first <= number < one.first + count):
            about, content = message.part(one.raw, number - one.first)
            found.append(Content(_moved(about, one), content))
    return tuple(found)


def _inners(raw: bytes, facts: MessageFacts) -> Iterator[Inner]:
    candidates = [one.part for one in facts.attachments if _may_be(one)]
    if not candidates:
        return
    leaves = message.leaves(raw)
    first = len(leaves)
    for number in candidates:
        made = _made(raw, leaves[number])
        if made is not None:
            yield Inner(number, first, *made)
            first += len(message.leaves(made.raw))


def _may_be(one: Attachment) -> bool:
    """Whether it is worth looking into: servers on the way take type and name away, and make "ATT00001.dat" of it."""
    if one.content_type == "application/octet-stream":
        return "." not in one.name or one.name.lower().endswith((".dat", ".tnef"))
    return one.content_type in _TYPES


def _made(raw: bytes, part: mime.Part) -> outlook.Made | None:
    """The message in a part; None where the part is no TNEF stream, or one that cannot be read."""
    beginning = msgspec.structs.replace(part, end=min(part.end, part.body + _BEGINNING))
    if not mime.decoded(raw, beginning).startswith(outlook.TNEF_SIGNATURE) or part.end - part.body > LARGEST * 3 // 2:
        return None
    try:
        return outlook.from_tnef(mime.decoded(raw, part))
    except Exception:  # parsers of other people's formats raise everything there is
        return None


def _merged(facts: MessageFacts, inner: Inner) -> MessageFacts:
    within = message.read(inner.raw)
    said = within.text if _says_more(within.text, facts.text) else ""
    as_body = said if not facts.text else ""
    attachments = [
        _opened(one, inner, "" if as_body else said) if one.part == inner.within else one for one in facts.attachments
    ]
    attachments += [_moved(one, inner) for one in within.attachments]
    return msgspec.structs.replace(
        facts,
        text=facts.text or as_body,
        has_html=facts.has_html or within.has_html,
        attachments=tuple(attachments),
    )


def _opened(one: Attachment, inner: Inner, text: str) -> Attachment:
    """The part itself, which stands among the attachments no more than a picture in the text does."""
    return msgspec.structs.replace(one, inline=inner.whole, text=text, text_status="ok" if text else "empty")


def _moved(one: Attachment, inner: Inner) -> Attachment:
    return msgspec.structs.replace(one, part=inner.first + one.part, within=inner.within)


def _says_more(text: str, than: str) -> bool:
    """Whether a text is more than a part of another, blanks aside."""
    return "".join(text.split()) not in "".join(than.split())
