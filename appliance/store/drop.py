"""Dropping erased records: a copy of a volume without their ciphertext takes the volume's place.

It needs no key, so it serves sealed mailboxes and locked archives: the other records are copied as they are, under
the volume's own header. Of a dropped record its entry stays in the directory, so its leaf can still be proved.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path

from appliance.errors import ConflictError, DamageError, UsageError
from appliance.files import FILES, Files, read_exactly
from appliance.store.archive_file import ArchiveFile, next_name
from appliance.store.archived import attested
from appliance.store.directory import ERASED, Contents, Place, read_directory
from appliance.store.failures import storage_error
from appliance.store.format import HEADER_SIZE
from appliance.store.names import COMPACTED, DROPPED, VolumeName, parse_archive, volume_name
from appliance.store.scan import FoundRecord, Window, walk
from appliance.store.seal import Chain, Seal, Signer
from appliance.store.switch import put_in_place

RESERVE = 64 * 1024 * 1024
"""Bytes that stay free: dropping is what makes room, so it may go further than receiving does."""

_CHUNK = 1024 * 1024


def drop(
    volumes: Path,
    volume: str,
    erased: Set[bytes],
    chain: Chain,
    signer: Signer,
    *,
    files: Files = FILES,
    reserve: int = RESERVE,
) -> Seal | None:
    """Rewrite a sealed volume without the records of these ids; durable, and the ciphertext gone, on return.

    ``volume`` keeps its path for every reader. None where it holds none of them (any more). ``chain`` and
    ``signer`` as for ``sign_volume``. Raises ConflictError where the volume has no seal yet, UsageError where it was
    compacted (its records share what they are made of), DamageError where a record that stays is damaged,
    DiskFullError, StorageError. After an error everything is as it was, or as it was to become.
    """
    name = volume_name(volume)
    seal = chain.seal_of(volume)
    if seal is None:
        raise ConflictError(f"{volume} has no seal yet. Its records can be dropped when it has one.")
    try:
        source, before = _places(files, volumes, name, seal, chain)
        if not any(place.entry.record_id in erased and place.offset != ERASED for place in before):
            return None
        archive = next_name(files, volumes, name.mailbox, DROPPED)
        descriptor = files.open(volumes / source)
        try:
            with ArchiveFile(files, volumes, archive, reserve=reserve) as file:
                header = read_exactly(files, descriptor, HEADER_SIZE, 0)
                file.add([header])
                after = []
                for place in before:
                    kept = place.offset != ERASED and place.entry.record_id not in erased
                    offset = _copy(files, descriptor, place, file) if kept else ERASED
                    after.append(Place(place.entry, offset, 0))
                file.finish(Contents((attested(seal, header),)), after)
        finally:
            files.close(descriptor)
    except OSError as error:
        raise storage_error(error) from error
    return put_in_place(volumes, str(archive), chain, signer, files=files)


def _places(files: Files, volumes: Path, name: VolumeName, seal: Seal, chain: Chain) -> tuple[str, list[Place]]:
    """The file in which the volume's records are, and where each of them is."""
    standing = chain.archive_of(str(name))
    if standing is not None:
        kind = parse_archive(standing.volume)
        if kind is not None and kind.kind == COMPACTED:
            raise UsageError(f"{name} was compacted: its records cannot be dropped one by one.")
        return standing.volume, list(read_directory(files, volumes / standing.volume).places().of(str(name)))
    descriptor = files.open(volumes / str(name))
    try:
        found = list(walk(Window(files, descriptor, files.size(descriptor)), growing=False))
    finally:
        files.close(descriptor)
    entries = [one.entry for one in found if isinstance(one, FoundRecord)]
    if len(entries) != seal.records:
        raise DamageError(f"{name}: the volume is not the one that was signed.")
    return str(name), [Place(entry, entry.offset, 0) for entry in entries]


def _copy(files: Files, descriptor: int, place: Place, file: ArchiveFile) -> int:
    return file.add(list(_pieces(files, descriptor, place)))


def _pieces(files: Files, descriptor: int, place: Place) -> Iterator[bytes]:
    end = place.offset + place.entry.length
    for offset in range(place.offset, end, _CHUNK):
        yield read_exactly(files, descriptor, min(_CHUNK, end - offset), offset)
