"""The mail that a remote does not have yet: counted from the log's clear headers, while the archive is locked too."""

from __future__ import annotations

import contextlib
import threading
from array import array
from pathlib import Path
from typing import NamedTuple

from appliance.errors import MailkeepError
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef, VolumeInfo

_LONGEST_LIFE = 24 * 3600 * 1_000_000
"""No volume takes mail for so long (microseconds): it is closed within an hour."""


class Waiting(NamedTuple):
    """Messages, and their bytes as they are stored."""

    records: int
    bytes: int


class _Counted:
    """One volume, counted up to ``end``."""

    def __init__(self) -> None:
        self.end = 0
        self.times = array("q")
        self.lengths = array("q")

    def since(self, at: int) -> Waiting:
        """What came at that time or later."""
        lengths = [length for time, length in zip(self.times, self.lengths, strict=True) if time >= at]
        return Waiting(len(lengths), sum(lengths))


class Unreplicated:
    """Counts what came in after a moment. What was counted once is not read again."""

    def __init__(self, reader: LogReader, volumes: Path) -> None:
        self._reader = reader
        self._volumes = volumes
        self._counted: dict[str, _Counted] = {}
        self._lock = threading.Lock()

    def since(self, *moments: int) -> list[Waiting]:
        """For each moment (microseconds) what came then or later; sealed mailboxes count too, the system log does not.

        Raises StorageError.
        """
        if not moments:
            return []
        with self._lock:
            volumes = [one for one in self._reader.volumes() if one.mailbox != SYSTEM_MAILBOX and not one.absent]
            recent = [one for one in volumes if self._may_reach(one, min(moments))]
            self._counted = {one.path: self._followed(one) for one in recent}
            found = []
            for at in moments:
                counts = [one.since(at) for one in self._counted.values()]
                found.append(Waiting(sum(one.records for one in counts), sum(one.bytes for one in counts)))
            return found

    def _may_reach(self, volume: VolumeInfo, at: int) -> bool:
        """Whether it can have mail that came at that time or later."""
        if volume.archived:
            return volume.created + _LONGEST_LIFE >= at
        with contextlib.suppress(OSError):  # it gave way to an archive volume just now
            return (self._volumes / volume.path).stat().st_mtime_ns // 1000 + 1_000_000 >= at
        return False

    def _followed(self, volume: VolumeInfo) -> _Counted:
        counted = self._counted.get(volume.path) or _Counted()
        if counted.end < volume.size:
            with contextlib.suppress(MailkeepError):  # what cannot be read is told by others
                for found in self._reader.scan(volume, counted.end):
                    counted.end = found.end
                    if isinstance(found, RecordRef) and found.type == RecordType.MESSAGE:
                        counted.times.append(found.time)
                        counted.lengths.append(found.length)
        if volume.closed:
            counted.end = volume.size
        return counted
