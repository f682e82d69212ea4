"""Header fields as text: RFC 2047 words (also broken ones), RFC 2231 parameters, raw 8-bit, dates.

All functions take the raw value of one field (bytes, folded as it came), run in linear time and never raise.
"""

from __future__ import annotations

import binascii
import calendar
import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from appliance.mail import charsets

LONGEST = 64 * 1024  # bytes of one value that are looked at; what is longer is an attack or an accident

Parameters = Mapping[str, str]
NO_PARAMETERS: Parameters = MappingProxyType({})

_FOLD = re.compile(rb"\r*\n(?=[ \t])|[\r\n]+")
_SPACE = re.compile(r"\s+")
_PARAMETER = re.compile(rb"""[;\s]\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)""", re.DOTALL)
_CONTINUED = re.compile(r"^(.+?)(?:\*(\d{1,3}))?(\*)?$")
_MEDIA_TYPE = re.compile(r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+$")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


def unfold(value: bytes) -> bytes:
    """The value on one line (RFC 5322 section 2.2.3), without outer blanks."""
    if b"\n" in value or b"\r" in value:
        value = _FOLD.sub(b"", value)
    return value.strip()


def text(value: bytes) -> str:
    """The value for a reader: unfolded, encoded words decoded, controls and runs of blanks made one blank."""
    value = unfold(value[:LONGEST])
    decoded = words(value) if b"=?" in value else charsets.decode(value)
    return _SPACE.sub(" ", decoded.replace("\0", " ")).strip()


def words(value: bytes) -> str:
    """Decode RFC 2047 encoded words. Neighbours in one charset are joined as bytes first: many mailers split
    characters between them, which section 5 forbids."""
    pieces: list[str] = []
    pending, pending_charset = b"", ""
    position = 0
    for start, end, charset, data in _encoded_words(value):
        between = value[position:start]
        if pending_charset and not between.strip():  # section 6.2: blanks between encoded words are not shown
            if charset == pending_charset:
                pending += data
            else:
                pieces.append(charsets.decode(pending, pending_charset))
                pending, pending_charset = data, charset
        else:
            pieces.append(charsets.decode(pending, pending_charset))
            pieces.append(charsets.decode(between))
            pending, pending_charset = data, charset
        position = end
    pieces.append(charsets.decode(pending, pending_charset))
    pieces.append(charsets.decode(value[position:]))
    return "".join(pieces)


def _encoded_words(value: bytes) -> list[tuple[int, int, str, bytes]]:
    found = []
    position = 0
    while (start := value.find(b"=?", position)) >= 0:
        mark = value.find(b"?", start + 2, start + 64)
        charset = value[start + 2 : mark]
        if mark < 0 or not charset or b" " in charset or value[mark + 2 : mark + 3] != b"?":
            position = start + 2
            continue
        encoding = value[mark + 1 : mark + 2].upper()
        end = value.find(b"?=", mark + 3)
        if end < 0:
            break
        encoded = value[mark + 3 : end]
        if encoding == b"B":
            data = base64(encoded)
        elif encoding == b"Q":
            data = binascii.a2b_qp(encoded, header=True)
        else:
            position = start + 2
            continue
        # RFC 2231 section 5 lets a language follow the charset.
        found.append((start, end + 2, charset.decode("latin-1").split("*", 1)[0].lower(), data))
        position = end + 2
    return found


_NOT_BASE64 = bytes(
    code for code in range(256) if code not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)


def base64(data: bytes) -> bytes:
    """Decode base64 as it is met (RFC 2045 section 6.8): junk is skipped, missing padding is supplied, what
    follows the padding, such as a list's footer, is left out."""
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        letters = base64_letters(data).replace(b"=", b"")
        if len(letters) % 4 == 1:  # six bits make no byte
            letters = letters[:-1]
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def base64_letters(data: bytes) -> bytes:
    """``data`` without everything that is not of the base64 alphabet; padding stays."""
    return data.translate(None, _NOT_BASE64)


def parameters(value: bytes) -> tuple[str, Parameters]:
    """A structured value such as Content-Type: its first token in lower case, and its parameters decoded
    (RFC 2231 continuations and charsets; also RFC 2047 words and raw 8-bit, which senders use instead)."""
    if len(value) <= 80:
        return _parameters_cached(value)
    return _parameters(value)


def media_type(value: bytes, default: str = "text/plain") -> tuple[str, Parameters]:
    """Content-Type as type/subtype and parameters; ``default`` where it is no media type (RFC 2045 5.2)."""
    name, found = parameters(value)
    if _MEDIA_TYPE.match(name):
        return name, found
    name = name.replace(" ", "")
    return (name if _MEDIA_TYPE.match(name) else default), found


def _parameters(value: bytes) -> tuple[str, Parameters]:
    value = unfold(value[:LONGEST])
    head, separator, rest = value.partition(b";")
    if not separator and b"=" in head:  # "text/plain charset=utf-8"
        head, *others = value.split(None, 1)
        rest = b"".join(others)
    name = head.strip().decode("latin-1").lower()
    if not rest:
        return name, NO_PARAMETERS
    pieces: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for match in _PARAMETER.finditer(b";" + rest):
        key = _CONTINUED.match(match[1].decode("latin-1").lower())
        if key is None:
            continue
        numbered = pieces.setdefault(key[1], {})
        numbered.setdefault(int(key[2] or 0), (_unquoted(match[2]), key[3] is not None))
    return name, MappingProxyType({key: _joined(numbered) for key, numbered in pieces.items()})


_parameters_cached = lru_cache(maxsize=1024)(_parameters)


def _unquoted(value: bytes) -> bytes:
    value = value.strip()
    if value[:1] != b'"':
        return value
    inner = value[1:-1] if len(value) > 1 and value.endswith(b'"') else value[1:]
    return _QUOTED_PAIR.sub(rb"\1", inner) if b"\\" in inner else inner


def _joined(numbered: dict[int, tuple[bytes, bool]]) -> str:
    charset = ""
    data = b""
    extended = False
    for number in sorted(numbered):
        piece, is_extended = numbered[number]
        if is_extended:
            if not extended and piece.count(b"'") >= 2:
                label, _, piece = piece.split(b"'", 2)
                charset = label.decode("latin-1")
            extended = True
            piece = unquote_to_bytes(piece)
        data += piece
    if extended:
        return charsets.decode(data, charset)
    return text(data)


def date(value: bytes) -> int | None:
    """Seconds since 1970-01-01 UTC (may be negative), or None where no date can be made out."""
    written = unfold(value[:200]).decode("latin-1")
    try:
        fields = email.utils.parsedate_tz(written)
        if fields is not None and 1 <= fields[0] <= 9999 and 1 <= fields[1] <= 12 and 1 <= fields[2] <= 31:
            return calendar.timegm((*fields[:6], 0, 1, 0)) - (fields[9] or 0)
        moment = datetime.fromisoformat(written)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None


_ID = re.compile(r"<\s*([^<>]*?)\s*>")


def message_ids(value: bytes) -> list[str]:
    """The ids in Message-ID, In-Reply-To or References: by their angle brackets (also where no blank parts
    them, RFC 5322 section 3.6.4), else word by word."""
    written = text(value)
    found = [_SPACE.sub("", identity) for identity in _ID.findall(written)]
    if found:
        return [identity for identity in found if identity]
    return [word for word in written.replace("<", " ").replace(">", " ").split() if "@" in word]
