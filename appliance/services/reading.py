"""Opening messages: what this caller may see of one, its parts, its original bytes.

A message is a group of stored originals. A caller sees those that it owns, and the envelope of each only as far as
it may know it. Every look into other people's mail is in the audit trail before the answer leaves.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Collection, Container, Iterator
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

import msgspec

from appliance.catalogue.store import RecordRow
from appliance.errors import ForbiddenError, NotFoundError
from appliance.extract.protocol import Described
from appliance.mail import journal
from appliance.mail import message as mail_message
from appliance.mail.addresses import normalise
from appliance.mail.audience import Participant, audience, header_people
from appliance.mail.facts import Attachment, MessageFacts
from appliance.services import api, folders
from appliance.services.archive import Archive
from appliance.services.auditing import note_look
from appliance.services.client import StreamHead
from appliance.services.principal import Principal, View
from appliance.services.searching import people, scope_of
from appliance.services.wire import CHUNK
from appliance.store.reader import Record

MOST_COPIES = 50
"""Stored originals that one view looks into; a message has one or two."""

PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
"""Kinds of pictures shown inside a message. SVG is not one of them: it is a document."""

LARGEST_PICTURES = 16 * 1024 * 1024
"""Bytes of pictures shown inside one message; further ones are attachments to be fetched."""

_ID = re.compile(r"[0-9a-f]{32}")
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"'=]+@[^\s<>()\[\],;:\"'=]+")

HIDING_HEADERS = frozenset(
    [
        "bcc",
        "resent-bcc",
        "delivered-to",
        "x-delivered-to",
        "x-envelope-to",
        "x-original-to",
        "x-gm-original-to",
        "x-forwarded-to",
    ]
)
"""Headers that may name people whom the other recipients do not know of."""


class Download(msgspec.Struct, frozen=True):
    """A download on its way: its head and its bytes."""

    head: StreamHead
    chunks: Iterator[bytes]


class _Copy(msgspec.Struct, frozen=True):
    """One stored original, opened."""

    row: RecordRow
    record: Record
    opened: Described
    people: tuple[Participant, ...]

    @property
    def original(self) -> bytes:
        """The message itself, without the report round it."""
        return journal.original(self.record.original, self.opened.reading)

    @property
    def readable(self) -> bytes:
        """What is shown of it: the decrypted form of a protected message where the report encloses one."""
        return journal.readable(self.record.original, self.opened.reading)


def message(
    archive: Archive, principal: Principal, *, id: str, everywhere: bool = False, whose: str = ""
) -> api.MessageView:
    """One message, opened; here and below ``whose`` is as in ``Principal.looking``.

    Raises NotFoundError also where the caller may not know of it, ForbiddenError.
    """
    view = principal.looking(everywhere=everywhere, whose=whose)
    message_id, rows = _visible(archive, view, id)
    # The children read while the audit line is made durable: nothing leaves here before it is.
    begun = [_begin(archive, row) for row in rows[:MOST_COPIES]]
    others = _others(view, rows)
    note_look(archive, principal, "message.open", id, others)
    doors = archive.settings.doors()
    copies = [_finish(archive, one, doors) for one in begun]
    first = copies[0]
    facts = first.opened.facts
    seen = _everyone(copies, view)
    return api.MessageView(
        id=message_id,
        subject=facts.subject,
        from_=people(facts.from_),
        to=people(tuple(one for one in facts.to if one.address not in doors)),
        cc=people(tuple(one for one in facts.cc if one.address not in doors)),
        bcc=tuple(api.Person(one.name, one.address) for one in seen if one.kind == "bcc"),
        reply_to=people(facts.reply_to),
        date=facts.date if facts.date is not None else first.row.received_at // 1_000_000,
        received_at=first.row.received_at // 1_000_000,
        size=facts.size,
        text=facts.text,
        has_html=facts.has_html,
        attachments=tuple(
            api.PartInfo(one.part, one.name, one.content_type, one.size, one.inline, one.text_status, one.within)
            for one in facts.attachments
        ),
        headers=_headers(first, view.knows_of(first.row.archives)),
        envelope=_envelope(copies, seen, view.archives is not None),
        thread=_thread(archive, view, message_id, facts.message_id, facts.references),
        copies=tuple(_copy_info(archive, one) for one in copies),
        unparsed=any(row.unparsed for row in rows),
        defects=facts.defects,
        may_report=principal.is_auditor,
        others=tuple(sorted(others)),
        folders=folders.places(archive, view, [row.record_id for row in rows]),
    )


def message_html(
    archive: Archive,
    principal: Principal,
    *,
    id: str,
    remote: bool = False,
    everywhere: bool = False,
    whose: str = "",
) -> api.HtmlView:
    """The message's HTML, sanitised; pictures from outside only with ``remote``."""
    view = principal.looking(everywhere=everywhere, whose=whose)
    rows = visible_rows(archive, view, id)
    others = _others(view, rows)
    # The page that shows a message has asked for it before its HTML, but nothing makes a caller do so.
    if remote:
        note_look(archive, principal, "message.remote", id, others)
    elif everywhere or others:
        note_look(archive, principal, "message.html", id, others)
    copy = _open(archive, rows[0])
    mark = f"part-{secrets.token_hex(8)}-"
    safe = archive.pool.sanitise(copy.readable, remote=remote, cid_base=mark).result()
    return api.HtmlView(_with_pictures(archive, safe.html, mark, copy), safe.blocked)


def part(
    archive: Archive, principal: Principal, *, id: str, part: int, everywhere: bool = False, whose: str = ""
) -> Download:
    """One attachment."""
    view = principal.looking(everywhere=everywhere, whose=whose)
    rows = visible_rows(archive, view, id)
    copy = _open(archive, rows[0])
    about, content = _parts(archive, copy, [part])(part)
    note_look(archive, principal, "attachment.open", f"{id} {part} {about.name}", _others(view, rows))
    return Download(StreamHead(about.name or f"part-{part}", about.content_type, len(content)), _slices(content))


def original(
    archive: Archive,
    principal: Principal,
    *,
    id: str,
    report: bool = False,
    everywhere: bool = False,
    whose: str = "",
) -> Download:
    """The original, bit for bit: the message that was journaled, or with ``report`` what was received.

    The id of a record (``CopyInfo.record``) gives that copy, the id of a message the first that came in.
    """
    view = principal.looking(everywhere=everywhere, whose=whose)
    rows = visible_rows(archive, view, id)
    rows = [row for row in rows if row.record_id == _raw_id(id)] or rows
    if report:
        principal.require("auditor")
    copy = next(_downloadable(archive, principal, view, rows))
    note_look(archive, principal, "message.report" if report else "message.download", id, _others(view, rows))
    content = copy.record.original if report else copy.original
    name = _file_name(copy.opened.facts.subject, id)
    return Download(StreamHead(name, "message/rfc822", len(content)), _slices(content))


# -- finding what may be seen ---------------------------------------------------------------------------------


def message_id_of(archive: Archive, id: str) -> str:
    """A message's id, given that or the id of one of its records (as the SMTP reply names it)."""
    raw = _raw_id(id)
    return archive.catalogue.message_of_record(raw) or raw.hex()


def _raw_id(id: str) -> bytes:
    """An id as the catalogue has it, whichever way it was written. Raises NotFoundError for what is none."""
    plain = id.replace("-", "").lower()
    if not _ID.fullmatch(plain):
        raise NotFoundError("There is no such message in your archive.")
    return bytes.fromhex(plain)


def visible_rows(archive: Archive, view: View, id: str) -> list[RecordRow]:
    """The message's records that lie within the view, first received first. Raises NotFoundError for none."""
    return _visible(archive, view, id)[1]


def _visible(archive: Archive, view: View, id: str) -> tuple[str, list[RecordRow]]:
    """The message's id as well, where ``id`` may be one of its records'."""
    message_id, records = archive.catalogue.records_of(_raw_id(id))
    rows = [row for row in records if view.sees(row.archives)]
    if not rows:
        raise NotFoundError("There is no such message in your archive.")
    return message_id, rows


def _others(view: View, rows: list[RecordRow]) -> frozenset[str]:
    """The archives that are not the caller's own in which these records of the view are."""
    return view.others & frozenset(archive for row in rows for archive in row.archives)


def may_hold(copy: _Copy, known: frozenset[str]) -> bool:
    """Whether the original may go to this caller as it is: its header names nobody whom the caller may not know of."""
    hidden = _hidden(copy, known)
    return not any(_tells(value, hidden) for _, value in mail_message.all_headers(copy.original))


def _hidden(copy: _Copy, known: frozenset[str]) -> frozenset[str]:
    """The addresses that the caller may not know of."""
    seen = {one.address for one in header_people(copy.opened.facts)}
    seen.update(one.address for one in copy.people if one.visible_to(known))
    return frozenset(one.address for one in copy.people if one.address not in seen)


def _tells(value: str, hidden: frozenset[str]) -> bool:
    """Whether a header field's value names one of these, as Received, Delivered-To and many others may."""
    return bool(hidden) and any(normalise(one) in hidden for one in _ADDRESS.findall(value))


def _downloadable(archive: Archive, principal: Principal, view: View, rows: list[RecordRow]) -> Iterator[_Copy]:
    """The originals that may go to the caller as they are. Raises ForbiddenError where there is none."""
    none = True
    for row in rows[:MOST_COPIES]:
        copy = _open(archive, row)
        if view.archives is None or principal.is_auditor or may_hold(copy, view.knows_of(row.archives)):
            none = False
            yield copy
    if none:
        raise ForbiddenError(
            "This original names recipients that you may not know of, so it cannot be handed out as it is. "
            "An auditor can download it."
        )


def open_for_export(
    archive: Archive, principal: Principal, view: View, id: str
) -> Iterator[tuple[RecordRow, bytes, str]]:
    """Record, original and subject of each form in which a message that is exported came in: the same bytes once.

    Raises as ``original`` does.
    """
    given: set[bytes] = set()
    for copy in _downloadable(archive, principal, view, visible_rows(archive, view, id)):
        if copy.opened.original_sha256 not in given:
            given.add(copy.opened.original_sha256)
            yield copy.row, copy.original, copy.opened.facts.subject


class Unpacked(NamedTuple):
    """One form of a message, to be laid out as files. ``attachments`` gives their names and bytes, none of those that
    are shown inside the message."""

    row: RecordRow
    content: bytes
    facts: MessageFacts
    attachments: Callable[[], Iterator[tuple[str, bytes]]]


def open_for_unpacking(archive: Archive, principal: Principal, view: View, id: str) -> Iterator[Unpacked]:
    """Each form in which a message came in, the same bytes once. Raises as ``original`` does."""
    given: set[bytes] = set()
    for copy in _downloadable(archive, principal, view, visible_rows(archive, view, id)):
        if copy.opened.original_sha256 not in given:
            given.add(copy.opened.original_sha256)
            yield Unpacked(copy.row, copy.original, copy.opened.facts, partial(_attachments, archive, copy))


def _attachments(archive: Archive, copy: _Copy) -> Iterator[tuple[str, bytes]]:
    wanted = [one for one in copy.opened.facts.attachments if not one.inline]
    part = _parts(archive, copy, [one.part for one in wanted])
    for one in wanted:
        yield one.name, part(one.part)[1]


class _Begun(NamedTuple):
    """One stored original that a child is reading."""

    row: RecordRow
    record: Record
    described: Future[Described]


def _open(archive: Archive, row: RecordRow) -> _Copy:
    return _finish(archive, _begin(archive, row), archive.settings.doors())


def _begin(archive: Archive, row: RecordRow) -> _Begun:
    record = archive.reader.read(row.volume, row.offset)
    return _Begun(row, record, archive.pool.describe(record.original, attachments=False))


def _finish(archive: Archive, begun: _Begun, doors: Container[str]) -> _Copy:
    row, record, described = begun
    opened = described.result()
    who = audience(
        opened.reading,
        opened.facts,
        record.provenance,
        partial(archive.owners.archive_of, at=row.received_at),
        doors,
    )
    return _Copy(row, record, opened, who)


# -- showing it -----------------------------------------------------------------------------------------------


def _parts(archive: Archive, copy: _Copy, numbers: Collection[int]) -> Callable[[int], tuple[Attachment, bytes]]:
    """Gives the parts with these numbers, decoded: those of its own are taken here, those in TNEF parts by a child.

    What it gives raises NotFoundError.
    """
    inside = {one.part for one in copy.opened.facts.attachments if one.within is not None}.intersection(numbers)
    contents = archive.pool.contents(copy.readable, inside).result() if inside else ()
    taken = {one.about.part: (one.about, one.content) for one in contents}

    def part(number: int) -> tuple[Attachment, bytes]:
        if number in inside and number not in taken:
            raise NotFoundError(
                "This attachment cannot be taken out of the winmail.dat that it lies in. The original, which can be "
                "downloaded, holds it."
            )
        return taken[number] if number in taken else mail_message.part(copy.readable, number)

    return part


def _with_pictures(archive: Archive, html: str, mark: str, copy: _Copy) -> str:
    """The HTML with the message's own pictures in it: its frame has no session with which to ask for them."""
    room = LARGEST_PICTURES
    part = _parts(archive, copy, [int(number) for number in re.findall(mark + r"(\d+)", html)])

    def picture(found: re.Match[str]) -> str:
        nonlocal room
        try:
            about, content = part(int(found[1]))
        except NotFoundError:
            return ""
        room -= len(content)
        if about.content_type not in PICTURES or room < 0:
            return ""
        return f"data:{about.content_type};base64,{base64.b64encode(content).decode('ascii')}"

    return re.sub(mark + r"(\d+)", picture, html)


def _everyone(copies: list[_Copy], view: View) -> list[Participant]:
    """All participants that are known of in the view, each once, and as told by a copy where they are open to all."""
    found: dict[tuple[str, str], Participant] = {}
    for copy in copies:
        knows = view.knows_of(copy.row.archives)
        for one in (one for one in copy.people if one.visible_to(knows)):
            before = found.setdefault((one.kind, one.address), one)
            if one.seen_by is None and before.seen_by is not None:
                found[one.kind, one.address] = one
    return list(found.values())


def _headers(copy: _Copy, known: frozenset[str]) -> tuple[tuple[str, str], ...]:
    headers, hidden = mail_message.all_headers(copy.readable), _hidden(copy, known)
    if not any(_tells(value, hidden) for _, value in headers):
        return headers
    return tuple(
        (name, value) for name, value in headers if name.lower() not in HIDING_HEADERS and not _tells(value, hidden)
    )


def _envelope(copies: list[_Copy], seen: list[Participant], reduced: bool) -> api.EnvelopeView | None:
    if not any(copy.opened.reading.report for copy in copies):
        return None
    named = {one.kind: one.address for one in seen}
    return api.EnvelopeView(
        sender=named.get("sender", ""),
        on_behalf_of=named.get("on-behalf-of", ""),
        recipients=tuple(
            api.EnvelopeLine(one.address, one.kind, one.name, one.expanded, one.forwarded)
            for one in seen
            if one.kind not in ("sender", "on-behalf-of", "group")
        ),
        groups=tuple(one.address for one in seen if one.kind == "group"),
        reduced=reduced,
    )


def _thread(
    archive: Archive, view: View, id: str, message_id: str, references: tuple[str, ...]
) -> tuple[api.ThreadItem, ...]:
    found = archive.index.thread(message_id, references, scope_of(view))
    items = (
        api.ThreadItem(one.id, one.subject, people(one.from_), one.date, one.id == id)
        for one in sorted(found, key=lambda one: (one.date, one.id))
    )
    return tuple(items) if len(found) > 1 else ()


def _copy_info(archive: Archive, copy: _Copy) -> api.CopyInfo:
    return api.CopyInfo(
        record=copy.row.record_id.hex(),
        received_at=copy.row.received_at // 1_000_000,
        source=copy.record.provenance.source,
        mailbox=archive.settings.mailbox_name(copy.row.mailbox),
        sha256=copy.opened.original_sha256.hex(),
        size=copy.opened.facts.size,
        report=copy.row.report,
    )


def _slices(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]


def _file_name(subject: str, id: str) -> str:
    """The subject as a file name on any system, the id where there is none."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', " ", subject).strip(" .")[:80].strip(" .")
    return f"{name or id}.eml"
