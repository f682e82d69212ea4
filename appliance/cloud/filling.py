"""The rest of a restore: the volumes that are listed as absent come down while the archive works already."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from appliance.cloud.download import Fetched, download
from appliance.cloud.fetching import put_back
from appliance.cloud.manifests import ReplicaKeys, files_of, newest
from appliance.cloud.objects import Manifest, Placed
from appliance.cloud.remote import Remote
from appliance.cloud.restore_state import KEYRING, RestoreFolder, RestoreStatus, Restoring, Told
from appliance.cloud.sorting import ROOT, place_in_chain
from appliance.cloud.upload import Progress
from appliance.errors import ConflictError, DamageError, NotFoundError, UnavailableError
from appliance.files import FILES, Files
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.failures import storage_error
from appliance.store.seal import Chain
from appliance.store.verify import VerifyReport, verify

CHECKING: Final = "volumes checked"
"""What ``Progress`` is told in numbers of volumes, not in bytes."""

_LIST_SECONDS: Final = 1.0
"""How often files that have arrived are taken off the list of absent ones, which is written as a whole."""


class Filled(msgspec.Struct, frozen=True):
    """What came down, and how the whole archive is now."""

    files: int
    bytes: int  # of all that was to come
    seconds: float
    records: int  # in all volumes that are here
    status: RestoreStatus

    @property
    def is_whole(self) -> bool:
        """Whether everything that was to come is here, and as it was signed."""
        return self.status.state == "complete"


class _Verifier(NamedTuple):
    archive_id: UUID
    verify_key: bytes


def fill(data: Path, remote: Remote, keys: ReplicaKeys, progress: Progress, *, files: Files = FILES) -> Filled:
    """Bring the volumes that a restore has listed as absent, the newest first, and check the whole archive.

    The archive may be in use meanwhile. What cannot be had is told of, and the others come. Calling it again goes on.

    Raises NotFoundError where nothing is being restored, UnavailableError where the restore has not come so far or
    when stopped, ConflictError while another process does it and where all of it is done, StorageError, and as
    ``Remote`` does.
    """
    folder = RestoreFolder(data, files=files)
    try:
        if folder.completed() is not None:
            raise ConflictError(f"What was to be restored into {data} is there already: `mailkeep restore status`.")
        state = folder.load(keys)
        if not files.exists(data / KEYRING):
            raise UnavailableError(
                "The restore was interrupted before mail could be received. Run the same `mailkeep restore` again."
            )
        with folder.held():
            return _Filling(folder, remote, keys, state, progress, files).run()
    except OSError as error:
        raise storage_error(error) from error


class _Filling:
    def __init__(
        self, folder: RestoreFolder, remote: Remote, keys: ReplicaKeys, state: Restoring, progress: Progress,
        files: Files,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._remote = remote
        self._keys = keys
        self._state = state
        self._files = files
        self._volumes = folder.data / "volumes"
        self._absent = AbsentFiles(self._volumes, files=files)
        self._progress = progress
        self._missing: Mapping[str, str] = {}
        self._arrived: list[str] = []
        self._listed = time.monotonic()

    def run(self) -> Filled:
        begun = time.monotonic()
        absent = self._absent.all()
        self._note_arrived(absent)
        left = frozenset(self._state.left)
        wanted = {path: absent[path] for path in self._state.listed if path not in left}
        size = sum(one.size for one in wanted.values())
        status = msgspec.structs.replace(
            self._folder.status(), state="filling", files_left=len(wanted), bytes_left=size, missing=(), errors=()
        )
        told = Told(self._folder, status, self._progress)
        self._folder.tell(status)
        self._folder.empty_staging()
        self._bring(wanted, told)
        self._note_arrived(self._absent.all())
        report = verify(
            self._volumes,
            _Verifier(self._keys.archive, self._keys.verify_key),
            progress=lambda done, total: self._checking(done, total),
            files=self._files,
        )
        return self._ended(told.status, report, len(wanted), size, time.monotonic() - begun)

    def _note_arrived(self, absent: Mapping[str, AbsentFile]) -> None:
        """Forget what has come: where that is absent once more, it was let go of since, and stays on the replicas."""
        listed = tuple(path for path in self._state.listed if path in absent)
        if listed != self._state.listed:
            self._state = msgspec.structs.replace(self._state, listed=listed)
            self._folder.save(self._keys, self._state)

    def _bring(self, wanted: Mapping[str, AbsentFile], told: Told) -> None:
        """Bring what is wanted from where the restored generation has it, else from where the newest one has it."""
        chain = Chain.load(
            self._volumes, archive_id=self._keys.archive, verify_key=self._keys.verify_key, files=self._files
        )
        left = sorted(wanted, key=lambda path: place_in_chain(path, chain), reverse=True)
        why = dict.fromkeys(left, "No generation at the remote has it.")

        def take(fetched: Fetched) -> None:
            path = fetched.placed.path.removeprefix(ROOT)
            if fetched.wrong is not None:
                why[path] = fetched.wrong.message
                return
            put_back(self._volumes, path, fetched.path, fetched.placed.hash, files=self._files)
            del why[path]
            told.status = msgspec.structs.replace(told.status, files_left=len(why))
            self._arrived.append(path)
            if time.monotonic() > self._listed + _LIST_SECONDS:
                self._take_off_list()

        tried: set[Placed] = set()
        try:
            for manifest in self._manifests():
                contents = self._contents(manifest)
                placed = [one for path in left if path in why and (one := contents.get(ROOT + path)) is not None]
                placed = [one for one in placed if one.hash == wanted[one.path.removeprefix(ROOT)].hash]
                again = [one for one in placed if one not in tried]
                download(self._remote, again, self._folder.staging, take, told, what="mail", files=self._files)
                tried.update(again)
                if not why:
                    break
        finally:
            self._take_off_list()
        self._missing = why

    def _manifests(self) -> Iterator[Manifest]:
        yield self._state.manifest
        with contextlib.suppress(NotFoundError, DamageError):
            yield newest(self._remote, self._keys)

    def _contents(self, manifest: Manifest) -> Mapping[str, Placed]:
        try:
            return files_of(manifest, self._remote, self._keys)
        except (NotFoundError, DamageError):
            return {}  # each file that is missed is told of

    def _take_off_list(self) -> None:
        self._absent.remove(self._arrived)
        self._arrived.clear()
        self._listed = time.monotonic()

    def _checking(self, done: int, total: int) -> None:
        self._progress.report(done, total, CHECKING)
        if self._progress.stopped():
            raise UnavailableError("The check was stopped. All volumes are here; run the same command again to check.")

    def _ended(self, status: RestoreStatus, report: VerifyReport, files: int, size: int, seconds: float) -> Filled:
        errors = [f"{one.file} at {one.offset}: {one.what}" for one in report.errors]
        known = report.records + report.erased
        if not report.absent and not self._missing and known < self._state.manifest.records:
            errors.append(f"The generation has {self._state.manifest.records} records, and {known} of them are here.")
        whole = not errors and not self._missing
        ended = time.time()
        if whole and not self._state.filled:
            self._folder.save(self._keys, msgspec.structs.replace(self._state, filled=int(ended * 1e6)))
        told = msgspec.structs.replace(
            status,
            state="complete" if whole else "incomplete",
            files_left=len(self._missing),
            bytes_left=0 if whole else status.bytes_left,
            on_replica_only=report.absent - len(self._missing),
            bytes_per_second=0.0,
            seconds_left=None,
            ended_at=ended,
            missing=tuple(f"{path}: {why}" for path, why in sorted(self._missing.items())),
            errors=tuple(errors),
        )
        self._folder.tell(told)
        if whole and self._absent.all().keys().isdisjoint(self._state.left):
            self._folder.put_away()
        return Filled(files - len(self._missing), size, seconds, report.records, told)
