"""What a restore remembers of itself, so that it can go on after an interruption, and what it tells of itself.

``replicas/restore`` is sealed, since the remote's credentials are in it; ``replicas/restore.json`` can be read by
everybody who may read the data folder, and says how far it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from appliance import decoding
from appliance.cloud.manifests import ReplicaKeys, kind_place
from appliance.cloud.objects import VERSION, Manifest
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.upload import Progress
from appliance.errors import ConflictError, DamageError, NotFoundError
from appliance.files import FILES, Files, create_directory, lock_held, read_file, replace_file
from appliance.sealing import open_sealed, replace_sealed
from appliance.store.absent import AbsentFiles

KEYRING: Final = "keyring.json"
"""Which a restored archive gets last: without it there is no archive."""

_SEALED: Final = "restore"
_PLAIN: Final = "restore.json"
_LOCK: Final = "restore.lock"
_STAGING: Final = "restore.staging"
NAMES: Final = frozenset((_SEALED, _SEALED + ".new", _PLAIN, _PLAIN + ".new", _LOCK, _STAGING))
"""What of ``replicas/`` belongs to a restore that may have been interrupted at its very beginning."""

_TELL_SECONDS: Final = 1.0

Stage = Literal["preparing", "filling", "complete", "incomplete"]


class Restoring(msgspec.Struct, frozen=True):
    """A restore as far as it has come. Times are microseconds."""

    version: int
    remote: RemoteConfig
    manifest: Manifest
    begun: int
    passed_over: tuple[str, ...] = ()  # manifests with later names, which did not open when it began
    keyfile: str = ""  # the path of one that is this restore's own
    epoch: int = 0  # that it has begun; 0 before
    ready: int = 0  # when mail could be received
    filled: int = 0  # when all volumes were here that were to come
    left: tuple[str, ...] = ()  # volumes that come when they are opened, by their paths below volumes/
    listed: tuple[str, ...] = ()  # volumes that this restore has listed as absent, and that have not come yet


class RestoreStatus(msgspec.Struct, frozen=True):
    """A restore as it is told. ``preparing``: the archive is not there yet. ``filling``: it works, and its volumes come
    down. ``incomplete``: that has ended, and something is missing or wrong.

    Times are seconds since 1970; bytes and numbers of files are of the volumes that are to come by themselves.
    """

    state: Stage
    remote: str
    epoch: int
    generation: int
    at: float  # everything acknowledged before is in the generation
    records: int
    chain_number: int
    chain_head: str
    files: int = 0
    bytes: int = 0
    files_left: int = 0
    bytes_left: int = 0
    on_replica_only: int = 0  # volumes that come when they are opened
    bytes_per_second: float = 0.0
    seconds_left: float | None = None
    ready_at: float | None = None
    ended_at: float | None = None
    updated_at: float = 0.0
    quarantined: tuple[str, ...] = ()  # what the manifest names and was not taken, with the reason
    missing: tuple[str, ...] = ()  # what could not be had, with the reason
    errors: tuple[str, ...] = ()  # what the check at the end found
    notes: tuple[str, ...] = ()


class RestoreFolder:
    """The files of a restore in one data folder."""

    def __init__(self, data: Path, *, files: Files = FILES) -> None:
        self.data = data
        self.folder = data / "replicas"
        self.staging = self.folder / _STAGING
        self._files = files

    @property
    def has_begun(self) -> bool:
        """Whether there is one, interrupted or not."""
        return self._files.exists(self.folder / _SEALED)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else restores into the folder until the end of the block. Raises ConflictError, OSError."""
        with lock_held(self._files, self.folder / _LOCK) as ours:
            if not ours:
                raise ConflictError("The archive is being restored by another process already.")
            yield

    def load(self, keys: ReplicaKeys) -> Restoring:
        """Raises NotFoundError where there is none, DamageError where it is another archive's, OSError."""
        try:
            sealed = read_file(self._files, self.folder / _SEALED)
        except FileNotFoundError as error:
            raise NotFoundError(f"Nothing was ever restored into {self.data}.") from error
        packed = open_sealed(sealed, keys.sealing, kind_place("restore"), f"replicas/{_SEALED}")
        try:
            found = decoding.from_msgpack(packed, Restoring)
        except msgspec.DecodeError as error:
            raise DamageError("This restore was begun by another version of mailkeep.") from error
        if found.version != VERSION:
            raise DamageError("This restore was begun by another version of mailkeep.")
        return found

    def save(self, keys: ReplicaKeys, state: Restoring) -> None:
        """Durable on return. Raises OSError."""
        create_directory(self._files, self.folder)
        packed = msgspec.msgpack.encode(state)
        replace_sealed(self._files, self.folder / _SEALED, keys.sealing, kind_place("restore"), [packed])

    def put_away(self) -> None:
        """Forget a restore that is complete, and the remote's credentials with it; ``status`` stays. Raises OSError."""
        for name in (_SEALED, f"{_SEALED}.new"):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(self.folder / name)
        self._files.sync_directory(self.folder)

    def completed(self) -> RestoreStatus | None:
        """What a restore told at its end that was put away; None where there is none."""
        with contextlib.suppress(NotFoundError, DamageError):
            if not self.has_begun and (status := self.status()).state == "complete":
                return status
        return None

    def tell(self, status: RestoreStatus) -> None:
        """Say how far it is. Raises OSError."""
        told = msgspec.structs.replace(status, updated_at=time.time())
        replace_file(self._files, self.folder / _PLAIN, msgspec.json.encode(told) + b"\n", 0o640)

    def status(self) -> RestoreStatus:
        """How far it is, as it was told last and as the volumes are now. Needs no key.

        Raises NotFoundError where nothing was restored, DamageError.
        """
        try:
            told = decoding.from_json(read_file(self._files, self.folder / _PLAIN), RestoreStatus)
        except FileNotFoundError as error:
            raise NotFoundError(f"Nothing was ever restored into {self.data}.") from error
        except msgspec.DecodeError as error:
            raise DamageError(f"{self.folder / _PLAIN} is damaged. `mailkeep restore` writes it anew.") from error
        if told.state == "preparing" and self._files.exists(self.data / KEYRING):
            # It died between becoming an archive and saying so.
            told = msgspec.structs.replace(told, state="filling")
        if told.state != "filling":
            return told
        absent = AbsentFiles(self.data / "volumes", files=self._files).all()
        files, size = len(absent), sum(one.size for one in absent.values())
        # Who opens a message brings its volume, too; and nobody may be filling just now.
        return msgspec.structs.replace(
            told, files_left=min(told.files_left, files), bytes_left=min(told.bytes_left, size)
        )

    def empty_staging(self) -> None:
        """Take away what an interrupted run was fetching. Raises OSError."""
        create_directory(self._files, self.staging)
        for name in self._files.names(self.staging):
            self._files.unlink(self.staging / name)


class Told:
    """A ``Progress`` that also keeps ``replicas/restore.json`` up to date while volumes come down."""

    def __init__(self, folder: RestoreFolder, status: RestoreStatus, progress: Progress) -> None:
        self.status = status
        self._folder = folder
        self._progress = progress
        self._begun = self._told = time.monotonic()
        self._first: int | None = None

    def report(self, done: int, total: int, what: str) -> None:
        """As ``Progress``."""
        self._progress.report(done, total, what)
        now = time.monotonic()
        if self._first is None:
            self._first = done
        rate = (done - self._first) / (now - self._begun) if now > self._begun else 0.0
        left = total - done
        self.status = msgspec.structs.replace(
            self.status, bytes_left=left, bytes_per_second=rate, seconds_left=left / rate if rate else None
        )
        if now >= self._told + _TELL_SECONDS:
            self._told = now
            self._folder.tell(self.status)

    def stopped(self) -> bool:
        """As ``Progress``."""
        return self._progress.stopped()
