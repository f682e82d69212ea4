"""Signed and encrypted messages: their only attachment is their content, byte for byte (MS-OXOSMIME).

A signature is over bytes, so these are not taken apart and made anew: a clear-signed message's attachment holds the
whole MIME entity (multipart/signed), an opaque one's the CMS object (RFC 8551 section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.mail import headers, mime
from appliance.mapi import attached, classes, entity, fields, lenient, tags
from appliance.mapi.attached import Content
from appliance.mapi.base import Attachment, Item, ItemError
from appliance.mapi.entity import Entity

_CMS = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime", "application/cms"})
_OID = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"  # 1.2.840.113549.1.7, pkcs-7
_OID_SMIME_CT = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01"  # 1.2.840.113549.1.9.16.1
_PKCS7_KINDS = {2: "signed-data", 3: "enveloped-data"}
_SMIME_KINDS = {9: "compressed-data", 23: "authEnveloped-data"}


def read(item: Item, content_type: bytes, memory: attached.Memory, *, has_text: bool) -> Entity | None:
    """The message's content where the item is signed or encrypted, else None. ``content_type`` is what its transport
    header says; ``has_text`` that the item has a text of its own, beside the attachment."""
    attachments = item.attachments
    if len(attachments) != 1:
        return None
    attachment = attachments[0]
    properties = attachment.properties
    kind = lenient.text(properties, tags.ATTACH_MIME_TAG).partition(";")[0].strip().lower()
    name = classes.message_class(item.properties)
    secured = name.endswith((".SMIME", ".SMIME.MULTIPARTSIGNED")) or classes.is_class(name, "IPM.NOTE.SECURE")
    signed = kind == "multipart/signed"
    if not (secured or signed or (kind in _CMS and not has_text)) or _is_item(attachment):
        return None
    content = attached.measured(attachment, memory)
    if content.broken:
        return None
    if signed or name.endswith(".MULTIPARTSIGNED"):
        return _clear(content, content_type)
    if kind in _CMS or content.beginning[:1] == b"\x30":  # a DER or BER sequence
        return _opaque(content, content_type, attached.file_name(properties) or "smime.p7m")
    return _clear(content, content_type)


def _is_item(attachment: Attachment) -> bool:
    try:
        return attachment.item() is not None
    except ItemError:
        return True


def _clear(content: Content, content_type: bytes) -> Entity | None:
    """An entity that stands in the attachment with its header, or, as some programs leave it, without."""
    head = mime.read_head(content.beginning, 0, len(content.beginning))
    value = head.first(b"content-type")
    start = head.body
    if value is None or not head.separated:
        value, start = content_type, 0
    kind, parameters = headers.media_type(value)
    boundary = mime.boundary_of(parameters, value)
    if kind != "multipart/signed" or not boundary or b"--" + boundary not in content.beginning[start:]:
        return None
    described = fields.raw(b"Content-Type", value)
    return Entity(described, lambda: _behind(content, start), content.digest)


def _behind(content: Content, start: int) -> Iterator[bytes]:
    """The bytes from ``start`` on."""
    for piece in content.pieces():
        if start < len(piece):
            yield piece[start:] if start else piece
        start = max(0, start - len(piece))


def _opaque(content: Content, content_type: bytes, name: str) -> Entity:
    if headers.media_type(content_type)[0] in _CMS:
        described = fields.raw(b"Content-Type", content_type)
    else:
        kind = _cms_kind(content.beginning[:64])
        parameters = [("smime-type", kind)] * bool(kind)
        described = fields.parameterised("Content-Type", "application/pkcs7-mime", [*parameters, ("name", name)])
    shown = fields.parameterised("Content-Disposition", "attachment", [("filename", name)])
    return entity.encoded(described + shown, content.pieces, content.digest)


def _cms_kind(beginning: bytes) -> str:
    """The smime-type by the object's content type (RFC 8551 section 3.2.2)."""
    for prefix, kinds in ((_OID, _PKCS7_KINDS), (_OID_SMIME_CT, _SMIME_KINDS)):
        at = beginning.find(prefix)
        if at >= 0 and at + len(prefix) < len(beginning):
            return kinds.get(beginning[at + len(prefix)], "")
    return ""
