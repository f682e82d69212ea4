"""From fetched and imported bytes to the log: each original once, and where it lay."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import wait
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from appliance.errors import MailkeepError
from appliance.files import FILES, Files
from appliance.mail import places
from appliance.mail.facts import Provenance
from appliance.mail.places import IMPORTS_MAILBOX, Place
from appliance.services.collector.stock import Stock
from appliance.services.collector.told import Told
from appliance.store.format import RecordType
from appliance.store.reader import LogReader
from appliance.store.record import new_record_id
from appliance.store.refs import RecordRef
from appliance.store.stream import StreamingRecord
from appliance.store.writer import LogWriter

WRITER: Final = "s0"
"""The collector's name among the writers of volumes."""


_VOLUME_OPEN: Final = 24 * 3600 * 1_000_000
"""Microseconds, far more than a volume is ever written to, whatever the clock does."""


class Mail(NamedTuple):
    """A message's bytes, or, where it is large, the record that has them and is not committed yet."""

    digest: bytes  # SHA-256
    size: int
    record: bytes  # its record's id, if it becomes one
    provenance: Provenance
    whole: bytes | StreamingRecord

    def drop(self) -> None:
        """Give up what was begun and is not needed; what was committed is left as it is."""
        if isinstance(self.whole, StreamingRecord):
            self.whole.abort()


class Arrived(NamedTuple):
    """A message that came: its bytes, and where it lies: places that do not name the record yet."""

    mail: Mail
    places: tuple[Place, ...]


class Lain(NamedTuple):
    """A record, and where its message lies: places that do not name it yet."""

    record: bytes
    places: tuple[Place, ...]


class Deposited(NamedTuple):
    """What became of one message: its record, whether it is new, the keys of its places."""

    record: bytes
    content: bytes
    new: bool
    size: int
    places: tuple[bytes, ...]


class Deposit:
    """The log's side of the collector: one for all its runs. Threads may share it."""

    def __init__(self, volumes: Path, stock: Stock, told: Told, writer: LogWriter, *, files: Files = FILES) -> None:
        self._stock = stock
        self._public_key = told.public_key
        self._content_key = told.content_key
        self._writer = writer
        self._reader = LogReader(volumes, files=files)  # without keys: it looks for records' ids
        # One at a time: two accounts may have the same message at the same moment.
        self._lock = threading.Lock()

    def settle(self) -> None:
        """Find out which records are in the log that a former process was about to write: to be called before anything
        is written. Raises StorageError."""
        intended = self._stock.intended()
        if intended:
            self._stock.settle(self._there(intended))

    def take(self, chunks: Iterable[bytes], provenance: Provenance, held_at_most: int) -> Mail:
        """A message as it comes; one of more than so many bytes is written as it comes. Who does not ``put`` it drops
        it. Raises StorageError, and what reading ``chunks`` raises."""
        digest, size = sha256(), 0
        held: list[bytes] = []
        record, stream = new_record_id(time.time_ns() // 1000), None
        try:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                if stream is None and size <= held_at_most:
                    held.append(chunk)
                    continue
                if stream is None:
                    stream = self._writer.stream(
                        IMPORTS_MAILBOX, self._public_key, provenance, record_id=record
                    )  # fmt: skip
                    for before in held:
                        stream.write(before)
                    held.clear()
                stream.write(chunk)
        except BaseException:
            if stream is not None:
                stream.abort()
            raise
        return Mail(digest.digest(), size, record, provenance, b"".join(held) if stream is None else stream)

    def content(self, mail: Mail) -> bytes:
        """What stands for a message in ledger and catalogue."""
        return content_of(self._content_key, mail.digest)

    def put(self, arrived: Sequence[Arrived]) -> list[Deposited]:
        """Have these in the log, durably, each original once, with their places. Raises StorageError, DiskFullError;
        then none of them counts as archived."""
        contents = [self.content(one.mail) for one in arrived]
        with self._lock:
            known = self._stock.records_of(set(contents))
            mine: dict[bytes, Arrived] = {}
            for content, one in zip(contents, arrived, strict=True):
                if content not in known:
                    mine.setdefault(content, one)
            records = known | {content: one.mail.record for content, one in mine.items()}
            self._stock.intend({content: one.mail.record for content, one in mine.items()})
            try:
                self._write(list(mine.values()))
                # Written only now: no place is in the log whose message is not.
                placed = self._lay(
                    [Lain(records[content], one.places) for one, content in zip(arrived, contents, strict=True)]
                )
            except MailkeepError:
                # What a disk holds that has refused to sync cannot be found out by reading. It is fetched once more: a
                # message that is twice in the log afterwards is better than one that was thought to be there.
                self._stock.give_up(mine)
                raise
            finally:
                for one in arrived:
                    one.mail.drop()
        firsts = {id(one) for one in mine.values()}
        return [
            Deposited(records[content], content, id(one) in firsts, one.mail.size, keys)
            for one, content, keys in zip(arrived, contents, placed, strict=True)
        ]

    def lay(self, lain: Sequence[Lain]) -> frozenset[bytes]:
        """Have further places of messages that are archived in the log; their keys. Raises as ``put``."""
        with self._lock:
            return frozenset(key for some in self._lay(lain) for key in some)

    def _write(self, arrived: Sequence[Arrived]) -> None:
        written = [
            self._writer.append(
                IMPORTS_MAILBOX, self._public_key, one.mail.whole, one.mail.provenance, record_id=one.mail.record
            )
            for one in arrived
            if isinstance(one.mail.whole, bytes)
        ]  # fmt: skip
        try:
            for one in arrived:
                if isinstance(one.mail.whole, StreamingRecord):
                    one.mail.whole.commit()
        finally:
            wait(written)  # whatever comes of them: what is on its way cannot be given up
        for future in written:
            future.result()

    def _lay(self, lain: Sequence[Lain]) -> list[tuple[bytes, ...]]:
        """Have these places in the log, durably; for each message their keys."""
        keys = [
            tuple(self._stock.place_key(record, place.archive, place.folder) for place in some)
            for record, some in lain
        ]  # fmt: skip
        there, now = set(self._stock.placed({key for some in keys for key in some})), time.time_ns() // 1000
        missing = []
        for (record, found), some in zip(lain, keys, strict=True):
            for place, key in zip(found, some, strict=True):
                if key not in there:
                    there.add(key)
                    missing.append(msgspec.structs.replace(place, record=record, at=now))
        if missing:
            raw = places.encode(missing)
            self._writer.append(IMPORTS_MAILBOX, self._public_key, raw, None, type=RecordType.PLACE).result()
        return keys

    def _there(self, records: Collection[bytes]) -> frozenset[bytes]:
        """Those of the records that are in volumes of this writer."""
        found: set[bytes] = set()
        # A record's id begins with when it was made, in milliseconds; a volume takes records for an hour.
        earliest = min(int.from_bytes(record[:6], "big") for record in records) * 1000 - _VOLUME_OPEN
        for volume in self._reader.volumes(IMPORTS_MAILBOX):
            if volume.writer == WRITER and not volume.absent and volume.created >= earliest:
                for ref in self._reader.scan(volume, sync=True):
                    if isinstance(ref, RecordRef) and ref.record_id in records:
                        found.add(ref.record_id)
        return frozenset(found)


def content_of(key: bytes, digest: bytes) -> bytes:
    """What stands for a message with that SHA-256 in ledger and catalogue."""
    return hmac.digest(key, digest, "sha256")
