"""What of the log is to be replicated: volumes, archive volumes and seals that will not change any more."""

from __future__ import annotations

import os
from collections.abc import Container
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.cloud.manifests import ReplicaKeys
from appliance.errors import DamageError, UnavailableError
from appliance.files import Files, read_file
from appliance.store.names import (
    SEAL_SUFFIX,
    is_mailbox_folder,
    parse_archive,
    parse_volume,
    seal_path,
    sealed_by,
)
from appliance.store.scan import FoundRecord, Window, footer_of, walk
from appliance.store.seal import Seal, read_seal

ROOT = "volumes/"
"""What the paths of the log's files begin with, seen from the data folder."""

_LOOKS = 50


class LocalFile(NamedTuple):
    """A file of the log that is whole."""

    path: str  # from the data folder
    size: int
    modified: int  # nanoseconds: in the order of this, files that come later come last


class SignedSeal(NamedTuple):
    """A good seal, and its place in the chain."""

    seal: Seal
    hash: bytes  # SHA-256 of its file


class Log:
    """The volumes folder, looked at without a key that opens anything."""

    def __init__(self, volumes: Path, keys: ReplicaKeys, files: Files) -> None:
        self._volumes = volumes
        self._files = files
        self._archive = keys.archive
        self._key = Ed25519PublicKey.from_public_bytes(keys.verify_key)

    def beyond(self, known: Container[str]) -> list[LocalFile]:
        """The whole files that ``known`` lacks, the oldest first. Raises UnavailableError, OSError.

        An archive volume counts from its seal on. What is replaced meanwhile is not missed: the files that go are
        listed, or what has come in their place is.
        """
        found: list[LocalFile] = []
        for folder in filter(is_mailbox_folder, self._files.names(self._volumes)):
            found += self._beyond(folder, known)
        return sorted(found, key=lambda one: (one.modified, one.path))

    def _beyond(self, folder: str, known: Container[str]) -> list[LocalFile]:
        for _ in range(_LOOKS):
            # An archive volume's seal comes before the volumes go that it stands for. A folder is not read at one
            # moment, so both could be missed: not if it reads the same twice.
            names = self._files.names(self._volumes / folder)
            if names != self._files.names(self._volumes / folder):
                continue
            there = frozenset(names)
            paths = [f"{folder}/{name}" for name in names if _counts(folder, name, there)]
            try:
                looked = [self._look(path) for path in paths if ROOT + path not in known]
            except FileNotFoundError:
                continue
            return [one for one in looked if one is not None]
        raise UnavailableError("The archive's volumes change faster than they can be listed. It is tried again later.")

    def _look(self, path: str) -> LocalFile | None:
        descriptor = self._files.open(self._volumes / path)
        try:
            if not path.endswith(SEAL_SUFFIX) and self._files.is_locked(descriptor):
                return None
            # The lock first, the size second: a file that nobody held then has its final size now.
            return LocalFile(ROOT + path, self._files.size(descriptor), os.fstat(descriptor).st_mtime_ns)
        finally:
            self._files.close(descriptor)

    def seal(self, path: str) -> SignedSeal | None:
        """The seal at a path from the data folder; None where there is none that this archive's key signed."""
        name = path.removeprefix(ROOT)
        try:
            raw = read_file(self._files, self._volumes / name)
            return SignedSeal(read_seal(name, raw, self._key, self._archive), sha256(raw).digest())
        except (FileNotFoundError, DamageError):
            return None

    def seal_of(self, path: str) -> Seal | None:
        """The good seal of a volume or archive volume."""
        found = self.seal(ROOT + seal_path(path.removeprefix(ROOT)))
        return None if found is None else found.seal

    def records(self, path: str) -> int:
        """Records in a volume that has no seal. Raises OSError."""
        descriptor = self._files.open(self._volumes / path.removeprefix(ROOT))
        try:
            window = Window(self._files, descriptor, self._files.size(descriptor))
            footer = footer_of(window)
            if footer is not None:
                return len(footer.entries)
            return sum(isinstance(one, FoundRecord) for one in walk(window, growing=False))
        finally:
            self._files.close(descriptor)


def _counts(folder: str, name: str, there: Container[str]) -> bool:
    path = f"{folder}/{name}"
    if parse_archive(path) is not None:
        return seal_path(name) in there
    return parse_volume(path) is not None or sealed_by(path) is not None
