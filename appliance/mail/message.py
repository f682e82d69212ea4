"""One message read into facts: who, when, what, and which parts it has.

Everything takes raw bytes, which may be anything at all: nothing raises (``part`` alone does, for a number that
is not there) and time is linear in the size. Attachment text is not read here but in ``extract``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from appliance.errors import NotFoundError
from appliance.mail import addresses, charsets, headers, identity, mime, text
from appliance.mail.facts import Attachment, Mailbox, MessageFacts

LONGEST_TEXT = 1024 * 1024  # characters of body text that are kept
LARGEST_BODY = 8 * 1024 * 1024  # encoded bytes of one text part that are read for it
LONGEST_ID = 998
MOST_REFERENCES = 100

_DELIVERED = (
    b"delivered-to", b"x-envelope-to", b"x-original-to", b"x-gm-original-to",
    b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-bcc",
)  # fmt: skip
_BODY_TYPES = frozenset({"text/plain", "text/html"})
MESSAGES = frozenset({"message/rfc822", "message/global"})


class Html(msgspec.Struct, frozen=True):
    """A message's HTML, and the numbers of the leaves it may refer to by content id or location."""

    text: str
    parts: dict[str, int]


def read(raw: bytes) -> MessageFacts:
    """All facts of a message but the text of its attachments (their ``text_status`` is "none")."""
    root = mime.split(raw)
    fields = _fields(root.head)
    parts = tuple(mime.leaves(root))
    own = _own_text(root, parts)
    attachments = []
    content = identity.Content()
    bodies: dict[int, str] = {}
    for number, part in enumerate(parts):
        if number in own:
            bodies[id(part)] = _body_text(raw, part, content)
        else:
            attachments.append(_attachment(raw, number, part, content))
    from_ = _mailboxes(fields, b"from")
    to = _mailboxes(fields, b"to")
    cc = _mailboxes(fields, b"cc")
    subject = headers.text(fields.get(b"subject", (b"",))[0])
    ids = headers.message_ids(fields.get(b"message-id", (b"",))[0])
    written_date = fields.get(b"date", (b"",))[0]
    date = headers.date(written_date) if written_date else None
    return MessageFacts(
        message_id=ids[0][:LONGEST_ID] if ids else "",
        references=_references(fields),
        subject=subject,
        date=date,
        from_=from_,
        sender=_mailboxes(fields, b"sender"),
        to=to,
        cc=cc,
        bcc=_mailboxes(fields, b"bcc"),
        reply_to=_mailboxes(fields, b"reply-to"),
        delivered=_delivered(fields),
        text=_rendition(root, bodies)[:LONGEST_TEXT],
        has_html=any(parts[number].content_type == "text/html" for number in own),
        attachments=tuple(attachments),
        size=len(raw),
        defects=_defects(root, parts, date is None and bool(written_date)),
        identity=content.digest(
            message_id=ids[0] if ids else "",
            date=str(date) if date is not None else headers.text(written_date),
            subject=subject,
            correspondents=(from_, to, cc),
        ),
    )


def read_head(raw: bytes) -> MessageFacts:
    """The facts that the header alone gives, for a message whose body cannot be read; identity is its bytes'."""
    fields = _fields(mime.read_head(raw, 0, len(raw)))
    ids = headers.message_ids(fields.get(b"message-id", (b"",))[0])
    return MessageFacts(
        message_id=ids[0][:LONGEST_ID] if ids else "",
        references=_references(fields),
        subject=headers.text(fields.get(b"subject", (b"",))[0]),
        date=headers.date(fields.get(b"date", (b"",))[0]),
        from_=_mailboxes(fields, b"from"),
        sender=_mailboxes(fields, b"sender"),
        to=_mailboxes(fields, b"to"),
        cc=_mailboxes(fields, b"cc"),
        bcc=_mailboxes(fields, b"bcc"),
        reply_to=_mailboxes(fields, b"reply-to"),
        delivered=_delivered(fields),
        size=len(raw),
        defects=("the body could not be read",),
        identity=hashlib.sha256(raw).digest(),
    )


def leaves(raw: bytes) -> tuple[mime.Part, ...]:
    """The parts that have content, in document order; their place is the number that ``part`` takes."""
    return tuple(mime.leaves(mime.split(raw)))


def part(raw: bytes, number: int) -> tuple[Attachment, bytes]:
    """One leaf as an attachment, with its decoded content. Raises NotFoundError."""
    parts = leaves(raw)
    if not 0 <= number < len(parts):
        raise NotFoundError("This message has no such attachment.")
    content = mime.decoded(raw, parts[number])
    described = _described(raw, number, parts[number])
    return msgspec.structs.replace(described, size=len(content), digest=hashlib.sha256(content).digest()), content


def html(raw: bytes) -> Html | None:
    """The HTML of the message's own text; None where it has none."""
    root = mime.split(raw)
    parts = tuple(mime.leaves(root))
    written = [
        charsets.decode(_limited(raw, parts[number]), parts[number].parameters.get("charset", ""))
        for number in _own_text(root, parts)
        if parts[number].content_type == "text/html"
    ]
    if not written:
        return None
    known: dict[str, int] = {}
    for number, one in enumerate(parts):
        for name in (_content_id(one.head), headers.text(one.head.first(b"content-location") or b"")):
            if name:
                known.setdefault(name, number)
    return Html("\n".join(written), known)


def all_headers(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Every header field in order as (name, decoded value)."""
    root = mime.split(raw)
    return tuple((name.decode("ascii"), headers.text(value)) for name, value in root.head.fields)


def _fields(head: mime.Head) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    for name, value in head.fields:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _mailboxes(fields: dict[bytes, list[bytes]], name: bytes) -> tuple[Mailbox, ...]:
    values = fields.get(name)
    if values is None:
        return ()
    if len(values) == 1:
        return addresses.parse(values[0])
    # RFC 5322 section 3.6 allows one field of each; programs that write more mean all of them.
    return tuple(mailbox for value in values for mailbox in addresses.parse(value))[: addresses.MOST]


def _delivered(fields: dict[bytes, list[bytes]]) -> tuple[str, ...]:
    found = (mailbox.address for name in _DELIVERED for mailbox in _mailboxes(fields, name))
    return tuple(dict.fromkeys(address for address in found if address))


def _references(fields: dict[bytes, list[bytes]]) -> tuple[str, ...]:
    values = (*fields.get(b"references", ()), *fields.get(b"in-reply-to", ()))
    ids = (one[:LONGEST_ID] for value in values for one in headers.message_ids(value))
    return tuple(dict.fromkeys(ids))[-MOST_REFERENCES:]


def _own_text(root: mime.Part, parts: tuple[mime.Part, ...]) -> frozenset[int]:
    """Numbers of the leaves that are the message's own text and not attachments (RFC 2046 section 5.1)."""
    alternatives = {id(leaf) for node in _alternatives(root) for leaf in node.children}
    return frozenset(
        number
        for number, part in enumerate(parts)
        if part.content_type in _BODY_TYPES and (part is root or id(part) in alternatives or not _is_attached(part))
    )


def _alternatives(node: mime.Part) -> Iterator[mime.Part]:
    if node.content_type == "multipart/alternative":
        yield node
    for child in node.children:
        yield from _alternatives(child)


def _is_attached(part: mime.Part) -> bool:
    disposition, found = _disposition(part.head)
    return disposition == "attachment" or bool(found.get("filename") or part.parameters.get("name"))


def _rendition(node: mime.Part, bodies: dict[int, str]) -> str:
    """The node as text: of alternatives the plain one, or the first that says anything."""
    if not node.children:
        written = bodies.get(id(node), "")
        return text.from_html(written) if node.content_type == "text/html" else written.strip()
    if node.content_type == "multipart/alternative":
        plain_first = sorted(node.children, key=lambda child: child.content_type != "text/plain")
        return next(filter(None, (_rendition(child, bodies) for child in plain_first)), "")
    return "\n".join(filter(None, (_rendition(child, bodies) for child in node.children)))


def _body_text(raw: bytes, part: mime.Part, content: identity.Content) -> str:
    written = charsets.decode(_limited(raw, part), part.parameters.get("charset", ""))
    if part.end - part.body <= LARGEST_BODY:
        content.add_text(written, is_html=part.content_type == "text/html")
    else:
        content.add_chunks(mime.decoded_chunks(raw, part))
    return written.replace("\r\n", "\n").replace("\0", "")


def _limited(raw: bytes, part: mime.Part) -> bytes:
    """The decoded content, of a huge part only its beginning."""
    if part.end - part.body <= LARGEST_BODY:
        return mime.decoded(raw, part)
    return mime.decoded(raw, msgspec.structs.replace(part, end=part.body + LARGEST_BODY))


def _attachment(raw: bytes, number: int, part: mime.Part, content: identity.Content) -> Attachment:
    described = _described(raw, number, part)
    digest = hashlib.sha256()
    size = 0
    for chunk in mime.decoded_chunks(raw, part):
        digest.update(chunk)
        size += len(chunk)
    if part.content_type.startswith(("text/", "message/")):
        content.add_chunks(mime.decoded_chunks(raw, part))
    else:
        content.add_digest(digest.digest())
    return msgspec.structs.replace(described, size=size, digest=digest.digest())


def _described(raw: bytes, number: int, part: mime.Part) -> Attachment:
    disposition, found = _disposition(part.head)
    name = found.get("filename") or part.parameters.get("name") or ""
    content_id = _content_id(part.head)
    if not name and part.content_type in MESSAGES:
        inner = mime.read_head(raw, part.body, part.end) if not part.encoding else None
        subject = headers.text(inner.first(b"subject") or b"") if inner else ""
        name = f"{subject[:120] or 'message'}.eml"
    return Attachment(
        part=number,
        name=_safe_name(name),
        content_type=part.content_type,
        inline=disposition == "inline" or (bool(content_id) and disposition != "attachment"),
        content_id=content_id,
    )


def _safe_name(name: str) -> str:
    """The last component of a file name, without controls, at most 255 characters with its ending kept."""
    bare = name.replace("\\", "/").rpartition("/")[2] or name.replace("/", "_")
    bare = "".join(character for character in bare if character.isprintable()).strip()
    if len(bare) <= 255:
        return bare
    stem, dot, ending = bare.rpartition(".")
    return f"{stem[:230]}.{ending[:20]}" if dot else bare[:255]


def _disposition(head: mime.Head) -> tuple[str, headers.Parameters]:
    value = head.first(b"content-disposition")
    return ("", {}) if value is None else headers.parameters(value)


def _content_id(head: mime.Head) -> str:
    value = head.first(b"content-id")
    return "" if value is None else headers.text(value).strip("<> ")[:LONGEST_ID]


def _defects(root: mime.Part, parts: Iterable[mime.Part], bad_date: bool) -> tuple[str, ...]:
    found = dict.fromkeys(defect for node in _nodes(root) for defect in node.defects)
    if bad_date:
        found["unreadable date"] = None
    if any(part.encoding not in ("", "base64", "quoted-printable") for part in parts):
        found["unknown transfer encoding"] = None
    return tuple(found)


def _nodes(root: mime.Part) -> Iterator[mime.Part]:
    yield root
    for child in root.children:
        yield from _nodes(child)
