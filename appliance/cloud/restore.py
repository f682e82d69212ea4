"""Restoring an archive from a replica into an empty folder, with the recovery key and nothing else.

``prepare`` brings what the archive needs to work: keys, settings, all seals, the system log, what is not sealed yet,
catalogue and index. All other volumes are listed as absent: they come down afterwards (``fill``), the newest first, or
when somebody opens a message. The keyring gets its name last, so that there is no archive before it is one; whatever
interrupts it, calling it again goes on.

Nothing that the remote says is believed: generations open with a key that the recovery key opens, files have the hashes
that a generation names, and volumes those that their seals name.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from appliance.cloud import recovering
from appliance.cloud.filling import Filled, fill
from appliance.cloud.laying import CATALOGUE, Laying, SettingsLook, times_of
from appliance.cloud.log_laying import LogLaying, chain_troubles, is_seal
from appliance.cloud.manifests import (
    Newest,
    ReplicaKeys,
    files_of,
    highest_epoch,
    newest_from,
    next_epoch,
    raise_epoch,
)
from appliance.cloud.objects import VERSION, Manifest, Placed
from appliance.cloud.remote import Remote
from appliance.cloud.restore_state import KEYRING, NAMES, RestoreFolder, RestoreStatus, Restoring
from appliance.cloud.sorting import ROOT, Sorted, Span, kept_back, log_name, sort_volumes
from appliance.cloud.state import set_own_epoch
from appliance.cloud.upload import Progress
from appliance.errors import (
    ConflictError,
    DamageError,
    DiskFullError,
    MailkeepError,
    NotFoundError,
    RemoteDeniedError,
    RemoteFullError,
    StorageError,
)
from appliance.files import FILES, Files, create_directory, create_file, read_file
from appliance.keys import stored
from appliance.keys.keyring import Keyring, Unlocked
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.seal import Chain

__all__ = ["Filled", "Prepared", "fill", "prepare"]

RESERVE: Final = 256 * 1024 * 1024
"""Bytes that are left free on the disk for the mail that comes in meanwhile."""

_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Prepared(msgspec.Struct, frozen=True):
    """An archive that works: mail can be received, and its volumes come down."""

    keys: ReplicaKeys
    status: RestoreStatus
    keyfile: Path | None
    is_new: bool
    """Whether it was this run that made it an archive."""


def prepare(
    data: Path,
    remote: Remote,
    recovery_key: str,
    *,
    generation: int | None = None,
    mailbox: str = "",
    span: Span = Span(),  # noqa: B008 - frozen
    keyfile: Path | None = None,
    takes_over: bool = True,
    progress: Progress,
    files: Files = FILES,
) -> Prepared:
    """Restore so much of a generation (the newest, unless told) that the archive works, or go on with that.

    ``data`` is an empty folder, one that is not there yet, or one with an interrupted restore of the same archive.
    ``mailbox`` and ``span`` say which volumes ``fill`` is to bring; the others come when a message of theirs is opened.
    ``keyfile`` is where to write a key with which the box unlocks itself. With ``takes_over`` the box that had the
    archive before does not write to the remote any more.

    Raises KeyringError, ConflictError, NotFoundError, DamageError, DiskFullError, StorageError, UnavailableError when
    stopped, and as ``Remote`` does. What was fetched until then is not fetched again; where all of it is there already
    nothing is done, and the status says so.
    """
    keys = recovering.find_keys(remote, recovery_key)
    folder = RestoreFolder(data, files=files)
    try:
        done = folder.completed()
        if done is not None:
            _require_that(folder, keys, done, generation, files)
            return Prepared(keys, done, keyfile if keyfile is not None and files.exists(keyfile) else None, False)
        _require_own(folder, files)
        chosen = None if folder.has_begun else recovering.choose(remote, keys, generation)
        _make(folder, files)
        with folder.held():
            run = _Preparing(folder, remote, keys, progress, files)
            run.begin(chosen, generation, recovery_key, keyfile)
            is_new = not run.is_ready
            if is_new:
                run.lay_out()
                run.bring_log()
                run.lay_out_projections()
            run.limit(mailbox, span)
            if is_new:
                run.make_keyring(keyfile, recovery_key)
                run.take_over(takes_over=takes_over)
                run.open_for_business()
            written = keyfile if keyfile is not None and files.exists(keyfile) else None
            return Prepared(keys, run.tell(), written, is_new)
    except OSError as error:
        raise _disk(error) from error


def _require_own(folder: RestoreFolder, files: Files) -> None:
    """Raise ConflictError where there is something else."""
    if folder.has_begun:
        return
    if set(files.names(folder.data)) - {"replicas"} or set(files.names(folder.folder)) - NAMES:
        raise ConflictError(
            f"{folder.data} is not empty; it is left as it is. Restore into a new folder, or move this one away."
        )


def _require_that(
    folder: RestoreFolder, keys: ReplicaKeys, done: RestoreStatus, generation: int | None, files: Files
) -> None:
    """Raise ConflictError where a restore that is complete is not the one that is asked for."""
    if not files.exists(folder.data / KEYRING):
        raise _lost_keyring(folder.data)
    is_ours = stored.load(folder.data / KEYRING, files).keyring.archive == keys.archive
    if not is_ours or generation not in (None, done.generation):
        raise ConflictError(
            f"{folder.data} holds generation {done.generation} of {'this' if is_ours else 'another'} archive, whole. "
            "It is left as it is. Restore into a new folder, or move this one away."
        )


def _lost_keyring(data: Path) -> ConflictError:
    return ConflictError(
        f"The archive in {data} was restored and in use already, and its keyring.json is missing. Nothing was changed. "
        "Put keyring.json back from a copy, or restore into a new folder and keep this one: mail that was not "
        "replicated yet is only here."
    )


def _make(folder: RestoreFolder, files: Files) -> None:
    for path in (*reversed(folder.data.parents), folder.data):
        if not files.exists(path):
            create_directory(files, path)
    create_directory(files, folder.folder)


class _Preparing:
    """One run of ``prepare``. What an earlier one did is not done again."""

    def __init__(
        self, folder: RestoreFolder, remote: Remote, keys: ReplicaKeys, progress: Progress, files: Files
    ) -> None:
        self._folder = folder
        self._data = folder.data
        self._volumes = folder.data / "volumes"
        self._remote = remote
        self._keys = keys
        self._progress = progress
        self._files = files
        self._laying = Laying(folder.data, folder.staging, remote, keys, progress, files=files)
        self._log = LogLaying(folder.data, folder.staging, remote, keys, progress, files=files)
        self._notes: list[str] = []
        self._quarantined: dict[str, str] = {}
        self._contents: Mapping[str, Placed] = {}
        self._chain = Chain(keys.archive, keys.verify_key)
        self._sorted = Sorted([], [], {})
        self._settings: SettingsLook | None = None
        self._told: RestoreStatus | None = None
        self._state: Restoring
        self._keyring: bytes
        self._unlocked: Unlocked

    @property
    def _manifest(self) -> Manifest:
        return self._state.manifest

    @property
    def is_ready(self) -> bool:
        """Whether there is an archive already."""
        return self._files.exists(self._data / KEYRING)

    # -- what is to be restored ---------------------------------------------------------------------------------------

    def begin(self, chosen: Newest | None, generation: int | None, recovery_key: str, keyfile: Path | None) -> None:
        """Begin to restore the ``chosen`` generation, or go on; look whether all that is needed can be had."""
        if chosen is not None and not self._folder.has_begun:
            self._state = Restoring(VERSION, self._remote.config, chosen.manifest, _now(), passed_over=chosen.forged)
        else:
            self._state = self._resumed(generation)
        self._keyring, self._unlocked = recovering.open_keyring(self._remote, self._keys, self._manifest, recovery_key)
        if keyfile is not None and not self.is_ready:
            self._claim(keyfile)
        epoch = highest_epoch(self._remote, self._keys)
        if not self._state.epoch and epoch > self._manifest.epoch:
            self._notes.append(recovering.behind(epoch, self._manifest))
        self._notes += recovering.passed_over(Newest(self._manifest, self._state.passed_over))
        self._contents = files_of(self._manifest, self._remote, self._keys)
        if self.is_ready:
            with contextlib.suppress(NotFoundError, DamageError):
                self._told = self._folder.status()
        else:
            self._require_room()
            # Not ready any more: the keyring that an interrupted run has left is made anew.
            self._state = msgspec.structs.replace(self._state, ready=0)
            self._folder.save(self._keys, self._state)
            self._folder.empty_staging()
            self._folder.tell(self._status())
        self._chain = self._log.chain()
        self._sorted = sort_volumes(self._contents, self._chain)

    def _claim(self, keyfile: Path) -> None:
        """Remember that a keyfile is this restore's own. Raises ConflictError where it was there before."""
        if str(keyfile) != self._state.keyfile and self._files.exists(keyfile):
            raise ConflictError(
                f"There is a keyfile {keyfile} already; it is left as it is. Move it away, or restore with "
                "--no-keyfile: then a passphrase or the recovery key unlocks the archive."
            )
        self._state = msgspec.structs.replace(self._state, keyfile=str(keyfile))

    def _resumed(self, generation: int | None) -> Restoring:
        try:
            state = self._folder.load(self._keys)
        except DamageError as error:
            raise ConflictError(
                f"{self._data} has a restore of another archive, or of another version of mailkeep, in it. Nothing was "
                "changed. Restore into a new folder."
            ) from error
        self._require_not_in_use(state)
        if generation not in (None, state.manifest.number):
            raise ConflictError(
                f"Generation {state.manifest.number} is being restored into {self._data} already. Go on with that, or "
                "restore the other one into a new folder."
            )
        return msgspec.structs.replace(state, remote=self._remote.config)

    def _require_not_in_use(self, state: Restoring) -> None:
        """Raise ConflictError where it was an archive already and has lost its keyring: what came in since would be
        mixed with what the generation has."""
        keyrings = (self._data / KEYRING, self._folder.folder / KEYRING)
        if (state.ready or state.filled) and not any(map(self._files.exists, keyrings)):
            raise _lost_keyring(self._data)

    def _require_room(self) -> None:
        snapshot = self._manifest.snapshot
        copies = sum(one.size for one in (snapshot.files if snapshot is not None else ()))
        first = copies + sum(one.size for path, one in self._contents.items() if is_seal(path))
        free = self._files.free(self._data)
        if free < first + RESERVE:
            raise DiskFullError(
                f"There are {_mb(free)} MB free where {self._data} is, and {_mb(first + RESERVE)} MB are needed before "
                "mail can be received. Nothing was restored. Take a larger disk."
            )
        every = copies + sum(one.size for one in self._contents.values())
        if free < every + RESERVE:
            self._notes.append(
                f"There are {_mb(free)} MB free, and all volumes together have {_mb(every)} MB. Make room, or bring "
                "only some of them with --mailbox, --since or --until; the others come when their messages are opened."
            )

    # -- settings and small files -------------------------------------------------------------------------------------

    def lay_out(self) -> None:
        """Settings and box files. Both can be done without: they are told of, and made anew."""
        for what, placed, lay in (
            ("the settings", self._manifest.settings, self._lay_settings),
            ("certificates, timestamps and positions of readers", self._manifest.box, self._lay_box),
        ):
            if placed is None:
                continue
            try:
                lay(placed)
            except (DamageError, NotFoundError) as error:
                self._notes.append(f"The copy of {what} could not be used: {error.message}")

    def _lay_settings(self, placed: Placed) -> None:
        self._laying.settings(placed)
        try:
            self._settings = SettingsLook(self._data, self._unlocked)
            at = self._settings.position.volume
            if at and ROOT + at not in self._contents:
                raise DamageError("It was made later than the mail of this generation.")
        except MailkeepError as error:
            self._settings = None
            self._laying.remove_settings()
            self._notes.append(
                f"The copy of the settings could not be used: {error.message} They are made anew from the system log."
            )

    def _lay_box(self, placed: Placed) -> None:
        for path in self._laying.box(placed):
            self._quarantined[path] = "it has no place in an archive"

    # -- the log ------------------------------------------------------------------------------------------------------

    def bring_log(self) -> None:
        """All seals, and the volumes that the archive cannot do without; the others are listed as absent."""
        self._log.folders(self._contents)
        self._quarantined.update(self._log.seals(self._contents))
        self._chain = self._log.chain()
        self._notes += chain_troubles(self._chain, self._manifest)
        self._sorted = sort_volumes(self._contents, self._chain)
        self._quarantined.update(self._sorted.quarantined)
        self._quarantined.update(self._log.bring(self._sorted.now, "system log, and mail that is not sealed yet"))
        AbsentFiles(self._volumes, files=self._files).add(
            AbsentFile(one.path.removeprefix(ROOT), one.size, one.hash) for one in self._sorted.later
        )
        listed = tuple(one.path.removeprefix(ROOT) for one in self._sorted.later)
        self._state = msgspec.structs.replace(self._state, listed=listed)

    # -- catalogue and index ------------------------------------------------------------------------------------------

    def lay_out_projections(self) -> None:
        """Catalogue and index, where the generation has them and they fit its mail."""
        snapshot = self._manifest.snapshot
        if snapshot is None:
            self._notes.append(
                "The generation has no copy of the search index. It is made anew as the volumes come down."
            )
            return
        known = {name for path in self._contents if (name := log_name(path)) is not None}
        known.update(self._chain.seals)
        try:
            self._notes += self._laying.projections(snapshot, known)
        except (DamageError, NotFoundError) as error:
            self._notes.append(f"{error.message} Catalogue and search index are made anew as the volumes come down.")

    def limit(self, mailbox: str, span: Span) -> None:
        """Note which volumes need not come by themselves. Raises NotFoundError for a mailbox that there is not."""
        left: list[str] = []
        if mailbox or span != Span():
            look = self._settings or self._look()
            mailboxes = [look.mailbox(mailbox)] if mailbox else []
            left = kept_back(self._sorted.later, self._chain, self._times(), mailboxes, span)
        self._state = msgspec.structs.replace(self._state, left=tuple(left))
        self._folder.save(self._keys, self._state)

    def _look(self) -> SettingsLook:
        try:
            return SettingsLook(self._data, self._unlocked)
        except MailkeepError as error:
            raise NotFoundError(
                "The generation has no settings that could be used, so a mailbox's address cannot be looked up. "
                "Restore without --mailbox."
            ) from error

    def _times(self) -> dict[str, tuple[int, int]]:
        with contextlib.suppress(FileNotFoundError, DamageError):
            current = read_file(self._files, self._data / "projections" / "current").decode("ascii").strip()
            return times_of(self._data / "projections" / current / CATALOGUE, in_use=self.is_ready)
        return {}

    # -- the archive begins to be one ---------------------------------------------------------------------------------

    def make_keyring(self, keyfile: Path | None, recovery_key: str) -> None:
        """The keyring beside its place, with a slot for the keyfile; anew, whatever an interrupted run has left."""
        path = self._folder.folder / KEYRING
        for leftover in (path, *([Path(self._state.keyfile)] if self._state.keyfile else [])):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(leftover)
        create_file(self._files, path, self._keyring)
        if keyfile is not None:
            locked = Keyring.load(path, files=self._files)
            locked.unlock_with_recovery_key(recovery_key).add_keyfile(keyfile)

    def take_over(self, *, takes_over: bool) -> None:
        """Begin a new epoch at the remote, so that the box from before stops writing there."""
        if not self._state.epoch:
            epoch = self._raised_epoch() if takes_over else self._manifest.epoch
            self._state = msgspec.structs.replace(self._state, epoch=epoch)
            self._folder.save(self._keys, self._state)
        set_own_epoch(self._data, self._state.epoch, files=self._files)

    def _raised_epoch(self) -> int:
        try:
            epoch = raise_epoch(self._remote, self._keys, self._folder.staging, now=_now(), files=self._files)
        except (RemoteDeniedError, RemoteFullError) as error:
            self._notes.append(
                f"The replica could not be told that this box goes on with the archive: {error.message} Make sure that "
                "the box from before does not run any more."
            )
            return next_epoch(self._remote, self._keys)
        newer = newest_from(self._remote, self._keys, self._manifest.epoch, self._manifest.number + 1)
        if newer is not None:
            self._notes.append(
                f"There is a newer generation than the one that was restored: {newer.number}. What came in between is "
                "in that one only."
            )
        return epoch

    def open_for_business(self) -> None:
        """Give the keyring its name: from now on there is an archive."""
        self._state = msgspec.structs.replace(self._state, ready=_now())
        self._folder.save(self._keys, self._state)
        self._files.rename(self._folder.folder / KEYRING, self._data / KEYRING)
        self._files.sync_directory(self._data)
        self._files.sync_directory(self._folder.folder)

    def tell(self) -> RestoreStatus:
        """How far it is."""
        status = self._status()
        self._folder.tell(status)
        return status

    def _status(self) -> RestoreStatus:
        manifest, left = self._manifest, frozenset(self._state.left)
        absent = AbsentFiles(self._volumes, files=self._files).all() if self._files.exists(self._volumes) else {}
        coming = [absent[path].size for path in self._state.listed if path in absent and path not in left]
        quarantined = tuple(f"{path}: {why}" for path, why in sorted(self._quarantined.items()))
        return RestoreStatus(
            state="filling" if self.is_ready else "preparing",
            remote=self._remote.config.name,
            epoch=manifest.epoch,
            generation=manifest.number,
            at=manifest.at / 1e6,
            records=manifest.records,
            chain_number=manifest.chain_number,
            chain_head=manifest.chain_head.hex(),
            files=len(coming),
            bytes=sum(coming),
            files_left=len(coming),
            bytes_left=sum(coming),
            on_replica_only=len(absent) - len(coming),
            ready_at=self._state.ready / 1e6 if self.is_ready else None,
            quarantined=quarantined if self._told is None else self._told.quarantined,
            notes=tuple(self._notes) if self._told is None else self._told.notes,
        )


def _now() -> int:
    return time.time_ns() // 1000


def _mb(size: int) -> int:
    return -(-size // 1_000_000)


def _disk(error: OSError) -> StorageError:
    if error.errno in _FULL:
        return DiskFullError(
            "There is no room left on the disk. The replica is as it was; make room, and run the same command again: "
            "it goes on where it was."
        )
    return StorageError(
        f"The disk did not take what was restored ({error.strerror or error}). The replica is as it was. Look at the "
        "disk's health, and run the same command again: it goes on where it was."
    )
