"""Reading the log: which volumes there are, what they hold, and one record's original.

Without a ``KeyOpener`` everything works that needs no key: listing, scanning, checksums. A reader follows a volume
that is still being written by scanning again from where the last scan ended.

A volume that an archive volume stands in for is listed, scanned and read as if it were still there: paths, offsets
and lengths are those it had. One that is absent, because replicas hold it, is listed from its seal and fetched when
its records are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol, cast, runtime_checkable

from zstandard import ZstdDecompressor

from appliance.errors import DamageError, LockedError, NotFoundError, StorageError
from appliance.files import FILES, Files, read_exactly
from appliance.store.absent import AbsentFiles
from appliance.store.archived import Blocks, SealKey, Standing, Standings
from appliance.store.directory import ERASED, Place, Places, read_directory
from appliance.store.format import (
    END_SIZE,
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    IndexEntry,
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
from appliance.store.opening import Alone, Found, Grouped, Opening, OpenRecord, Record
from appliance.store.record import LARGEST_OF_ONE_FRAME, RecordOpener, parse_one_frame
from appliance.store.refs import Damage, RecordRef, Tombstone, VolumeInfo
from appliance.store.scan import FoundRecord, Gap, Window, footer_of, frames, record_at, walk

__all__ = ["Damage", "Found", "KeyOpener", "LogReader", "OpenRecord", "Record", "RecordRef", "Tombstone", "VolumeInfo"]

_KEYS_KEPT = 1024
_LEAST_AHEAD = 64 * 1024
_MOST_AHEAD = 2 * 1024 * 1024
_STEP = 256 * 1024
"""Bytes read at a time of records that lie side by side."""
_LOOKS = 3
"""Times that a folder is listed in which a volume was replaced meanwhile."""


@runtime_checkable
class KeyOpener(Protocol):
    """Who can open volumes; ``appliance.keys.access.Keys`` can all, an ``OpenedMailbox`` its own."""

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The 32-byte data key sealed in a volume's header. Raises DamageError, KeyringError."""
        ...


class _Source(NamedTuple):
    """A volume that is open to be read."""

    path: str
    name: VolumeName
    standing: Standing | None  # what stands in its place
    window: Window  # on its file, or on that of what stands in its place


class LogReader:
    """Reads the volumes below one folder. Threads may share it."""

    def __init__(
        self,
        volumes: Path,
        opener: KeyOpener | None = None,
        *,
        seal_key: SealKey | None = None,
        fetch: Callable[[str], None] | None = None,
        files: Files = FILES,
    ) -> None:
        """``seal_key`` says whose archive volumes count; ``opener`` does where it can. Without either they are
        believed as they are: who could forge one could remove the volumes as well, and ``verify`` finds both.

        ``fetch`` gets back an absent volume or archive volume, given its path: it returns when the file is in place, or
        raises UnavailableError in words. Without it reading one is a StorageError.
        """
        self._volumes = volumes
        self._opener = opener
        self._files = files
        if seal_key is None and hasattr(type(opener), "verify_key"):
            seal_key = cast("SealKey", opener)
        self._fetch = fetch
        self._standings = Standings(volumes, files, seal_key, AbsentFiles(volumes, files=files))
        self._blocks = Blocks(self._block)
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[VolumeHeader, bytes]] = {}
        self._closed: dict[str, VolumeInfo] = {}
        self._absent: dict[str, VolumeInfo] = {}

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
            names, absent = self._standings.names(folder)
            seals = {name for name in names if name.endswith(SEAL_SUFFIX)}
            standings = self._standings.look(folder, names, absent)
            present = [name for name in names if name.endswith(VOLUME_SUFFIX) and f"{folder}/{name}" not in standings]
            infos = [self._info(f"{folder}/{name}", sealed=seal_path(name) in seals) for name in present]
            if None not in infos:
                break
        listed = [info for info in infos if info is not None]
        listed += [self._absent_info(path) for path in absent if path.endswith(VOLUME_SUFFIX) and path not in standings]
        listed += [standing.info for standing in standings.values()]
        if absent or standings:
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

    def bring(self, volume: str) -> None:
        """Fetch a volume where it is absent. Raises NotFoundError, StorageError, UnavailableError."""
        with self._open(volume):
            pass

    def part_lists(self, mailbox: bytes) -> Iterator[tuple[int, bytes]]:
        """The lists of parts of a mailbox's archive volumes, with their numbers, absent ones left out.

        Raises as ``read`` does.
        """
        folder = mailbox.hex()
        with _reading(folder):
            standings = self._standings.look(folder, *self._standings.names(folder)).values()
            whole = [one for one in standings if not one.dropped and not one.info.damage and not one.info.absent]
            for archive in sorted({one.archive for one in whole}):
                name, place = parse_archive(archive), read_directory(self._files, self._volumes / archive).contents
                if name is not None and place.part_list:
                    yield name.sequence, self._block(archive, place.part_list, None)[1]

    def read(self, ref: RecordRef | str, offset: int | None = None) -> Record:
        """One record's original, every check made. ``ref``, or a volume's path and ``offset``.

        Raises DamageError with file and offset, LockedError without keys, NotFoundError, StorageError.
        """
        with self._opening(ref, offset) as opening:
            return opening.whole()

    def read_each(self, refs: Sequence[RecordRef], largest: int) -> Generator[Found | None, None, None]:
        """``read`` for one record after the other: each, or the error that ``read`` raises for it.

        None for one that has an original of more than ``largest`` bytes, or more than one frame. Of records of one
        volume that follow one another the file is opened once and read in steps of ``_STEP`` bytes. Raises
        LockedError without keys, and what the key's opener raises.
        """
        for path, run in groupby(refs, key=attrgetter("volume")):
            yield from self._read_run(path, list(run), largest)

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
            path, begin, ahead = ref.volume, ref.offset, min(ref.length, _MOST_AHEAD)
        else:
            path, begin, ahead = ref, HEADER_SIZE if offset is None else offset, _LEAST_AHEAD
        with self._source(path, ahead) as source, _at(path, begin):
            yield self._found(source, begin, ref if isinstance(ref, RecordRef) else None)

    def _read_run(self, path: str, refs: Sequence[RecordRef], largest: int) -> Iterator[Found | None]:
        """``read_each`` for records of one volume."""
        given = 0
        try:
            with self._source(path, min(_STEP, max(refs[-1].end - refs[0].offset, 0))) as source:
                for ref in refs:
                    found = self._small(source, ref, largest)
                    given += 1
                    yield found
        except (NotFoundError, StorageError) as error:  # the volume cannot be opened at all
            for _ in refs[given:]:
                yield error

    def _small(self, source: _Source, ref: RecordRef, largest: int) -> Found | None:
        if ref.length > LARGEST_OF_ONE_FRAME:
            return None
        try:
            opening = self._found(source, ref.offset, ref)
            return opening.whole() if opening.size is not None and opening.size <= largest else None
        except DamageError as error:
            return _placed(error, ref.volume, ref.offset)
        except (NotFoundError, StorageError) as error:
            return error
        except OSError:
            return self._alone(ref)  # the bytes that cannot be read may be a neighbour's

    def _alone(self, ref: RecordRef) -> Found:
        try:
            return self.read(ref)
        except (DamageError, NotFoundError, StorageError) as error:
            return error

    def _found(self, source: _Source, begin: int, ref: RecordRef | None) -> Opening:
        """The record at ``begin`` of a volume; ``ref`` is what the caller looks for, if he knows.

        Raises DamageError, NotFoundError, LockedError, OSError.
        """
        path, name, standing, window = source
        if standing is None:
            entry, opener = self._record(*self._volume_key(path, name, window), window, begin, ref)
            opening: Opening = Alone(_ref(name, entry), opener, entry.leaf)
        else:
            at = self._place(standing, begin)
            if standing.dropped:
                entry, opener = self._record(*self._volume_key(standing.archive, name, window), window, at.offset, ref)
                if entry.leaf != at.entry.leaf or entry.record_id != at.entry.record_id:
                    raise DamageError("another record stands there than the archive volume's directory says.")
                opening = Alone(_ref(name, at.entry), opener, entry.leaf)
            else:
                opening = self._grouped(name, standing.archive, at)
        if ref is not None and ref.record_id != opening.ref.record_id:
            raise DamageError("another record stands there than the one looked for.")
        return opening

    def _grouped(self, name: VolumeName, archive: str, place: Place) -> Grouped:
        member, text = self._blocks.member(archive, place.offset, place.member)
        pieces = self._blocks.original(archive, member, text)
        return Grouped(_ref(name, place.entry), member, place.entry.leaf, pieces)

    @contextmanager
    def _source(self, path: str, ahead: int) -> Iterator[_Source]:
        with self._open(path) as (standing, descriptor):
            yield _Source(path, volume_name(path), standing, self._window(descriptor, ahead))

    def _window(self, descriptor: int, ahead: int) -> Window:
        return Window(self._files, descriptor, self._files.size(descriptor), ahead=ahead)

    @staticmethod
    def _record(
        header: VolumeHeader, key: bytes, window: Window, begin: int, ref: RecordRef | None = None
    ) -> tuple[IndexEntry, RecordOpener]:
        """The record at ``begin``, and what opens it; quicker where ``ref`` says how long it is.

        Raises DamageError, OSError.
        """
        if ref is not None and ref.length <= LARGEST_OF_ONE_FRAME:
            one = parse_one_frame(window.get(begin, ref.length))
            if one is not None:
                return one.entry(begin), RecordOpener(key, header.volume_id, one.header, (one.frame,))
        found = record_at(window, begin)
        record = parse_record_header(window.get(begin, RECORD_HEADER_SIZE))
        if found is None or record is None:
            raise DamageError("the record there is damaged, or there is none.")
        return found.entry, RecordOpener(key, header.volume_id, record, frames(window, begin))

    def _block(self, archive: str, offset: int, dictionary: ZstdDecompressor | None) -> tuple[int, bytes]:
        """Type and original of a record that an archive volume made for itself."""
        name = parse_archive(archive)
        descriptor = self._open_archive(archive)
        try:
            if name is None:
                raise DamageError(f"{archive} is no archive volume.")
            window = self._window(descriptor, _LEAST_AHEAD)
            entry, opener = self._record(*self._volume_key(archive, name, window), window, offset)
            return entry.type, opener.original(entry.leaf, dictionary)
        except DamageError as error:
            raise _placed(error, archive, offset) from error
        finally:
            self._files.close(descriptor)

    def _volume_key(self, path: str, name: VolumeName | ArchiveName, window: Window) -> tuple[VolumeHeader, bytes]:
        """Header and data key of an open file whose header is that of ``name``."""
        with self._lock:
            known = self._keys.get(path)
        if known is not None:
            return known
        if self._opener is None:
            raise LockedError("The archive is locked: mail is received, but none can be opened until it is unlocked.")
        header = parse_header(window.get(0, HEADER_SIZE))
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
            standing, descriptor = self._found_file(path)
            try:
                yield standing, descriptor
            finally:
                self._files.close(descriptor)

    def _found_file(self, path: str) -> tuple[Standing | None, int]:
        standing = self._standings.of(path)
        for _ in range(_LOOKS):
            if standing is None or not standing.info.absent:
                with suppress(FileNotFoundError):
                    return standing, self._files.open(self._volumes / (path if standing is None else standing.archive))
            # It may have been replaced since the last look, or it is not on this disk, or it has come back.
            folder = path.partition("/")[0]
            names, absent = self._standings.names(folder)
            standing = self._standings.look(folder, names, absent).get(path)
            file = path if standing is None else standing.archive
            if file in absent:
                self._bring(file)
                standing = self._standings.look(folder, *self._standings.names(folder)).get(path)
        raise NotFoundError(f"There is no volume {path} in the archive.")

    def _open_archive(self, archive: str) -> int:
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError):
                return self._files.open(self._volumes / archive)
            if archive not in self._standings.names(archive.partition("/")[0])[1]:
                break
            self._bring(archive)
        raise DamageError(f"the archive volume {archive} is missing.")

    def _bring(self, file: str) -> None:
        if self._fetch is None:
            raise StorageError(
                f"{file} is on a replica only. Nothing is lost; it can be read when it has been fetched."
            )
        self._fetch(file)

    def _absent_info(self, path: str) -> VolumeInfo:
        known = self._absent.get(path)
        if known is None:
            known = self._standings.absent_info(path)
            if not known.damage:
                self._absent[path] = known
        return known


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
        raise _placed(error, path, offset) from error


def _placed(error: DamageError, path: str, offset: int) -> DamageError:
    return DamageError(f"{path} at {offset}: {error.message}")
