"""Sets of UIDs: as compact as a mailbox's UIDs mostly are, in memory, on the wire and in a cursor."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, Self

LAST: Final = 2**32 - 1
"""The greatest UID (RFC 9051, section 9: nz-number)."""
_LONGEST_CURSOR: Final = 64 * 1024 * 1024


class UidSet:
    """Ascending runs of UIDs. Immutable."""

    __slots__ = ("runs",)

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        """``runs`` are (first, last), in any order; they may overlap."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(runs):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            elif first <= last:
                merged.append((first, last))
        self.runs = tuple(merged)

    @classmethod
    def of(cls, uids: Iterable[int]) -> Self:
        """The set of these."""
        return cls((uid, uid) for uid in uids)

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """A sequence-set (RFC 9051, section 9) without ``*``. Raises ValueError for anything else."""
        runs = []
        for part in text.split(b",") if text else ():
            first, colon, last = part.partition(b":")
            ends = sorted((_number(first), _number(last if colon else first)))
            runs.append((ends[0], ends[1]))
        return cls(runs)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What ``encode`` gave. Raises ValueError."""
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(data, _LONGEST_CURSOR)
        except zlib.error as error:
            raise ValueError("no set of UIDs") from error
        numbers = list(_varints(plain))
        if not unpacker.eof or len(numbers) % 2:
            raise ValueError("no set of UIDs")
        runs, at = [], 0
        for skip, length in zip(numbers[::2], numbers[1::2], strict=True):
            first = at + skip
            at = first + length
            runs.append((first, at))
        return cls(runs)

    def encode(self) -> bytes:
        """As bytes: the distance to each run and its length, as numbers of 7 bits an octet, compressed."""
        plain, at = bytearray(), 0
        for first, last in self.runs:
            _append_varint(plain, first - at)
            _append_varint(plain, last - first)
            at = last
        return zlib.compress(plain, 1)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.runs:
            yield from range(first, last + 1)

    def __contains__(self, uid: int) -> bool:
        at = bisect_right(self.runs, (uid, LAST + 1)) - 1
        return at >= 0 and uid <= self.runs[at][1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UidSet) and self.runs == other.runs

    def __hash__(self) -> int:
        return hash(self.runs)

    def __repr__(self) -> str:
        return f"UidSet({self.text().decode()})"

    def __or__(self, other: UidSet) -> UidSet:
        return UidSet(self.runs + other.runs)

    def __and__(self, other: UidSet) -> UidSet:
        common, mine, theirs = [], 0, 0
        while mine < len(self.runs) and theirs < len(other.runs):
            first = max(self.runs[mine][0], other.runs[theirs][0])
            last = min(self.runs[mine][1], other.runs[theirs][1])
            if first <= last:
                common.append((first, last))
            if self.runs[mine][1] < other.runs[theirs][1]:
                mine += 1
            else:
                theirs += 1
        return UidSet(common)

    def __sub__(self, other: UidSet) -> UidSet:
        gaps, at = [], 0
        for first, last in other.runs:
            gaps.append((at, first - 1))
            at = last + 1
        gaps.append((at, LAST))
        return self & UidSet(gaps)

    def __xor__(self, other: UidSet) -> UidSet:
        return (self - other) | (other - self)

    def text(self) -> bytes:
        """As a sequence-set; empty for an empty set, which no command takes."""
        return b",".join(_run(*run) for run in self.runs)

    def pieces(self, *, uids: int, octets: int = 4000) -> Iterator[UidSet]:
        """Ascending parts of at most so many UIDs, whose text has at most about so many octets."""
        part: list[tuple[int, int]] = []
        room, length = uids, 0
        for first, last in self.runs:
            while first <= last:
                upto = min(last, first + room - 1)
                part.append((first, upto))
                room -= upto - first + 1
                length += len(_run(first, upto)) + 1
                first = upto + 1
                if not room or length >= octets:
                    yield UidSet(part)
                    part, room, length = [], uids, 0
        if part:
            yield UidSet(part)


class GrowingUids:
    """A set of UIDs that grows at its end, page by page. ``codes`` costs what was added, not what is there."""

    def __init__(self, codes: Iterable[bytes] = ()) -> None:
        """The set that had these codes. Raises ValueError."""
        self._parts = [UidSet.decode(code) for code in codes]
        self._codes = [part.encode() for part in self._parts]

    @classmethod
    def of(cls, whole: UidSet) -> Self:
        """A set that begins as this one."""
        growing = cls()
        growing.add(whole)
        return growing

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def add(self, uids: UidSet) -> None:
        """Take in UIDs that are not in it."""
        if uids:
            self._parts.append(uids)
            self._codes.append(uids.encode())

    def remove(self, uids: UidSet) -> None:
        """Let go of these."""
        if len(self) and uids:
            self._become(self.whole() - uids)

    def whole(self) -> UidSet:
        """All of it; its codes are the shortest from then on."""
        if len(self._parts) > 1:
            self._become(UidSet(run for part in self._parts for run in part.runs))
        return self._parts[0] if self._parts else UidSet()

    def codes(self) -> tuple[bytes, ...]:
        """As bytes, in parts."""
        return tuple(self._codes)

    def _become(self, whole: UidSet) -> None:
        self._parts, self._codes = ([whole], [whole.encode()]) if whole else ([], [])


def _run(first: int, last: int) -> bytes:
    return b"%d" % first if first == last else b"%d:%d" % (first, last)


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > len(str(LAST)) or not 0 < (number := int(text)) <= LAST:
        raise ValueError("no UID")
    return number


def _append_varint(data: bytearray, number: int) -> None:
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)


def _varints(data: bytes) -> Iterator[int]:
    number = shift = 0
    for octet in data:
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("no set of UIDs")
