"""Compound files (MS-CFB), as MSG files and OLE objects are: storages with streams in them, read piece by piece.

Whatever the bytes say, no more memory is taken than two numbers for each sector of the file, and no sector is read for
two streams or twice for one: what comes out is never more than what went in.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from appliance.mapi.base import ItemError

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

PIECE = 256 * 1024
MOST_ENTRIES = 400_000
"""Storages and streams in one file: a message with 2,048 recipients and 1,000 attachments has about 60,000."""
LONGEST_VALUE = 64 * 1024 * 1024
"""Bytes of a stream that is read as a whole."""

_HEADER = struct.Struct("<8s16xHHHHH6x9I436s")
_ENTRY = struct.Struct("<64sHBBIII16sI8x8xIQ")
_LAST_SECTOR = 0xFFFFFFFA  # MAXREGSECT
_END_OF_CHAIN = 0xFFFFFFFE
_NOTHING = 0xFFFFFFFF
_MINI_SECTOR = 64
_CUTOFF = 4096
_LARGEST_MINI_FAT = 16 * 1024 * 1024  # for 256 MiB of streams that are smaller than 4 KiB each

_STORAGE, _STREAM, _ROOT = 1, 2, 5


class CompoundError(ItemError):
    """The file, or a stream in it, is no compound file or is damaged."""


class Run(NamedTuple):
    """Sectors of a stream that lie one behind the other: where in the stream they begin, where in the file, bytes."""

    at: int
    offset: int
    length: int


class Entry(NamedTuple):
    """A directory entry (section 2.6.1)."""

    number: int
    name: str
    kind: int
    left: int
    right: int
    child: int
    clsid: bytes
    state: int
    start: int
    size: int


class Stream:
    """A stream: its size in bytes, and its bytes."""

    def __init__(self, file: _File, entry: Entry) -> None:
        self._file = file
        self._entry = entry
        self.name = entry.name
        self.size = entry.size

    def pieces(self) -> Iterator[bytes]:
        """All bytes, in pieces. Raises CompoundError where they cannot be had to the end."""
        for run in self._file.runs(self._entry):
            for at in range(0, run.length, PIECE):
                yield self._file.bytes_at(self._entry, run.offset + at, min(PIECE, run.length - at))

    def read(self) -> bytes:
        """All bytes. Raises CompoundError, also for more than ``LONGEST_VALUE``."""
        if self.size > LONGEST_VALUE:
            raise CompoundError(f"A value of {self.size} bytes is larger than any that is read as one.")
        return b"".join(self.pieces())


class Storage:
    """A storage: streams and further storages by name, which ignore case."""

    def __init__(self, file: _File, entry: Entry) -> None:
        self._entries = {one.name.upper(): one for one in file.children(entry)}
        self._file = file
        self.name = entry.name
        self.clsid = entry.clsid
        self.state = entry.state

    def stream(self, name: str) -> Stream | None:
        """The stream of that name."""
        found = self._entries.get(name.upper())
        return Stream(self._file, found) if found is not None and found.kind == _STREAM else None

    def storage(self, name: str) -> Storage | None:
        """The storage of that name. Raises CompoundError where its list of names cannot be read."""
        found = self._entries.get(name.upper())
        return Storage(self._file, found) if found is not None and found.kind == _STORAGE else None

    def streams(self) -> list[Stream]:
        """All streams, in the order in which the format sorts names (section 2.6.4)."""
        return [Stream(self._file, one) for one in self._sorted() if one.kind == _STREAM]

    def storages(self) -> list[Storage]:
        """All storages, in the same order."""
        return [Storage(self._file, one) for one in self._sorted() if one.kind == _STORAGE]

    def names(self) -> list[str]:
        """Names of all storages, in the same order."""
        return [one.name for one in self._sorted() if one.kind == _STORAGE]

    def _sorted(self) -> list[Entry]:
        return [one for _, one in sorted(self._entries.items(), key=lambda item: (len(item[0]), item[0]))]


def open_compound(file: BinaryIO) -> Storage:
    """The root storage of a compound file, which must stay open while it is used. Raises CompoundError."""
    reader = _File(file)
    return Storage(reader, reader.entry(0))


class _File:
    """Sectors, their chains and the directory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        header = file.read(512) if file.seek(0) == 0 else b""
        if len(header) < 512 or not header.startswith(SIGNATURE):
            raise CompoundError("This is no compound file, as MSG files are.")
        (
            _, _, version, _, shift, _, _, fat_sectors, directory, _, _, mini_fat, mini_sectors, more, _, first,
        ) = _HEADER.unpack(header)  # fmt: skip
        if (version, shift) not in ((3, 9), (4, 12)):
            raise CompoundError("The compound file has a version that is not known.")
        self._sector = 1 << shift
        self._version = version
        self._sectors = max(0, -(-file.seek(0, 2) // self._sector) - 1)
        self._claimed = array("I", bytes(4 * self._sectors))
        self._fat = self._chains(fat_sectors, array("I", first), more)
        self._directory = self._metadata(directory, MOST_ENTRIES * _ENTRY.size)
        self._parents = array("I", bytes(4 * (len(self._directory) // _ENTRY.size)))
        self._mini_fat = array("I", self._metadata(mini_fat, _LARGEST_MINI_FAT) if mini_sectors else b"")
        self._mini_claimed = array("I", bytes(4 * len(self._mini_fat)))
        root = self.entry(0)
        if root.kind != _ROOT:
            raise CompoundError("The compound file's directory does not begin with its root.")
        self._runs: dict[int, list[Run]] = {}
        self._mini_stream = root

    def entry(self, number: int) -> Entry:
        """One entry of the directory. Raises CompoundError for a number that is not there."""
        if number >= len(self._parents):
            raise CompoundError("The compound file's directory points to an entry that is not there.")
        name, length, kind, _, left, right, child, clsid, state, start, size = _ENTRY.unpack_from(
            self._directory, number * _ENTRY.size
        )
        if self._version == 3:
            size &= 0xFFFFFFFF  # section 2.6.3: the upper half may be anything
        written = name[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace")
        return Entry(number, written, kind, left, right, child, clsid, state, start, size)

    def children(self, parent: Entry) -> Iterator[Entry]:
        """What lies in a storage, in no order. Raises CompoundError where an entry is met a second time."""
        waiting = [parent.child]
        seen: set[int] = set()
        while waiting:
            number = waiting.pop()
            if number == _NOTHING:
                continue
            one = self.entry(number)
            if number in seen or self._parents[number] not in (0, parent.number + 1):
                raise CompoundError("The compound file's directory runs in a circle.")
            seen.add(number)
            self._parents[number] = parent.number + 1
            waiting += (one.left, one.right)
            yield one

    def runs(self, entry: Entry) -> list[Run]:
        """Where a stream's bytes lie: in the file, or for a small one in the mini stream. Raises CompoundError."""
        known = self._runs.get(entry.number)
        if known is None:
            if self._is_small(entry):
                chain = _chain(self._mini_fat, self._mini_claimed, entry, _MINI_SECTOR)
                known = _joined(chain, _MINI_SECTOR, 0, entry.size)
            else:
                chain = _chain(self._fat, self._claimed, entry, self._sector)
                known = _joined(chain, self._sector, self._sector, entry.size)
            self._runs[entry.number] = known
        return known

    def bytes_at(self, entry: Entry, offset: int, length: int) -> bytes:
        """Bytes that lie within one run. Raises CompoundError where the file has ended before."""
        if not self._is_small(entry):
            return self._exactly(offset, length)
        runs = self.runs(self._mini_stream)
        found = []
        while length > 0:
            place = bisect_right(runs, offset, key=lambda run: run.at) - 1
            skip = offset - runs[place].at if place >= 0 else 0
            part = min(length, runs[place].length - skip) if place >= 0 else 0
            if part <= 0:
                raise CompoundError("The compound file's small streams are cut off.")
            found.append(self._exactly(runs[place].offset + skip, part))
            offset += part
            length -= part
        return b"".join(found)

    def _is_small(self, entry: Entry) -> bool:
        return entry.size < _CUTOFF and entry.kind == _STREAM

    def _exactly(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) < length:
            raise CompoundError("The file is cut off.")
        return data

    def _table_sector(self, number: int) -> bytes:
        """A sector of a table; the file's last may be shorter, and the rest of it then says "free"."""
        self._file.seek((number + 1) * self._sector)
        return self._file.read(self._sector).ljust(self._sector, b"\xff")

    def _chains(self, sectors: int, first: array[int], more: int) -> array[int]:
        """The table that says which sector comes after which (sections 2.3 and 2.5)."""
        listed = [one for one in first if one <= _LAST_SECTOR]
        seen = 0
        while more < self._sectors and len(listed) < sectors and seen < self._sectors:
            numbers = array("I", self._table_sector(more))
            more = numbers.pop()
            listed += [one for one in numbers if one <= _LAST_SECTOR]
            seen += 1
        table = array("I")
        for one in listed[:sectors]:
            if len(table) >= self._sectors:
                break
            if one < self._sectors:
                table.frombytes(self._table_sector(one))
            else:
                table.extend([_NOTHING] * (self._sector // 4))
        return table

    def _metadata(self, start: int, limit: int) -> bytes:
        """The directory, or the table of the small sectors: a chain whose length only its end tells."""
        data = bytearray()
        sector = start
        while sector != _END_OF_CHAIN:
            if sector >= self._sectors or sector >= len(self._fat) or len(data) >= self._sectors * self._sector:
                raise CompoundError("The compound file is damaged, or was not written to its end.")
            if len(data) >= limit:
                raise CompoundError("The compound file's tables are larger than those of any message.")
            data += self._table_sector(sector)
            sector = self._fat[sector]
        return bytes(data)


def _chain(table: array[int], claimed: array[int], entry: Entry, sector: int) -> Iterator[int]:
    """The numbers of a stream's sectors, each of which belongs to that stream from now on."""
    number = entry.start
    for _ in range(-(-entry.size // sector)):
        if number >= len(table) or number >= len(claimed):
            raise CompoundError("A stream of the compound file is cut off.")
        if claimed[number]:
            raise CompoundError("Two streams of the compound file share their bytes.")
        claimed[number] = entry.number + 1
        yield number
        number = table[number]


def _joined(chain: Iterator[int], sector: int, header: int, size: int) -> list[Run]:
    """The chain as runs; only the last sector may be partly used."""
    runs: list[Run] = []
    begin = length = at = 0
    for number in chain:
        offset = header + number * sector
        part = min(sector, size - at)
        if length and offset == begin + length:
            length += part
        else:
            if length:
                runs.append(Run(at - length, begin, length))
            begin, length = offset, part
        at += part
    if length:
        runs.append(Run(at - length, begin, length))
    return runs
