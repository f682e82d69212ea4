"""What sealed mailboxes hold: told from the log without keys, since nobody but their password's holder has one.

Catalogue and index know nothing of a sealed mailbox. Which records it has, of what size and since when, stands in
the records' clear headers; which of them are erased stands in the settings.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Final

import msgspec

from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef, VolumeInfo
from appliance.store.refs import Damage

ID_SIZE: Final = 16

Erasure = tuple[bytes, bytes, int]
"""Mailbox, record id, number of the log entry that erased it."""


class Usage(msgspec.Struct, frozen=True):
    """What a mailbox holds. Times are microseconds; None where there is nothing."""

    records: int = 0
    bytes: int = 0
    first: int | None = None
    last: int | None = None

    def __add__(self, other: Usage) -> Usage:
        times = [one for one in (self.first, self.last, other.first, other.last) if one is not None]
        return Usage(
            self.records + other.records, self.bytes + other.bytes, min(times, default=None), max(times, default=None)
        )


class SealedCount(msgspec.Struct, frozen=True):
    """All sealed mailboxes in numbers; ``erased`` records wait for their ciphertext to be dropped."""

    records: int
    erased: int
    damaged: int


class _Volume:
    """The records of one volume, looked at up to ``end``; 32 bytes of memory for each."""

    def __init__(self, info: VolumeInfo) -> None:
        self.info = info
        self.end = 0
        self.by_seal: int | None = None
        """How many records it has, where that is all that is known: it is on replicas, and has not been here yet."""
        self.damaged = 0
        self.ids = bytearray()
        self.times = array("q")
        self.lengths = array("q")
        self.erased: set[bytes] = set()

    def add(self, ref: RecordRef) -> None:
        """One record more."""
        self.ids += ref.record_id
        self.times.append(ref.time)
        self.lengths.append(ref.length)

    def entries(self) -> Iterator[tuple[bytes, int]]:
        """Id and time of each record that counts."""
        ids = bytes(self.ids)
        for number, time in enumerate(self.times):
            yield ids[number * ID_SIZE : (number + 1) * ID_SIZE], time

    def among(self, wanted: Set[bytes]) -> Iterator[tuple[bytes, int]]:
        """Id and time of those of ``wanted`` that count here."""
        return ((id_, time) for id_, time in self.entries() if id_ in wanted)

    def erase(self, gone: Set[bytes]) -> None:
        """Those of ``gone`` that are here count no more."""
        here = {id_ for id_, _ in self.among(gone)}
        if not here:
            return
        self.erased |= here
        kept = [number for number, (id_, _) in enumerate(self.entries()) if id_ not in here]
        ids = bytes(self.ids)
        self.ids = bytearray().join(ids[number * ID_SIZE : (number + 1) * ID_SIZE] for number in kept)
        self.times = array("q", (self.times[number] for number in kept))
        self.lengths = array("q", (self.lengths[number] for number in kept))

    def usage(self) -> Usage:
        """Its sums; bytes as they are stored."""
        if self.by_seal is not None:
            return Usage(self.by_seal, self.info.size)
        return Usage(len(self.times), sum(self.lengths), min(self.times, default=None), max(self.times, default=None))


class SealedMail:
    """Follows the log of the sealed mailboxes as it grows: each byte of it is looked at once. Threads may share it.

    ``erased_after`` is ``Settings.erased_after``.
    """

    def __init__(
        self, reader: LogReader, erased_after: Callable[[int], list[Erasure]], is_sealed: Callable[[bytes], bool]
    ) -> None:
        self._reader = reader
        self._erased_after = erased_after
        self._is_sealed = is_sealed
        self._lock = threading.Lock()
        self._volumes: dict[str, _Volume] = {}
        self._number = 0
        """The log entry up to which erasures are in ``_volumes``."""

    def has(self, mailbox: bytes) -> bool:
        """Whether the mailbox is a sealed one."""
        return self._is_sealed(mailbox)

    def count(self) -> SealedCount:
        """All of them in numbers."""
        with self._looked() as volumes:
            return SealedCount(
                records=sum(one.usage().records for one in volumes),
                erased=sum(len(one.erased) for one in volumes),
                damaged=sum(one.damaged for one in volumes),
            )

    def usage(self) -> dict[bytes, Usage]:
        """What each sealed mailbox holds to which mail has come; bytes as they are stored, compressed."""
        found: dict[bytes, Usage] = {}
        with self._looked() as volumes:
            for one in volumes:
                found[one.info.mailbox] = found.get(one.info.mailbox, Usage()) + one.usage()
        return found

    def per_minute(self, now: int, minutes: int) -> tuple[int, ...]:
        """Records received in each of the last ``minutes`` minutes, oldest first; ``now`` in seconds."""
        first = now // 60 - minutes + 1
        counts = [0] * minutes
        with self._looked() as volumes:
            for one in volumes:
                for time in reversed(one.times):
                    place = time // 60_000_000 - first
                    if place < 0:
                        break  # they came in one after the other
                    if place < minutes:
                        counts[place] += 1
        return tuple(counts)

    def times(self, mailbox: bytes, records: Set[bytes]) -> dict[bytes, int]:
        """When those of ``records`` came in (microseconds) that the mailbox holds and that are not erased."""
        with self._looked() as volumes:
            return {id_: time for one in volumes if one.info.mailbox == mailbox for id_, time in one.among(records)}

    def older(self, mailbox: bytes, border: int) -> dict[bytes, int]:
        """The mailbox's records from before ``border``, each with its time (microseconds)."""
        with self._looked() as volumes:
            return {
                id_: time
                for one in volumes
                if one.info.mailbox == mailbox and one.times and min(one.times) < border
                for id_, time in one.entries()
                if time < border
            }

    def erased(self) -> dict[str, tuple[VolumeInfo, frozenset[bytes]]]:
        """By volume: the erased records whose ciphertext is there still."""
        with self._looked() as volumes:
            return {one.info.path: (one.info, frozenset(one.erased)) for one in volumes if one.erased}

    def hidden(self) -> dict[bytes, frozenset[bytes]]:
        """By mailbox: the erased records whose ciphertext is there still, or may come back from a replica."""
        with self._looked() as volumes:
            found: dict[bytes, set[bytes]] = {}
            for one in volumes:
                if one.erased:
                    found.setdefault(one.info.mailbox, set()).update(one.erased)
            if away := {one.info.mailbox for one in volumes if one.by_seal is not None}:
                for mailbox, record, _ in self._erased_after(0):
                    if mailbox in away:
                        found.setdefault(mailbox, set()).add(record)
            return {mailbox: frozenset(records) for mailbox, records in found.items()}

    def dropped(self, path: str, records: Set[bytes]) -> None:
        """The ciphertext of these records of a volume is gone."""
        with self._lock:
            self._volumes[path].erased -= records

    @contextmanager
    def _looked(self) -> Iterator[list[_Volume]]:
        """All volumes, brought up to date and held still."""
        with self._lock:
            for info in self._reader.volumes():
                if self._is_sealed(info.mailbox):
                    self._follow(info)
            gone: dict[bytes, set[bytes]] = {}
            for mailbox, record, number in self._erased_after(self._number):
                gone.setdefault(mailbox, set()).add(record)
                self._number = number
            for one in self._volumes.values():
                if records := gone.get(one.info.mailbox):
                    one.erase(records)
            yield list(self._volumes.values())

    def _follow(self, info: VolumeInfo) -> None:
        volume = self._volumes.setdefault(info.path, _Volume(info))
        volume.info = info
        if info.absent:
            volume.by_seal = None if volume.end else info.records
            return
        if volume.by_seal is not None:
            volume.by_seal = None
            self._number = 0  # what was erased of it before it came here is erased in it
        if volume.end >= info.size:
            return
        for found in self._reader.listed(info, volume.end):
            volume.end = found.end
            if isinstance(found, RecordRef):
                if found.type == RecordType.MESSAGE:
                    volume.add(found)
            elif isinstance(found, Damage):
                # What a crash cut off was never confirmed, and is no damage.
                volume.damaged += found.kind == "corruption"
        if info.closed:
            volume.end = info.size
