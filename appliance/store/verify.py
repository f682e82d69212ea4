"""Checking the whole archive: every record, volume, header chain and seal.

Without the mail keys everything but the inside of the encryption is checked: checksums, footers, the chain of each
writer's headers, signatures, and that no sealed volume is missing or changed. With ``deep`` every record is also
decrypted and compared with its commitment.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from appliance.errors import DamageError, LockedError, MailkeepError
from appliance.files import FILES, Files
from appliance.store.failures import storage_error
from appliance.store.format import NO_PREVIOUS
from appliance.store.names import (
    SEAL_SUFFIX,
    UNFINISHED_SUFFIX,
    VolumeName,
    is_mailbox_folder,
    parse_volume,
    seal_path,
)
from appliance.store.reader import KeyOpener, LogReader
from appliance.store.refs import Finding, RecordRef
from appliance.store.seal import Chain, Seal
from appliance.store.survey import Survey, survey_volume


class Verifier(Protocol):
    """What is needed to check seals: a ``Keyring`` or an ``Unlocked``."""

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
    to know that lose nothing confirmed, such as what a crash cut off."""

    records: int
    volumes: int
    bytes: int
    sealed: int
    errors: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def verify(
    volumes: Path,
    keyring: Verifier,
    *,
    deep: bool = False,
    progress: Callable[[int, int], None] | None = None,
    files: Files = FILES,
) -> VerifyReport:
    """Check everything below ``volumes``, also while it grows.

    ``deep`` decrypts every record and needs an ``Unlocked`` (LockedError without). ``progress`` gets the volumes
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


class _Check:
    def __init__(self, files: Files, volumes: Path, keyring: Verifier, opener: KeyOpener | None) -> None:
        self._files = files
        self._volumes = volumes
        self._keyring = keyring
        self._reader = LogReader(volumes, opener, files=files) if opener is not None else None
        self._errors: list[Finding] = []
        self._notes: list[Finding] = []
        self._records = 0
        self._bytes = 0

    def run(self, progress: Callable[[int, int], None] | None) -> VerifyReport:
        chain = self._load_chain()
        self._errors += chain.findings
        names = self._volume_names()
        present = {str(name) for name in names}
        for path in chain.seals:
            # A volume sealed after the folder was read is there all the same.
            if path not in present and not self._files.exists(self._volumes / path):
                self._error(path, 0, "the volume is missing; its seal says that it was there")
        hashes: dict[VolumeName, tuple[bytes, bytes]] = {}
        for done, name in enumerate(names):
            if progress is not None:
                progress(done, len(names))
            links = self._volume(name, chain.seal_of(str(name)))
            if links is not None:
                hashes[name] = links
        self._links(names, hashes)
        if progress is not None:
            progress(len(names), len(names))
        return VerifyReport(
            records=self._records,
            volumes=len(names),
            bytes=self._bytes,
            sealed=len(chain.seals),
            errors=tuple(self._errors),
            notes=tuple(self._notes),
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

    def _volume_names(self) -> list[VolumeName]:
        names = []
        for folder in self._files.names(self._volumes):
            if not is_mailbox_folder(folder):
                self._note(folder, 0, "not put here by mailkeep")
                continue
            for file in self._files.names(self._volumes / folder):
                name = parse_volume(f"{folder}/{file}")
                if name is not None:
                    names.append(name)
                elif not file.endswith((SEAL_SUFFIX, UNFINISHED_SUFFIX)):
                    self._note(f"{folder}/{file}", 0, "not put here by mailkeep")
        return sorted(names)

    def _volume(self, name: VolumeName, seal: Seal | None) -> tuple[bytes, bytes] | None:
        """Check one volume; (its header's hash, the hash it links to) where its header is whole."""
        path = str(name)
        try:
            found, digest = survey_volume(self._files, self._volumes, name)
        except OSError as error:
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
            self._open(path, name, found)
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

    def _open(self, path: str, name: VolumeName, found: Survey) -> None:
        if self._reader is None:
            return
        for entry in found.entries:
            ref = RecordRef(
                volume=path, offset=entry.offset, length=entry.length, record_id=entry.record_id,
                type=entry.type, time=entry.time, mailbox=name.mailbox,
            )  # fmt: skip
            try:
                for _ in self._reader.stream(ref):
                    pass
            except DamageError as error:
                self._error(path, entry.offset, error.message, entry.record_id)
            except MailkeepError as error:
                self._error(path, entry.offset, f"the record cannot be opened: {error.message}", entry.record_id)

    def _links(self, names: list[VolumeName], hashes: dict[VolumeName, tuple[bytes, bytes]]) -> None:
        """Each writer's volumes of a mailbox are numbered from 1 without a gap, each linked to the one before."""
        for name in names:
            if name.sequence == 1 and name in hashes and hashes[name][1] != NO_PREVIOUS:
                self._error(str(name), 0, "the first volume of its writer names one before it")
        firsts = {(name.mailbox, name.writer): name for name in reversed(names)}
        for first in firsts.values():
            self._no_gap(first._replace(sequence=0), first)
        for before, name in pairwise(names):
            if (before.mailbox, before.writer) != (name.mailbox, name.writer):
                continue
            if name.sequence != before.sequence + 1:
                self._no_gap(before, name)
            elif before in hashes and name in hashes and hashes[name][1] != hashes[before][0]:
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
