"""What is in the log and not searchable yet: counted from the log itself, not from what anybody reports."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

import msgspec

from appliance.catalogue.store import Catalogue
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.store.format import RecordType
from appliance.store.names import seal_path
from appliance.store.reader import LogReader, RecordRef, VolumeInfo
from appliance.store.seal import Seal


class LogCount(msgspec.Struct, frozen=True):
    """The log in numbers.

    ``waiting`` records are beyond the catalogue; ``oldest`` is when the first of them came in (microseconds).
    ``damaged`` places were durable once and hold no whole record now; nobody waits for them.
    """

    records: int
    bytes: int
    volumes: int
    signed: int
    waiting: int
    oldest: int | None
    damaged: int


class _Counted:
    """One volume, counted up to ``end``."""

    def __init__(self) -> None:
        self.end = 0
        self.records = 0
        self.damaged = 0
        self.offsets = array("q")
        self.times = array("q")

    def forget_before(self, offset: int) -> None:
        """Drop what the catalogue holds."""
        gone = 0
        while gone < len(self.offsets) and self.offsets[gone] < offset:
            gone += 1
        del self.offsets[:gone], self.times[:gone]


class Backlog:
    """Counts the log as it grows: each byte of it is looked at once, without keys."""

    def __init__(self, reader: LogReader, volumes: Path) -> None:
        self._reader = reader
        self._volumes = volumes
        self._counted: dict[str, _Counted] = {}
        self._catalogue: Catalogue | None = None
        self._lock = threading.Lock()

    def count(self, catalogue: Catalogue) -> LogCount:
        """The log now, against what the catalogue has of it."""
        with self._lock:
            volumes = [one for one in self._reader.volumes() if one.mailbox != SYSTEM_MAILBOX]
            if catalogue is not self._catalogue:
                # Another generation holds other records: what was taken from the seals is compared with it anew.
                self._catalogue, self._counted = catalogue, {}
            cursors = catalogue.cursors()
            held = catalogue.volume_sums() if any(one.path not in self._counted for one in volumes) else {}
            for volume in volumes:
                self._look(volume, *cursors.get(volume.path, (0, False)), held.get(volume.path, 0))
            counted = [self._counted[one.path] for one in volumes]
            waiting = [one for one in counted if one.times]
            return LogCount(
                records=sum(one.records for one in counted),
                bytes=sum(one.size for one in volumes),
                volumes=len(volumes),
                signed=sum(one.sealed for one in volumes),
                waiting=sum(len(one.times) for one in waiting),
                oldest=min((one.times[0] for one in waiting), default=None),
                damaged=sum(one.damaged for one in counted),
            )

    def _attested(self, volume: VolumeInfo) -> int | None:
        """How many records the volume's seal says it has; None where the seal cannot be read."""
        try:
            line = (self._volumes / seal_path(volume.path)).read_bytes().partition(b"\n")[0]
            return msgspec.json.decode(line, type=Seal).records
        except (OSError, msgspec.DecodeError):
            return None

    def _look(self, volume: VolumeInfo, cursor: int, finished: bool, held: int) -> None:
        """Count what is new. ``held`` is the number of the volume's records in the catalogue, at the first look."""
        counted = self._counted.get(volume.path)
        if counted is None:
            counted = self._counted[volume.path] = _Counted()
            if finished and volume.sealed and self._attested(volume) == held:
                # The archiver counted it when it signed it; nothing of it is waiting, and nothing was left out.
                counted.records = held
                counted.end = volume.size
        if counted.end < volume.size:
            for found in self._reader.scan(volume, counted.end):
                counted.end = found.end
                if not isinstance(found, RecordRef):
                    # What a crash cut off was never confirmed, and is no damage.
                    counted.damaged += found.kind == "corruption"
                elif found.type == RecordType.MESSAGE:
                    counted.records += 1
                    counted.offsets.append(found.offset)
                    counted.times.append(found.time)
            if volume.closed:
                counted.end = volume.size
        counted.forget_before(volume.size if finished else cursor)
