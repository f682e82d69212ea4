"""The system log: every change of a setting and every audited look, durable before it counts.

There is one writer, the archiver. It appends an entry to the system mailbox's volumes, waits until it is on the
disk, and only then applies it to settings.db; at start it applies what a crash left between the two. settings.db
can therefore be lost and made again from the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import msgspec

from appliance.errors import DamageError
from appliance.keys.access import Keys
from appliance.mail.facts import Provenance
from appliance.settings import events
from appliance.settings.store import LogPosition, Settings
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from appliance.store.writer import LogWriter

log = logging.getLogger(__name__)

SYSTEM_MAILBOX = bytes(16)
"""Id of the mailbox whose volumes hold the system log; its keys are in the keyring as any mailbox's."""


class Found(msgspec.Struct, frozen=True):
    """An entry as it lies in the log."""

    entry: events.Entry
    digest: bytes
    ref: RecordRef


class SystemLog:
    """The one writer of settings and audit. Threads may share it."""

    def __init__(
        self, *, reader: LogReader, writer: LogWriter, keyring: Keys, settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._writer = writer
        self._public_key = keyring.public_key(SYSTEM_MAILBOX)
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._position = settings.position()

    def replay(self) -> int:
        """Apply what the log holds beyond settings.db. Returns how many entries that were."""
        with self._lock:
            applied = 0
            for found in newest_of_each_number(entries(self._reader, self._position, sync=True)):
                if found.entry.number <= self._position.number:
                    continue
                if found.entry.previous != self._position.head:
                    log.error("system log: entry %d does not follow the one before it", found.entry.number)
                self._apply(found)
                applied += 1
            return applied

    def append(self, event: events.Event, *, by: str, client: str = "") -> events.Entry:
        """Make ``event`` durable, then apply it.

        Raises StorageError where the disk did not take it. Then nothing has changed; but where the bytes did reach
        the disk, and no later entry takes its number before the archiver ends, it counts after the next start.
        """
        with self._lock:
            entry = events.Entry(
                number=self._position.number + 1, at=int(self._clock() * 1_000_000), by=by, client=client,
                previous=self._position.head, event=event,
            )  # fmt: skip
            self._settings.rehearse(entry)
            raw = events.encode(entry)
            kind = RecordType.AUDIT if isinstance(event, events.Noted) else RecordType.SETTINGS
            ref = self._writer.append(SYSTEM_MAILBOX, self._public_key, raw, Provenance(), type=kind).result()
            self._apply(Found(entry, events.digest(raw), ref))
            return entry

    def _apply(self, found: Found) -> None:
        self._settings.apply(found.entry, found.digest, found.ref.volume, found.ref.offset)
        self._position = LogPosition(found.entry.number, found.digest, found.ref.volume, found.ref.offset)


def entries(reader: LogReader, after: LogPosition | None = None, *, sync: bool = False) -> Iterator[Found]:
    """The entries of the system log in the order they were written, from ``after`` (included) on.

    ``sync`` makes durable what is given before it is given: what a killed writer left may not be on the disk yet.
    """
    volumes = sorted(
        (one for one in reader.volumes() if one.mailbox == SYSTEM_MAILBOX),
        key=lambda one: (one.writer, one.sequence),
    )
    started = after is None or after.volume not in {one.path for one in volumes}
    if after is not None and after.volume and started:
        log.error("system log: %s is missing, up to which the settings follow from the log", after.volume)
    for volume in volumes:
        start = 0
        if not started:
            if after is None or volume.path != after.volume:
                continue
            started, start = True, after.offset
        for ref in reader.scan(volume, start, sync=sync):
            if not isinstance(ref, RecordRef):
                log.error("system log: damage in %s", volume.path)
                continue
            raw = reader.read(ref).original
            try:
                yield Found(events.decode(raw), events.digest(raw), ref)
            except msgspec.DecodeError as error:
                raise DamageError(
                    f"An entry of the system log ({ref.volume} at {ref.offset}) cannot be understood. It may have "
                    "been written by a newer version of mailkeep."
                ) from error


def newest_of_each_number(found: Iterator[Found]) -> Iterator[Found]:
    """Of entries with the same number only the last: the earlier ones were never confirmed.

    They follow each other directly, because no entry is written before the one it names as ``previous`` is
    confirmed.
    """
    waiting: Found | None = None
    for one in found:
        if waiting is not None and waiting.entry.number != one.entry.number:
            yield waiting
        waiting = one
    if waiting is not None:
        yield waiting


def check_chain(found: Iterator[Found], applied: LogPosition | None = None) -> list[str]:
    """What is wrong with the chain of entries, in sentences; nothing if it is whole.

    ``applied`` is how far settings.db had got before: the chain has to reach it.
    """
    wrong = []
    head, number = events.GENESIS, 0
    for one in newest_of_each_number(found):
        if applied is not None and one.entry.number == applied.number and one.digest != applied.head:
            wrong.append(f"entry {applied.number} of the system log is not the one that the settings follow from")
        if one.entry.number != number + 1:
            wrong.append(f"entries {number + 1} to {one.entry.number - 1} of the system log are missing")
        if one.entry.previous != head:
            wrong.append(f"entry {one.entry.number} of the system log does not follow the one before it")
        head, number = one.digest, one.entry.number
    if applied is not None and number < applied.number:
        wrong.append(f"entries {number + 1} to {applied.number} of the system log are missing at its end")
    return wrong
