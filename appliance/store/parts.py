"""Cutting attachments out of mail, and putting them back bit for bit. No input or output, no keys.

An attachment stands in mail as base64: lines of one width (RFC 2045 section 6.8 allows up to 76 characters, others
occur). Such a run of lines says no more than its bytes, its width and its line ends, so the bytes can be kept once
for all mails in which they occur. A run is found by its look alone, in whatever depth of the mail it stands; it is
cut out only where encoding its bytes again gives the very same characters.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from appliance.errors import DamageError

SMALLEST: Final = 512
"""Decoded bytes from which on a run is cut out."""
PART_SIZE: Final = 768 * 1024
"""Largest part; a multiple of 3, so that a run's parts can be encoded one after the other."""

_FIRST_LINE: Final = re.compile(rb"(?<![^\n])([A-Za-z0-9+/]{40,1000})(\r?\n)")
_WIDTH_UNIT: Final = 4


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """Where a part is: the number of the mailbox's archive volume, and the offset in it."""

    volume: int
    offset: int


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Lines of base64 that were cut out of a text."""

    at: int  # where they belong, in the text that is left
    width: int  # characters in each line but the last
    crlf: bool  # how lines end
    parts: tuple[Reference, ...]


class Found(msgspec.Struct, frozen=True):
    """A run as it stands in the original: its place there, and its bytes."""

    start: int
    end: int
    width: int
    crlf: bool
    data: bytes


def find(original: bytes) -> Iterator[Found]:
    """The runs of an original, in their order, that can be encoded again to the same characters."""
    position = 0
    while (line := _FIRST_LINE.search(original, position)) is not None:
        position = line.end()
        width, crlf = len(line[1]), line[2] == b"\r\n"
        if width % _WIDTH_UNIT:
            continue
        end = _end(original, line.start(), width, line[2])
        found = _decoded(original, line.start(), end, width, crlf)
        if found is not None:
            position = end
            yield found


def cut(original: bytes, store: Callable[[bytes], Reference]) -> tuple[bytes, tuple[Run, ...]]:
    """What is left of an original without its runs, and the runs; ``store`` takes each part in turn."""
    left: list[bytes] = []
    runs: list[Run] = []
    position = length = 0
    for found in find(original):
        left.append(original[position : found.start])
        length += len(left[-1])
        pieces = (found.data[start : start + PART_SIZE] for start in range(0, len(found.data), PART_SIZE))
        runs.append(Run(length, found.width, found.crlf, tuple(map(store, pieces))))
        position = found.end
    left.append(original[position:])
    return b"".join(left), tuple(runs)


def join(text: bytes, runs: Iterable[Run], part: Callable[[Reference], bytes]) -> Iterator[bytes]:
    """The original, in pieces, from what ``cut`` gave; ``part`` gives a part's bytes. Raises DamageError."""
    position = 0
    for run in runs:
        if not position <= run.at <= len(text) or run.width <= 0 or run.width % _WIDTH_UNIT:
            raise DamageError("A record's recipe does not fit what it is made of.")
        yield text[position : run.at]
        yield from encode(map(part, run.parts), run.width, b"\r\n" if run.crlf else b"\n")
        position = run.at
    yield text[position:]


def encode(pieces: Iterable[bytes], width: int, line_end: bytes) -> Iterator[bytes]:
    """Base64 in lines of ``width`` characters, with line ends between them; all pieces but the last are whole
    triples of bytes."""
    waiting = b""
    for piece in pieces:
        waiting += b2a_base64(piece, newline=False)
        # The last line waits: only what comes after it tells whether a line end follows.
        whole = max(len(waiting) - 1, 0) // width * width
        if whole:
            yield b"".join([waiting[start : start + width] + line_end for start in range(0, whole, width)])
            waiting = waiting[whole:]
    yield waiting


def _end(original: bytes, start: int, width: int, line_end: bytes) -> int:
    """Where the run ends that begins with a whole line at ``start``."""
    lines = _lines(width, line_end).match(original, start)
    end = lines.end() if lines is not None else start
    tail = _TAIL.match(original, end, end + width)
    following = original[tail.end() : tail.end() + 1] if tail is not None else b""
    if tail is not None and len(tail[0]) % _WIDTH_UNIT == 0 and tail[0] and following in (b"\r", b"\n", b""):
        return tail.end()
    return end - len(line_end)


_TAIL: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_LINES: dict[tuple[int, bytes], re.Pattern[bytes]] = {}


def _lines(width: int, line_end: bytes) -> re.Pattern[bytes]:
    pattern = _LINES.get((width, line_end))
    if pattern is None:
        pattern = _LINES[width, line_end] = re.compile(b"(?:[A-Za-z0-9+/]{%d}%b)+" % (width, line_end))
    return pattern


def _decoded(original: bytes, start: int, end: int, width: int, crlf: bool) -> Found | None:
    if (end - start) * 3 // 4 < SMALLEST:
        return None
    text = original[start:end]
    try:
        data = a2b_base64(text)
    except Error:
        return None
    line_end = b"\r\n" if crlf else b"\n"
    if len(data) < SMALLEST or b"".join(encode((data,), width, line_end)) != text:
        return None
    return Found(start, end, width, crlf, data)
