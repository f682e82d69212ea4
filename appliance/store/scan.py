"""Walking through a volume's bytes without a key: records, and the bytes between them that are none.

Nothing is skipped in silence and nothing is cut off: where a record does not hold, the next marker, record or
footer that matches its checksum is looked for, and what lies before it is given as ``Damage``. Whether damage hit
confirmed mail is told by the batch markers after it: each says up to where everything was durable before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import msgspec
from google_crc32c import extend as crc32c_extend
from google_crc32c import value as crc32c

from appliance.files import Files, read_exactly
from appliance.store.format import (
    END_SIZE,
    FRAME,
    HEADER_SIZE,
    INDEX_MAGIC,
    LARGEST_FRAME,
    LAST_FRAME,
    MAGIC_PREFIX,
    MARKER_MAGIC,
    MARKER_SIZE,
    RECORD_HEADER_SIZE,
    RECORD_MAGIC,
    TRAILER,
    Footer,
    IndexEntry,
    RecordHeader,
    footer_size,
    parse_end,
    parse_footer,
    parse_marker,
    parse_record_header,
)
from appliance.store.merkle import LEAF_PREFIX
from appliance.store.record import Frame

TAG_SIZE: Final = 16
_CHUNK: Final = 1024 * 1024


class Window:
    """The bytes of an open file up to ``size``, read ahead in pieces of a megabyte."""

    def __init__(self, files: Files, descriptor: int, size: int, *, ahead: int = _CHUNK) -> None:
        self._files = files
        self._descriptor = descriptor
        self.size = size
        self._ahead = ahead
        self._data = b""
        self._base = 0

    def get(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer at the end. Raises OSError."""
        length = max(0, min(length, self.size - offset))
        start = offset - self._base
        if start < 0 or start + length > len(self._data):
            wanted = min(max(length, self._ahead), self.size - offset)
            self._data = read_exactly(self._files, self._descriptor, wanted, offset)
            self._base, start = offset, 0
        return self._data[start : start + length]

    def find(self, needle: bytes, offset: int) -> int:
        """Where ``needle`` next begins at or after ``offset``; -1 where it does not."""
        while offset < self.size:
            piece = self.get(offset, self._ahead)
            found = piece.find(needle)
            if found >= 0:
                return offset + found
            if len(piece) < len(needle) or offset + len(piece) >= self.size:
                return -1
            offset += len(piece) - len(needle) + 1
        return -1


class Marker(msgspec.Struct, frozen=True):
    """The start of a batch."""

    offset: int
    batch: int
    durable: int

    @property
    def end(self) -> int:
        """Where the batch's first record begins."""
        return self.offset + MARKER_SIZE


class FoundRecord(msgspec.Struct, frozen=True):
    """A record that matches its checksums."""

    entry: IndexEntry
    cipher_hash: bytes  # empty unless asked for


class Gap(msgspec.Struct, frozen=True):
    """Bytes that are nothing whole. ``durable``: they were known to be on disk once."""

    offset: int
    length: int
    durable: bool
    what: str
    record_id: bytes | None


Found = Marker | FoundRecord | Gap | Footer


def walk(window: Window, start: int = HEADER_SIZE, *, growing: bool, hashes: bool = False) -> Iterator[Found]:
    """Everything from ``start`` (where something begins) to the window's end, in order.

    ``growing``: its writer may still append, so an unfinished end is not given at all. ``hashes``: compute each
    record's leaf in the ciphertext tree. Raises OSError.
    """
    offset = start
    durable: int | None = None
    while offset < window.size:
        found = _whole(window, offset, hashes)
        if found is None:
            end = _next_whole(window, offset + 1)
            if growing and end == window.size:
                return
            if durable is None:  # markers before this gap could not say anything of it
                durable = _durable(window, end)
            header = parse_record_header(window.get(offset, RECORD_HEADER_SIZE))
            footer = _was_footer(window, offset)
            yield Gap(
                offset=offset, length=end - offset, durable=footer or end <= durable,
                what="a damaged footer" if footer else _what(header),
                record_id=header.record_id if header is not None else None,
            )  # fmt: skip
            offset = end
            continue
        yield found
        offset = _end_of(found, window)


def footer_of(window: Window) -> Footer | None:
    """The footer of a closed volume; None where there is none, or a damaged one."""
    end = parse_end(window.get(window.size - END_SIZE, END_SIZE)) if window.size > HEADER_SIZE + END_SIZE else None
    if end is None or not HEADER_SIZE <= end <= window.size - END_SIZE:
        return None
    return parse_footer(window.get(end, window.size - end), end)


def frames(window: Window, offset: int) -> Iterator[Frame]:
    """The frames of the record that begins at ``offset``, up to its last or the first that is cut short."""
    offset += RECORD_HEADER_SIZE
    while True:
        prefix = window.get(offset, FRAME.size)
        if len(prefix) < FRAME.size:
            return
        length, nonce = FRAME.unpack(prefix)
        last = bool(length & LAST_FRAME)
        length &= ~LAST_FRAME
        if not TAG_SIZE <= length <= LARGEST_FRAME + TAG_SIZE:
            return
        sealed = window.get(offset + FRAME.size, length)
        if len(sealed) < length:
            return
        yield Frame(nonce=nonce, sealed=sealed, last=last)
        offset += FRAME.size + length
        if last:
            return


def record_at(window: Window, offset: int, *, hashes: bool = False) -> FoundRecord | None:
    """The record that begins at ``offset``, or None where none does or it does not match its checksums."""
    raw = window.get(offset, RECORD_HEADER_SIZE)
    header = parse_record_header(raw)
    if header is None:
        return None
    digest = sha256(LEAF_PREFIX + raw) if hashes else None
    crc = crc32c(raw)
    position = offset + RECORD_HEADER_SIZE
    last = False
    while not last:
        prefix = window.get(position, FRAME.size)
        if len(prefix) < FRAME.size:
            return None
        length = int.from_bytes(prefix[:4], "big")
        last = bool(length & LAST_FRAME)
        length &= ~LAST_FRAME
        if not TAG_SIZE <= length <= LARGEST_FRAME + TAG_SIZE:
            return None
        whole = window.get(position, FRAME.size + length)
        if len(whole) < FRAME.size + length:
            return None
        crc = crc32c_extend(crc, whole)
        if digest is not None:
            digest.update(whole)
        position += len(whole)
    trailer = window.get(position, TRAILER.size)
    if len(trailer) < TRAILER.size:
        return None
    leaf, length, expected = TRAILER.unpack(trailer)
    if length != position + TRAILER.size - offset or crc32c_extend(crc, trailer[:-4]) != expected:
        return None
    if digest is not None:
        digest.update(trailer)
    entry = IndexEntry(
        offset=offset, length=length, type=header.type, record_id=header.record_id, time=header.time, leaf=leaf
    )
    return FoundRecord(entry=entry, cipher_hash=digest.digest() if digest is not None else b"")


def _whole(window: Window, offset: int, hashes: bool) -> Marker | FoundRecord | Footer | None:
    magic = window.get(offset, len(RECORD_MAGIC))
    if magic == RECORD_MAGIC:
        return record_at(window, offset, hashes=hashes)
    if magic == MARKER_MAGIC:
        return _marker_at(window, offset)
    if magic == INDEX_MAGIC:
        footer = footer_of(window)
        return footer if footer is not None and footer.logical_end == offset else None
    return None


def _marker_at(window: Window, offset: int) -> Marker | None:
    marker = parse_marker(window.get(offset, MARKER_SIZE))
    if marker is None or marker[1] > offset:
        return None
    return Marker(offset=offset, batch=marker[0], durable=marker[1])


def _end_of(found: Found, window: Window) -> int:
    if isinstance(found, Marker):
        return found.end
    if isinstance(found, FoundRecord):
        return found.entry.offset + found.entry.length
    return window.size


def _next_whole(window: Window, offset: int) -> int:
    """Where the next thing begins whose header is whole; the window's end where there is none."""
    while (offset := window.find(MAGIC_PREFIX, offset)) >= 0:
        magic = window.get(offset, len(RECORD_MAGIC))
        if magic == RECORD_MAGIC:
            if parse_record_header(window.get(offset, RECORD_HEADER_SIZE)) is not None:
                return offset
        elif _whole(window, offset, hashes=False) is not None:
            return offset
        offset += 1
    return window.size


def _durable(window: Window, offset: int) -> int:
    """Up to where everything is known to have been durable, from what stands at ``offset`` or later."""
    if footer_of(window) is not None:
        return window.size
    durable = 0
    while (offset := window.find(MARKER_MAGIC, offset)) >= 0:
        marker = _marker_at(window, offset)
        if marker is not None:
            durable = max(durable, marker.durable)
        offset += 1
    return durable


def _was_footer(window: Window, offset: int) -> bool:
    """Whether a damaged end has the place and the size of a footer, so that it was written whole."""
    if parse_end(window.get(window.size - END_SIZE, END_SIZE)) == offset:
        return True
    start = window.get(offset, footer_size(0) - END_SIZE)
    return start[:4] == INDEX_MAGIC and window.size - offset == footer_size(int.from_bytes(start[4:], "big"))


def _what(header: RecordHeader | None) -> str:
    if header is None:
        return "bytes that are no record"
    return "a record that does not match its checksum, or is cut short"
