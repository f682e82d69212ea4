"""A message too large to hold in memory: sealed frame by frame into a volume of its own as it arrives.

The volume is filled under an unfinished name, footer included, and takes its sequence number, its header and its
real name only when it is committed. So an aborted message leaves no gap in the numbers, a message that was never
committed is never visible, and a streamed volume that is visible is whole.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import zstandard

from appliance.errors import StorageError
from appliance.files import Buffer, Files, write_all
from appliance.mail.facts import Provenance
from appliance.store.failures import check_room, storage_error
from appliance.store.format import HEADER_SIZE, MARKER_SIZE, RecordType, pack_marker
from appliance.store.record import RecordSealer
from appliance.store.refs import RecordRef
from appliance.store.volume import HeaderChain, VolumeKey, make_footer


class StreamingRecord:
    """One message on its way in. Its methods block and may be called from any one thread at a time.

    As a context manager it aborts unless it was committed.
    """

    def __init__(
        self,
        files: Files,
        chain: HeaderChain,
        public_key: bytes,
        provenance: Provenance | None,
        *,
        unfinished: Path,
        reserve: int,
        level: int,
        type: int = RecordType.MESSAGE,
        record_id: bytes | None = None,
        on_end: Callable[[StreamingRecord], None] | None = None,
    ) -> None:
        """Made by ``LogWriter.stream``. Raises StorageError."""
        self._files = files
        self._chain = chain
        self._public_key = public_key
        self._unfinished = unfinished
        self._reserve = reserve
        self._on_end = on_end
        self._lock = threading.Lock()
        self._key = VolumeKey.generate()
        self._sealer = RecordSealer(self._key.key, self._key.volume_id, provenance, type=type, record_id=record_id)
        self._compressor = zstandard.ZstdCompressor(level=level).compressobj()
        self._open = True
        self._offset = HEADER_SIZE
        try:
            chain.prepare()
            check_room(files, chain.directory, 0, reserve)
            self._descriptor = files.create(unfinished)
        except OSError as error:
            raise storage_error(error) from error
        try:
            files.lock(self._descriptor)
            self._write([pack_marker(1, HEADER_SIZE)])
        except BaseException as error:
            self._end(unlink=True)
            raise _for_people(error) from error

    def write(self, data: Buffer) -> None:
        """More of the message. Raises StorageError or DiskFullError; then the record is aborted."""
        with self._lock:
            self._must_be_open()
            try:
                self._sealer.add(data, self._compressor.compress(data))
                self._write(self._sealer.take())
            except BaseException as error:
                self._end(unlink=True)
                raise _for_people(error) from error

    def commit(self) -> RecordRef:
        """Return when the message is on disk. Raises StorageError or DiskFullError; then it is aborted."""
        with self._lock:
            self._must_be_open()
            try:
                record = self._sealer.finish(b"", self._compressor.flush())
                entry = record.entry(HEADER_SIZE + MARKER_SIZE)
                self._write(record.parts)
                self._write([make_footer([entry], [record.cipher_hash], self._offset).pack()])
                name = self._chain.adopt(self._key, self._public_key, self._descriptor, self._unfinished)
            except BaseException as error:
                self._end(unlink=True)
                raise _for_people(error) from error
            self._end(unlink=False)
        return RecordRef(
            volume=str(name), offset=entry.offset, length=entry.length, record_id=entry.record_id,
            type=entry.type, time=entry.time, mailbox=name.mailbox,
        )  # fmt: skip

    def abort(self) -> None:
        """Forget the message and remove what there is of it. Does nothing after ``commit``."""
        with self._lock:
            if self._open:
                self._end(unlink=True)

    def __enter__(self) -> StreamingRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _write(self, parts: list[bytes]) -> None:
        if parts:
            check_room(self._files, self._chain.directory, sum(map(len, parts)), self._reserve)
            self._offset = write_all(self._files, self._descriptor, parts, self._offset)

    def _must_be_open(self) -> None:
        if not self._open:
            raise StorageError("This message was broken off before. The sender will try again.")

    def _end(self, *, unlink: bool) -> None:
        self._open = False
        if unlink:
            with contextlib.suppress(OSError):
                self._files.unlink(self._unfinished)
        with contextlib.suppress(OSError):
            self._files.close(self._descriptor)
        if self._on_end is not None:
            self._on_end(self)


def _for_people(error: BaseException) -> BaseException:
    return storage_error(error) if isinstance(error, OSError) else error
