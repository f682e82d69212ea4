"""Rich text of items: decompressed (MS-OXRTFCP), and the HTML or plain text that was put into it (MS-OXRTFEX).

Outlook keeps the HTML of a mail within RTF: its tags in groups of their own (``\\*\\htmltag``), its text as text, and
what only RTF needs between ``\\htmlrtf`` and ``\\htmlrtf0``. Why both readers are written here and not taken from
libraries: docs/decisions/0182-rtf-by-hand.md. All take time linear in the length, and nothing raises but
``RtfError`` from ``decompressed``.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final, Literal

from appliance.mapi import values

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of rich text that are read."""

Origin = Literal["html", "text", "rtf"]
"""What rich text was made of."""

_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n"
    b"\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
_WINDOW = 4096
_HEAD = 256  # bytes in which rich text says what it was made of: among its first ten words (MS-OXRTFEX)
_COMPRESSED, _PLAIN = b"LZFu", b"MELA"

_BINARY = re.compile(rb"\\bin([0-9]{1,10}) ?")
_DEEPEST = 1_000  # groups within one another
_FROM_HTML = re.compile(rb"\\fromhtml1?(?![0-9a-z])")
_FROM_TEXT = re.compile(rb"\\fromtext(?![0-9a-z])")
_PICTURE = re.compile(rb"\\(?:pict|object|objdata|shppict)(?![a-z])")
_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,40})(-?[0-9]{1,10})?[ ]?"  # 1, 2: a control word
    rb"|\\'([0-9a-fA-F]{2})"  # 3: a byte
    rb"|\\([^a-zA-Z])"  # 4: a control symbol
    rb"|([{}])"  # 5: a group's begin or end
    rb"|([^\\{}\r\n\0]+)",  # 6: text
    re.DOTALL,
)
_UNSEEN = frozenset(
    b"fonttbl colortbl stylesheet info pict object header footer headerl headerr footerl footerr listtable "
    b"listoverridetable rsidtbl generator themedata latentstyles datastore mmathPr xmlnstbl filetbl revtbl".split()
)
_WORDS = {
    b"par": "\r\n", b"line": "\r\n", b"row": "\r\n", b"tab": "\t", b"cell": "\t",
    b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "\u201c",
    b"rdblquote": "\u201d", b"bullet": "\u2022", b"endash": "\u2013", b"emdash": "\u2014", b"emspace": "\u2003",
    b"enspace": "\u2002", b"qmspace": "\u2005", b"zwj": "\u200d", b"zwnj": "\u200c", b"ltrmark": "\u200e",
    b"rtlmark": "\u200f",
}  # fmt: skip
_SYMBOLS = {b"~": "\xa0", b"_": "\xad", b"-": "", b"\\": "\\", b"{": "{", b"}": "}", b"\n": "\r\n", b"\r": "\r\n"}
_CHARSETS = {
    0: 1252, 77: 10000, 128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255,
    178: 1256, 186: 1257, 204: 1251, 222: 874, 238: 1250, 254: 437, 255: 850,
}  # fmt: skip
"""Code pages of fonts (\\fcharset); those that are not here have the document's."""


class RtfError(Exception):
    """Compressed rich text is damaged: how, in a few words. ``text`` is the rich text as far as it goes."""

    def __init__(self, why: str, text: bytes = b"") -> None:
        super().__init__(why)
        self.text = text


def decompressed(data: bytes) -> bytes:
    """Rich text out of PidTagRtfCompressed (MS-OXRTFCP section 2.2). Raises RtfError."""
    if len(data) < 16:
        raise RtfError("it is cut off")
    size, raw_size, kind, check = struct.unpack_from("<II4sI", data)
    content = data[16 : size + 4]
    if kind not in (_PLAIN, _COMPRESSED):
        raise RtfError("it is of no known form")
    if min(raw_size, 9 * len(content)) > LARGEST:  # no more than 8.5 times as much comes out
        raise RtfError(f"it is larger than {LARGEST // 1024**2} MiB")
    if kind == _PLAIN:
        return content[:raw_size]
    whole = zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF == check  # a CRC that begins with 0 and is not inverted
    text = _expanded(content)
    if len(text) > raw_size:
        text = text[:raw_size]
    if not whole and len(text) < raw_size:
        raise RtfError("it is cut off or changed", text)
    return text


def beginning(data: bytes) -> bytes:
    """The first 256 bytes or more of the rich text, without what it takes to read it all. Raises RtfError."""
    if data[8:12] != _COMPRESSED:
        return decompressed(data)[:_HEAD]
    return _expanded(data[16 : 16 + _HEAD])


def origin(rich: bytes) -> Origin:
    """What the rich text says it was made of (MS-OXRTFEX section 2.1.3.1)."""
    head = rich[:_HEAD]
    if _FROM_HTML.search(head):
        return "html"
    return "text" if _FROM_TEXT.search(head) else "rtf"


def has_pictures(rich: bytes) -> bool:
    """Whether there is anything in it that is no text."""
    return _PICTURE.search(rich) is not None


def original(rich: bytes) -> str:
    """The HTML or the plain text that rich text with such an ``origin`` was made of; the text of any other."""
    return _Reader(rich, origin(rich) == "html").read()


def _expanded(content: bytes) -> bytes:
    """MS-OXRTFCP section 2.1.3.1. The window is the end of what has been written so far."""
    out = bytearray(_DICTIONARY)
    end = len(content)
    at = 0
    while at < end:
        control = content[at]
        at += 1
        if not control:  # eight letters
            out += content[at : at + 8]
            at += 8
            continue
        for bit in range(8):
            if not control >> bit & 1:
                out += content[at : at + 1]
                at += 1
                continue
            if at + 2 > end:
                return bytes(out[len(_DICTIONARY) :])
            reference = content[at] << 8 | content[at + 1]
            at += 2
            back = (len(out) - (reference >> 4)) % _WINDOW
            length = (reference & 0xF) + 2
            start = len(out) - back
            if not back:
                return bytes(out[len(_DICTIONARY) :])
            if start < 0:
                raise RtfError("it refers to what is not there")
            if back >= length:
                out += out[start : start + length]
            else:  # it repeats what it writes itself
                out += (out[start:] * (length // back + 1))[:length]
    return bytes(out[len(_DICTIONARY) :])


class _Group:
    """What holds within a group and ends with it."""

    __slots__ = ("codec", "hidden", "rtf_only", "skip", "tag")

    def __init__(self, codec: str, skip: int, hidden: bool, rtf_only: bool, tag: bool) -> None:
        self.codec = codec
        self.skip = skip  # characters that stand for one \u (\uc)
        self.hidden = hidden  # a destination that nobody reads
        self.rtf_only = rtf_only  # between \htmlrtf and \htmlrtf0
        self.tag = tag  # within \*\htmltag

    def copy(self) -> _Group:
        return _Group(self.codec, self.skip, self.hidden, self.rtf_only, self.tag)


class _Reader:
    """Goes through rich text once and collects what is content."""

    def __init__(self, rich: bytes, is_html: bool) -> None:
        self._rich = _without_binaries(rich)
        self._is_html = is_html
        self._codec = "cp1252"
        self._group = _Group("", 1, False, False, False)
        self._stack: list[_Group] = []
        self._fonts = _fonts(rich)
        self._out: list[str] = []
        self._bytes = bytearray()  # that wait for more of their character
        self._to_skip = 0
        self._starred = False  # \* was read: the next word names a destination
        self._surrogate = 0

    def read(self) -> str:
        for token in _TOKEN.finditer(self._rich):
            match token.lastindex:
                case 6:
                    self._text(token[6])
                case 3:
                    self._text(bytes((int(token[3], 16),)))
                case 1 | 2:
                    self._word(token[1], token[2])
                case 4:
                    self._symbol(token[4])
                case 5:
                    self._brace(token[5])
        self._flush()
        return "".join(self._out)

    def _text(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        if data and self._seen():
            self._surrogate = 0
            self._bytes += data

    def _seen(self) -> bool:
        group = self._group
        return not (group.hidden or (group.rtf_only and self._is_html))

    def _flush(self) -> None:
        if self._bytes:
            codec = self._codec if self._group.tag or not self._group.codec else self._group.codec
            self._out.append(self._bytes.decode(codec, "replace"))
            self._bytes.clear()

    def _write(self, text: str) -> None:
        self._flush()
        if self._seen():
            self._out.append(text)

    def _brace(self, brace: bytes) -> None:
        self._flush()
        self._to_skip = 0
        self._starred = False
        if brace == b"{":
            if len(self._stack) < _DEEPEST:
                self._stack.append(self._group)
                self._group = self._group.copy()
        elif self._stack:
            self._group = self._stack.pop()

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._starred = True
        elif self._to_skip:
            self._to_skip -= 1
        elif symbol in _SYMBOLS:
            self._write(_SYMBOLS[symbol])

    def _word(self, word: bytes, parameter: bytes | None) -> None:
        starred, self._starred = self._starred, False
        group = self._group
        if starred or word in _UNSEEN:
            self._flush()
            if word == b"htmltag":
                group.tag = True
                group.rtf_only = False
            else:
                group.hidden = True
            return
        value = int(parameter) if parameter else None
        if word in _WORDS:
            self._character(_WORDS[word])
        elif word == b"u" and value is not None:
            self._unicode(value & 0xFFFF)
        elif word == b"htmlrtf":
            self._flush()
            group.rtf_only = value != 0
        elif word == b"f" and value is not None:
            self._flush()
            group.codec = self._fonts.get(value, "")
        elif word == b"plain":
            self._flush()
            group.codec = ""
        elif word == b"uc" and value is not None:
            group.skip = min(max(value, 0), 16)
        elif word == b"ansicpg" and value:
            self._codec = values.codec(value) or self._codec

    def _character(self, text: str) -> None:
        if self._to_skip:
            self._to_skip -= 1
        else:
            self._write(text)

    def _unicode(self, code: int) -> None:
        self._flush()
        self._to_skip = self._group.skip
        if not self._seen():
            return
        if 0xD800 <= code < 0xDC00:
            self._surrogate = code
        elif 0xDC00 <= code < 0xE000:
            if self._surrogate:
                self._out.append(chr(0x10000 + ((self._surrogate - 0xD800) << 10) + (code - 0xDC00)))
            self._surrogate = 0
        elif code:
            self._out.append(chr(code))


def _without_binaries(rich: bytes) -> bytes:
    """The rich text without the bytes that follow \\bin: there, braces and backslashes mean nothing."""
    kept = []
    position = 0
    while (binary := _BINARY.search(rich, position)) is not None:
        kept.append(rich[position : binary.start()])
        position = binary.end() + int(binary[1])
    return b"".join([*kept, rich[position:]]) if kept else rich


def _fonts(rich: bytes) -> dict[int, str]:
    """The codecs of the fonts that say which characters they have."""
    start = rich.find(b"{\\fonttbl")
    found: dict[int, str] = {}
    if start < 0:
        return found
    number = None
    depth = 0
    for token in _TOKEN.finditer(rich, start, start + 256 * 1024):
        if token[5]:
            depth += 1 if token[5] == b"{" else -1
            if not depth:
                break
        elif token[1] == b"f" and token[2]:
            number = int(token[2])
        elif token[1] == b"fcharset" and token[2] and number is not None:
            page = _CHARSETS.get(int(token[2]))
            if page is not None:
                found.setdefault(number, values.codec(page))
    return found
