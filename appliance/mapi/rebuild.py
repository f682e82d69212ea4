"""From a MAPI item to the RFC 5322 message that it was, or would have been.

    rebuilt = rebuild.message(item, book=book)
    for piece in rebuilt.pieces:
        …

The same item always gives the same bytes: nothing of today goes into them, and boundaries are hashes. Whatever the
item's properties are, what comes out is a message; what of it could not be taken over is said beside it. How it is put
together:

    header     what it came with, completed by properties (``heads``)
    content    signed or encrypted: as it is (``secured``)
               else text in its forms (``bodies``) with the images it refers to, further parts for appointments,
               contacts and the like (``calendars``, ``cards``), the attachments (``attached``)

docs/decisions/0180-what-a-rebuilt-message-is.md says what was weighed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from appliance.mail import charsets
from appliance.mail import text as html_text
from appliance.mapi import attached, bodies, calendars, cards, entity, fields, heads, lenient, reports, secured, tags
from appliance.mapi.attached import Attached
from appliance.mapi.base import AddressBook, Item, ItemError, Kind, Properties
from appliance.mapi.bodies import Bodies
from appliance.mapi.classes import flags, kind
from appliance.mapi.entity import Entity
from appliance.mapi.heads import Header

__all__ = ["NOBODY", "Rebuilt", "kind", "message"]

DEEPEST: Final = 20
"""Items within one another that are rebuilt; what lies deeper is named."""
MOST_ATTACHMENTS: Final = 2_000
MOST_PARTS: Final = 4_000
"""Attachments of an item and of all that is embedded in it: a damaged file may say that an item is within itself."""
_NAMES = {"calendar": "appointment"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rebuilt(NamedTuple):
    """A message made of an item, and what is known of it beside its bytes."""

    pieces: Iterator[bytes]
    """RFC 5322, in pieces of about 256 KiB; read once. May raise ItemError."""
    kind: Kind
    received: int | None = None  # microseconds since 1970-01-01 UTC
    flags: tuple[str, ...] = ()  # of: seen, answered, forwarded, flagged, deleted, draft
    warnings: tuple[str, ...] = ()
    """What of the item could not be taken over, in sentences."""


class _Nobody:
    def smtp(self, exchange: str) -> str:
        del exchange
        return ""


NOBODY: Final[AddressBook] = _Nobody()
"""Knows no addresses, for items that stand alone."""


def message(item: Item, *, book: AddressBook = NOBODY) -> Rebuilt:
    """The item as a message, whatever its kind. Its attachments are read once here, and those that are not small once
    more with the pieces. Raises ItemError."""
    rebuilding = _Rebuilding(book)
    head, content = rebuilding.take(item, 0)
    received = lenient.moment(item.properties, tags.MESSAGE_DELIVERY_TIME)
    return Rebuilt(
        pieces=content.pieces(head),
        kind=kind(item),
        received=(received - _EPOCH) // timedelta(microseconds=1) if received is not None else None,
        flags=flags(item.properties),
        warnings=tuple(dict.fromkeys(rebuilding.warnings)),
    )


class _Rebuilding:
    """One message on its way, with all that is embedded in it."""

    def __init__(self, book: AddressBook) -> None:
        self.warnings: list[str] = []
        self._book = book
        self._memory = attached.Memory()
        self._left = MOST_PARTS

    def take(self, item: Item, depth: int) -> tuple[bytes, Entity]:
        """Header and content of the item's message."""
        header = heads.read(item)
        head = heads.write(item, header, self._book)
        text = bodies.read(item.properties, self.warnings)
        content = secured.read(item, header.content_type, self._memory, has_text=bool(text))
        if content is None:
            content = self._content(item, header, text, self._attachments(item, text, depth))
        elif header.foreign:
            self.warnings.append("Its transport header is another message's; it is left out.")
        self.warnings += (f"{damage[:1].upper()}{damage[1:]}." for damage in item.properties.damaged)
        return head, content

    def _attachments(self, item: Item, text: Bodies, depth: int) -> list[Attached]:
        """The attachments, in their order."""
        shown = text.content_ids()
        found = []
        for attachment in islice(item.attachments, MOST_ATTACHMENTS):
            if self._left <= 0:
                break
            self._left -= 1
            content_id, location = attached.references(attachment.properties)
            inline = content_id.lower() in shown or text.mentions(location)
            found.append(
                attached.read(
                    attachment, partial(self._embedded, depth + 1), self._memory, self.warnings, inline=inline
                )
            )
            self.warnings += (f"{damage[:1].upper()}{damage[1:]}." for damage in attachment.properties.damaged)
        if len(found) < len(item.attachments):
            self.warnings.append(f"Of its {len(item.attachments):,} attachments the first {len(found):,} were taken.")
        return found

    def _embedded(self, depth: int, item: Item) -> Entity:
        if depth > DEEPEST:
            raise ItemError(f"It lies more than {DEEPEST} messages deep.")
        return entity.message(*self.take(item, depth))

    def _content(self, item: Item, header: Header, text: Bodies, parts: list[Attached]) -> Entity:
        if heads.is_journal_report(header, item.properties):
            return _journal_report(text, parts)
        special = self._special(item, text.plain)
        own = _own_text(text, [one.part for one in parts if one.inline and text.html], special)
        rest = [one.part for one in parts if not (one.inline and text.html)]
        if text.rich:
            rest.append(_file(text.rich, "application/rtf", "body.rtf"))
        if special.part is not None and not special.method:
            rest.append(special.part)
        if header.foreign:
            self.warnings.append("Its transport header is another message's; it is attached as transport-headers.txt.")
            rest.append(_foreign(item.properties))
        if reports.is_report(item.properties):
            return reports.wrap(item, own, rest, self._book)
        first = [own] if own is not None else []
        if special.summary and not (special.method and first):
            first.insert(0, entity.text(special.summary))
        return _mixed([*first, *rest], is_file=not first) if first or rest else entity.text("")

    def _special(self, item: Item, text: str) -> _Special:
        """What appointments, contacts and the like have beside their text."""
        what = kind(item)
        if what == "contact":
            card = cards.read(item, text, self._book)
            return _Special(_file(card.vcard, "text/vcard", "contact.vcf"), _lines(card.summary))
        calendar = calendars.read(item, what, text, self._book, self.warnings)
        if calendar is None:
            return _Special()
        if calendar.method:
            part = entity.text(calendar.ical, "calendar", parameters=f"; method={calendar.method}")
        else:
            part = _file(calendar.ical, "text/calendar", f"{_NAMES.get(what, what)}.ics")
        return _Special(part, _lines(calendar.summary), calendar.method)


class _Special(NamedTuple):
    part: Entity | None = None
    summary: str = ""
    method: str = ""


def _own_text(text: Bodies, shown: list[Entity], special: _Special) -> Entity | None:
    """The text, plain first (RFC 2046 section 5.1.4), its HTML with the images that it shows (RFC 2387), and what a
    meeting's request asks (RFC 6047 section 2.4)."""
    forms = []
    if text.plain.strip():
        forms.append(entity.text(text.plain))
    if text.html.strip():
        html = entity.text(text.html, "html", text.charset)
        forms.append(entity.multipart("related", [html, *shown], '; type="text/html"') if shown else html)
    if special.part is not None and special.method:
        forms = [*(forms or [entity.text(special.summary)]), special.part]
    if len(forms) > 1:
        return entity.multipart("alternative", forms)
    return forms[0] if forms else None


def _journal_report(text: Bodies, parts: list[Attached]) -> Entity:
    """A report's envelope as plain text, then the journaled message, as ``mail.journal`` reads it."""
    envelope = text.plain or html_text.from_html(charsets.decode(text.html, text.charset))
    ordered = sorted(parts, key=lambda one: not one.is_message)
    return entity.multipart("mixed", [entity.text(envelope), *(one.part for one in ordered)])


def _mixed(parts: list[Entity], *, is_file: bool) -> Entity:
    """Parts one after the other; an attachment stays one where it is alone."""
    return entity.multipart("mixed", parts) if len(parts) > 1 or is_file else parts[0]


def _file(data: bytes, kind: str, name: str) -> Entity:
    """Bytes that the item has no attachment for."""
    described = fields.parameterised("Content-Type", kind, [("name", name)])
    shown = fields.parameterised("Content-Disposition", "attachment", [("filename", name)])
    return entity.encoded(described, lambda: (data,), data).described(shown)


def _foreign(properties: Properties) -> Entity:
    header = lenient.text(properties, tags.TRANSPORT_MESSAGE_HEADERS)
    return _file(header.encode(), "text/plain", "transport-headers.txt")


def _lines(summary: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{name}: {value}\n" for name, value in summary)
