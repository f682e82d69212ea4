"""The directory at the end of an archive volume: which volumes it stands in for, and where their records are now.

It is readable without a key, and holds for each replaced volume all that was known of it: its header, where each of
its records began and what that record's leaf is. So addresses (volume, offset) stay what they were, and leaf roots
and proofs can be made as if the volume were there. docs/format.md specifies the bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import zstandard
from google_crc32c import value as crc32c

from appliance import decoding
from appliance.errors import DamageError
from appliance.files import Files, read_exactly
from appliance.store import merkle
from appliance.store.format import DIRECTORY_MAGIC, HEADER_SIZE, LAST_MAGIC, IndexEntry, crc_holds, with_crc

ERASED: Final = 0
"""In place of a record's place: its original is gone."""

_LEVEL: Final = 19
_MOST_BYTES: Final = 1 << 30
_SIZES: Final = struct.Struct(">4sII")
_LAST: Final = struct.Struct(">QI4s")
LAST_SIZE: Final = _LAST.size


class Replaced(msgspec.Struct, frozen=True):
    """One volume that an archive volume stands in for, as its seal attested it."""

    volume: str  # path relative to the volumes folder
    number: int  # of its seal
    header: bytes  # its HEADER_SIZE bytes
    size: int
    closed: bool
    logical_end: int
    leaf_root: bytes
    gaps: tuple[tuple[int, int], ...]  # offset and length
    records: int

    @property
    def header_hash(self) -> bytes:
        """SHA-256 of its header."""
        return sha256(self.header).digest()


class Place(msgspec.Struct, frozen=True):
    """One record of a replaced volume: its entry as it was, and where its original is now."""

    entry: IndexEntry
    offset: int  # in the archive volume, of the record itself or of the group it is in; ERASED
    member: int  # its number in the group, from 0


class _Columns(msgspec.Struct, frozen=True):
    """The records of all replaced volumes, a column for each member: numbers are 8 bytes, big-endian."""

    offsets: bytes
    lengths: bytes
    types: bytes  # 1 each
    ids: bytes  # 16 each
    times: bytes
    leaves: bytes  # 32 each
    places: bytes
    members: bytes


class Places:
    """The records of the replaced volumes. 88 bytes of memory for each."""

    def __init__(self, replaced: Sequence[Replaced], columns: _Columns) -> None:
        """Raises DamageError where the columns are not of one length."""
        self._types, self._ids, self._leaves = columns.types, columns.ids, columns.leaves
        self._offsets, self._lengths = _numbers(columns.offsets), _numbers(columns.lengths)
        self._times = _numbers(columns.times)
        self._places, self._members = _numbers(columns.places), _numbers(columns.members)
        self._ranges: dict[str, range] = {}
        start = 0
        for one in replaced:
            self._ranges[one.volume] = range(start, start + one.records)
            start += one.records
        sizes = {
            len(self._offsets), len(self._lengths), len(self._types), len(self._times), len(self._places),
            len(self._members), len(self._ids) / 16, len(self._leaves) / 32, start,
        }  # fmt: skip
        if len(sizes) != 1:
            raise DamageError("The archive volume's directory has columns of different lengths.")

    def of(self, volume: str, start: int = 0) -> Iterator[Place]:
        """The records of a replaced volume that began at ``start`` or later, in their order."""
        rows = self._ranges[volume]
        for row in range(bisect_left(self._offsets, start, rows.start, rows.stop), rows.stop):
            yield self._place(row)

    def at(self, volume: str, offset: int) -> Place | None:
        """The record that began at ``offset``."""
        rows = self._ranges[volume]
        row = bisect_left(self._offsets, offset, rows.start, rows.stop)
        return self._place(row) if row < rows.stop and self._offsets[row] == offset else None

    def leaf_root(self, volume: str) -> bytes:
        """The Merkle root over the replaced volume's leaves."""
        return merkle.root(merkle.leaf_hash(place.entry.committed()) for place in self.of(volume))

    def _place(self, row: int) -> Place:
        entry = IndexEntry(
            offset=self._offsets[row], length=self._lengths[row], type=self._types[row],
            record_id=self._ids[row * 16 : row * 16 + 16], time=self._times[row],
            leaf=self._leaves[row * 32 : row * 32 + 32],
        )  # fmt: skip
        return Place(entry, self._places[row], self._members[row])


class Contents(msgspec.Struct, frozen=True):
    """What an archive volume has beside records: the volumes that it stands for, and its list of parts."""

    replaces: tuple[Replaced, ...]
    part_list: int = 0  # where that record is; 0 where there is none


class Directory(msgspec.Struct, frozen=True):
    """A directory as it was read; the records' places are unpacked when they are wanted."""

    offset: int  # in the archive volume
    contents: Contents
    columns: bytes

    @property
    def replaced(self) -> tuple[Replaced, ...]:
        """The volumes that the archive volume stands for."""
        return self.contents.replaces

    def places(self) -> Places:
        """Where the records are. Raises DamageError."""
        try:
            columns = decoding.from_msgpack(_decompress(self.columns), _Columns)
        except msgspec.DecodeError as error:
            raise DamageError("The archive volume's directory cannot be read.") from error
        return Places(self.replaced, columns)


def pack(offset: int, contents: Contents, places: Iterable[Place]) -> bytes:
    """The bytes from ``offset`` (where the records end) to the archive volume's end.

    ``places``: all records of the first replaced volume in their order, then those of the next.
    """
    rows = list(places)
    columns = _Columns(
        offsets=_packed(row.entry.offset for row in rows),
        lengths=_packed(row.entry.length for row in rows),
        types=bytes(row.entry.type for row in rows),
        ids=b"".join(row.entry.record_id for row in rows),
        times=_packed(row.entry.time for row in rows),
        leaves=b"".join(row.entry.leaf for row in rows),
        places=_packed(row.offset for row in rows),
        members=_packed(row.member for row in rows),
    )
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    volumes = compressor.compress(msgspec.msgpack.encode(contents))
    records = compressor.compress(msgspec.msgpack.encode(columns))
    body = with_crc(_SIZES.pack(DIRECTORY_MAGIC, len(volumes), len(records)) + volumes + records)
    end = offset.to_bytes(8, "big")
    return body + _LAST.pack(offset, crc32c(end), LAST_MAGIC)


def parse_last(data: bytes) -> int | None:
    """Where the directory begins, from an archive volume's last ``LAST_SIZE`` bytes; None where they are none."""
    if len(data) != LAST_SIZE:
        return None
    offset, crc, magic = _LAST.unpack(data)
    return offset if magic == LAST_MAGIC and crc == crc32c(data[:8]) and offset >= HEADER_SIZE else None


def parse(data: bytes, offset: int) -> Directory:
    """The directory that ``data``, from ``offset`` to the file's end, is as a whole. Raises DamageError."""
    body = data[:-LAST_SIZE]
    if len(body) < _SIZES.size or parse_last(data[-LAST_SIZE:]) != offset or not crc_holds(body):
        raise DamageError("The archive volume's directory does not match its checksum.")
    magic, volumes, records = _SIZES.unpack_from(body)
    if magic != DIRECTORY_MAGIC or _SIZES.size + volumes + records + 4 != len(body):
        raise DamageError("The archive volume's directory is cut short, or there is none.")
    first = body[_SIZES.size : _SIZES.size + volumes]
    try:
        contents = decoding.from_msgpack(_decompress(first), Contents)
    except msgspec.DecodeError as error:
        raise DamageError("The archive volume's directory cannot be read.") from error
    return Directory(offset, contents, body[_SIZES.size + volumes : -4])


def read_directory(files: Files, path: Path) -> Directory:
    """An archive volume's directory. Raises DamageError, OSError."""
    descriptor = files.open(path)
    try:
        size = files.size(descriptor)
        last = read_exactly(files, descriptor, LAST_SIZE, max(size - LAST_SIZE, 0))
        offset = parse_last(last)
        if offset is None or offset > size:
            raise DamageError("The archive volume has no directory.")
        return parse(read_exactly(files, descriptor, size - offset, offset), offset)
    finally:
        files.close(descriptor)


def _decompress(data: bytes) -> bytes:
    try:
        if zstandard.frame_content_size(data) > _MOST_BYTES:
            raise DamageError("The archive volume's directory is larger than any can be.")
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamageError("The archive volume's directory does not decompress.") from error


def _packed(numbers: Iterable[int]) -> bytes:
    packed = array("Q", numbers)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def _numbers(data: bytes) -> array[int]:
    numbers = array("Q")
    try:
        numbers.frombytes(data)
    except ValueError as error:
        raise DamageError("The archive volume's directory has a column that is cut short.") from error
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
