"""Appending to the log: many callers, one sync for all who wait (group commit).

``append`` seals the record and queues it for its mailbox's active volume. A commit thread takes everything queued
for a volume, writes it as one batch, syncs, and only then resolves the futures: that is the point from which a
message may be confirmed. What arrives meanwhile is the next batch. Different volumes are synced side by side.

After a failed write or sync nobody knows what the disk holds, so that volume is never written again: those who
wait get the error, and the next append opens a fresh volume.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from appliance.errors import DiskFullError, MailkeepError, StorageError
from appliance.files import FILES, Buffer, Files, create_directory
from appliance.mail.facts import Provenance
from appliance.store.failures import check_room, storage_error
from appliance.store.format import HEADER_SIZE, IndexEntry, RecordType
from appliance.store.names import UNFINISHED_SUFFIX, VolumeName, check_writer, is_mailbox_folder
from appliance.store.record import SealedRecord, seal
from appliance.store.refs import RecordRef
from appliance.store.stream import StreamingRecord
from appliance.store.volume import ActiveVolume, HeaderChain, VolumeKey, remove_abandoned

log = logging.getLogger(__name__)

MAX_VOLUME = 64 * 1024 * 1024
MAX_AGE = 3600.0
_TELL_AGAIN = 10.0  # seconds
RESERVE = 256 * 1024 * 1024
SEALED_BY_CALLER = 32 * 1024
"""Originals up to this size are sealed in the caller's thread: a hand-over would cost more than the work."""

_Waiting = tuple[SealedRecord, Future[RecordRef]]


class _Mailbox:
    """One mailbox's chain of volumes. ``lock`` guards this and the state of its volumes."""

    def __init__(self, chain: HeaderChain) -> None:
        self.lock = threading.Lock()
        self.chain = chain
        self.current: _Volume | None = None


class _Volume:
    """One volume that records are queued for; it gets its file with its first batch."""

    def __init__(self, mailbox: _Mailbox, public_key: bytes) -> None:
        self.mailbox = mailbox
        self.public_key = public_key
        self.key = VolumeKey.generate()
        self.size = HEADER_SIZE
        self.begun = time.monotonic()
        self.waiting: list[_Waiting] = []
        self.scheduled = False  # is in the commit threads' queue, or with one of them
        self.closing = False  # takes no more records; the footer follows the last batch
        self.file: ActiveVolume | None = None
        self.finished = threading.Event()


class LogWriter:
    """Appends to the volumes of all mailboxes under one writer name. Threads may share it; processes may not."""

    def __init__(
        self,
        volumes: Path,
        writer: str,
        *,
        files: Files = FILES,
        max_volume: int = MAX_VOLUME,
        max_age: float = MAX_AGE,
        reserve: int = RESERVE,
        level: int = 1,
        threads: int = 8,
        notify: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """``volumes`` is made where absent; unfinished files of a former run under this name are removed.

        ``max_volume`` (bytes) and ``max_age`` (seconds since its first record) close a volume; below ``reserve``
        free bytes nothing is taken (DiskFullError); ``level`` is Zstandard's. ``notify`` is called once for each
        batch with a function that resolves its futures, for instance ``loop.call_soon_threadsafe``; without it
        they are resolved in a thread of the writer. Raises StorageError.
        """
        self._volumes = volumes
        self._writer = check_writer(writer)
        self._files = files
        self._max_volume = max_volume
        self._max_age = max_age
        self._reserve = reserve
        self._level = level
        self._notify = notify
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._mailboxes: dict[bytes, _Mailbox] = {}
        self._streams: set[StreamingRecord] = set()
        self._closed = False
        self._telling = threading.Lock()
        self._told, self._told_at, self._untold = "", 0.0, 0
        try:
            create_directory(files, volumes)
            self._remove_unfinished()
        except OSError as error:
            raise storage_error(error) from error
        self._ready: queue.SimpleQueue[_Volume | None] = queue.SimpleQueue()
        self._sealers = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix=f"seal-{writer}")
        self._committers = [
            threading.Thread(target=self._work, name=f"commit-{writer}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._committers:
            thread.start()

    def append(
        self,
        mailbox_id: bytes,
        public_key: bytes,
        original: Buffer,
        provenance: Provenance | None = None,
        *,
        type: int = RecordType.MESSAGE,
        record_id: bytes | None = None,
    ) -> Future[RecordRef]:
        """Seal ``original`` and make it durable. Does not block on the disk.

        Who has to find out after a crash whether a record was written gives its id (``record.new_record_id``).

        The future gives the record's place once fdatasync has returned, or raises DiskFullError, StorageError;
        it cannot be cancelled. ``original`` must not change before then.
        """
        future: Future[RecordRef] = Future()
        future.set_running_or_notify_cancel()
        try:
            self._must_be_open()
            sealing = partial(self._seal, mailbox_id, public_key, original, provenance, type, record_id, future)
            if len(original) <= SEALED_BY_CALLER:
                sealing()
            else:
                self._sealers.submit(sealing)
        except (MailkeepError, RuntimeError) as error:  # RuntimeError: the sealers were shut down meanwhile
            future.set_exception(error if isinstance(error, MailkeepError) else _closed())
        return future

    def stream(
        self,
        mailbox_id: bytes,
        public_key: bytes,
        provenance: Provenance | None = None,
        *,
        type: int = RecordType.MESSAGE,
        record_id: bytes | None = None,
    ) -> StreamingRecord:
        """A record written piece by piece, with bounded memory. Blocks on the disk. Raises StorageError."""
        self._must_be_open()
        chain = self._mailbox(mailbox_id).chain
        record = StreamingRecord(
            self._files, chain, public_key, provenance, type=type, record_id=record_id, reserve=self._reserve,
            level=self._level,
            unfinished=chain.directory / f"{self._writer}-{os.urandom(8).hex()}{UNFINISHED_SUFFIX}",
            on_end=self._streams.discard,
        )  # fmt: skip
        self._streams.add(record)
        return record

    def roll(self, *, older_than: float = 0) -> None:
        """Close the volumes whose first record came at least so many seconds ago; returns when they are closed."""
        border = time.monotonic() - older_than
        closing = []
        for mailbox in list(self._mailboxes.values()):
            with mailbox.lock:
                volume = mailbox.current
                if volume is not None and volume.begun <= border:
                    self._retire(volume)
                    closing.append(volume)
        for volume in closing:
            volume.finished.wait()

    def close(self) -> None:
        """Make durable what was appended, close all volumes, abort what is still streamed, end the threads."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._sealers.shutdown(wait=True)
        for record in list(self._streams):
            record.abort()
        self.roll()
        for _ in self._committers:
            self._ready.put(None)
        for thread in self._committers:
            thread.join()

    def _must_be_open(self) -> None:
        if self._closed:
            raise _closed()
        if self._process != os.getpid():
            raise StorageError("A log writer was carried into another process by a fork; nothing was written.")

    def _mailbox(self, mailbox_id: bytes) -> _Mailbox:
        mailbox = self._mailboxes.get(mailbox_id)
        if mailbox is None:
            with self._lock:
                chain = HeaderChain(self._files, self._volumes, mailbox_id, self._writer)
                mailbox = self._mailboxes.setdefault(mailbox_id, _Mailbox(chain))
        return mailbox

    # -- in the caller's thread, or a sealer's ----------------------------------------------------------------

    def _seal(
        self,
        mailbox_id: bytes,
        public_key: bytes,
        original: Buffer,
        provenance: Provenance | None,
        type: int,
        record_id: bytes | None,
        future: Future[RecordRef],
    ) -> None:
        try:
            mailbox = self._mailbox(mailbox_id)
            while True:
                volume = self._current(mailbox, public_key)
                key = volume.key
                record = seal(
                    key.key, key.volume_id, original, provenance, type=type, level=self._level, record_id=record_id
                )  # fmt: skip
                # Where the volume was closed while this was sealed, it is sealed again for the next one.
                if self._queue(volume, record, future):
                    return
        except Exception as error:
            # Nobody reads a sealer's own result: whatever went wrong belongs to the one who waits.
            future.set_exception(error)

    def _current(self, mailbox: _Mailbox, public_key: bytes) -> _Volume:
        with mailbox.lock:
            volume = mailbox.current
            if volume is not None and (
                time.monotonic() - volume.begun >= self._max_age or volume.public_key != public_key
            ):
                self._retire(volume)
                volume = None
            if volume is None:
                volume = mailbox.current = _Volume(mailbox, public_key)
            return volume

    def _queue(self, volume: _Volume, record: SealedRecord, future: Future[RecordRef]) -> bool:
        with volume.mailbox.lock:
            if volume.mailbox.current is not volume:
                return False
            volume.waiting.append((record, future))
            volume.size += record.length
            if volume.size >= self._max_volume:
                self._retire(volume)
            else:
                self._schedule(volume)
            return True

    def _retire(self, volume: _Volume) -> None:
        volume.closing = True
        volume.mailbox.current = None
        self._schedule(volume)

    def _schedule(self, volume: _Volume) -> None:
        if not volume.scheduled:
            volume.scheduled = True
            self._ready.put(volume)

    # -- in a commit thread -----------------------------------------------------------------------------------

    def _work(self) -> None:
        while (volume := self._ready.get()) is not None:
            try:
                self._commit(volume)
            except Exception:
                log.exception("log: a commit thread met an error nobody foresaw")

    def _commit(self, volume: _Volume) -> None:
        with volume.mailbox.lock:
            batch, volume.waiting = volume.waiting, []
        records = [record for record, _ in batch]
        entries: list[IndexEntry] = []
        failure: MailkeepError | None = None
        if batch:
            try:
                check_room(self._files, self._volumes, sum(record.length for record in records), self._reserve)
            except (OSError, DiskFullError) as error:
                failure = _failure(error)  # nothing was written: the volume is as good as before
        if batch and failure is None:
            try:
                entries = self._write(volume, records)
            except Exception as error:
                self._resolve(volume, batch + self._abandon(volume), [], _failure(error))
                return
        self._resolve(volume, batch, entries, failure)
        with volume.mailbox.lock:
            again = volume.scheduled = bool(volume.waiting)
            finish = volume.closing and not again
        if again:
            self._ready.put(volume)  # behind the others: no mailbox keeps a commit thread for itself
        elif finish:
            self._finish(volume)

    def _write(self, volume: _Volume, records: Sequence[SealedRecord]) -> list[IndexEntry]:
        if volume.file is None:
            name, descriptor = volume.mailbox.chain.create(volume.key, volume.public_key)
            volume.file = ActiveVolume(self._files, name, descriptor)
        return volume.file.append(records)

    def _abandon(self, volume: _Volume) -> list[_Waiting]:
        with volume.mailbox.lock:
            if volume.mailbox.current is volume:
                volume.mailbox.current = None
            left, volume.waiting = volume.waiting, []
        if volume.file is not None:
            volume.file.abandon()
        volume.finished.set()
        return left

    def _finish(self, volume: _Volume) -> None:
        if volume.file is not None:
            try:
                volume.file.finish()
            except OSError as error:
                # All that a footer says can be made again from the records; none of them is touched by this.
                log.warning("volume %s has no footer: %s", volume.file.name, error)
                volume.file.abandon()
        volume.finished.set()

    def _resolve(
        self, volume: _Volume, batch: list[_Waiting], entries: list[IndexEntry], failure: MailkeepError | None
    ) -> None:
        if failure is not None:
            self._tell(len(batch), failure)
            resolve = partial(_fail, batch, failure)
        elif volume.file is not None:
            resolve = partial(_confirm, batch, entries, volume.file.name)
        else:
            return
        if self._notify is not None:
            # RuntimeError: the event loop is gone; those who still wait do so in threads.
            with contextlib.suppress(RuntimeError):
                self._notify(resolve)
                return
        resolve()

    def _tell(self, count: int, failure: MailkeepError) -> None:
        """Log a failure, the same one every ten seconds at most: a full disk must not be filled with lines of it."""
        text, now = str(failure), time.monotonic()
        with self._telling:
            self._untold += count
            if text == self._told and now - self._told_at < _TELL_AGAIN:
                return
            count, self._untold, self._told, self._told_at = self._untold, 0, text, now
        log.error("log: %d messages not taken: %s", count, text)

    def _remove_unfinished(self) -> None:
        for folder in filter(is_mailbox_folder, self._files.names(self._volumes)):
            for name in self._files.names(self._volumes / folder):
                if name.startswith(f"{self._writer}-") and name.endswith(UNFINISHED_SUFFIX):
                    with contextlib.suppress(StorageError):  # somebody still holds it
                        remove_abandoned(self._files, self._volumes / folder / name)


def _confirm(batch: Sequence[_Waiting], entries: Sequence[IndexEntry], name: VolumeName) -> None:
    volume = str(name)
    for (_, future), entry in zip(batch, entries, strict=True):
        future.set_result(
            RecordRef(
                volume=volume, offset=entry.offset, length=entry.length, record_id=entry.record_id,
                type=entry.type, time=entry.time, mailbox=name.mailbox,
            )
        )  # fmt: skip


def _fail(batch: Sequence[_Waiting], failure: MailkeepError) -> None:
    for _, future in batch:
        future.set_exception(type(failure)(failure.message))


def _failure(error: Exception) -> MailkeepError:
    if isinstance(error, OSError):
        return storage_error(error)
    if isinstance(error, MailkeepError):
        return error
    log.exception("log: an error nobody foresaw", exc_info=error)
    return StorageError(
        "The archive could not write the mail. Nothing confirmed is lost, and the sender will try again. The log "
        "file of this process says more."
    )


def _closed() -> StorageError:
    return StorageError("The archive is being stopped. Nothing is lost: the sender will try again.")
