"""A whole volume, or archive volume, looked through without a key: what a seal attests, and ``verify`` compares."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec

from appliance.errors import DamageError
from appliance.files import Files, read_exactly
from appliance.store import merkle
from appliance.store.directory import Directory, read_directory
from appliance.store.format import HEADER_SIZE, Footer, IndexEntry, VolumeHeader, parse_header
from appliance.store.names import VolumeName
from appliance.store.scan import FoundRecord, Gap, Window, walk

_CHUNK = 1024 * 1024


class Survey(msgspec.Struct, frozen=True):
    """What a volume's bytes say, computed from the records themselves."""

    size: int
    growing: bool  # its writer still holds it
    header: VolumeHeader | None
    header_hash: bytes
    header_damage: str
    entries: tuple[IndexEntry, ...]
    gaps: tuple[Gap, ...]
    footer: Footer | None
    logical_end: int  # where the last whole record or marker ends
    leaf_root: bytes
    cipher_root: bytes

    @property
    def closed(self) -> bool:
        """Whether the volume has a whole footer."""
        return self.footer is not None

    def disagreement(self) -> str:
        """How the footer differs from the records; empty where it does not, or where there is none."""
        if self.footer is None:
            return ""
        if self.footer.entries != self.entries:
            return f"the footer lists {len(self.footer.entries)} records, and not those that stand there"
        if (self.footer.leaf_root, self.footer.cipher_root) != (self.leaf_root, self.cipher_root):
            return "the footer's Merkle roots are not those of the records"
        return ""


def survey(files: Files, descriptor: int) -> Survey:
    """Look through an open volume. Raises OSError."""
    growing = files.is_locked(descriptor)  # before the size is taken: see LogReader.scan
    size = files.size(descriptor)
    raw = read_exactly(files, descriptor, HEADER_SIZE, 0)
    header, damage = None, ""
    try:
        header = parse_header(raw)
    except DamageError as error:
        damage = error.message
    entries: list[IndexEntry] = []
    hashes: list[bytes] = []
    gaps: list[Gap] = []
    footer: Footer | None = None
    end = HEADER_SIZE
    for found in walk(Window(files, descriptor, size), growing=growing, hashes=True):
        if isinstance(found, FoundRecord):
            entries.append(found.entry)
            hashes.append(found.cipher_hash)
            end = found.entry.offset + found.entry.length
        elif isinstance(found, Gap):
            gaps.append(found)
        elif isinstance(found, Footer):
            footer = found
        else:
            end = found.end
    return Survey(
        size=size,
        growing=growing,
        header=header,
        header_hash=sha256(raw).digest(),
        header_damage=damage,
        entries=tuple(entries),
        gaps=tuple(gaps),
        footer=footer,
        logical_end=end,
        leaf_root=merkle.root(merkle.leaf_hash(entry.committed()) for entry in entries),
        cipher_root=merkle.root(hashes),
    )


def survey_volume(files: Files, volumes: Path, name: VolumeName) -> tuple[Survey, bytes]:
    """The survey of a volume and the SHA-256 of the bytes it looked at. Raises OSError."""
    descriptor = files.open(volumes / str(name))
    try:
        surveyed = survey(files, descriptor)
        return surveyed, file_hash(files, descriptor, surveyed.size)
    finally:
        files.close(descriptor)


class ArchiveSurvey(msgspec.Struct, frozen=True):
    """What an archive volume's bytes say."""

    size: int
    header: VolumeHeader
    header_hash: bytes
    entries: tuple[IndexEntry, ...]  # of the records that stand in the file
    directory: Directory
    leaf_root: bytes
    cipher_root: bytes
    file_hash: bytes


def survey_archive(files: Files, path: Path) -> ArchiveSurvey:
    """Look through a finished archive volume. Raises DamageError where it is not whole, OSError."""
    directory = read_directory(files, path)
    descriptor = files.open(path)
    try:
        size = files.size(descriptor)
        raw = read_exactly(files, descriptor, HEADER_SIZE, 0)
        header = parse_header(raw)
        entries: list[IndexEntry] = []
        hashes: list[bytes] = []
        for found in walk(Window(files, descriptor, directory.offset), growing=False, hashes=True):
            if not isinstance(found, FoundRecord):
                raise DamageError("A record of the archive volume is damaged.")
            entries.append(found.entry)
            hashes.append(found.cipher_hash)
        digest = file_hash(files, descriptor, size)
    finally:
        files.close(descriptor)
    return ArchiveSurvey(
        size=size,
        header=header,
        header_hash=sha256(raw).digest(),
        entries=tuple(entries),
        directory=directory,
        leaf_root=merkle.root(merkle.leaf_hash(entry.committed()) for entry in entries),
        cipher_root=merkle.root(hashes),
        file_hash=digest,
    )


def file_hash(files: Files, descriptor: int, size: int) -> bytes:
    """SHA-256 of a file's first ``size`` bytes. Raises OSError."""
    digest = sha256()
    offset = 0
    while offset < size:
        piece = read_exactly(files, descriptor, min(_CHUNK, size - offset), offset)
        if not piece:
            break
        digest.update(piece)
        offset += len(piece)
    return digest.digest()
