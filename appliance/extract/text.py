"""The text of attachments, by what they are: by their first bytes, else their name, else their declared type."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

import msgspec

from appliance.extract import alarm, outlook, packed, pdf
from appliance.extract.limits import (
    ATTACHMENT_TEXT,
    LARGEST_ATTACHMENT,
    MESSAGE_TEXT,
    EncryptedError,
    TooLargeError,
)
from appliance.extract.winmail import Inner
from appliance.mail import charsets, message, mime
from appliance.mail import text as mail_text
from appliance.mail.facts import Attachment, MessageFacts, TextStatus

_DEEPEST = 3  # messages inside messages

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # MS-OFFCRYPTO section 2.3.4.4
_PLAIN_ENDINGS = frozenset(
    {"txt", "text", "csv", "tsv", "log", "md", "json", "xml", "yaml", "yml", "ics", "vcf", "ini", "patch", "diff"}
)
_ENDINGS = {
    "htm": "html", "html": "html", "xhtml": "html", "pdf": "pdf", "rtf": "rtf", "eml": "eml", "zip": "zip",
    "msg": "msg", "oft": "msg",
    "docx": "word", "docm": "word", "dotx": "word", "xlsx": "spreadsheet", "xlsm": "spreadsheet",
    "pptx": "presentation", "pptm": "presentation", "ppsx": "presentation",
    "odt": "odf", "ods": "odf", "odp": "odf", "ott": "odf",
}  # fmt: skip
_TYPES = {
    "text/html": "html", "application/xhtml+xml": "html", "application/pdf": "pdf", "application/rtf": "rtf",
    "text/rtf": "rtf", "message/rfc822": "eml", "message/global": "eml", "application/zip": "zip",
    "application/x-zip-compressed": "zip", "application/json": "plain", "application/xml": "plain",
    "application/vnd.ms-outlook": "msg", "application/ms-tnef": "tnef", "application/vnd.ms-tnef": "tnef",
    "message/delivery-status": "plain", "message/disposition-notification": "plain",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "word",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "spreadsheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "presentation",
    "application/vnd.oasis.opendocument.text": "odf", "application/vnd.oasis.opendocument.spreadsheet": "odf",
    "application/vnd.oasis.opendocument.presentation": "odf",
}  # fmt: skip
_PACKED = frozenset({"word", "spreadsheet", "presentation", "odf", "zip"})
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]+")
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n[ \n]+")
_META_CHARSET = re.compile(rb"<meta[^<>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_.:-]+)", re.IGNORECASE)


def with_attachments(raw: bytes, facts: MessageFacts, seconds: float, inner: Sequence[Inner] = ()) -> MessageFacts:
    """The facts with every attachment's text filled in, as far as ``seconds`` go; the rest is "failed".

    ``inner`` are the messages in its TNEF parts, which have said already what they say.
    """
    if not any(_readable(one) for one in facts.attachments):
        return facts
    leaves = [(source, part) for source in (raw, *(one.raw for one in inner)) for part in message.leaves(source)]
    opened = {one.within for one in inner}
    deadline = time.monotonic() + seconds
    left = MESSAGE_TEXT
    filled = []
    for one in facts.attachments:
        text, status = one.text, one.text_status
        if _readable(one) and one.part not in opened:
            text, status = _of_part(*leaves[one.part], one, left, deadline)
        left -= len(text)
        filled.append(msgspec.structs.replace(one, text=text, text_status=status))
    return msgspec.structs.replace(facts, attachments=tuple(filled))


def without_attachments(facts: MessageFacts) -> MessageFacts:
    """The facts with every attachment that should have been read marked "failed"."""
    return msgspec.structs.replace(
        facts,
        attachments=tuple(
            msgspec.structs.replace(one, text_status="failed") if _readable(one) else one for one in facts.attachments
        ),
    )


def read(name: str, content_type: str, charset: str, data: bytes, depth: int = 0) -> tuple[str, TextStatus]:
    """The text of one attachment and how reading it went; "none" where its kind has no text. Never raises but
    for MemoryError and alarms."""
    try:
        kind = kind_of(name, content_type, data)
        if not kind:
            return "", "none"
        text = _tidy(_READERS[kind](_Content(data, charset, depth)))
    except EncryptedError:
        return "", "encrypted"
    except TooLargeError:
        return "", "too-large"
    except MemoryError:
        raise
    except Exception:  # parsers of other people's formats raise everything there is
        return "", "failed"
    return text, "ok" if text else "empty"


def kind_of(name: str, content_type: str, data: bytes) -> str:
    """Which reader fits, "" if none does. Raises EncryptedError for an office document under a password."""
    if data.startswith(outlook.TNEF_SIGNATURE):
        return "tnef"
    if data.startswith(_OLE):
        if outlook.MSG_MARK in data:
            return "msg"
        if _OLE_ENCRYPTED in data:
            raise EncryptedError
        return ""
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(b"{\\rtf"):
        return "rtf"
    declared = _declared(name, content_type)
    if data.startswith(b"PK\x03\x04"):
        return declared if declared in _PACKED else ""
    return "" if declared in _PACKED or declared in ("pdf", "msg", "tnef") else declared


def _declared(name: str, content_type: str) -> str:
    ending = name.rpartition(".")[2].lower()
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    if content_type in _TYPES:
        return _TYPES[content_type]
    return "plain" if ending in _PLAIN_ENDINGS or content_type.startswith("text/") else ""


def _readable(one: Attachment) -> bool:
    if one.content_type.startswith(("image/", "audio/", "video/")):
        return False
    return bool(_declared(one.name, one.content_type)) or one.content_type == "application/octet-stream"


def _of_part(raw: bytes, part: mime.Part, one: Attachment, left: int, deadline: float) -> tuple[str, TextStatus]:
    seconds = deadline - time.monotonic()
    if one.size > LARGEST_ATTACHMENT or left <= 0:
        return "", "too-large"
    if seconds <= 0:
        return "", "failed"
    try:
        with alarm.after(seconds):
            data = mime.decoded(raw, part)
            text, status = read(one.name, one.content_type, part.parameters.get("charset", ""), data)
            return text[:left], status
    except (alarm.OutOfTime, MemoryError):
        return "", "failed"


def _tidy(text: str) -> str:
    text = _BLANKS.sub(" ", _CONTROLS.sub("", text.replace("\r", "\n").replace("\f", "\n")))
    return _LINES.sub("\n", text)[:ATTACHMENT_TEXT].strip()


class _Content(msgspec.Struct, frozen=True):
    """One attachment's bytes, the charset it declares, and how many messages or archives are around it."""

    data: bytes
    charset: str = ""
    depth: int = 0


def _plain(content: _Content) -> str:
    marked = content.data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return charsets.decode(content.data[: 4 * ATTACHMENT_TEXT], "utf-16" if marked else content.charset)


def _html(content: _Content) -> str:
    found = _META_CHARSET.search(content.data[:4096])
    charset = content.charset or (found[1].decode("ascii") if found else "")
    return mail_text.from_html(_plain(msgspec.structs.replace(content, charset=charset)))


def _rtf(content: _Content) -> str:
    from striprtf.striprtf import rtf_to_text

    written = content.data[: 4 * ATTACHMENT_TEXT].decode("latin-1")
    return str(rtf_to_text(written, errors="replace"))  # type: ignore[no-untyped-call]


def _enclosed(content: _Content) -> str:
    """A message inside the message: what it says, who it is from and to, and its own attachments."""
    raw = content.data
    facts = message.read(raw)
    people = (*facts.from_, *facts.to, *facts.cc)
    pieces = [facts.subject, *(f"{one.name} {one.address}".strip() for one in people), facts.text]
    leaves = message.leaves(raw) if facts.attachments and content.depth < _DEEPEST else ()
    for one in facts.attachments:
        pieces.append(one.name)
        if leaves and _readable(one) and one.size <= LARGEST_ATTACHMENT:
            part = leaves[one.part]
            charset = part.parameters.get("charset", "")
            pieces.append(read(one.name, one.content_type, charset, mime.decoded(raw, part), content.depth + 1)[0])
    return "\n".join(filter(None, pieces))


def _zip(content: _Content) -> str:
    def member(name: str, data: bytes) -> str:
        if _declared(name, "") == "zip" or content.depth >= _DEEPEST:  # one level is read
            return ""
        return read(name, "", "", data, content.depth + 1)[0]

    return packed.archived(content.data, member)


_READERS: dict[str, Callable[[_Content], str]] = {
    "plain": _plain,
    "html": _html,
    "rtf": _rtf,
    "eml": _enclosed,
    "msg": lambda content: _enclosed(msgspec.structs.replace(content, data=outlook.from_msg(content.data).raw)),
    "tnef": lambda content: _enclosed(msgspec.structs.replace(content, data=outlook.from_tnef(content.data).raw)),
    "zip": _zip,
    "pdf": lambda content: pdf.read(content.data),
    "word": lambda content: packed.word(content.data),
    "spreadsheet": lambda content: packed.spreadsheet(content.data),
    "presentation": lambda content: packed.presentation(content.data),
    "odf": lambda content: packed.open_document(content.data),
}
