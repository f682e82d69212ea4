"""Bytes to text whatever the sender called the charset: nothing here raises, nothing here guesses for long.

Labels follow what mail really means by them (WHATWG Encoding Standard, section 4.2): ISO-8859-1 is Windows-1252,
GB2312 is GB18030, KS_C_5601-1987 is CP949. Bytes that are valid UTF-8 are UTF-8 where the label is missing,
unknown or says ASCII or Latin-1.
"""

from __future__ import annotations

from encodings import aliases
from functools import lru_cache

_MEANT = {
    "ascii": "cp1252",
    "latin_1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "ks_c_5601_1987": "cp949",
    "shift_jis": "cp932",
    "x_sjis": "cp932",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_9": "cp1254",
    "iso8859_9": "cp1254",
    "tis_620": "cp874",
    "windows_874": "cp874",
    "x_gbk": "gb18030",
    "x_euc_jp": "euc_jp",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_mac_roman": "mac_roman",
    "unicode_1_1_utf_7": "utf_7",
    "utf8mb4": "utf_8",
    "cp65001": "utf_8",
}
_TEXT_CODECS = (frozenset(aliases.aliases.values()) | {"cp874", "koi8_u", "koi8_t", "cp720", "cp737"}) - {
    "base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "uu_codec", "zlib_codec",
}  # fmt: skip
_OVER_UTF8 = frozenset({"", "utf_8", "cp1252", "cp1254"})  # what stands over UTF-8 text in real mail


def decode(data: bytes, charset: str = "") -> str:
    """The text of ``data``, declared to be in ``charset``; bytes that cannot be read become U+FFFD."""
    codec = codec_of(charset)
    try:
        if codec == "utf_7":  # Python reads half of a surrogate pair there, which no UTF-8 can carry
            return data.decode(codec, "replace").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if codec not in _OVER_UTF8:
            return data.decode(codec, "replace")
        return data.decode("utf-8-sig")
    except (UnicodeError, ValueError):
        return data.decode(_after_utf8(data, codec), "replace")


@lru_cache(maxsize=512)
def codec_of(label: str) -> str:
    """The Python codec that a charset label means, or "" where nobody knows the label."""
    name = label.strip().strip("\"'").lower().replace("-", "_").replace(" ", "_").replace(".", "_")[:60]
    if name.startswith("windows_125"):
        name = "cp" + name[8:]
    name = _MEANT.get(name, name)
    name = aliases.aliases.get(name, name)
    name = _MEANT.get(name, name)
    return name if name in _TEXT_CODECS else ""


def _after_utf8(data: bytes, codec: str) -> str:
    """What to read with when UTF-8 did not fit: UTF-8 all the same if it was declared and is mostly right."""
    if codec == "utf_8" and any(ord(character) > 0x7F for character in data[:65536].decode("utf-8", "ignore")):
        return "utf-8"
    return codec if codec in ("cp1252", "cp1254") else "cp1252"
