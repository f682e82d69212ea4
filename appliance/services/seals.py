"""The seals by their number in the archive's one chain, as files: what proofs and timestamps are made of."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path

import msgspec

from appliance import decoding
from appliance.errors import DamageError
from appliance.files import FILES, Files, read_file
from appliance.store.failures import storage_error
from appliance.store.names import SEAL_SUFFIX, is_mailbox_folder, seal_path


class SealFile(msgspec.Struct, frozen=True):
    """A seal as it lies beside its volume. ``hash`` is what the seal after it, or a timestamp, names."""

    number: int
    path: str  # relative to the volumes folder
    raw: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256 of the file."""
        return sha256(self.raw).digest()

    @property
    def lines(self) -> tuple[str, str]:
        """What is attested, as JSON, and the signature, as base64. Raises DamageError."""
        try:
            line, signature, rest = self.raw.decode("utf-8").split("\n")
        except ValueError as error:
            raise DamageError(f"{self.path} at 0: the seal does not consist of two lines.") from error
        if rest:
            raise DamageError(f"{self.path} at {len(self.raw)}: something stands after the seal's two lines.")
        return line, signature


class _Numbered(msgspec.Struct, frozen=True):
    """The part of a seal that says where in the chain it stands."""

    number: int


class SealFiles:
    """Finds seals by number. Seals never change, so each is looked into once; threads may share it."""

    def __init__(self, volumes: Path, *, files: Files = FILES) -> None:
        self._volumes = volumes
        self._files = files
        self._lock = threading.Lock()
        self._known: dict[str, int] = {}
        self._paths: dict[int, str] = {}

    def newest(self) -> SealFile | None:
        """The head of the chain; None where nothing is sealed yet. Raises StorageError."""
        self._look()
        return self.read(max(self._paths)) if self._paths else None

    def of_volume(self, volume: str) -> SealFile | None:
        """A volume's seal; None where it has none yet. Raises StorageError."""
        self._look()
        number = self._known.get(seal_path(volume))
        return self.read(number) if number is not None else None

    def read(self, number: int) -> SealFile:
        """The seal with this number. Raises DamageError where there is none, StorageError."""
        if number not in self._paths:
            self._look()
        path = self._paths.get(number)
        if path is None:
            raise DamageError(f"Seal {number} of the chain is missing. Run `mailkeep verify`.")
        try:
            return SealFile(number, path, read_file(self._files, self._volumes / path))
        except OSError as error:
            raise storage_error(error) from error

    def _look(self) -> None:
        """Take in the seals made since the last look. What is no seal is for ``verify`` to tell of."""
        with self._lock:
            try:
                for folder in filter(is_mailbox_folder, self._files.names(self._volumes)):
                    for name in self._files.names(self._volumes / folder):
                        path = f"{folder}/{name}"
                        if name.endswith(SEAL_SUFFIX) and path not in self._known:
                            self._take_in(path)
            except OSError as error:
                raise storage_error(error) from error

    def _take_in(self, path: str) -> None:
        line = read_file(self._files, self._volumes / path).partition(b"\n")[0]
        try:
            number = decoding.from_json(line, _Numbered).number
        except msgspec.DecodeError:
            return
        self._known[path] = number
        self._paths.setdefault(number, path)
