"""What is in the log, and what of it is not searchable yet: counted from the log itself, not from what anybody
reports. Mail of sealed mailboxes is counted apart: it never becomes searchable."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

import msgspec

from appliance import decoding
from appliance.catalogue.store import Catalogue, VolumeSums
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.services.sealed import SealedMail, Usage
from appliance.store.format import RecordType
from appliance.store.names import seal_path
from appliance.store.reader import Damage, LogReader, RecordRef, VolumeInfo
from appliance.store.seal import Seal


class LogCount(msgspec.Struct, frozen=True):
    """The log in numbers.

    ``waiting`` records are beyond the catalogue; ``oldest`` is when the first of them came in (microseconds).
    ``damaged`` places were durable once and hold no whole record now; nobody waits for them. ``sealed`` of the
    records are in sealed mailboxes; ``erased`` records beside them wait for their ciphertext to be dropped.
    """

    records: int
    sealed: int
    erased: int
    bytes: int
    volumes: int
    signed: int
    waiting: int
    oldest: int | None
    damaged: int
    absent: int  # of the volumes are on replicas only; their records wait, too, where they are not in the catalogue


class _Counted:
    """One volume, counted up to ``end``; one that is absent, and was not counted before, by its seal."""

    def __init__(self, attested: int | None = None, held: int = 0) -> None:
        self.by_seal = attested is not None
        self.elsewhere = max((attested or 0) - held, 0)
        """Records that have to come back before they can be read in."""
        self.end = 0
        self.records = attested or 0
        self.damaged = 0
        self.offsets = array("q")
        self.times = array("q")
        self.lengths = array("q")

    def forget_before(self, offset: int) -> None:
        """Drop what the catalogue holds."""
        gone = 0
        while gone < len(self.offsets) and self.offsets[gone] < offset:
            gone += 1
        del self.offsets[:gone], self.times[:gone], self.lengths[:gone]

    def usage(self) -> Usage:
        """The records that wait; bytes as they are stored."""
        return Usage(len(self.times), sum(self.lengths), min(self.times, default=None), max(self.times, default=None))


class Backlog:
    """Counts the log as it grows: each byte of it is looked at once, without keys."""

    def __init__(self, reader: LogReader, volumes: Path, sealed: SealedMail) -> None:
        self._reader = reader
        self._volumes = volumes
        self._sealed = sealed
        self._counted: dict[str, _Counted] = {}
        self._catalogue: Catalogue | None = None
        self._lock = threading.Lock()

    def count(self, catalogue: Catalogue) -> LogCount:
        """The log now, against what the catalogue has of it."""
        sealed = self._sealed.count()
        with self._lock:
            everything = [one for one in self._reader.volumes() if one.mailbox != SYSTEM_MAILBOX]
            volumes = self._look(everything, catalogue, catalogue.cursors())
            counted = [self._counted[one.path] for one in volumes]
            waiting = [one for one in counted if one.times]
            return LogCount(
                records=sum(one.records for one in counted) + sealed.records,
                sealed=sealed.records,
                erased=sealed.erased,
                bytes=sum(one.stored for one in everything),
                volumes=len(everything),
                signed=sum(one.sealed for one in everything),
                waiting=sum(len(one.times) + one.elsewhere for one in counted),
                oldest=min((one.times[0] for one in waiting), default=None),
                damaged=sum(one.damaged for one in counted) + sealed.damaged,
                absent=sum(one.absent for one in everything),
            )

    def usage(self, catalogue: Catalogue) -> dict[bytes, Usage]:
        """What each mailbox holds to which mail has come, also while the projection lags.

        Bytes are those of the originals; of what waits for the projector, and of sealed mailboxes, those of the
        records as they are stored.
        """
        found = self._sealed.usage()
        with self._lock:
            cursors, sums = catalogue.cursors_and_sums()
            everything = [one for one in self._reader.volumes() if one.mailbox != SYSTEM_MAILBOX]
            for mailbox, (records, size, first, last) in sums.items():
                found[mailbox] = Usage(records, size, first, last)
            for one in self._look(everything, catalogue, cursors):
                if self._counted[one.path].times:
                    found[one.mailbox] = found.get(one.mailbox, Usage()) + self._counted[one.path].usage()
        return found

    def _look(
        self, everything: list[VolumeInfo], catalogue: Catalogue, cursors: dict[str, tuple[int, bool]]
    ) -> list[VolumeInfo]:
        """Count what is new in those volumes that are projected; returns them."""
        volumes = [one for one in everything if not self._sealed.has(one.mailbox)]
        if catalogue is not self._catalogue:
            # Another generation holds other records: what was taken from the seals is compared with it anew.
            self._catalogue, self._counted = catalogue, {}
        held = catalogue.volume_sums() if any(one.path not in self._counted for one in volumes) else {}
        for volume in volumes:
            self._follow(volume, *cursors.get(volume.path, (0, False)), held.get(volume.path, VolumeSums()))
        return volumes

    def _attested(self, volume: VolumeInfo) -> int | None:
        """How many records the volume's seal says it has; None where the seal cannot be read."""
        try:
            line = (self._volumes / seal_path(volume.path)).read_bytes().partition(b"\n")[0]
            return decoding.from_json(line, Seal).records
        except (OSError, msgspec.DecodeError):
            return None

    def _follow(self, volume: VolumeInfo, cursor: int, finished: bool, held: VolumeSums) -> None:
        """Count what is new. ``held`` is what of the volume's records is in the catalogue, at the first look."""
        counted = self._counted.get(volume.path)
        if volume.absent:
            if counted is None:
                messages = volume.records - held.places
                known = messages if finished else held.records
                counted = self._counted[volume.path] = _Counted(messages, known)
            counted.forget_before(volume.size if finished else cursor)
            return
        if counted is None or counted.by_seal:
            counted = self._counted[volume.path] = _Counted()
            if finished and volume.sealed and self._attested(volume) == held.records + held.places:
                # The archiver counted it when it signed it; nothing of it is waiting, and nothing was left out.
                counted.records = held.records
                counted.end = volume.size
        if counted.end < volume.size:
            for found in self._reader.scan(volume, counted.end):
                counted.end = found.end
                if isinstance(found, Damage):
                    # What a crash cut off was never confirmed, and is no damage.
                    counted.damaged += found.kind == "corruption"
                elif isinstance(found, RecordRef) and found.type == RecordType.MESSAGE:
                    counted.records += 1
                    counted.offsets.append(found.offset)
                    counted.times.append(found.time)
                    counted.lengths.append(found.length)
            if volume.closed:
                counted.end = volume.size
        counted.forget_before(volume.size if finished else cursor)
