"""What a document of the index is, and how it becomes Tantivy's fields.

The words of every text come from ``mail.words``; Tantivy itself only splits at spaces, so the same rules hold for
what is stored, asked for and highlighted.

People that not every owner of a message may know (Bcc recipients, members of expanded groups) stand in the field
``hidden`` alone, each word prefixed with an archive that may find it (docs/decisions/0041-hidden-recipients.md).
No other field, number or stored value depends on them.
"""

from __future__ import annotations

import datetime
import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

import msgspec
import tantivy

from appliance.mail import words
from appliance.mail.facts import Mailbox

SCHEMA_VERSION = 2
"""Goes up whenever the meaning of a field changes; an index of another version is built anew."""

FINGERPRINT = 24
"""Bits of an id's fingerprint in what messages are sorted by."""

HiddenRole = Literal["bcc", "expanded", "recipient"]

# Caps: what one message can make of the index. Each is far above what people write.
BODY_CHARACTERS = 2**20
ATTACHMENT_CHARACTERS = 2**20  # of one attachment
ATTACHMENTS_CHARACTERS = 2**22  # of all attachments together
MOST_ATTACHMENTS = 2_000
MOST_PEOPLE = 20_000  # in each of the address fields
MOST_REFERENCES = 200
SUBJECT_CHARACTERS = 10_000
NAME_CHARACTERS = 1_000
ADDRESS_CHARACTERS = 1_000
EXCERPT_CHARACTERS = 2_000
SHOWN_SUBJECT = 500
SHOWN_PEOPLE = 20

_MANY_WORDS = 50_000  # beyond it, words with two forms are written as two lines: a fifth of the memory
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # years 1 to 9999
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_LARGEST = 2**62
_SEPARATOR = " ~ "  # no word is a tilde, so no phrase reaches over it
_WHOLE_ID = 200


class Hidden(msgspec.Struct, frozen=True):
    """One person that only ``archive`` may find in this message; once for each archive that may."""

    archive: str
    role: HiddenRole
    address: str


class InFolder(msgspec.Struct, frozen=True):
    """A folder that the message lay in: its archive, and its id there (32 hex digits)."""

    archive: str
    folder: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the index takes of one message. Texts may hold anything; numbers outside the sane are clamped."""

    id: str
    archives: tuple[str, ...]
    from_: tuple[Mailbox, ...] = ()
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    participants: tuple[Mailbox, ...] = ()  # further people of the envelope that every owner may see
    groups: tuple[str, ...] = ()  # addresses of groups that every owner may see
    hidden: tuple[Hidden, ...] = ()
    subject: str = ""
    body: str = ""
    attachments: tuple[tuple[str, str], ...] = ()  # (name, text)
    date: int = 0  # seconds since 1970-01-01 UTC; what results are sorted by
    received: int = 0  # seconds since 1970-01-01 UTC
    size: int = 0  # bytes of the original
    unparsed: bool = False
    message_id: str = ""  # without angle brackets
    references: tuple[str, ...] = ()
    folders: tuple[InFolder, ...] = ()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a document for result lists. It holds nothing that an owner of the message may not see."""

    id: str
    subject: str
    from_: tuple[Mailbox, ...]
    to: tuple[Mailbox, ...]  # the first of them
    recipients: int  # how many there are in To and Cc
    date: int
    received: int
    size: int
    attachments: int
    unparsed: bool
    message_id: str
    excerpt: str  # the beginning of the body, white space closed up


encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode

TEXT_FIELDS = ("subject", "body", "attachment", "filename")
ADDRESS_FIELDS = ("from", "to", "cc", "address")  # ``address``: all that every owner may see, groups included


def build() -> tantivy.Schema:
    """The fields. ``order`` and ``recency`` are made from the date (see ``order_key`` and ``recency``)."""
    builder = tantivy.SchemaBuilder()
    for name in ("id", "archive", "message_id", "thread", "folder"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("sender", fast=True, tokenizer_name="raw", index_option="basic")
    for name in (*TEXT_FIELDS, *ADDRESS_FIELDS, "hidden"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    for name in ("order", "date", "recency", "year", "size"):
        builder.add_integer_field(name, fast=True)
    builder.add_boolean_field("attached", indexed=True, fast=True)
    builder.add_boolean_field("unparsed", indexed=True)
    builder.add_bytes_field("entry", stored=True)
    return builder.build()


def convert(document: Document) -> tantivy.Document:
    """The document as Tantivy takes it. Every value is added by its type: a guessed one kills the writer."""
    made = tantivy.Document()
    made.add_text("id", clean(document.id))
    for archive in dict.fromkeys(document.archives):
        made.add_text("archive", clean(archive))
    for one in document.folders:
        made.add_text("folder", folder_word(one.archive, one.folder))
    date = clamp_date(document.date)
    made.add_integer("order", order_key(date, document.id))
    made.add_integer("date", date)
    made.add_integer("recency", recency(date))
    made.add_integer("year", datetime.date.fromordinal(date // 86_400 + _EPOCH).year)
    made.add_integer("size", _clamp_size(document.size))
    made.add_boolean("attached", bool(document.attachments))
    made.add_boolean("unparsed", document.unparsed)
    if document.from_ and document.from_[0].address:
        made.add_text("sender", _address(document.from_[0].address).lower())
    if document.message_id:
        made.add_text("message_id", id_key(document.message_id))
    for reference in {id_key(one) for one in (document.message_id, *document.references[-MOST_REFERENCES:]) if one}:
        made.add_text("thread", reference)
    _add_people(made, document)
    _add_texts(made, document)
    made.add_bytes("entry", encode_entry(_entry(document, date)))
    return made


def clean(text: str) -> str:
    """Text that can be written as UTF-8: each lone surrogate becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def id_key(message_id: str) -> str:
    """What a Message-ID is looked up by: the id without case and brackets, or its digest where it is long."""
    bare = clean(message_id.strip().removeprefix("<").removesuffix(">")).casefold()
    if len(bare) <= _WHOLE_ID:
        return bare
    return f"sha256:{hashlib.sha256(bare.encode()).hexdigest()}"


def hidden_word(archive: str, kind: Literal["bcc", "participant"], word: str) -> str:
    """A word of ``hidden``: only whoever searches with this archive can ask for it."""
    return f"{clean(''.join(archive.split()))}\x1f{kind}\x1f{word}"


def folder_word(archive: str, folder: str) -> str:
    """A word of ``folder``: only whoever searches in this archive can ask for it."""
    return clean(f"{archive}\x1f{folder}")


def order_key(date: int, identity: str) -> int:
    """Sorts by date, then by a fingerprint of the id: the same order after every merge of segments."""
    fingerprint = hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=FINGERPRINT // 8).digest()
    return (clamp_date(date) << FINGERPRINT) | int.from_bytes(fingerprint)


def recency(date: int) -> int:
    """Days on a scale whose logarithm rises by 4 % in a century: it breaks ties of relevance, and no more."""
    return 2**16 + min(max(date // 86_400, 0), 50_000)


def clamp_date(date: int) -> int:
    """``date`` within the years 1 to 9999."""
    return min(max(date, _FIRST_SECOND), _LAST_SECOND)


def _clamp_size(size: int) -> int:
    return min(max(size, 0), _LARGEST)


def _address(address: str) -> str:
    return clean(address[:ADDRESS_CHARACTERS])


def _add_people(made: tantivy.Document, document: Document) -> None:
    everybody: dict[tuple[str, ...], None] = {}
    groups = (Mailbox(address=address) for address in document.groups)
    for field, people in (
        ("from", document.from_),
        ("to", document.to),
        ("cc", document.cc),
        ("", (*document.participants, *groups)),
    ):
        runs = dict.fromkeys(_runs(people))
        if field and runs:
            made.add_text(field, _line(runs))
        everybody |= runs
    if everybody:
        made.add_text("address", _line(everybody))
    hidden = dict.fromkeys(_hidden_runs(document.hidden))
    if hidden:
        made.add_text("hidden", _line(hidden))


def _runs(people: Iterable[Mailbox]) -> Iterator[tuple[str, ...]]:
    for person in islice(people, MOST_PEOPLE):
        yield from words.address_terms(clean(person.name[:NAME_CHARACTERS]), _address(person.address))


def _hidden_runs(hidden: Iterable[Hidden]) -> Iterator[tuple[str, ...]]:
    for one in hidden:
        for run in words.address_terms("", _address(one.address)):
            yield tuple(hidden_word(one.archive, "participant", word) for word in run)
            if one.role == "bcc":
                yield tuple(hidden_word(one.archive, "bcc", word) for word in run)


def _line(runs: Iterable[tuple[str, ...]]) -> str:
    return _SEPARATOR.join(" ".join(run) for run in runs)


def _add_texts(made: tantivy.Document, document: Document) -> None:
    _add_words(made, "subject", document.subject[:SUBJECT_CHARACTERS])
    _add_words(made, "body", document.body[:BODY_CHARACTERS])
    left = ATTACHMENTS_CHARACTERS
    for name, text in document.attachments[:MOST_ATTACHMENTS]:
        _add_words(made, "filename", name[:NAME_CHARACTERS])
        _add_words(made, "attachment", name[:NAME_CHARACTERS])
        text = text[: min(left, ATTACHMENT_CHARACTERS)]
        _add_words(made, "attachment", text)
        left -= len(text)


def _add_words(made: tantivy.Document, field: str, text: str) -> None:
    """One value of a field. Values of a field lie apart, so no phrase reaches from one into the next."""
    line = words.flat(text)
    if line is not None:
        if line:
            made.add_text(field, line)
        return
    found = words.tokens(text)
    if len(found) > _MANY_WORDS:
        for rendering in words.renderings(text):
            made.add_text(field, rendering)
        return
    made.add_pre_tokenized_text(
        field,
        tantivy.PreTokenizedString(
            "",
            [tantivy.Token(form, place, 0, 0) for place, token in enumerate(found) for form in token.forms],
        ),
    )


def _entry(document: Document, date: int) -> Entry:
    recipients = len(document.to) + len(document.cc)
    return Entry(
        id=clean(document.id),
        subject=clean(document.subject[:SHOWN_SUBJECT]),
        from_=_shown(document.from_),
        to=_shown((*document.to[:SHOWN_PEOPLE], *document.cc[:SHOWN_PEOPLE])),
        recipients=recipients,
        date=date,
        received=clamp_date(document.received),
        size=_clamp_size(document.size),
        attachments=len(document.attachments),
        unparsed=document.unparsed,
        message_id=clean(document.message_id[:SHOWN_SUBJECT]),
        excerpt=_excerpt(document.body),
    )


def _shown(people: tuple[Mailbox, ...]) -> tuple[Mailbox, ...]:
    return tuple(
        Mailbox(name=clean(person.name[:NAME_CHARACTERS]), address=_address(person.address))
        for person in people[:SHOWN_PEOPLE]
    )


def _excerpt(body: str) -> str:
    """The beginning of the text in one line, composed so that it can be highlighted character by character."""
    beginning = clean(body[: 2 * EXCERPT_CHARACTERS].replace("\0", " "))
    return " ".join(unicodedata.normalize("NFC", beginning).split())[:EXCERPT_CHARACTERS]
