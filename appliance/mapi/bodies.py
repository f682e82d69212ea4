"""The text of an item: plain, HTML and rich text, of which Outlook keeps one or several (MS-OXBBODY).

HTML is kept in its bytes where it is stored as such, and taken out of the rich text where it is only there. Rich text
that somebody wrote as such has no form in mail that all programs read: its text becomes the message's, and the rich
text itself is attached, so that nothing is lost.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from appliance.mail import charsets
from appliance.mapi import lenient, rtf, tags, values
from appliance.mapi.base import Properties

LONGEST: Final = 32 * 1024 * 1024
"""Characters of plain text, and bytes of HTML, that are taken over: more than any program shows."""

_RICH = 2  # PidTagNativeBody (MS-OXBBODY section 2.1.3)
_UTF16 = (1200, 1201)
_LATIN = frozenset({"", "ascii", "cp1252", "iso8859_1"})
_LABELS = {
    "ascii": "us-ascii", "utf_8": "utf-8", "cp932": "shift_jis", "shift_jis": "shift_jis", "euc_jp": "euc-jp",
    "iso2022_jp": "iso-2022-jp", "gb18030": "gb18030", "gb2312": "gb2312", "cp949": "ks_c_5601-1987",
    "cp950": "big5", "koi8_r": "koi8-r", "koi8_u": "koi8-u", "cp874": "windows-874",
}  # fmt: skip
_META_CHARSET = re.compile(rb"<meta[^<>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_REFERENCE = re.compile(rb"cid:([^\"'\s<>)]{1,998})", re.IGNORECASE)


class Bodies(NamedTuple):
    """The text in its forms, each empty where there is none."""

    plain: str = ""
    html: bytes = b""
    charset: str = "utf-8"  # of the HTML, as MIME calls it; it contains ASCII
    rich: bytes = b""  # rich text, where neither of the others says all that it does

    def __bool__(self) -> bool:
        return bool(self.plain.strip() or self.html.strip() or self.rich)

    def content_ids(self) -> frozenset[str]:
        """What the HTML refers to by content id, in lower case (RFC 2392)."""
        found = (unquote(one.decode("latin-1")) for one in _REFERENCE.findall(self.html))
        return frozenset(one.lower() for one in found)

    def mentions(self, location: str) -> bool:
        """Whether the HTML names this Content-Location."""
        return bool(location) and location.encode() in self.html


def read(properties: Properties, warnings: list[str]) -> Bodies:
    """The item's text. What cannot be read is told in ``warnings``."""
    plain = lenient.text(properties, tags.BODY).rstrip("\r\n")
    html, charset = _html(properties)
    if max(len(plain), len(html)) > LONGEST:
        warnings.append(f"Its text is longer than {LONGEST // 1024**2} MiB: what follows is left out.")
        plain, html = plain[:LONGEST], html[:LONGEST]
    compressed = lenient.data(properties, tags.RTF_COMPRESSED)
    if not compressed or (html and lenient.number(properties, tags.NATIVE_BODY) != _RICH):
        return Bodies(plain, html, charset)
    try:
        made_of = rtf.origin(rtf.beginning(compressed))
        if (made_of == "text" and plain) or (made_of == "html" and html):
            return Bodies(plain, html, charset)
        rich = rtf.decompressed(compressed)
        if made_of == "html":
            return Bodies(plain, lenient.clean(rtf.original(rich)).encode(), "utf-8")
        plain = plain or lenient.clean(rtf.original(rich)).strip()
        says_more = made_of == "rtf" and (plain or rtf.has_pictures(rich))
        return Bodies(plain, html, charset, rich if says_more else b"")
    except rtf.RtfError as error:
        warnings.append(f"Its text in rich text format could not be read: {error}.")
        return Bodies(plain or lenient.clean(rtf.original(error.text)).strip(), html, charset)


def _html(properties: Properties) -> tuple[bytes, str]:
    """HTML in bytes, and their charset."""
    value = lenient.get(properties, tags.HTML)
    if isinstance(value, str):
        return lenient.clean(value).encode(), "utf-8"
    data = lenient.data(properties, tags.HTML)
    page = lenient.number(properties, tags.INTERNET_CODEPAGE)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or (page in _UTF16 and b"\0" in data):
        codec = "utf-16" if page != _UTF16[1] else "utf-16-be"
        return data.decode(codec, "replace").lstrip("\ufeff").replace("\0", "").encode(), "utf-8"
    data = data.rstrip(b"\0").replace(b"\0", b" ")
    return _labelled(data, values.codec(page) or _codec_within(data))


def _codec_within(data: bytes) -> str:
    """The codec of the charset that the HTML itself names, "" for none."""
    named = _META_CHARSET.search(data[:4096])
    return charsets.codec_of(named[1].decode("ascii")) if named else ""


def _labelled(data: bytes, codec: str) -> tuple[bytes, str]:
    """The bytes with MIME's name for their charset; in UTF-8 where it has none, or the bytes are not in it."""
    if codec in _LATIN and _is(data, "utf_8"):
        return data, "utf-8"
    codec = codec or "cp1252"
    label = _LABELS.get(codec) or _numbered(codec)
    if label and _is(data, codec):
        return data, label
    return data.decode(codec, "replace").encode("utf-8", "replace"), "utf-8"


def _numbered(codec: str) -> str:
    """windows-1250 and so on, iso-8859-2 and so on."""
    if re.fullmatch(r"cp125\d", codec):
        return f"windows-{codec[2:]}"
    return f"iso-8859-{codec[8:]}" if codec.startswith("iso8859_") else ""


def _is(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except (UnicodeError, LookupError):
        return False
    return True
