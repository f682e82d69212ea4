"""The header of a message that is made of an item: what it came with, completed by what its properties say.

The transport header (PidTagTransportMessageHeaders) is the base wherever there is one: each of its fields is kept in
its place, but those of the MIME structure, which is made anew. Fields that it lacks come from properties. Where it
belongs to another message (Outlook leaves such ones on what was forwarded or saved anew), all comes from properties,
and the caller keeps the header as an attachment. Nothing is made up: an item without a Message-ID gives a message
without one (docs/decisions/0180-what-a-rebuilt-message-is.md).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import NamedTuple

from appliance.mail import addresses, headers, mime
from appliance.mapi import fields, lenient, people, tags
from appliance.mapi.base import AddressBook, Item, Properties

_STRUCTURE = frozenset(
    {
        b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id", b"content-location",
        b"content-description", b"content-md5", b"content-length", b"mime-version",
    }
)  # fmt: skip
_PEOPLE = frozenset(
    {
        b"from", b"sender", b"to", b"cc", b"bcc", b"reply-to", b"return-path", b"delivered-to", b"resent-from",
        b"resent-to", b"resent-cc", b"resent-bcc", b"resent-sender", b"disposition-notification-to",
    }
)  # fmt: skip
_REPORTS = frozenset({b"x-ms-journal-report", b"x-wm-journal-report"})
_LONGEST = 4 * 1024 * 1024  # characters of a header that are read
_FIELD_LINE = re.compile(r"[!-9;-~]+[ \t]*:")
_PREFIX = re.compile(r"^(?:\s*[^\s:\[\]]{1,12}(?:\[\d+\])?\s*:)+")
_IMPORTANCE = {0: "low", 2: "high"}
_SENSITIVITY = {1: "Personal", 2: "Private", 3: "Company-Confidential"}


class Header(NamedTuple):
    """A transport header that was read."""

    kept: tuple[tuple[bytes, bytes], ...]
    """Fields in order, without those of the MIME structure: name, and value as it was."""
    content_type: bytes = b""
    """The value of its Content-Type: what the message's content was when it came."""
    foreign: bool = False
    """It belongs to another message."""

    def has(self, name: bytes) -> bool:
        """Whether there is such a field that says something; ``name`` in lower case."""
        return any(key.lower() == name and value.strip() for key, value in self.kept)

    def first(self, name: bytes) -> bytes:
        """The first value of a field, b"" where there is none; ``name`` in lower case."""
        return next((value for key, value in self.kept if key.lower() == name), b"")


def read(item: Item) -> Header:
    """The item's transport header, and whether it is its own."""
    text = lenient.text(item.properties, tags.TRANSPORT_MESSAGE_HEADERS)[:_LONGEST]
    if not text.strip():
        return Header(())
    raw = _mended(text).encode()
    head = mime.read_head(raw, 0, len(raw))
    kept = tuple(field for field in head.fields if field[0].lower() not in _STRUCTURE)
    header = Header(kept, head.first(b"content-type") or b"")
    return header._replace(foreign=_is_foreign(header, item.properties))


def write(item: Item, header: Header, book: AddressBook) -> bytes:
    """All fields but those of the MIME structure, each with its line end."""
    own = Header(()) if header.foreign else header
    added = {name.lower().encode(): written for name, written in _from_properties(item, own, book) if written}
    said = {name.lower() for name, value in own.kept if value.strip()}
    kept = [_written(name, value) for name, value in own.kept if name.lower() in said or name.lower() not in added]
    lacking = [written for name, written in added.items() if name not in said]
    return b"".join([*kept, *lacking, b"MIME-Version: 1.0\r\n"])


def is_journal_report(header: Header, properties: Properties) -> bool:
    """Whether the message is one (MS-XJRNL section 2.1; only its outermost header can say so)."""
    marked = any(name.lower() in _REPORTS for name, _ in header.kept) and not header.foreign
    return marked or lenient.get(properties, tags.JOURNAL_REPORT_HEADER) is not None


def subject(properties: Properties) -> str:
    """The subject. Outlook stores the length of its prefix in two characters before it (MS-PST section 2.5.3.1.1.1)."""
    written = lenient.text(properties, tags.SUBJECT)
    if written[:1] == "\x01":
        written = written[2:]
    if not written:
        written = lenient.text(properties, tags.SUBJECT_PREFIX) + lenient.text(properties, tags.NORMALIZED_SUBJECT)
    return written.strip()


def _mended(text: str) -> str:
    """The lines up to the first empty one, after what Exchange puts before them; a line that is none of a field goes
    on with the one before it."""
    lines: list[str] = []
    for line in text.lstrip("\r\n").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line.strip(" \t"):
            if lines:
                break
        elif _FIELD_LINE.match(line) or (lines and line[0] in " \t"):
            lines.append(line)
        elif lines:
            lines.append(f" {line}")
    return "".join(f"{line}\r\n" for line in lines) + "\r\n"


def _is_foreign(header: Header, properties: Properties) -> bool:
    """Whether Message-ID and subject, or without a Message-ID subject and sender, are another message's.

    One of them alone proves nothing: people rename the mail that they keep, and gateways rewrite Message-IDs.
    """
    if not header.kept:
        return False
    known = headers.message_ids(lenient.text(properties, tags.INTERNET_MESSAGE_ID).encode())
    said = headers.message_ids(header.first(b"message-id"))
    if known and said:
        return known[0] != said[0] and _other_subject(header, properties)
    named = addresses.normalise(lenient.text(properties, tags.SENT_REPRESENTING_SMTP_ADDRESS))
    sender = addresses.parse(header.first(b"from"))
    other = bool(named and sender and sender[0].address and sender[0].address != named)
    return other and _other_subject(header, properties)


def _other_subject(header: Header, properties: Properties) -> bool:
    ours = _bare(subject(properties))
    theirs = _bare(headers.text(header.first(b"subject")))
    return bool(ours and theirs and ours not in theirs and theirs not in ours)


def _bare(subject: str) -> str:
    return "".join(_PREFIX.sub("", subject).split()).casefold()


def _written(name: bytes, value: bytes) -> bytes:
    """A field as it was; what has 8-bit text in it, which no header may have, with that text encoded (RFC 2047)."""
    if value.isascii():
        return fields.raw(name, value)
    label = name.decode("ascii")
    if name.lower() in _PEOPLE:
        found = addresses.parse(value)
        if found and all(fields.is_address(one.address) for one in found):
            return fields.mailboxes(label, found)
    return fields.unstructured(label, headers.text(value))


def _from_properties(item: Item, own: Header, book: AddressBook) -> Iterator[tuple[str, bytes]]:
    """What the properties say, whether it is needed or not; some of it only where there is no header at all, as
    Outlook makes these properties up for what comes without such fields."""
    properties = item.properties
    yield from _people(item, own, book)
    moment = lenient.moment(
        properties,
        tags.CLIENT_SUBMIT_TIME,
        tags.MESSAGE_DELIVERY_TIME,
        tags.LAST_MODIFICATION_TIME,
        tags.CREATION_TIME,
    )
    yield "Date", fields.date("Date", moment) if moment else b""
    yield "Subject", _free("Subject", subject(properties))
    yield "Message-ID", _ids("Message-ID", lenient.text(properties, tags.INTERNET_MESSAGE_ID)[:998])
    yield "In-Reply-To", _ids("In-Reply-To", lenient.text(properties, tags.IN_REPLY_TO_ID)[:998])
    yield "References", _ids("References", lenient.text(properties, tags.INTERNET_REFERENCES))
    if not own.kept:
        yield "Thread-Topic", _free("Thread-Topic", lenient.text(properties, tags.CONVERSATION_TOPIC))
        index = base64.b64encode(lenient.data(properties, tags.CONVERSATION_INDEX)[:600]).decode()
        yield "Thread-Index", fields.structured("Thread-Index", index) if index else b""
        yield "X-Message-Flag", _free("X-Message-Flag", lenient.text(properties, tags.FLAG_REQUEST))
    yield from _manner(properties)
    if lenient.get(properties, tags.JOURNAL_REPORT_HEADER) is not None:
        yield "X-MS-Journal-Report", b"X-MS-Journal-Report:\r\n"


def _people(item: Item, own: Header, book: AddressBook) -> Iterator[tuple[str, bytes]]:
    listed = own.has(b"to") or own.has(b"cc")
    if listed and own.has(b"from") and not _may_have_bcc(item.properties):
        return  # nobody is lacking, and to read all recipients takes time
    found = people.of(item, book)
    yield "Bcc", fields.mailboxes("Bcc", found.bcc)
    if not listed:
        yield "To", fields.mailboxes("To", found.to)
        yield "Cc", fields.mailboxes("Cc", found.cc)
    if own.has(b"from"):
        return
    yield "From", fields.mailboxes("From", found.from_)
    yield "Sender", fields.mailboxes("Sender", found.sender)
    yield "Reply-To", fields.mailboxes("Reply-To", found.reply_to)
    if lenient.present(item.properties, tags.READ_RECEIPT_REQUESTED):
        yield "Disposition-Notification-To", fields.mailboxes("Disposition-Notification-To", found.from_)


def _may_have_bcc(properties: Properties) -> bool:
    """Whether the names that the store keeps of all recipients (MS-OXCMSG section 2.2.1.9) say so, or say nothing."""
    shown = lenient.first_text(properties, tags.DISPLAY_TO, tags.DISPLAY_CC)
    return not shown or bool(lenient.text(properties, tags.DISPLAY_BCC))


def _manner(properties: Properties) -> Iterator[tuple[str, bytes]]:
    yield "Importance", _free("Importance", _IMPORTANCE.get(lenient.number(properties, tags.IMPORTANCE, 1), ""))
    yield "Sensitivity", _free("Sensitivity", _SENSITIVITY.get(lenient.number(properties, tags.SENSITIVITY), ""))
    yield "Keywords", _free("Keywords", ", ".join(lenient.texts(properties, tags.KEYWORDS)))


def _free(name: str, value: str) -> bytes:
    return fields.unstructured(name, value) if value.strip() else b""


def _ids(name: str, value: str) -> bytes:
    """Message identifiers in their brackets, one after the other."""
    found = [one for one in headers.message_ids(value.encode()) if len(one) < 900]
    return fields.structured(name, " ".join(f"<{one}>" for one in found)) if found else b""
