"""Seals: the archiver reads a finished volume again and signs what it holds, in one chain over the whole archive.

A seal is a small file beside its volume: one line of JSON, and one line with the Ed25519 signature over it. Each
names the seal before it by number and hash, so a volume cannot be changed, exchanged or removed unnoticed, nor one
be slipped in. Who signs can therefore be told apart from who writes: the gateway has no signing key.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance import decoding
from appliance.errors import ConflictError, DamageError
from appliance.files import FILES, Files, read_file, replace_file
from appliance.store.failures import storage_error
from appliance.store.names import VolumeName, is_mailbox_folder, parse_volume, seal_path, sealed_by, volume_name
from appliance.store.refs import Finding
from appliance.store.survey import survey_volume

FORMAT_VERSION = 1
SIGNED_PREFIX = b"mailkeep seal v1\x00"
NO_PREVIOUS = bytes(32)
_MODE = 0o640


class Signer(Protocol):
    """Who signs seals; ``appliance.keys.access.Keys`` can."""

    @property
    def archive_id(self) -> UUID:
        """The archive that the seals belong to."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature."""
        ...


class StandsFor(msgspec.Struct, frozen=True):
    """A volume in whose place an archive volume stands."""

    volume: str
    number: int  # of the replaced volume's seal
    header_hash: bytes
    leaf_root: bytes


class Seal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is attested of one volume or archive volume. Byte strings are base64 in the JSON."""

    version: int
    archive: UUID
    number: int  # in the archive's chain, from 1, gapless
    previous: bytes  # SHA-256 of the previous seal's file; zeros for the first
    volume: str  # path relative to the volumes folder
    volume_id: bytes
    header_hash: bytes  # SHA-256 of the volume's header
    size: int
    file_hash: bytes  # SHA-256 of the whole volume
    closed: bool  # has a footer; an orphan, whose writer died, has none
    logical_end: int
    records: int
    leaf_root: bytes
    cipher_root: bytes
    gaps: tuple[tuple[int, int], ...]  # offset and length of bytes that were never confirmed
    sealed_at: int  # microseconds since 1970-01-01 UTC
    replaces: tuple[StandsFor, ...] = ()  # an archive volume's


class Chain:
    """All seals of an archive, checked, and the place where the next one goes."""

    def __init__(self, archive_id: UUID, verify_key: bytes) -> None:
        """An empty chain; see ``load``."""
        self._archive = archive_id
        self._key = Ed25519PublicKey.from_public_bytes(verify_key)
        self._seals: dict[str, Seal] = {}
        self._standing: dict[str, Seal] = {}
        self._findings: list[Finding] = []
        self.number = 0
        """Number of the newest seal; 0 where there is none."""
        self.head = NO_PREVIOUS
        """SHA-256 of the newest seal's file."""

    @classmethod
    def load(cls, volumes: Path, *, archive_id: UUID, verify_key: bytes, files: Files = FILES) -> Chain:
        """Read and check every seal. What is wrong is in ``findings``; it does not stop the chain from growing.

        Raises StorageError where the folder cannot be read.
        """
        chain = cls(archive_id, verify_key)
        found: list[tuple[Seal, bytes]] = []
        try:
            for path in _seal_files(files, volumes):
                raw = read_file(files, volumes / path)
                try:
                    found.append((chain.check(path, raw), sha256(raw).digest()))
                except DamageError as error:
                    chain._findings.append(Finding(file=path, offset=0, record_id=None, what=error.message))
        except OSError as error:
            raise storage_error(error) from error
        found.sort(key=lambda one: one[0].number)
        for seal, digest in found:
            chain._append(seal, digest)
        return chain

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the seals themselves and with their chain."""
        return tuple(self._findings)

    @property
    def seals(self) -> dict[str, Seal]:
        """The good seals by their volume's path."""
        return dict(self._seals)

    def seal_of(self, volume: str) -> Seal | None:
        """A volume's seal."""
        return self._seals.get(volume)

    def archive_of(self, volume: str) -> Seal | None:
        """The seal of the archive volume that stands in a volume's place: the newest, where it was replaced again."""
        return self._standing.get(volume)

    @property
    def archives(self) -> tuple[Seal, ...]:
        """The seals of the archive volumes in use."""
        return tuple({seal.number: seal for seal in self._standing.values()}.values())

    def check(self, path: str, raw: bytes) -> Seal:
        """The seal in a file's bytes, if this archive's key signed it. Raises DamageError."""
        return read_seal(path, raw, self._key, self._archive)

    def append(self, seal: Seal, signer: Signer, files: Files, volumes: Path) -> None:
        """Sign a seal that has this chain's next place, and write it, durable on return. Raises OSError."""
        line = msgspec.json.encode(seal)
        raw = line + b"\n" + base64.b64encode(signer.sign(SIGNED_PREFIX + line)) + b"\n"
        path = seal_path(seal.volume)
        self.check(path, raw)
        try:
            replace_file(files, volumes / path, raw, _MODE)
        except OSError:
            # It may have got its name before the disk failed: then its number is taken.
            with contextlib.suppress(OSError):
                if read_file(files, volumes / path) == raw:
                    self._append(seal, sha256(raw).digest())
            raise
        self._append(seal, sha256(raw).digest())

    def _append(self, seal: Seal, digest: bytes) -> None:
        path = seal_path(seal.volume)
        if seal.number != self.number + 1:
            what = (
                f"seal {seal.number} occurs twice"
                if seal.number == self.number
                else f"seals {self.number + 1} to {seal.number - 1}, which come before this one, are missing"
            )
            self._findings.append(Finding(file=path, offset=0, record_id=None, what=what))
        elif seal.previous != self.head:
            what = "the seal before this one is not the one it was chained to"
            self._findings.append(Finding(file=path, offset=0, record_id=None, what=what))
        self._seals[seal.volume] = seal
        self._standing.update((one.volume, seal) for one in seal.replaces)
        self.number, self.head = seal.number, digest


def waiting(volumes: Path, chain: Chain, *, files: Files = FILES) -> Iterator[str]:
    """The volumes that have no seal and will not grow: closed ones, and orphans whose writer is gone.

    Raises StorageError.
    """
    try:
        for folder in filter(is_mailbox_folder, files.names(volumes)):
            for name in files.names(volumes / folder):
                path = f"{folder}/{name}"
                if parse_volume(path) is None or chain.seal_of(path) is not None:
                    continue
                descriptor = files.open(volumes / path)
                try:
                    growing = files.is_locked(descriptor)
                finally:
                    files.close(descriptor)
                if not growing:
                    yield path
    except OSError as error:
        raise storage_error(error) from error


def sign_volume(volumes: Path, volume: str, chain: Chain, signer: Signer, *, files: Files = FILES) -> Seal:
    """Read a finished volume again, check it, and write its seal as the next of the chain; durable on return.

    Only one process signs. Raises ConflictError while its writer holds it or where it has a seal; DamageError
    where it is not whole: such a volume is never signed as if it were; StorageError.
    """
    name = volume_name(volume)
    if chain.seal_of(volume) is not None:
        raise ConflictError(f"{volume} has its seal already.")
    try:
        seal = _attest(files, volumes, name, chain, signer.archive_id)
        chain.append(seal, signer, files, volumes)
    except OSError as error:
        raise storage_error(error) from error
    return seal


def read_seal(path: str, raw: bytes, key: Ed25519PublicKey | None, archive: UUID | None) -> Seal:
    """The seal in a file's bytes, if it belongs there and ``key`` signed it. Raises DamageError.

    Without ``key`` its word is taken for it.
    """
    line, _, rest = raw.partition(b"\n")
    if key is not None:
        try:
            key.verify(base64.b64decode(rest.rstrip(b"\n"), validate=True), SIGNED_PREFIX + line)
        except (InvalidSignature, binascii.Error) as error:
            raise DamageError("the seal's signature is not this archive's, or the seal was altered") from error
    try:
        seal = decoding.from_json(line, Seal)
    except msgspec.DecodeError as error:
        raise DamageError("the seal is signed, but this program cannot read it") from error
    if archive not in (None, seal.archive) or seal_path(seal.volume) != path:
        raise DamageError("the seal stands in another's place")
    return seal


def attested_header(raw: bytes) -> bytes:
    """The header hash in a seal's bytes, whoever signed it; zeros where it cannot be read."""
    try:
        return decoding.from_json(raw.partition(b"\n")[0], Seal).header_hash
    except msgspec.DecodeError:
        return NO_PREVIOUS


def _attest(files: Files, volumes: Path, name: VolumeName, chain: Chain, archive: UUID) -> Seal:
    found, digest = survey_volume(files, volumes, name)
    if found.growing:
        raise ConflictError(f"{name} is still being written.")
    if found.header is None:
        raise DamageError(f"{name} at 0: {found.header_damage}")
    if (found.header.mailbox, found.header.writer, found.header.sequence) != tuple(name):
        raise DamageError(f"{name} at 0: the volume stands in another's place.")
    for gap in found.gaps:
        if gap.durable:
            raise DamageError(f"{name} at {gap.offset}: {gap.what}, {gap.length} bytes.")
    if wrong := found.disagreement():
        raise DamageError(f"{name} at {found.logical_end}: {wrong}.")
    return Seal(
        version=FORMAT_VERSION,
        archive=archive,
        number=chain.number + 1,
        previous=chain.head,
        volume=str(name),
        volume_id=found.header.volume_id,
        header_hash=found.header_hash,
        size=found.size,
        file_hash=digest,
        closed=found.closed,
        logical_end=found.logical_end,
        records=len(found.entries),
        leaf_root=found.leaf_root,
        cipher_root=found.cipher_root,
        gaps=tuple((gap.offset, gap.length) for gap in found.gaps),
        sealed_at=time.time_ns() // 1000,
    )


def _seal_files(files: Files, volumes: Path) -> Iterator[str]:
    for folder in filter(is_mailbox_folder, files.names(volumes)):
        for name in files.names(volumes / folder):
            if sealed_by(f"{folder}/{name}") is not None:
                yield f"{folder}/{name}"
