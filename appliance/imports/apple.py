"""Attachments that Apple Mail keeps beside a message: put back where they were.

In a ``.partial.emlx`` the bodies of some parts are empty and have a field ``X-Apple-Content-Length``; they lie decoded
in ``Attachments/MESSAGE/PART/NAME``, where PART counts as IMAP does (RFC 9051 section 6.4.5.1). How their base64 was
broken into lines nobody knows any more, so such a message is never exact.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple

from appliance.mail import mime

Opener = Callable[[], BinaryIO]

_LINE: Final = 57  # bytes that make a line of 76 letters (RFC 2045 section 6.8)
_AT_ONCE: Final = _LINE * 4096
_LENGTH = re.compile(rb"^x-apple-content-length[ \t]*:[^\n]*\n", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"(.*\.(?:imap|pop3)?mbox/(?:.*/)?)Attachments/(\d+)/(\d+(?:\.\d+)*)/[^/]+", re.DOTALL)
_MESSAGE = re.compile(r"(.*\.(?:imap|pop3)?mbox/(?:.*/)?)Messages/(\d+)\.partial\.emlx", re.DOTALL)


class Key(NamedTuple):
    """Which message attachments belong to: the folder that has ``Messages`` and ``Attachments``, and its number."""

    above: str
    number: str


def attachment(path: str) -> tuple[Key, str] | None:
    """Whose attachment the file at ``path`` is, and of which part; None where it is none: only below a folder of Apple
    Mail, since other people have folders called so."""
    found = _PATH.fullmatch(path)
    return (Key(found[1], found[2]), found[3]) if found else None


def message(path: str) -> Key | None:
    """Which message the file at ``path`` is; None where it is none that lacks attachments."""
    found = _MESSAGE.fullmatch(path)
    return Key(found[1], found[2]) if found else None


class Whole(NamedTuple):
    """A message with its attachments put back, and how many of them are still missing."""

    pieces: Iterator[bytes]
    missing: int


def whole(raw: bytes, files: Mapping[str, Opener]) -> Whole:
    """The message ``raw``, in which ``files`` are put back, by the numbers of their parts."""
    gaps = [(number, part) for number, part in _numbered(mime.split(raw), "") if _lacks(raw, part)]
    filled = [(part, files[number]) for number, part in gaps if number in files and part.encoding == "base64"]
    return Whole(_filled(raw, filled), len(gaps) - len(filled))


def _numbered(part: mime.Part, number: str) -> Iterator[tuple[str, mime.Part]]:
    if not part.children:
        yield number or "1", part
    for place, child in enumerate(part.children, 1):
        yield from _numbered(child, f"{number}.{place}" if number else str(place))


def _lacks(raw: bytes, part: mime.Part) -> bool:
    return part.head.first(b"x-apple-content-length") is not None and not raw[part.body : part.end].strip()


def _filled(raw: bytes, filled: list[tuple[mime.Part, Opener]]) -> Iterator[bytes]:
    end = b"\r\n" if b"\r\n" in raw[:1000] else b"\n"
    at = 0
    for part, open_ in filled:
        yield raw[at : part.start]
        yield _LENGTH.sub(b"", raw[part.start : part.body])
        with open_() as file:
            while piece := _read(file):
                lines = (piece[line : line + _LINE] for line in range(0, len(piece), _LINE))
                yield b"".join(binascii.b2a_base64(line, newline=False) + end for line in lines)
        at = part.end
    yield raw[at:]


def _read(file: BinaryIO) -> bytes:
    """As many bytes as there are, up to what is encoded at once: pieces must end where lines do."""
    held = b""
    while len(held) < _AT_ONCE and (piece := file.read(_AT_ONCE - len(held))):
        held += piece
    return held
