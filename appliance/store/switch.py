"""Putting an archive volume in the place of others: checked, signed, and only then are the others removed.

The seal is the switch. Before it is on disk the replaced volumes are the archive and the new file is nothing; from
then on it is the other way round. So a crash at any moment leaves one of the two whole, and what is left over of the
other is found by ``clear``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Set
from pathlib import Path

from appliance.errors import ConflictError, DamageError, MailkeepError, NotFoundError
from appliance.files import FILES, Files
from appliance.store.absent import AbsentFiles
from appliance.store.archive_file import remove_unfinished
from appliance.store.archived import stands_for
from appliance.store.directory import ERASED, Places, Replaced, read_directory
from appliance.store.failures import storage_error
from appliance.store.names import (
    DROPPED,
    UNFINISHED_SUFFIX,
    ArchiveName,
    is_mailbox_folder,
    parse_archive,
    parse_volume,
    seal_path,
)
from appliance.store.reader import KeyOpener, LogReader, fits
from appliance.store.scan import Window, record_at
from appliance.store.seal import FORMAT_VERSION, Chain, Seal, Signer
from appliance.store.survey import ArchiveSurvey, file_hash, survey_archive


def put_in_place(
    volumes: Path,
    archive: str,
    chain: Chain,
    signer: Signer,
    *,
    opener: KeyOpener | None = None,
    files: Files = FILES,
    stopped: Callable[[], bool] = lambda: False,
) -> Seal | None:
    """Read a finished archive volume back, compare every record with the leaf that the replaced volume's seal has
    for it, sign it as the next of the chain, and remove what it replaces.

    ``opener`` opens what was compacted; dropping needs none. None where it was ``stopped`` before signing; then nothing
    has changed. Only one process signs. Raises DamageError where a record is missing or another: such an archive
    volume is never signed; ConflictError, LockedError, StorageError.
    """
    name = parse_archive(archive)
    if name is None:
        raise NotFoundError(f"{archive} is no archive volume.")
    try:
        seal = _checked(volumes, name, chain, signer, opener, files, stopped)
        if seal is None:
            _remove(files, volumes / archive)
            return None
        chain.append(seal, signer, files, volumes)
        remove_replaced(volumes, seal, chain, files=files)
    except OSError as error:
        raise storage_error(error) from error
    except MailkeepError:
        # It would never be signed; another try makes another.
        with contextlib.suppress(OSError):
            _remove(files, volumes / archive)
        raise
    return seal


def _checked(
    volumes: Path, name: ArchiveName, chain: Chain, signer: Signer, opener: KeyOpener | None, files: Files,
    stopped: Callable[[], bool],
) -> Seal | None:  # fmt: skip
    """The seal that the archive volume deserves; None where the check was stopped."""
    path = str(name)
    survey = survey_archive(files, volumes / path)
    # A reader of its own: what others keep of an archive volume is of one that counts, never of a try like this.
    reader = LogReader(volumes, opener, files=files)
    seal = _attest(name, survey, chain, signer)
    places = survey.directory.places()
    for replaced in survey.directory.replaced:
        _check_attested(replaced, places, chain, name)
        if name.kind == DROPPED:
            _check_copied(files, volumes, path, replaced, places, chain)
        elif not reader.opens(path, replaced.volume, places, stopped):
            return None
    return seal


def discard_unless_smaller(volumes: Path, archive: str, size: int, *, files: Files = FILES) -> bool:
    """Remove an archive volume without a seal that has ``size`` bytes or more; whether it is gone.

    Raises StorageError.
    """
    path = volumes / archive
    try:
        descriptor = files.open(path)
        try:
            smaller = files.size(descriptor) < size
        finally:
            files.close(descriptor)
        if not smaller:
            _remove(files, path)
    except OSError as error:
        raise storage_error(error) from error
    return not smaller


def remove_replaced(volumes: Path, seal: Seal, chain: Chain, *, files: Files = FILES) -> None:
    """Remove the volumes that an archive volume stands for, and those that stood for them before. Raises OSError."""
    folder = seal.volume.partition("/")[0]
    gone = [one.volume for one in seal.replaces]
    for name in files.names(volumes / folder):
        older = chain.seal_of(f"{folder}/{name}")
        if older is not None and older.replaces and older not in chain.archives:
            gone.append(older.volume)
    for path in gone:
        _remove(files, volumes / path)
    files.sync_directory(volumes / folder)
    with contextlib.suppress(MailkeepError):  # an entry that stays does no harm: what it names is replaced
        AbsentFiles(volumes, files=files).remove(gone)


def clear(volumes: Path, chain: Chain, *, files: Files = FILES) -> None:
    """Remove what a crash left over: archive volumes without a seal, and volumes that were replaced already.

    Nothing goes that is the only copy: an archive volume without a seal only where all that it would replace is
    there, a replaced volume only where what stands in its place is, byte for byte, what was signed. To be called
    while nobody makes archive volumes. Raises StorageError.
    """
    try:
        for folder in filter(is_mailbox_folder, files.names(volumes)):
            names = frozenset(files.names(volumes / folder))
            for name in names:
                path = f"{folder}/{name}"
                if parse_archive(path.removesuffix(UNFINISHED_SUFFIX)) is None:
                    continue
                if name.endswith(UNFINISHED_SUFFIX):
                    remove_unfinished(files, volumes / path)
                elif seal_path(name) not in names and _needless(files, volumes, path, chain):
                    _remove(files, volumes / path)
            for seal in chain.archives:
                here = seal.volume.startswith(f"{folder}/")
                if here and _left_over(names, seal, chain) and _is_whole(files, volumes, seal):
                    remove_replaced(volumes, seal, chain, files=files)
    except OSError as error:
        raise storage_error(error) from error


def _attest(name: ArchiveName, found: ArchiveSurvey, chain: Chain, signer: Signer) -> Seal:
    replaced = found.directory.replaced
    if name.kind == DROPPED:
        right = len(replaced) == 1 and found.header_hash == replaced[0].header_hash
    else:
        right = fits(found.header, name)
    if not right or not replaced:
        raise DamageError(f"{name} at 0: the archive volume stands in another's place.")
    return Seal(
        version=FORMAT_VERSION,
        archive=signer.archive_id,
        number=chain.number + 1,
        previous=chain.head,
        volume=str(name),
        volume_id=found.header.volume_id,
        header_hash=found.header_hash,
        size=found.size,
        file_hash=found.file_hash,
        closed=True,
        logical_end=found.directory.offset,
        records=len(found.entries),
        leaf_root=found.leaf_root,
        cipher_root=found.cipher_root,
        gaps=(),
        sealed_at=time.time_ns() // 1000,
        replaces=stands_for(replaced),
    )


def _check_attested(replaced: Replaced, places: Places, chain: Chain, name: ArchiveName) -> None:
    """The directory says of the volume what its own seal says, down to each leaf."""
    volume = parse_volume(replaced.volume)
    if volume is None or volume.mailbox != name.mailbox:
        raise DamageError(f"{name}: it would replace {replaced.volume}, which is no volume of its mailbox.")
    seal = chain.seal_of(replaced.volume)
    if seal is None:
        raise ConflictError(f"{replaced.volume} has no seal yet, so nothing can stand in its place.")
    standing = chain.archive_of(replaced.volume)
    if standing is not None and name.kind != DROPPED:
        raise ConflictError(f"{standing.volume} stands in the place of {replaced.volume} already.")
    said = (
        seal.number, seal.header_hash, seal.size, seal.closed, seal.logical_end, seal.leaf_root, seal.gaps, seal.records
    )  # fmt: skip
    if said != (
        replaced.number, replaced.header_hash, replaced.size, replaced.closed, replaced.logical_end,
        replaced.leaf_root, replaced.gaps, replaced.records,
    ):  # fmt: skip
        raise DamageError(f"{name}: its directory does not say of {replaced.volume} what that volume's seal says.")
    if places.leaf_root(replaced.volume) != seal.leaf_root:
        raise DamageError(f"{name}: its directory does not hold the leaves that the seal of {replaced.volume} has.")


def _check_copied(files: Files, volumes: Path, archive: str, replaced: Replaced, places: Places, chain: Chain) -> None:
    """Each record that was not erased is, byte for byte, the one that stood in the volume."""
    before = chain.archive_of(replaced.volume)
    if before is None:
        source, offsets = (
            replaced.volume,
            {place.entry.offset: place.entry.offset for place in places.of(replaced.volume)},
        )
    else:
        source = before.volume
        older = read_directory(files, volumes / source).places().of(replaced.volume)
        offsets = {place.entry.offset: place.offset for place in older}
    ours, theirs = files.open(volumes / archive), files.open(volumes / source)
    try:
        here, there = (Window(files, one, files.size(one)) for one in (ours, theirs))
        for place in places.of(replaced.volume):
            if place.offset == ERASED:
                continue
            copy = record_at(here, place.offset, hashes=True)
            original = record_at(there, offsets[place.entry.offset], hashes=True)
            if copy is None or original is None or copy.cipher_hash != original.cipher_hash:
                raise DamageError(f"{archive} at {place.offset}: the record is not the one that was to be kept.")
    finally:
        files.close(ours)
        files.close(theirs)


def _needless(files: Files, volumes: Path, archive: str, chain: Chain) -> bool:
    """Whether everything that an archive volume without a seal would replace is there without it."""
    try:
        replaced = read_directory(files, volumes / archive).replaced
    except DamageError:
        return False  # it was whole when it got its name: something else has happened to it
    for one in replaced:
        standing = chain.archive_of(one.volume)
        if not files.exists(volumes / (standing.volume if standing is not None else one.volume)):
            return False
    return True


def _left_over(names: Set[str], seal: Seal, chain: Chain) -> bool:
    folder = seal.volume.partition("/")[0]
    older = (chain.seal_of(f"{folder}/{name}") for name in names)
    return any(one.volume.partition("/")[2] in names for one in seal.replaces) or any(
        one is not None and one.replaces and one not in chain.archives for one in older
    )


def _is_whole(files: Files, volumes: Path, seal: Seal) -> bool:
    try:
        descriptor = files.open(volumes / seal.volume)
    except FileNotFoundError:
        return False
    try:
        size = files.size(descriptor)
        return size == seal.size and file_hash(files, descriptor, size) == seal.file_hash
    finally:
        files.close(descriptor)


def _remove(files: Files, path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        files.unlink(path)
