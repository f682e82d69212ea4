"""Checking the whole archive: every record, volume, header chain and seal.

Without the mail keys everything but the inside of the encryption is checked: checksums, footers, the chain of each
writer's headers, signatures, and that no sealed volume is missing or changed. With ``deep`` every record is also
decrypted and compared with its commitment. Of a volume that an archive volume stands in for, its header and all its
leaves are checked against its own seal, and its records where they are now. Of a volume that is on replicas only, its
seal and its place in the chains are checked, and that what the replicas are to hold is what was sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from appliance.errors import DamageError, LockedError, MailkeepError, SealedError
from appliance.files import FILES, Files
from appliance.store.absent import NAME as ABSENT
from appliance.store.absent import AbsentFiles
from appliance.store.archived import stands_for
from appliance.store.directory import ERASED
from appliance.store.failures import storage_error
from appliance.store.format import NO_PREVIOUS, IndexEntry, parse_header
from appliance.store.names import (
    SEAL_SUFFIX,
    UNFINISHED_SUFFIX,
    VolumeName,
    is_mailbox_folder,
    parse_archive,
    parse_volume,
    seal_path,
    volume_name,
)
from appliance.store.reader import KeyOpener, LogReader
from appliance.store.refs import Finding, RecordRef
from appliance.store.seal import Chain, Seal
from appliance.store.survey import Survey, survey_archive, survey_volume


class Verifier(Protocol):
    """What is needed to check seals: a locked ``Keyring`` or its ``Keys``."""

    @property
    def archive_id(self) -> UUID:
        """The archive that the seals must belong to."""
        ...

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key."""
        ...


class VerifyReport(msgspec.Struct, frozen=True):
    """What was looked at and what was found. The archive is whole where ``errors`` is empty; ``notes`` are things
    to know that lose nothing confirmed, such as what a crash cut off. ``unopened`` of the records, in sealed
    mailboxes, could not be decrypted: of them all else was checked. ``erased`` records are not among ``records``, and
    neither are those in the ``absent`` of the volumes, which are on replicas only and were not looked into."""

    records: int
    unopened: int
    erased: int
    volumes: int
    bytes: int
    sealed: int
    errors: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    absent: int = 0


def verify(
    volumes: Path,
    keyring: Verifier,
    *,
    deep: bool = False,
    progress: Callable[[int, int], None] | None = None,
    files: Files = FILES,
) -> VerifyReport:
    """Check everything below ``volumes``, also while it grows.

    ``deep`` decrypts every record and needs ``Keys`` (LockedError without). ``progress`` gets the volumes
    done and all there are. Raises StorageError where the folder itself cannot be read.
    """
    opener = keyring if deep and isinstance(keyring, KeyOpener) else None
    if deep and opener is None:
        raise LockedError("To decrypt every record the archive must be unlocked.")
    check = _Check(files, volumes, keyring, opener)
    try:
        return check.run(progress)
    except OSError as error:
        raise storage_error(error) from error


_Hashes = dict[VolumeName, tuple[bytes, bytes | None]]
"""By volume its header's hash, and the hash it links to, where that is known."""


class _Check:
    def __init__(self, files: Files, volumes: Path, keyring: Verifier, opener: KeyOpener | None) -> None:
        self._files = files
        self._volumes = volumes
        self._keyring = keyring
        self._reader = LogReader(volumes, opener, seal_key=keyring, files=files) if opener is not None else None
        self._errors: list[Finding] = []
        self._notes: list[Finding] = []
        self._records = 0
        self._unopened = 0
        self._bytes = 0
        self._erased = 0
        self._listed = AbsentFiles(volumes, files=files)
        self._absent: set[str] = set()

    def run(self, progress: Callable[[int, int], None] | None) -> VerifyReport:
        chain = self._load_chain()
        self._errors += chain.findings
        names = self._volume_names(chain)
        archives = {seal.volume: seal for seal in chain.archives}
        present = {str(name) for name in names}
        for path, seal in chain.seals.items():
            if path in present or chain.archive_of(path) is not None or (seal.replaces and path not in archives):
                continue  # one that was replaced has to be gone
            # A volume sealed after the folder was read is there all the same.
            if self._files.exists(self._volumes / path) or self._is_absent(path, seal):
                continue
            if not self._replaced_meanwhile(path):
                self._error(path, 0, "the volume is missing; its seal says that it was there")
        self._unattested(chain)
        away = [volume_name(path) for path in self._absent if path not in archives]
        hashes: _Hashes = {name: (chain.seals[str(name)].header_hash, None) for name in away}
        total = len(names) + len(archives)
        for done, name in enumerate(names):
            if progress is not None:
                progress(done, total)
            links = self._volume(name, chain.seal_of(str(name)))
            if links is not None:
                hashes[name] = links
        for done, seal in enumerate(archives.values(), start=len(names)):
            if progress is not None:
                progress(done, total)
            hashes.update(self._archive(seal, chain))
        replaced = [volume_name(one.volume) for seal in archives.values() for one in seal.replaces]
        self._links(sorted({*names, *away, *replaced}), hashes)
        if progress is not None:
            progress(total, total)
        return VerifyReport(
            records=self._records,
            unopened=self._unopened,
            erased=self._erased,
            volumes=total + len(away),
            bytes=self._bytes,
            sealed=len(chain.seals),
            errors=tuple(self._errors),
            notes=tuple(self._notes),
            absent=len(self._absent),
        )

    def _load_chain(self) -> Chain:
        def load() -> Chain:
            return Chain.load(
                self._volumes,
                archive_id=self._keyring.archive_id,
                verify_key=self._keyring.verify_key,
                files=self._files,
            )

        # A seal made while the folders were read can look like a gap; then it is there at a second look.
        chain = load()
        return load() if chain.findings else chain

    def _is_absent(self, path: str, seal: Seal) -> bool:
        """Whether a volume or archive volume that is not here is on replicas."""
        entry = self._listed.of(path.partition("/")[0]).get(path)
        if entry is None:
            return False
        if path not in self._absent and (entry.size, entry.hash) != (seal.size, seal.file_hash):
            self._error(path, 0, "what the replicas are said to hold of it is not what was signed")
        self._absent.add(path)
        return True

    def _unattested(self, chain: Chain) -> None:
        """Tell of what is said to be on replicas though nothing was signed of it."""
        try:
            listed = self._listed.all()
        except DamageError as error:
            self._error(ABSENT, 0, error.message)
            return
        for path in listed:
            if chain.seal_of(path) is None and not self._files.exists(self._volumes / path):
                self._error(path, 0, "it is said to be on replicas only, and its seal is missing")

    def _replaced_meanwhile(self, path: str) -> bool:
        """Whether an archive volume has taken a volume's place, or another's, since the check began."""
        if self._files.exists(self._volumes / path):
            return False
        chain = self._load_chain()
        seal = chain.seal_of(path)
        return chain.archive_of(path) is not None or (
            seal is not None and bool(seal.replaces) and seal not in chain.archives
        )

    def _volume_names(self, chain: Chain) -> list[VolumeName]:
        """The volumes that are there, and in whose place no archive volume stands."""
        names = []
        for folder in self._files.names(self._volumes):
            if folder.removesuffix(UNFINISHED_SUFFIX) == ABSENT:
                continue
            if not is_mailbox_folder(folder):
                self._note(folder, 0, "not put here by mailkeep")
                continue
            for file in self._files.names(self._volumes / folder):
                path = f"{folder}/{file}"
                name = parse_volume(path)
                if name is not None and (standing := chain.archive_of(path)) is not None:
                    self._note(path, 0, f"{standing.volume} stands in its place; it goes at the next start")
                elif name is not None:
                    names.append(name)
                elif parse_archive(path) is not None:
                    self._about_archive(path, chain)
                elif not file.endswith((SEAL_SUFFIX, UNFINISHED_SUFFIX)):
                    self._note(path, 0, "not put here by mailkeep")
        return sorted(names)

    def _about_archive(self, path: str, chain: Chain) -> None:
        seal = chain.seal_of(path)
        if seal is None:
            self._note(path, 0, "not signed, so nothing rests on it; it goes at the next start")
        elif seal not in chain.archives:
            self._note(path, 0, "another archive volume stands in its place; it goes at the next start")

    def _archive(self, seal: Seal, chain: Chain) -> _Hashes:
        """Check an archive volume and all that it stands for; as ``_volume``, for each of them."""
        path = seal.volume
        try:
            found = survey_archive(self._files, self._volumes / path)
            places = found.directory.places()
        except DamageError as error:
            self._error(path, 0, f"the archive volume is damaged: {error.message}")
            return {}
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._error(path, 0, f"the archive volume cannot be read: {error.strerror or error}")
            elif self._is_absent(path, seal):
                return {volume_name(one.volume): (one.header_hash, None) for one in seal.replaces}
            # One that is missing was told of already, unless another took its place meanwhile.
            return {}
        self._bytes += found.size
        if (found.size, found.file_hash) != (seal.size, seal.file_hash):
            self._error(path, 0, "the archive volume is not the one that was signed")
        if (found.header_hash, found.leaf_root, found.cipher_root, len(found.entries)) != (
            seal.header_hash, seal.leaf_root, seal.cipher_root, seal.records,
        ) or stands_for(found.directory.replaced) != seal.replaces:  # fmt: skip
            self._error(seal_path(path), 0, "the seal does not say what the archive volume holds")
        hashes: _Hashes = {}
        for replaced in found.directory.replaced:
            if chain.archive_of(replaced.volume) != seal:
                continue  # another stands for it by now
            attested = chain.seal_of(replaced.volume)
            if attested is None or attested.leaf_root != places.leaf_root(replaced.volume):
                self._error(replaced.volume, 0, f"{path} does not hold the records that the volume's seal names")
            name = volume_name(replaced.volume)
            try:
                hashes[name] = replaced.header_hash, parse_header(replaced.header).previous
            except DamageError as error:
                self._error(replaced.volume, 0, error.message)
            for offset, length in replaced.gaps:
                self._note(replaced.volume, offset, f"unacknowledged or damaged, {length} bytes")
            kept = [place.entry for place in places.of(replaced.volume) if place.offset != ERASED]
            self._records += len(kept)
            self._erased += replaced.records - len(kept)
            self._open(replaced.volume, name, kept)
        return hashes

    def _volume(self, name: VolumeName, seal: Seal | None) -> tuple[bytes, bytes | None] | None:
        """Check one volume; (its header's hash, the hash it links to) where its header is whole."""
        path = str(name)
        try:
            found, digest = survey_volume(self._files, self._volumes, name)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            if missing and seal is not None and self._is_absent(path, seal):
                return seal.header_hash, None
            if not (missing and self._replaced_meanwhile(path)):
                self._error(path, 0, f"the volume cannot be read: {error.strerror or error}")
            return None
        self._records += len(found.entries)
        self._bytes += found.size
        if found.header is None:
            self._error(path, 0, found.header_damage)
        elif (found.header.mailbox, found.header.writer, found.header.sequence) != tuple(name):
            self._error(path, 0, "the volume stands in another's place")
        self._gaps(path, found, seal)
        if wrong := found.disagreement():
            self._error(path, found.logical_end, wrong)
        if seal is not None:
            self._seal(path, found, digest, seal)
        elif not found.growing:
            self._note(path, 0, "not signed yet")
        if self._reader is not None and found.header is not None:
            self._open(path, name, found.entries)
        return (found.header_hash, found.header.previous) if found.header is not None else None

    def _gaps(self, path: str, found: Survey, seal: Seal | None) -> None:
        for gap in found.gaps:
            if gap.durable or (seal is not None and (gap.offset, gap.length) not in seal.gaps):
                self._error(path, gap.offset, f"{gap.what}, {gap.length} bytes", gap.record_id)
            else:
                self._note(path, gap.offset, f"unacknowledged or damaged, {gap.length} bytes", gap.record_id)

    def _seal(self, path: str, found: Survey, digest: bytes, seal: Seal) -> None:
        if found.size != seal.size:
            self._error(
                path, min(found.size, seal.size), f"the volume has {found.size} bytes, its seal says {seal.size}"
            )
        elif digest != seal.file_hash:
            self._error(path, _first_difference(found, seal), "the volume is not the one that was signed")
        elif (found.leaf_root, found.cipher_root, len(found.entries)) != (
            seal.leaf_root,
            seal.cipher_root,
            seal.records,
        ):
            self._error(seal_path(path), 0, "the seal's Merkle roots are not those of the volume")

    def _open(self, path: str, name: VolumeName, entries: Sequence[IndexEntry]) -> None:
        if self._reader is None:
            return
        for entry in entries:
            ref = RecordRef(
                volume=path, offset=entry.offset, length=entry.length, record_id=entry.record_id,
                type=entry.type, time=entry.time, mailbox=name.mailbox,
            )  # fmt: skip
            try:
                for _ in self._reader.stream(ref):
                    pass
            except SealedError:
                self._unopened += len(entries)
                return
            except DamageError as error:
                self._error(path, entry.offset, error.message, entry.record_id)
            except MailkeepError as error:
                self._error(path, entry.offset, f"the record cannot be opened: {error.message}", entry.record_id)

    def _links(self, names: list[VolumeName], hashes: _Hashes) -> None:
        """Each writer's volumes of a mailbox are numbered from 1 without a gap, each linked to the one before."""
        for name in names:
            if name.sequence == 1 and name in hashes and hashes[name][1] not in (None, NO_PREVIOUS):
                self._error(str(name), 0, "the first volume of its writer names one before it")
        firsts = {(name.mailbox, name.writer): name for name in reversed(names)}
        for first in firsts.values():
            self._no_gap(first._replace(sequence=0), first)
        for before, name in pairwise(names):
            if (before.mailbox, before.writer) != (name.mailbox, name.writer):
                continue
            if name.sequence != before.sequence + 1:
                self._no_gap(before, name)
            elif before in hashes and name in hashes and hashes[name][1] not in (None, hashes[before][0]):
                self._error(str(name), 0, f"the volume is not chained to {before.file}, which comes before it")

    def _no_gap(self, before: VolumeName, name: VolumeName) -> None:
        for sequence in range(before.sequence + 1, name.sequence):
            missing = name._replace(sequence=sequence)
            # One made while the folder was read may have been overlooked.
            if not self._files.exists(self._volumes / str(missing)):
                self._error(str(missing), 0, "the volume is missing; later ones of its writer are there")

    def _error(self, file: str, offset: int, what: str, record_id: bytes | None = None) -> None:
        self._errors.append(Finding(file=file, offset=offset, record_id=record_id, what=what))

    def _note(self, file: str, offset: int, what: str, record_id: bytes | None = None) -> None:
        self._notes.append(Finding(file=file, offset=offset, record_id=record_id, what=what))


def _first_difference(found: Survey, seal: Seal) -> int:
    """Where a changed volume is known to differ from its seal: the header, damage, the footer, or anywhere."""
    if found.header_hash != seal.header_hash:
        return 0
    if found.gaps:
        return found.gaps[0].offset
    return seal.logical_end if found.cipher_root == seal.cipher_root else 0
