"""Attachments of an item as parts of its message (MS-OXCMSG section 2.2.2).

Each is read once before anything is written: only then it is known whether it can be read to its end, and what is said
of the message must be known before its bytes. Small ones are kept until they are written, others are read again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from appliance.mail import mime
from appliance.mapi import entity, fields, lenient, tags
from appliance.mapi.base import Attachment, Item, ItemError, Properties
from appliance.mapi.entity import Entity

BEGINNING: Final = 64 * 1024
"""Bytes in which the header of a message or part is looked for."""

_HELD_EACH: Final = 1024 * 1024
_HELD_TOGETHER: Final = 16 * 1024 * 1024
_LONGEST_NAME = 500

_BY_REFERENCE = (2, 3, 4, 7)  # PidTagAttachMethod (MS-OXCMSG section 2.2.2.9)
_EMBEDDED, _OLE = 5, 6
_MESSAGE = b"Content-Type: message/rfc822"
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,80}/[a-z0-9!#$&^_.+-]{1,80}")
_AS_THEY_ARE = frozenset(
    {"message/delivery-status", "message/disposition-notification", "message/feedback-report", "text/rfc822-headers"}
)
_TYPES = {
    "7z": "application/x-7z-compressed", "avi": "video/x-msvideo", "bmp": "image/bmp", "csv": "text/csv",
    "doc": "application/msword", "eml": "message/rfc822", "gif": "image/gif", "gz": "application/gzip",
    "htm": "text/html", "html": "text/html", "ics": "text/calendar", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "json": "application/json", "m4a": "audio/mp4", "mov": "video/quicktime", "mp3": "audio/mpeg", "mp4": "video/mp4",
    "msg": "application/vnd.ms-outlook", "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet", "odt": "application/vnd.oasis.opendocument.text",
    "p7m": "application/pkcs7-mime", "p7s": "application/pkcs7-signature", "pdf": "application/pdf",
    "png": "image/png", "ppt": "application/vnd.ms-powerpoint",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "rar": "application/vnd.rar", "rtf": "application/rtf", "svg": "image/svg+xml", "tif": "image/tiff",
    "tiff": "image/tiff", "txt": "text/plain", "vcf": "text/vcard", "wav": "audio/x-wav", "webp": "image/webp",
    "wma": "audio/x-ms-wma", "wmf": "image/wmf", "emf": "image/emf", "xls": "application/vnd.ms-excel",
    "xml": "text/xml", "zip": "application/zip",
}  # fmt: skip
"""By a name's ending: a table of our own, since the system's may change, and with it the bytes of every message."""


class Content(NamedTuple):
    """The bytes of an attachment, measured."""

    pieces: Callable[[], Iterator[bytes]]
    size: int
    digest: bytes  # SHA-256
    beginning: bytes  # up to 64 KiB
    ascii: bool
    broken: str = ""
    """Why there are no more, where there should be."""


class Attached(NamedTuple):
    """An attachment as a part."""

    part: Entity
    inline: bool = False
    """The text refers to it."""
    is_message: bool = False


class Memory:
    """How much of the attachments of one message may still be kept."""

    def __init__(self) -> None:
        self.left = _HELD_TOGETHER


def read(
    attachment: Attachment, embedded: Callable[[Item], Entity], memory: Memory, warnings: list[str], *, inline: bool
) -> Attached:
    """The attachment as a part. ``embedded`` makes one of an item; ``inline`` says that the text refers to it."""
    properties = attachment.properties
    method = lenient.number(properties, tags.ATTACH_METHOD)
    name = file_name(properties)
    part = _linked(properties, name) if method in _BY_REFERENCE else None
    if part is not None:
        name = f"{name or 'Link'}.txt"
    else:
        part = _item(attachment, name, embedded, warnings)
    if part is None:
        content = measured(attachment, memory)
        if content.broken:
            warnings.append(f"The attachment {_quoted(name)} is kept up to byte {content.size:,}: {content.broken}")
        part = _by_value(properties, name, content, ole=method == _OLE)
    content_id, location = references(properties)
    kind = "inline" if inline or lenient.present(properties, tags.ATTACHMENT_HIDDEN) else "attachment"
    shown = [("filename", name)] if name else []
    described = [fields.parameterised("Content-Disposition", kind, shown)]
    if content_id:
        described.append(fields.structured("Content-ID", f"<{content_id}>"))
    if location:
        described.append(fields.structured("Content-Location", location))
    return Attached(part.described(*described), inline, part.fields.startswith(_MESSAGE))


def references(properties: Properties) -> tuple[str, str]:
    """Content-ID, without brackets, and Content-Location; "" for what has none or one that cannot be written."""
    content_id = lenient.text(properties, tags.ATTACH_CONTENT_ID).strip("<> \t\r\n")
    location = lenient.text(properties, tags.ATTACH_CONTENT_LOCATION).strip()
    return _writable(content_id), _writable(location)


def file_name(properties: Properties) -> str:
    """The name of the file, "" where it has none."""
    keys = (tags.ATTACH_LONG_FILENAME, tags.ATTACH_FILENAME, tags.DISPLAY_NAME)
    name = " ".join(lenient.first_text(properties, *keys).split())
    if len(name) <= _LONGEST_NAME:
        return name
    stem, dot, ending = name.rpartition(".")
    return f"{stem[: _LONGEST_NAME - 21]}.{ending[:20]}" if dot else name[:_LONGEST_NAME]


def media_type(properties: Properties, name: str) -> str:
    """Its media type: what is written with it, else after its name."""
    said = lenient.text(properties, tags.ATTACH_MIME_TAG).partition(";")[0].strip().lower()
    if _MEDIA_TYPE.fullmatch(said) and said != "application/octet-stream":
        return said
    ending = name.rpartition(".")[2].lower() or lenient.text(properties, tags.ATTACH_EXTENSION).strip(".").lower()
    return _TYPES.get(ending, "application/octet-stream")


def measured(attachment: Attachment, memory: Memory) -> Content:
    """Read to its end, or as far as it can be."""
    digest = hashlib.sha256()
    held = bytearray()
    size = 0
    ascii = True
    broken = ""
    most = min(_HELD_EACH, memory.left)
    try:
        for piece in attachment.pieces():
            digest.update(piece)
            size += len(piece)
            ascii = ascii and piece.isascii()
            if size <= most or len(held) < BEGINNING:
                held += piece
    except ItemError as error:
        broken = str(error)
    if size <= most and len(held) == size:
        memory.left -= size
        whole = bytes(held)
        return Content(lambda: iter((whole,)), size, digest.digest(), whole[:BEGINNING], ascii, broken)
    pieces = (lambda: _first(attachment, size)) if broken else attachment.pieces
    return Content(pieces, size, digest.digest(), bytes(held[:BEGINNING]), ascii, broken)


def _first(attachment: Attachment, size: int) -> Iterator[bytes]:
    """As many bytes as could be read before."""
    for piece in attachment.pieces():
        yield piece[:size]
        size -= len(piece)
        if size <= 0:
            return


def _linked(properties: Properties, name: str) -> Entity | None:
    path = lenient.first_text(properties, tags.ATTACH_LONG_PATHNAME, tags.ATTACH_PATHNAME)
    if not path:
        return None
    return entity.text(f"{name or 'This attachment'} is only a link here. The file was at:\n{path}\n")


def _item(attachment: Attachment, name: str, embedded: Callable[[Item], Entity], warnings: list[str]) -> Entity | None:
    try:
        item = attachment.item()
        return embedded(item) if item is not None else None
    except ItemError as error:
        warnings.append(f"The attached item {_quoted(name)} could not be read: {error}")
        return entity.text(f"An item was attached here, {_quoted(name)}, that could not be read:\n{error}\n")


def _by_value(properties: Properties, name: str, content: Content, *, ole: bool) -> Entity:
    kind = "application/x-ole-storage" if ole else media_type(properties, name)
    as_it_is = kind in _AS_THEY_ARE and content.ascii and _has_short_lines(content)
    if as_it_is or (kind == "message/rfc822" and _is_message(content)):
        described = fields.parameterised("Content-Type", kind, [])
        return entity.enclosed(described, content.pieces, content.digest, ascii=content.ascii)
    if kind.startswith(("multipart/", "message/")):  # neither may be in base64 (RFC 2045 section 6.4)
        kind = "application/octet-stream"
    named = [("name", name)] if name else []
    described = fields.parameterised("Content-Type", kind, named, words=True)
    return entity.encoded(described, content.pieces, content.digest)


def _is_message(content: Content) -> bool:
    head = mime.read_head(content.beginning, mime.message_start(content.beginning), len(content.beginning))
    return head.separated and len(head.fields) > 1 and not content.broken


def _has_short_lines(content: Content) -> bool:
    lines = content.beginning.split(b"\n")
    return content.size == len(content.beginning) and max(map(len, lines)) < 998 and b"\0" not in content.beginning


def _writable(value: str) -> str:
    return value if value.isascii() and value.isprintable() and " " not in value and len(value) < 900 else ""


def _quoted(name: str) -> str:
    return f"“{name[:100]}”" if name else "without a name"
