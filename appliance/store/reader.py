"""Reading the log: which volumes there are, what they hold, and one record's original.

Without a ``KeyOpener`` everything works that needs no key: listing, scanning, checksums. A reader follows a volume
that is still being written by scanning again from where the last scan ended.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from appliance.errors import DamageError, LockedError, NotFoundError, StorageError
from appliance.files import FILES, Files, read_exactly
from appliance.mail.facts import Provenance
from appliance.store.format import (
    END_SIZE,
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    RecordHeader,
    VolumeHeader,
    parse_end,
    parse_header,
    parse_record_header,
)
from appliance.store.names import (
    SEAL_SUFFIX,
    VOLUME_SUFFIX,
    VolumeName,
    is_mailbox_folder,
    parse_volume,
    seal_path,
    volume_name,
)
from appliance.store.record import RecordOpener
from appliance.store.refs import Damage, RecordRef
from appliance.store.scan import FoundRecord, Gap, Window, frames, record_at, walk

__all__ = ["Damage", "KeyOpener", "LogReader", "OpenRecord", "Record", "RecordRef", "VolumeInfo"]

_KEYS_KEPT = 1024
_LEAST_AHEAD = 64 * 1024
_MOST_AHEAD = 2 * 1024 * 1024


@runtime_checkable
class KeyOpener(Protocol):
    """Who can open volumes; ``appliance.keys.keyring.Unlocked`` does."""

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The 32-byte data key sealed in a volume's header. Raises DamageError, KeyringError."""
        ...


class VolumeInfo(msgspec.Struct, frozen=True):
    """One volume as listed."""

    path: str  # relative to the volumes folder
    mailbox: bytes
    writer: str
    sequence: int
    size: int
    closed: bool  # has a footer
    sealed: bool  # has a seal beside it
    created: int  # microseconds since 1970-01-01 UTC; 0 where the header is damaged
    damage: str = ""  # what is wrong with the header


class Record(msgspec.Struct, frozen=True):
    """An opened record."""

    ref: RecordRef
    provenance: Provenance
    original: bytes


class OpenRecord:
    """A record being opened: iterating gives the original once, in pieces of at most 256 KiB."""

    def __init__(self, ref: RecordRef, provenance: Provenance, pieces: Iterator[bytes]) -> None:
        self.ref = ref
        self.provenance = provenance
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


class LogReader:
    """Reads the volumes below one folder. Threads may share it."""

    def __init__(self, volumes: Path, opener: KeyOpener | None = None, *, files: Files = FILES) -> None:
        self._volumes = volumes
        self._opener = opener
        self._files = files
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[VolumeHeader, bytes]] = {}
        self._closed: dict[str, VolumeInfo] = {}

    def volumes(self, mailbox: bytes | None = None) -> list[VolumeInfo]:
        """All volumes, or one mailbox's, by mailbox, writer and sequence. Raises StorageError."""
        listed: list[VolumeInfo] = []
        with _reading("the archive's folder"):
            folders = [mailbox.hex()] if mailbox is not None else self._files.names(self._volumes)
            for folder in filter(is_mailbox_folder, folders):
                names = self._files.names(self._volumes / folder)
                seals = {name for name in names if name.endswith(SEAL_SUFFIX)}
                for name in names:  # sorted, and so by writer and sequence
                    if name.endswith(VOLUME_SUFFIX):
                        info = self._info(f"{folder}/{name}", sealed=seal_path(name) in seals)
                        if info is not None:
                            listed.append(info)
        return listed

    def scan(self, volume: VolumeInfo | str, start: int = 0, *, sync: bool = False) -> Iterator[RecordRef | Damage]:
        """The records of a volume from ``start`` on, and the damage between them.

        ``start`` is 0 or the ``end`` of what an earlier scan gave. While the volume's writer lives, an unfinished
        end is left for the next scan. ``sync`` makes durable what is given before it is given. Raises
        NotFoundError, StorageError.
        """
        path = volume if isinstance(volume, str) else volume.path
        name = volume_name(path)
        with self._open(path) as descriptor:
            # The lock first, the size second: a file that nobody held then has its final size now.
            growing = self._files.is_locked(descriptor)
            size = self._files.size(descriptor)
            start = max(start, HEADER_SIZE)
            if start >= size:
                return
            if sync:
                self._files.sync_data(descriptor)
            for found in walk(Window(self._files, descriptor, size), start, growing=growing):
                if isinstance(found, FoundRecord):
                    entry = found.entry
                    yield RecordRef(
                        volume=path, offset=entry.offset, length=entry.length, record_id=entry.record_id,
                        type=entry.type, time=entry.time, mailbox=name.mailbox,
                    )  # fmt: skip
                elif isinstance(found, Gap):
                    yield Damage(
                        volume=path, offset=found.offset, length=found.length, what=found.what,
                        kind="corruption" if found.durable else "unacknowledged", record_id=found.record_id,
                    )  # fmt: skip

    def read(self, ref: RecordRef | str, offset: int | None = None) -> Record:
        """One record's original, every check made. ``ref``, or a volume's path and ``offset``.

        Raises DamageError with file and offset, LockedError without keys, NotFoundError, StorageError.
        """
        with self._opening(ref, offset) as (place, opener, leaf):
            return Record(ref=place, provenance=opener.provenance, original=opener.original(leaf))

    def stream(self, ref: RecordRef | str, offset: int | None = None) -> OpenRecord:
        """As ``read``, with bounded memory: iterate over what it gives.

        Each piece is authentic; that the original is complete is known when they end without DamageError.
        """
        stack = ExitStack()
        place, opener, leaf = stack.enter_context(self._opening(ref, offset))

        def pieces() -> Iterator[bytes]:
            with stack:
                yield from opener.stream(leaf)

        return OpenRecord(place, opener.provenance, pieces())

    @contextmanager
    def _opening(self, ref: RecordRef | str, offset: int | None) -> Iterator[tuple[RecordRef, RecordOpener, bytes]]:
        if isinstance(ref, RecordRef):
            path, begin, ahead = ref.volume, ref.offset, ref.length
        else:
            path, begin, ahead = ref, HEADER_SIZE if offset is None else offset, _LEAST_AHEAD
        mailbox = volume_name(path).mailbox
        header, key = self._volume_key(path)
        with self._open(path) as descriptor:
            ahead = max(_LEAST_AHEAD, min(ahead, _MOST_AHEAD))
            window = Window(self._files, descriptor, self._files.size(descriptor), ahead=ahead)
            found = record_at(window, begin)
            record = parse_record_header(window.get(begin, RECORD_HEADER_SIZE))
            if found is None or record is None:
                raise DamageError(f"{path} at {begin}: the record there is damaged, or there is none.")
            entry = found.entry
            place = RecordRef(
                volume=path, offset=begin, length=entry.length, record_id=entry.record_id,
                type=entry.type, time=entry.time, mailbox=mailbox,
            )  # fmt: skip
            if isinstance(ref, RecordRef) and ref.record_id != place.record_id:
                raise DamageError(f"{path} at {begin}: another record stands there than the one looked for.")
            with _at(place):
                yield place, self._opener_of(key, header, record, window, begin), entry.leaf

    @staticmethod
    def _opener_of(key: bytes, header: VolumeHeader, record: RecordHeader, window: Window, offset: int) -> RecordOpener:
        return RecordOpener(key, header.volume_id, record, frames(window, offset))

    def _volume_key(self, path: str) -> tuple[VolumeHeader, bytes]:
        with self._lock:
            known = self._keys.get(path)
        if known is not None:
            return known
        if self._opener is None:
            raise LockedError("The archive is locked: mail is received, but none can be opened until it is unlocked.")
        name = volume_name(path)
        with self._open(path) as descriptor:
            try:
                header = parse_header(read_exactly(self._files, descriptor, HEADER_SIZE, 0))
                if not fits(header, name):
                    raise DamageError("The volume stands in another's place.")
                key = self._opener.volume_key(header.mailbox, header.sealed_key, header.key_info())
            except DamageError as error:
                raise DamageError(f"{path} at 0: {error.message}") from error
        with self._lock:
            if len(self._keys) >= _KEYS_KEPT:
                self._keys.pop(next(iter(self._keys)))
            self._keys[path] = header, key
        return header, key

    def _info(self, path: str, *, sealed: bool) -> VolumeInfo | None:
        known = self._closed.get(path)
        if known is not None and known.sealed == sealed:
            return known
        name = parse_volume(path)
        if name is None:
            return None
        try:
            descriptor = self._files.open(self._volumes / path)
        except FileNotFoundError:
            return None  # gone since the folder was read
        created, damage = 0, ""
        try:
            size = self._files.size(descriptor)
            closed = size > HEADER_SIZE + END_SIZE and (
                parse_end(read_exactly(self._files, descriptor, END_SIZE, size - END_SIZE)) is not None
            )
            try:
                created = parse_header(read_exactly(self._files, descriptor, HEADER_SIZE, 0)).created
            except DamageError as error:
                damage = error.message
        finally:
            self._files.close(descriptor)
        info = VolumeInfo(
            path=path, mailbox=name.mailbox, writer=name.writer, sequence=name.sequence, size=size,
            closed=closed, sealed=sealed, created=created, damage=damage,
        )  # fmt: skip
        if closed:
            self._closed[path] = info  # it will not change any more, but for its seal
        return info

    @contextmanager
    def _open(self, path: str) -> Iterator[int]:
        volume_name(path)
        with _reading(path):
            try:
                descriptor = self._files.open(self._volumes / path)
            except FileNotFoundError as error:
                raise NotFoundError(f"There is no volume {path} in the archive.") from error
            try:
                yield descriptor
            finally:
                self._files.close(descriptor)


def fits(header: VolumeHeader, name: VolumeName) -> bool:
    """Whether the header belongs into a file of that name."""
    return (header.mailbox, header.writer, header.sequence) == tuple(name)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{what} cannot be read ({error.strerror or error}). Nothing was changed. Look at the disk's health."
        ) from error


@contextmanager
def _at(ref: RecordRef) -> Iterator[None]:
    try:
        yield
    except DamageError as error:
        raise DamageError(f"{ref.volume} at {ref.offset}: {error.message}") from error
