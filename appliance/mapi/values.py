"""Property values as they lie in files and streams, and as Python has them (MS-OXCDATA section 2.11.1).

Single values, that is: those with several are laid out differently in every format,
so whoever reads the format takes them apart and decodes each.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from appliance.mail import charsets
from appliance.mapi.base import One

STRING8 = 0x001E
UNICODE = 0x001F
OBJECT = 0x000D
BINARY = 0x0102
SEVERAL = 0x1000
"""The bit of a type that says that there are several values."""

FIXED = {
    0x0002: 2, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4, 0x000B: 2, 0x0014: 8, 0x0040: 8,
    0x0048: 16,
}  # fmt: skip
"""Bytes of a value of each type that always takes the same."""

VARIABLE = frozenset({STRING8, UNICODE, OBJECT, BINARY, 0x00FB, 0x00FD, 0x00FE})

_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_APPTIME_EPOCH = datetime(1899, 12, 30, tzinfo=UTC)
_NONE_FROM = 0x0CB34557A3DD4000
"""1 January 4501, which Outlook writes for "no date" (MS-OXOTASK section 2.2.2.2.5)."""

_NUMBERS = {0x0002: "<h", 0x0003: "<i", 0x0004: "<f", 0x0005: "<d", 0x0014: "<q"}
_CODE_PAGES = {
    874: "cp874", 932: "cp932", 936: "gb18030", 949: "cp949", 950: "cp950", 1361: "johab", 10000: "mac_roman",
    10006: "mac_greek", 10007: "mac_cyrillic", 10029: "mac_latin2", 10081: "mac_turkish", 20127: "ascii",
    20866: "koi8_r", 20932: "euc_jp", 20936: "gb2312", 21866: "koi8_u", 28603: "iso8859_13", 28605: "iso8859_15",
    38598: "iso8859_8", 50220: "iso2022_jp", 50221: "iso2022_jp", 50222: "iso2022_jp", 50225: "iso2022_kr",
    51932: "euc_jp", 51936: "gb18030", 51949: "cp949", 52936: "hz", 54936: "gb18030", 65000: "utf_7", 65001: "utf_8",
}  # fmt: skip


def value(type: int, data: bytes, code_page: str) -> One | None:
    """One value of that type; None for a type without values, for a time that stands for none, and for too few bytes.

    ``code_page`` is a Python codec, for 8-bit strings.
    """
    if type == UNICODE:
        return data[: len(data) & ~1].decode("utf-16-le", "replace").rstrip("\0")
    if type == STRING8:
        return text(data, code_page)
    if type in VARIABLE:
        return data
    if len(data) < FIXED.get(type, len(data) + 1):
        return None
    if type in _NUMBERS:
        number: int | float = struct.unpack_from(_NUMBERS[type], data)[0]
        return number
    return _other(type, data)


def text(data: bytes, code_page: str) -> str:
    """An 8-bit string. Bytes that are no text of that code page become U+FFFD."""
    bare = data.rstrip(b"\0")
    try:
        return bare.decode(code_page or "cp1252")
    except (UnicodeError, LookupError):
        return charsets.decode(bare, code_page)


def codec(code_page: int) -> str:
    """The Python codec of a Windows code page (MS-UCODEREF section 2.2.1), "" for one that Python has not."""
    known = _CODE_PAGES.get(code_page)
    if known is None and 28591 <= code_page <= 28599:
        known = f"iso8859_{code_page - 28590}"
    return known or charsets.codec_of(f"cp{code_page}")


def ansi_codec(code_page: int) -> str:
    """The codec of the 8-bit strings in an item whose text goes over the internet in that code page, "" for none.

    Windows keeps strings in the ANSI code page of the language, which is never one of those (cp932, not ISO-2022-JP).
    """
    return codec(_ANSI.get(code_page, code_page))


def locale_codec(locale: int) -> str:
    """The codec of a language's ANSI code page (MS-LCID), "" for one that is not known."""
    return _LANGUAGES.get(locale, "") or _LANGUAGES.get(locale & 0x3FF, "cp1252" if locale else "")


def filetime(ticks: int) -> datetime | None:
    """A point in time by its count of 100 ns since 1601; None for those that stand for none."""
    if not 0 < ticks < _NONE_FROM:
        return None
    return _FILETIME_EPOCH + timedelta(microseconds=ticks // 10)


def _other(type: int, data: bytes) -> One | None:
    match type:
        case 0x0006:
            return float(struct.unpack_from("<q", data)[0] / 10_000)
        case 0x0007:
            return _application_time(struct.unpack_from("<d", data)[0])
        case 0x000B:
            return data[:2] != b"\0\0"
        case 0x0040:
            return filetime(struct.unpack_from("<Q", data)[0])
        case 0x0048:
            return data[:16]
    return None


def _application_time(days: float) -> datetime | None:
    try:
        return _APPTIME_EPOCH + timedelta(days=days) if days else None
    except (OverflowError, ValueError):
        return None


_ANSI = {
    20127: 1252, 28591: 1252, 28605: 1252, 28592: 1250, 28593: 1254, 28594: 1257, 28595: 1251, 28596: 1256, 28597: 1253,
    28598: 1255, 28599: 1254, 28603: 1257, 38598: 1255, 20866: 1251, 21866: 1251, 20932: 932, 50220: 932, 50221: 932,
    50222: 932, 51932: 932, 50225: 949, 51949: 949, 20936: 936, 51936: 936, 52936: 936,
}  # fmt: skip
_LANGUAGES = {
    0x01: "cp1256", 0x02: "cp1251", 0x05: "cp1250", 0x08: "cp1253", 0x0D: "cp1255", 0x0E: "cp1250", 0x11: "cp932",
    0x12: "cp949", 0x15: "cp1250", 0x18: "cp1250", 0x19: "cp1251", 0x1A: "cp1250", 0x1B: "cp1250", 0x1C: "cp1250",
    0x1E: "cp874", 0x1F: "cp1254", 0x20: "cp1256", 0x22: "cp1251", 0x23: "cp1251", 0x24: "cp1250", 0x25: "cp1257",
    0x26: "cp1257", 0x27: "cp1257", 0x29: "cp1256", 0x2A: "cp1258", 0x2C: "cp1254", 0x2F: "cp1251", 0x3F: "cp1251",
    0x04: "gb18030", 0x0404: "cp950", 0x0C04: "cp950", 0x1404: "cp950", 0x0C1A: "cp1251", 0x1C1A: "cp1251",
}  # fmt: skip
"""By primary language, and whole where its countries differ."""
