"""Archive volumes as a reader sees them: which stand in for which volumes, and one record out of their groups.

An archive volume belongs to the archive from the moment its seal is on disk: before, and without, it is a file that
nobody looks at. Where two stand for one volume, the one with the later seal counts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import msgspec
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.errors import DamageError
from appliance.files import Files, read_file
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.directory import Places, Replaced, read_directory
from appliance.store.format import HEADER_SIZE, RecordType, parse_header
from appliance.store.group import Group, Member
from appliance.store.names import COMPACTED, DROPPED, parse_archive, seal_path, volume_name
from appliance.store.parts import Reference, join
from appliance.store.refs import VolumeInfo
from appliance.store.seal import Seal, StandsFor, read_seal

_CACHED_BYTES: Final = 16 * 1024 * 1024
_PLACES_KEPT: Final = 8
_DICTIONARIES_KEPT: Final = 8


class SealKey(Protocol):
    """Whose seals count: a ``Keyring``, or ``access.Keys``."""

    @property
    def archive_id(self) -> UUID:
        """The archive that the seals must belong to."""
        ...

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key."""
        ...


class Standing(msgspec.Struct, frozen=True):
    """What stands in one volume's place. ``info.damage`` says so where the archive volume's directory is damaged.

    Of an archive volume that is absent, all this is known from seals.
    """

    info: VolumeInfo  # of the volume
    archive: str  # the archive volume's path
    number: int  # of its seal
    dropped: bool  # a copy without erased records, else one that was compacted
    gaps: tuple[tuple[int, int], ...]


class Standings:
    """Follows which archive volumes there are below one folder. Threads may share it."""

    def __init__(self, volumes: Path, files: Files, seal_key: SealKey | None, absent: AbsentFiles) -> None:
        """Without ``seal_key`` seals are believed as they are."""
        self._volumes = volumes
        self._files = files
        self._seal_key = seal_key
        self._absent = absent
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[Standing, ...]] = {}
        self._loaded_absent: dict[str, tuple[Standing, ...]] = {}
        self._folders: dict[str, tuple[tuple[list[str], list[str]] | None, dict[str, Standing]]] = {}
        self._places: OrderedDict[str, Places] = OrderedDict()

    def of(self, volume: str) -> Standing | None:
        """What stands in a volume's place, as the last look found it. Raises OSError."""
        folder = volume.partition("/")[0]
        with self._lock:
            known = self._folders.get(folder)
        standings = known[1] if known is not None else self.look(folder, *self.names(folder))
        return standings.get(volume)

    def names(self, folder: str) -> tuple[list[str], Mapping[str, AbsentFile]]:
        """The names in a mailbox's folder, and what of it is not on this disk, by path. Raises OSError."""
        # Of a file that comes or goes meanwhile either its name is found or one of the two looks at the list finds it.
        before = self._absent.of(folder)
        names = self._files.names(self._volumes / folder)
        after = self._absent.of(folder)
        listed = before if before is after else {**before, **after}
        if not listed:
            return names, {}
        there = {f"{folder}/{name}" for name in names}
        return names, {path: one for path, one in listed.items() if path not in there}

    def look(self, folder: str, names: Sequence[str], absent: Mapping[str, AbsentFile]) -> dict[str, Standing]:
        """What is replaced of a mailbox's folder, which holds files of these names, by volume. Raises OSError."""
        there = set(names)
        archives = [name for name in names if parse_archive(f"{folder}/{name}") and seal_path(name) in there]
        elsewhere = [path for path in absent if parse_archive(path)]
        with self._lock:
            known = self._folders.get(folder)
        if known is not None and known[0] == (archives, elsewhere):
            return known[1]
        found = [one for name in archives for one in self._load(f"{folder}/{name}")]
        found += [one for path in elsewhere for one in self._load_absent(path)]
        found.sort(key=lambda one: one.number)
        standings = {one.info.path: one for one in found}  # of two the later seal's stays
        with self._lock:
            # What is damaged may be mended by the next look; what is whole will not change.
            whole = all(f"{folder}/{name}" in self._loaded for name in archives)
            whole = whole and all(path in self._loaded_absent for path in elsewhere)
            self._folders[folder] = (archives, elsewhere) if whole else None, standings
        return standings

    def absent_info(self, path: str, *, archived: bool = False) -> VolumeInfo:
        """A volume that is not on this disk, as its seal tells of it. Raises OSError."""
        try:
            seal = self._seal(path)
        except DamageError as error:
            return _absent_info(path, None, archived, error.message)
        except FileNotFoundError:
            return _absent_info(path, None, archived, "The volume is not on this disk, and its seal is missing.")
        return _absent_info(path, seal, archived)

    def places(self, archive: str) -> Places:
        """Where the records of an archive volume's replaced volumes are. Raises DamageError, OSError."""
        with self._lock:
            if (known := self._places.get(archive)) is not None:
                self._places.move_to_end(archive)
                return known
        places = read_directory(self._files, self._volumes / archive).places()
        with self._lock:
            self._places[archive] = places
            if len(self._places) > _PLACES_KEPT:
                self._places.popitem(last=False)
        return places

    def _load(self, path: str) -> tuple[Standing, ...]:
        with self._lock:
            known = self._loaded.get(path)
        if known is not None:
            return known
        try:
            seal = self._seal(path)
        except (DamageError, FileNotFoundError):
            return ()  # forged, damaged, or gone since the folder was read: ``verify`` tells
        try:
            replaced = read_directory(self._files, self._volumes / path).replaced
            if stands_for(replaced) != seal.replaces:
                raise DamageError("The archive volume's directory is not the one that was signed.")
        except FileNotFoundError:
            return ()
        except DamageError as error:
            return tuple(_standing(path, seal, one.volume, None, error.message) for one in seal.replaces)
        standings = tuple(_standing(path, seal, one.volume, one) for one in replaced)
        with self._lock:
            self._loaded[path] = standings
        return standings

    def _load_absent(self, path: str) -> tuple[Standing, ...]:
        """``_load`` for an archive volume that is not on this disk: what the seals say."""
        with self._lock:
            known = self._loaded_absent.get(path)
        if known is not None:
            return known
        try:
            seal = self._seal(path)
        except (DamageError, FileNotFoundError):
            return ()
        dropped = _is_dropped(path)
        infos = [self.absent_info(one.volume, archived=True) for one in seal.replaces]
        if dropped:  # its own seal counts those that are left
            infos = [msgspec.structs.replace(info, records=seal.records) for info in infos]
        standings = tuple(Standing(info, path, seal.number, dropped, ()) for info in infos)
        if not any(info.damage for info in infos):
            with self._lock:
                self._loaded_absent[path] = standings
        return standings

    def _seal(self, path: str) -> Seal:
        raw = read_file(self._files, self._volumes / seal_path(path))
        if self._seal_key is None:
            return read_seal(seal_path(path), raw, None, None)
        key = Ed25519PublicKey.from_public_bytes(self._seal_key.verify_key)
        return read_seal(seal_path(path), raw, key, self._seal_key.archive_id)


class Blocks:
    """The groups and parts of compacted volumes, decoded; what was used last is kept. Threads may share it.

    ``read`` opens one record of an archive volume, given the archive volume's path, the record's offset and, for
    records that were compressed with it, the archive volume's dictionary; it gives type and original.
    """

    def __init__(self, read: Callable[[str, int, zstandard.ZstdDecompressor | None], tuple[int, bytes]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], tuple[int, bytes | Group]] = OrderedDict()
        self._bytes = 0
        self._dictionaries: OrderedDict[str, zstandard.ZstdCompressionDict | None] = OrderedDict()

    def member(self, archive: str, offset: int, number: int) -> tuple[Member, bytes]:
        """A member of the group at ``offset`` of an archive volume, and its text. Raises as ``read`` does."""
        group = self._block(archive, offset, RecordType.GROUP)
        if not isinstance(group, Group):
            raise DamageError("A part of an attachment stands where a group of records was looked for.")
        return group.member(number)

    def original(self, archive: str, member: Member, text: bytes) -> Iterator[bytes]:
        """A member's original, in pieces. ``archive`` is the path of the archive volume that it is in."""
        name = parse_archive(archive)
        if name is None or name.kind != COMPACTED:
            raise DamageError("A record with parts stands in a volume that cannot have any.")

        def part(reference: Reference) -> bytes:
            found = self._block(str(name._replace(sequence=reference.volume)), reference.offset, RecordType.PART)
            if not isinstance(found, bytes):
                raise DamageError("A group of records stands where a part of an attachment was looked for.")
            return found

        return join(text, member.runs, part)

    def _block(self, archive: str, offset: int, wanted: RecordType) -> bytes | Group:
        place = archive, offset
        with self._lock:
            if (known := self._kept.get(place)) is not None:
                self._kept.move_to_end(place)
                return known[1]
        type, plaintext = self._read(
            archive, offset, self._decompressor(archive) if wanted == RecordType.GROUP else None
        )
        if type != wanted:
            raise DamageError("Another kind of record stands there than the one looked for.")
        block = Group(plaintext) if wanted == RecordType.GROUP else plaintext
        with self._lock:
            if place not in self._kept:
                self._kept[place] = len(plaintext), block
                self._bytes += len(plaintext)
            while self._bytes > _CACHED_BYTES and len(self._kept) > 1:
                _, (size, _) = self._kept.popitem(last=False)
                self._bytes -= size
        return block

    def _decompressor(self, archive: str) -> zstandard.ZstdDecompressor | None:
        """A fresh one for each call: two threads in one crash the process."""
        with self._lock:
            known = archive in self._dictionaries
            dictionary = self._dictionaries.get(archive)
        if not known:
            type, content = self._read(archive, HEADER_SIZE, None)
            dictionary = dictionary_of(content) if type == RecordType.DICTIONARY else None
            with self._lock:
                self._dictionaries[archive] = dictionary
                if len(self._dictionaries) > _DICTIONARIES_KEPT:
                    self._dictionaries.popitem(last=False)
        return None if dictionary is None else zstandard.ZstdDecompressor(dict_data=dictionary)


def dictionary_of(content: bytes) -> zstandard.ZstdCompressionDict:
    """Bytes that Zstandard takes for what came before."""
    return zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def attested(seal: Seal, header: bytes) -> Replaced:
    """What an archive volume's directory says of a volume with this seal."""
    return Replaced(
        volume=seal.volume, number=seal.number, header=header, size=seal.size, closed=seal.closed,
        logical_end=seal.logical_end, leaf_root=seal.leaf_root, gaps=seal.gaps, records=seal.records,
    )  # fmt: skip


def stands_for(replaced: Sequence[Replaced]) -> tuple[StandsFor, ...]:
    """What an archive volume's seal says of its directory."""
    return tuple(StandsFor(one.volume, one.number, one.header_hash, one.leaf_root) for one in replaced)


def _standing(path: str, seal: Seal, volume: str, replaced: Replaced | None, damage: str = "") -> Standing:
    name = volume_name(volume)
    stored = seal.size if seal.replaces[0].volume == volume else 0
    info = VolumeInfo(
        path=volume, mailbox=name.mailbox, writer=name.writer, sequence=name.sequence,
        size=stored if replaced is None else replaced.size,
        closed=replaced is None or replaced.closed,
        sealed=True,
        created=0 if replaced is None else parse_header(replaced.header).created,
        damage=damage, archived=True, stored=stored,
    )  # fmt: skip
    return Standing(info, path, seal.number, _is_dropped(path), () if replaced is None else replaced.gaps)


def _absent_info(path: str, seal: Seal | None, archived: bool, damage: str = "") -> VolumeInfo:
    name = volume_name(path)
    return VolumeInfo(
        path=path, mailbox=name.mailbox, writer=name.writer, sequence=name.sequence,
        size=0 if seal is None else seal.size,
        closed=seal is None or seal.closed,
        sealed=seal is not None,
        created=0 if seal is None else seal.sealed_at,
        damage=damage, archived=archived, absent=True,
        records=0 if seal is None else seal.records,
    )  # fmt: skip


def _is_dropped(path: str) -> bool:
    archive = parse_archive(path)
    return archive is not None and archive.kind == DROPPED
