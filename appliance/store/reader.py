"""Reading the log: which volumes there are, what they hold, and one record's original.

Without a ``KeyOpener`` everything works that needs no key: listing, scanning, checksums. A reader follows a volume
that is still being written by scanning again from where the last scan ended.

A volume that an archive volume stands in for is listed, scanned and read as if it were still there: paths, offsets
and lengths are those it had.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from zstandard import ZstdDecompressor

from appliance.errors import DamageError, LockedError, NotFoundError, StorageError
from appliance.files import FILES, Files, read_exactly
from appliance.store.archived import Blocks, SealKey, Standing, Standings
from appliance.store.directory import ERASED, Place, Places, read_directory
from appliance.store.format import (
    END_SIZE,
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    IndexEntry,
    RecordHeader,
    VolumeHeader,
    parse_end,
    parse_header,
    parse_record_header,
)
from appliance.store.names import (
    SEAL_SUFFIX,
    VOLUME_SUFFIX,
    ArchiveName,
    VolumeName,
    is_mailbox_folder,
    parse_archive,
    parse_volume,
    seal_path,
    volume_name,
)
from appliance.store.opening import Alone, Grouped, Opening, OpenRecord, Record
from appliance.store.record import RecordOpener
from appliance.store.refs import Damage, RecordRef, Tombstone, VolumeInfo
from appliance.store.scan import FoundRecord, Gap, Window, footer_of, frames, record_at, walk

__all__ = ["Damage", "KeyOpener", "LogReader", "OpenRecord", "Record", "RecordRef", "Tombstone", "VolumeInfo"]

_KEYS_KEPT = 1024
_LEAST_AHEAD = 64 * 1024
_MOST_AHEAD = 2 * 1024 * 1024
_LOOKS = 3
"""Times that a folder is listed in which a volume was replaced meanwhile."""


@runtime_checkable
class KeyOpener(Protocol):
    """Who can open volumes; ``appliance.keys.access.Keys`` can all, an ``OpenedMailbox`` its own."""

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The 32-byte data key sealed in a volume's header. Raises DamageError, KeyringError."""
        ...


class LogReader:
    """Reads the volumes below one folder. Threads may share it."""

    def __init__(
        self,
        volumes: Path,
        opener: KeyOpener | None = None,
        *,
        seal_key: SealKey | None = None,
        files: Files = FILES,
    ) -> None:
        """``seal_key`` says whose archive volumes count; ``opener`` does where it can. Without either they are
        believed as they are: who could forge one could remove the volumes as well, and ``verify`` finds both."""
        self._volumes = volumes
        self._opener = opener
        self._files = files
        if seal_key is None and hasattr(type(opener), "verify_key"):
            seal_key = cast("SealKey", opener)
        self._standings = Standings(volumes, files, seal_key)
        self._blocks = Blocks(self._block)
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[VolumeHeader, bytes]] = {}
        self._closed: dict[str, VolumeInfo] = {}

    def volumes(self, mailbox: bytes | None = None) -> list[VolumeInfo]:
        """All volumes, or one mailbox's, by mailbox, writer and sequence. Raises StorageError."""
        listed: list[VolumeInfo] = []
        with _reading("the archive's folder"):
            folders = [mailbox.hex()] if mailbox is not None else self._files.names(self._volumes)
            for folder in filter(is_mailbox_folder, folders):
                listed += self._folder(folder)
        return listed

    def _folder(self, folder: str) -> list[VolumeInfo]:
        """A mailbox's volumes. One that is replaced while they are listed is looked for again."""
        for _ in range(_LOOKS):
            names = self._files.names(self._volumes / folder)
            seals = {name for name in names if name.endswith(SEAL_SUFFIX)}
            standings = self._standings.look(folder, names)
            present = [name for name in names if name.endswith(VOLUME_SUFFIX) and f"{folder}/{name}" not in standings]
            infos = [self._info(f"{folder}/{name}", sealed=seal_path(name) in seals) for name in present]
            if None not in infos:
                break
        listed = [info for info in infos if info is not None]
        if standings:
            listed += [standing.info for standing in standings.values()]
            listed.sort(key=lambda info: info.path)  # and so by writer and sequence
        return listed

    def scan(
        self, volume: VolumeInfo | str, start: int = 0, *, sync: bool = False
    ) -> Iterator[RecordRef | Tombstone | Damage]:
        """The records of a volume from ``start`` on, the damage between them, and what is left of erased ones.

        ``start`` is 0 or the ``end`` of what an earlier scan gave. While the volume's writer lives, an unfinished
        end is left for the next scan. ``sync`` makes durable what is given before it is given. Raises
        NotFoundError, StorageError.
        """
        path = volume if isinstance(volume, str) else volume.path
        name = volume_name(path)
        with self._open(path) as (standing, descriptor):
            if standing is not None:
                yield from self._scan_archived(name, standing, start)
                return
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
                    yield _ref(name, found.entry)
                elif isinstance(found, Gap):
                    yield Damage(
                        volume=path, offset=found.offset, length=found.length, what=found.what,
                        kind="corruption" if found.durable else "unacknowledged", record_id=found.record_id,
                    )  # fmt: skip

    def listed(self, volume: VolumeInfo | str, start: int = 0) -> Iterator[RecordRef | Tombstone | Damage]:
        """As ``scan``, but of a closed volume its footer is believed, where that is whole.

        For who wants to know what there is, and leaves looking for damage to others: a volume of a gigabyte takes a
        moment. Raises NotFoundError, StorageError.
        """
        path = volume if isinstance(volume, str) else volume.path
        with self._open(path) as (standing, descriptor):
            window = Window(self._files, descriptor, self._files.size(descriptor))
            footer = footer_of(window) if standing is None else None
        if footer is None:
            yield from self.scan(volume, start)
            return
        name = volume_name(path)
        yield from (_ref(name, entry) for entry in footer.entries if entry.offset >= start)

    def entries(self, volume: str) -> list[IndexEntry]:
        """The entries of a volume's records in their order, erased ones among them: the leaves of its leaf tree.

        Raises DamageError where they cannot be told, NotFoundError, StorageError.
        """
        name = volume_name(volume)
        with self._open(volume) as (standing, descriptor):
            if standing is not None:
                return [place.entry for place in self._places(standing, 0)]
            window = Window(self._files, descriptor, self._files.size(descriptor))
            found = list(walk(window, growing=self._files.is_locked(descriptor)))
        if any(isinstance(one, Gap) and one.durable for one in found):
            raise DamageError(f"{name}: the volume is damaged.")
        return [one.entry for one in found if isinstance(one, FoundRecord)]

    def header(self, volume: str) -> bytes:
        """The first HEADER_SIZE bytes of a volume. Raises DamageError, NotFoundError, StorageError."""
        with self._open(volume) as (standing, descriptor):
            if standing is None:
                return read_exactly(self._files, descriptor, HEADER_SIZE, 0)
            directory = read_directory(self._files, self._volumes / standing.archive)
            return next(one.header for one in directory.replaced if one.volume == volume)

    def part_lists(self, mailbox: bytes) -> Iterator[tuple[int, bytes]]:
        """The lists of parts of a mailbox's archive volumes, with their numbers. Raises as ``read`` does."""
        folder = mailbox.hex()
        with _reading(folder):
            standings = self._standings.look(folder, self._files.names(self._volumes / folder)).values()
            for archive in sorted({one.archive for one in standings if not one.dropped and not one.info.damage}):
                name, place = parse_archive(archive), read_directory(self._files, self._volumes / archive).contents
                if name is not None and place.part_list:
                    yield name.sequence, self._block(archive, place.part_list, None)[1]

    def read(self, ref: RecordRef | str, offset: int | None = None) -> Record:
        """One record's original, every check made. ``ref``, or a volume's path and ``offset``.

        Raises DamageError with file and offset, LockedError without keys, NotFoundError, StorageError.
        """
        with self._opening(ref, offset) as opening:
            return opening.whole()

    def stream(self, ref: RecordRef | str, offset: int | None = None) -> OpenRecord:
        """As ``read``, with bounded memory: iterate over what it gives.

        Each piece is authentic; that the original is complete is known when they end without DamageError.
        """
        stack = ExitStack()
        opening = stack.enter_context(self._opening(ref, offset))

        def pieces() -> Iterator[bytes]:
            with stack:
                yield from opening.pieces()

        return OpenRecord(opening.ref, opening.provenance, pieces())

    def opens(self, archive: str, volume: str, places: Places, stopped: Callable[[], bool]) -> bool:
        """Open every record of a replaced volume from what is to stand in its place, compacted and not signed yet.

        False where it was stopped before the end. Raises DamageError where one is missing or another, LockedError,
        StorageError.
        """
        name = volume_name(volume)
        # In the order of the file, so that each group is decompressed once.
        for place in sorted(places.of(volume), key=lambda one: (one.offset, one.member)):
            if stopped():
                return False
            if place.offset == ERASED:
                raise DamageError(f"{archive}: a record is missing that was not erased.")
            with _reading(archive), _at(archive, place.offset):
                self._grouped(name, archive, place).whole()
        return True

    @contextmanager
    def _opening(self, ref: RecordRef | str, offset: int | None) -> Iterator[Opening]:
        if isinstance(ref, RecordRef):
            path, begin, ahead = ref.volume, ref.offset, ref.length
        else:
            path, begin, ahead = ref, HEADER_SIZE if offset is None else offset, _LEAST_AHEAD
        name = volume_name(path)
        with self._open(path) as (standing, descriptor), _at(path, begin):
            if standing is None:
                header, key = self._volume_key(path, name, descriptor)
                entry, opener = self._record(header, key, descriptor, begin, ahead)
                place = _ref(name, entry)
                opening: Opening = Alone(place, opener, entry.leaf)
            else:
                at = self._place(standing, begin)
                place = _ref(name, at.entry)
                if standing.dropped:
                    header, key = self._volume_key(standing.archive, name, descriptor)
                    entry, opener = self._record(header, key, descriptor, at.offset, ahead)
                    if entry.leaf != at.entry.leaf or entry.record_id != place.record_id:
                        raise DamageError("another record stands there than the archive volume's directory says.")
                    opening = Alone(place, opener, entry.leaf)
                else:
                    opening = self._grouped(name, standing.archive, at)
            if isinstance(ref, RecordRef) and ref.record_id != place.record_id:
                raise DamageError("another record stands there than the one looked for.")
            yield opening

    def _grouped(self, name: VolumeName, archive: str, place: Place) -> Grouped:
        member, text = self._blocks.member(archive, place.offset, place.member)
        pieces = self._blocks.original(archive, member, text)
        return Grouped(_ref(name, place.entry), member, place.entry.leaf, pieces)

    def _record(
        self, header: VolumeHeader, key: bytes, descriptor: int, begin: int, ahead: int
    ) -> tuple[IndexEntry, RecordOpener]:
        """The record at ``begin`` of an open file, and what opens it. Raises DamageError, OSError."""
        ahead = max(_LEAST_AHEAD, min(ahead, _MOST_AHEAD))
        window = Window(self._files, descriptor, self._files.size(descriptor), ahead=ahead)
        found = record_at(window, begin)
        record = parse_record_header(window.get(begin, RECORD_HEADER_SIZE))
        if found is None or record is None:
            raise DamageError("the record there is damaged, or there is none.")
        return found.entry, self._opener_of(key, header, record, window, begin)

    @staticmethod
    def _opener_of(key: bytes, header: VolumeHeader, record: RecordHeader, window: Window, offset: int) -> RecordOpener:
        return RecordOpener(key, header.volume_id, record, frames(window, offset))

    def _block(self, archive: str, offset: int, dictionary: ZstdDecompressor | None) -> tuple[int, bytes]:
        """Type and original of a record that an archive volume made for itself."""
        name = parse_archive(archive)
        try:
            descriptor = self._files.open(self._volumes / archive)
        except FileNotFoundError as error:
            raise DamageError(f"the archive volume {archive} is missing.") from error
        try:
            if name is None:
                raise DamageError(f"{archive} is no archive volume.")
            header, key = self._volume_key(archive, name, descriptor)
            entry, opener = self._record(header, key, descriptor, offset, _LEAST_AHEAD)
            return entry.type, opener.original(entry.leaf, dictionary)
        except DamageError as error:
            raise DamageError(f"{archive} at {offset}: {error.message}") from error
        finally:
            self._files.close(descriptor)

    def _volume_key(self, path: str, name: VolumeName | ArchiveName, descriptor: int) -> tuple[VolumeHeader, bytes]:
        """Header and data key of an open file whose header is that of ``name``."""
        with self._lock:
            known = self._keys.get(path)
        if known is not None:
            return known
        if self._opener is None:
            raise LockedError("The archive is locked: mail is received, but none can be opened until it is unlocked.")
        header = parse_header(read_exactly(self._files, descriptor, HEADER_SIZE, 0))
        if not fits(header, name):
            raise DamageError("The volume stands in another's place.")
        key = self._opener.volume_key(header.mailbox, header.sealed_key, header.key_info())
        with self._lock:
            if len(self._keys) >= _KEYS_KEPT:
                self._keys.pop(next(iter(self._keys)))
            self._keys[path] = header, key
        return header, key

    # -- volumes that are replaced ----------------------------------------------------------------------------

    def _scan_archived(
        self, name: VolumeName, standing: Standing, start: int
    ) -> Iterator[RecordRef | Tombstone | Damage]:
        info = standing.info
        try:
            places = list(self._places(standing, start))
        except DamageError as error:
            start = max(start, HEADER_SIZE)
            if start < info.size:
                yield Damage(str(name), start, info.size - start, "corruption", error.message)
            return
        found: list[RecordRef | Tombstone | Damage] = [
            _ref(name, place.entry) if place.offset != ERASED else _tombstone(name, place.entry) for place in places
        ]
        what = "bytes that are nothing whole"
        found += [Damage(str(name), at, size, "unacknowledged", what) for at, size in standing.gaps if at >= start]
        yield from sorted(found, key=lambda one: one.offset)

    def _place(self, standing: Standing, offset: int) -> Place:
        self._must_be_whole(standing)
        place = self._standings.places(standing.archive).at(standing.info.path, offset)
        if place is None:
            raise DamageError("no record stands there.")
        if place.offset == ERASED:
            raise NotFoundError("This record was erased. Its commitment is kept, its original is gone.")
        return place

    def _places(self, standing: Standing, start: int) -> Iterator[Place]:
        self._must_be_whole(standing)
        return self._standings.places(standing.archive).of(standing.info.path, start)

    @staticmethod
    def _must_be_whole(standing: Standing) -> None:
        if standing.info.damage:
            raise DamageError(f"{standing.archive}: {standing.info.damage}")

    # -- volumes that are there -------------------------------------------------------------------------------

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
            closed=closed, sealed=sealed, created=created, damage=damage, stored=size,
        )  # fmt: skip
        if closed:
            self._closed[path] = info  # it will not change any more, but for its seal
        return info

    @contextmanager
    def _open(self, path: str) -> Iterator[tuple[Standing | None, int]]:
        """The open file in which a volume's records are, and the archive volume that this is, if it is one."""
        volume_name(path)
        with _reading(path):
            standing = self._standings.of(path)
            try:
                descriptor = self._files.open(self._volumes / (path if standing is None else standing.archive))
            except FileNotFoundError:
                # It may have been replaced since the last look.
                folder = path.partition("/")[0]
                standing = self._standings.look(folder, self._files.names(self._volumes / folder)).get(path)
                try:
                    descriptor = self._files.open(self._volumes / (path if standing is None else standing.archive))
                except FileNotFoundError as error:
                    raise NotFoundError(f"There is no volume {path} in the archive.") from error
            try:
                yield standing, descriptor
            finally:
                self._files.close(descriptor)


def _ref(name: VolumeName, entry: IndexEntry) -> RecordRef:
    return RecordRef(
        volume=str(name), offset=entry.offset, length=entry.length, record_id=entry.record_id,
        type=entry.type, time=entry.time, mailbox=name.mailbox,
    )  # fmt: skip


def _tombstone(name: VolumeName, entry: IndexEntry) -> Tombstone:
    return Tombstone(
        volume=str(name), offset=entry.offset, length=entry.length, record_id=entry.record_id,
        type=entry.type, time=entry.time, mailbox=name.mailbox,
    )  # fmt: skip


def fits(header: VolumeHeader, name: VolumeName | ArchiveName) -> bool:
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
def _at(path: str, offset: int) -> Iterator[None]:
    try:
        yield
    except DamageError as error:
        raise DamageError(f"{path} at {offset}: {error.message}") from error
