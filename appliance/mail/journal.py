"""Journal reports: what received bytes are, who the envelope names, and where the original lies in them.

MS-XJRNL section 2.1 (Envelope-Part) and Exchange 2007's report, which Exchange 2010 to 2019 and Exchange Online
still write; reports returned in a non-delivery report; plain copies. Only the outermost header makes a report:
a message that carries such a header inside is mail about journaling, or a forgery.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from appliance.mail import addresses, charsets, headers, mime, places
from appliance.mail.facts import (
    JournalRecipient,
    JournalReport,
    MessageFacts,
    Provenance,
    Reading,
    RecipientKind,
)

MOST_RECIPIENTS = 50_000
LARGEST_ENVELOPE = 16 * 1024 * 1024  # bytes of report text; 50,000 recipients take about 4 MB

_REPORT_FIELDS = frozenset({b"x-ms-journal-report", b"x-wm-journal-report"})
_EXCHANGE_2003_FIELDS = frozenset({b"content-identifier", b"content-identifer"})  # the second is how it writes it
_MESSAGES = frozenset({"message/rfc822", "message/global"})
_ENCLOSING = _MESSAGES | {"application/octet-stream"}
_DELIVERY_FIELDS = frozenset(
    {b"to", b"cc", b"bcc", b"delivered-to", b"x-envelope-to", b"x-original-to", b"x-gm-original-to"}
)
_KINDS: dict[str, RecipientKind] = {"to": "to", "cc": "cc", "bcc": "bcc", "recipient": "recipient"}

_LINE = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9-]{0,40})[ \t]*:(.*)", re.DOTALL)
_REDIRECTED = re.compile(r",\s*(expanded|forwarded)\s*:", re.IGNORECASE)

_NO_STRUCTURE = "It says it is a journal report, but does not consist of an envelope and the journaled message."
_NO_ENVELOPE = "It says it is a journal report, but its envelope names neither a sender nor a recipient."
_HEADERS_ONLY = "It is a journal report that came back with its header alone: the journaled message is not in it."
_EXCHANGE_2003 = "It is an Exchange 2003 journal report, a form that is kept whole and not taken apart."


def read(raw: bytes) -> Reading:
    """How to understand received bytes. Never raises; what claims to be a report and cannot be read as one is
    "unparsed" (with the recipients that could be made out), everything else "plain"."""
    head = mime.read_head(raw, mime.message_start(raw), len(raw))
    if _is_report(head):
        return _read_report(raw, 0, len(raw))
    if _is_exchange_2003(head):
        return _unparsed(raw, _EXCHANGE_2003, 0, len(raw))
    value = head.first(b"content-type")
    if value is not None and headers.media_type(value)[0] == "multipart/report":
        returned = _returned_report(raw, head)
        if returned is not None:
            return returned
    return Reading("plain", original=(0, len(raw)))


def original(raw: bytes, reading: Reading) -> bytes:
    """The journaled message's bytes, exactly as they were enclosed."""
    if reading.original is None:
        return reading.decoded_original
    start, end = reading.original
    return raw if (start, end) == (0, len(raw)) else raw[start:end]


def readable(raw: bytes, reading: Reading) -> bytes:
    """The form of the journaled message that can be read: Exchange's decrypted copy of a protected one, else the
    original. Both are kept; this is the one to search in and to show."""
    if not reading.extra:
        return original(raw, reading)
    start, end = reading.extra[0]
    return raw[start:end]


def owners_addresses(reading: Reading, facts: MessageFacts, provenance: Provenance) -> tuple[str, ...]:
    """The addresses whose owners get this message: normalised, each once, in order of appearance.

    A report's envelope decides alone, as the header may say anything; a group that was expanded owns nothing.
    Without a report the envelope that the mail came with and every address of its header count. Mail that was fetched
    or imported belongs to those in whose folders it lay, whoever it names; beside them to the holders of the addresses
    that its import has named, if any.
    """
    if provenance.source in places.SOURCES:
        return provenance.belongs_to
    found: list[str] = []
    if reading.report is not None:
        found += [reading.report.sender, reading.report.on_behalf_of]
        for recipient in reading.report.recipients:
            found += [recipient.address, recipient.forwarded]
    if reading.kind != "journal":
        found += [provenance.mail_from, *provenance.rcpt_to, *_header_addresses(facts)]
    elif provenance.mail_from:
        # A real non-delivery report has the null reverse-path (RFC 3464 section 2). Otherwise somebody may have
        # dressed a mail up as one, and those it went to must not lose it.
        found += reading.outer
    normalised = (addresses.normalise(address) for address in found if address)
    return tuple(dict.fromkeys(address for address in normalised if "@" in address))


def _header_addresses(facts: MessageFacts) -> Iterable[str]:
    for group in (facts.from_, facts.sender, facts.to, facts.cc, facts.bcc):
        for mailbox in group:
            yield mailbox.address
    yield from facts.delivered


def _is_report(head: mime.Head) -> bool:
    return any(name.lower() in _REPORT_FIELDS for name, _ in head.fields)


def _is_exchange_2003(head: mime.Head) -> bool:
    return any(
        name.lower() in _EXCHANGE_2003_FIELDS and headers.text(value).lower() == "exjournalreport"
        for name, value in head.fields
    )


def _read_report(raw: bytes, start: int, end: int) -> Reading:
    """Read ``raw[start:end]``, whose header says that it is a report."""
    head = mime.read_head(raw, mime.message_start(raw, start), end)
    parts = [mime.leaf(raw, *section) for section in _sections(raw, head, end)]
    enclosed = [part for part in parts[1:] if part.content_type in _MESSAGES]
    if not enclosed or not parts[0].content_type.startswith("text/"):
        return _unparsed(raw, _NO_STRUCTURE, start, end)
    envelope = parts[0]
    report = read_envelope(_text(raw, envelope))
    if not report.sender and not report.recipients:
        return _unparsed(raw, _NO_ENVELOPE, start, end)
    message, *others = enclosed
    extra = tuple((part.body, part.end) for part in others)
    if message.encoding:  # RFC 2046 section 5.2.1 forbids it, some relays do it
        return Reading("journal", report=report, decoded_original=mime.decoded(raw, message), extra=extra)
    return Reading("journal", report=report, original=(message.body, message.end), extra=extra)


def _sections(raw: bytes, head: mime.Head, end: int) -> list[tuple[int, int]]:
    """The report's parts as places.

    Exchange writes the closing boundary last, so the last one counts, and a boundary line between counts only
    where an enclosed message begins: lines inside the journaled message cannot cut it short.
    """
    value = head.first(b"content-type")
    content_type, parameters = headers.media_type(value or b"")
    boundary = mime.boundary_of(parameters, value or b"")
    if not content_type.startswith("multipart/") or not boundary:
        return []
    lines = mime.delimiters(raw, head.body, end, boundary)
    last_closing = max((index for index, line in enumerate(lines) if line.closing), default=len(lines))
    stop = lines[last_closing].before if last_closing < len(lines) else end
    begins = [line for line in lines[:last_closing] if not line.closing]
    if not begins:
        return []
    kept = begins[:2] + [line for line in begins[2:] if _encloses_message(raw, line.after, stop)]
    ends = [line.before for line in kept[1:]] + [stop]
    return [(line.after, max(line.after, before)) for line, before in zip(kept, ends, strict=True)]


def _encloses_message(raw: bytes, start: int, end: int) -> bool:
    value = mime.read_head(raw, start, end).first(b"content-type")
    return value is not None and headers.media_type(value)[0] in _MESSAGES


def _text(raw: bytes, part: mime.Part) -> str:
    bounded = msgspec.structs.replace(part, end=min(part.end, part.body + LARGEST_ENVELOPE))
    return charsets.decode(mime.decoded(raw, bounded), part.parameters.get("charset", "utf-8"))


def read_envelope(text: str) -> JournalReport:
    """Read the report's text: fields in any order and letter case, unknown ones left out, one line a recipient."""
    single: dict[str, str] = {}
    recipients: dict[JournalRecipient, None] = {}
    listing = False  # Exchange 2003 writes "Recipients:" and then one mailbox a line
    for line in _unfolded(text):
        match = _LINE.match(line)
        name, value = (match[1].lower(), match[2].strip()) if match else ("", line)
        if len(recipients) >= MOST_RECIPIENTS:
            break
        if name in _KINDS:
            recipients[_recipient(_KINDS[name], value)] = None
        elif name == "recipients" or (listing and not name and "@" in value):
            listing = True
            for mailbox in addresses.parse(value.encode()):
                recipients[JournalRecipient(mailbox.address)] = None
        elif name:
            listing = False
            single.setdefault(name, value)
    return JournalReport(
        sender=_address(single.get("sender", "")),
        on_behalf_of=_address(single.get("on-behalf-of", "")),
        subject=single.get("subject", ""),
        message_id=single.get("message-id", "").strip("<>")[:998],
        label=single.get("label", ""),
        mailbox=_address(single.get("mailbox", "")),
        sent=single.get("sentutc", ""),
        received=single.get("receivedutc", ""),
        recipients=tuple(recipient for recipient in recipients if recipient.address),
    )


def _unfolded(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line[:1] in (" ", "\t") and lines and not _LINE.match(line):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return lines


def _recipient(kind: RecipientKind, value: str) -> JournalRecipient:
    address, *redirections = _REDIRECTED.split(value)
    turned: dict[str, str] = {}
    for word, through in zip(redirections[::2], redirections[1::2], strict=True):
        turned.setdefault(word.lower(), _address(through))
    return JournalRecipient(
        address=_address(address),
        kind=kind,
        expanded=turned.get("expanded", ""),
        forwarded=turned.get("forwarded", ""),
    )


def _address(value: str) -> str:
    """One address as the report writes it: bare, or with a display name before angle brackets."""
    value = value.strip()
    if value.endswith(">") and "<" in value:
        value = value[value.rindex("<") + 1 : -1]
    return addresses.normalise(value)


def _unparsed(raw: bytes, reason: str, start: int, end: int) -> Reading:
    """Kept whole, with what its first text says of its people: Exchange 2003 lists them there."""
    text = next((leaf for leaf in mime.leaves(mime.split(raw, start, end)) if leaf.content_type == "text/plain"), None)
    report = read_envelope(_text(raw, text)) if text is not None else JournalReport()
    known = bool(report.sender or report.recipients)
    return Reading("unparsed", report=report if known else None, original=(0, len(raw)), reason=reason)


def _returned_report(raw: bytes, head: mime.Head) -> Reading | None:
    """The report inside a non-delivery report (RFC 3462), as the alternate journal mailbox receives it."""
    for leaf in mime.leaves(mime.split(raw)):
        if leaf.content_type == "text/rfc822-headers":
            if _is_report(mime.read_head(raw, leaf.body, leaf.end)):
                return _unparsed(raw, _HEADERS_ONLY, 0, len(raw))
        elif leaf.encoding:
            inner = mime.decoded(raw, leaf) if leaf.content_type in _ENCLOSING else b""
            if _is_report(mime.read_head(inner, 0, len(inner))):
                return _outside(_read_report(inner, 0, len(inner)), inner, raw, head)
        elif leaf.content_type in _ENCLOSING and _is_report(mime.read_head(raw, leaf.body, leaf.end)):
            reading = _read_report(raw, leaf.body, leaf.end)
            return msgspec.structs.replace(reading, outer=_outer_addresses(head))
    return None


def _outside(reading: Reading, inner: bytes, raw: bytes, head: mime.Head) -> Reading:
    """A reading of decoded bytes as one of the received bytes, which have no places for what was encoded."""
    if reading.kind != "journal":
        return msgspec.structs.replace(reading, original=(0, len(raw)))
    enclosed = original(inner, reading)
    return msgspec.structs.replace(
        reading, original=None, decoded_original=enclosed, extra=(), outer=_outer_addresses(head)
    )


def _outer_addresses(head: mime.Head) -> tuple[str, ...]:
    found = (
        mailbox.address
        for name, value in head.fields
        if name.lower() in _DELIVERY_FIELDS
        for mailbox in addresses.parse(value)
    )
    return tuple(dict.fromkeys(address for address in found if address))
