"""Replication as faces see it: setting up remotes, beginning runs and following them, what is to be read of them.

The archiver keeps the remotes among the settings and tells the replicator of them; the runs are the replicator's. On a
box where nothing is served, this process is the replicator for as long as it lives.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from appliance.cloud.backends import is_same_place, is_secret, place_of
from appliance.cloud.checked import remembered_files
from appliance.cloud.local import ROOT
from appliance.cloud.objects import Placed
from appliance.cloud.outside import LARGEST_PIECE, Listing, clean
from appliance.cloud.probe import RemoteTest
from appliance.cloud.remote import RemoteConfig, RemoteFile
from appliance.cloud.remotes import Remotes, check, write_remotes
from appliance.cloud.state import ReplicaPaths, State
from appliance.errors import ConflictError, MailkeepError, NotFoundError, UsageError
from appliance.keys.agent_client import AgentKeys
from appliance.language import later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.principal import KEYHOLDER, SYSTEM, Principal
from appliance.services.replica_samples import Samples
from appliance.services.replicator.asking import ask
from appliance.services.replicator.history import KEPT, Kind, Run
from appliance.services.restored import note_restore
from appliance.services.service_key import encoded, keys_of, write_service_keyfile
from appliance.settings import events
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.failures import storage_error

log = logging.getLogger(__name__)

NOTE_SECONDS = 5.0
"""Between two looks for what the replicator wants written into the audit trail."""


T = TypeVar("T")


class Replicas:
    """The services of one open archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._states = archive.replica_states
        self._own: _Own | None = None
        self._samples = Samples(archive, SYSTEM)
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replicas", daemon=True)

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "remotes": self.remotes, "remote_add": self.add, "remote_change": self.change,
            "remote_remove": self.remove, "remote_test": self.test, "remote_files": self.files,
            "replicate_begin": self.replicate,
            "replica_verify_begin": self.verify, "replica_runs": self.runs, "replica_stop": self.stop,
            "replica_history": self.history, "replica_settings": self.settings,
            "replica_settings_set": self.settings_set,
        }  # fmt: skip

    def for_box(self) -> Mapping[str, Callable[..., Any]]:
        """What only the box's own command line may ask, by name."""
        return {"service_key": self.service_key, "service_key_write": self.service_key_write}

    def start(self) -> None:
        """Tell the replicator of the remotes, and begin to write down what it has to say."""
        self.publish()
        try:
            note_restore(self._archive)
        except MailkeepError as error:
            log.error("where the archive was restored from could not be written down: %s", error.message)
        self._thread.start()

    def close(self) -> None:
        """End, with what goes on in this process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._own is not None:
            self._own.close()
            self.attend()

    def publish(self) -> None:
        """Tell the replicator of the remotes as they are set up now. Raises StorageError."""
        settings = self._archive.settings
        common = settings.replication()
        remotes = Remotes(tuple(map(config_of, settings.remotes())), common.keep_local_days, common.rehearsal)
        try:
            write_remotes(self._archive.paths.data, keys_of(self._archive.keyring), remotes)
        except OSError as error:
            raise storage_error(error) from error

    # -- remotes ----------------------------------------------------------------------------------------------

    def remotes(self, principal: Principal) -> tuple[api.RemoteInfo, ...]:
        """All remotes, by name, with how far they are."""
        principal.require("admin")
        log_count = self._archive.backlog.count(self._archive.catalogue)
        states = {one.name: one for one in self._archive.see_replicas(log_count.records).replicas}
        puts = self._archive.settings.remotes()
        return tuple(_info(one, states.get(one.name) or _unknown(one)) for one in map(config_of, puts))

    def add(
        self, principal: Principal, *, name: str, type: str, options: Mapping[str, str] | None = None, path: str = "",
        paused: bool = False, interval: int = 300, snapshot_interval: int = 86_400, bandwidth: str = "",
        transfers: int = 4, lock_days: int = 0, lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] = "GOVERNANCE",
        keep_daily: int = 7, keep_weekly: int = 4,
    ) -> api.RemoteInfo:  # fmt: skip
        """A new remote; it is replicated to from now on. Raises UsageError, ConflictError for a name that is taken."""
        principal.require("admin")
        config = check(
            RemoteConfig(
                name=name, type=type, options=dict(options or {}), path=path, paused=paused, interval=interval,
                snapshot_interval=snapshot_interval, bandwidth=bandwidth, transfers=transfers, lock_days=lock_days,
                lock_mode=lock_mode, keep_daily=keep_daily, keep_weekly=keep_weekly,
            )
        )  # fmt: skip
        with self._lock:
            if self._find(name) is not None:
                raise ConflictError(
                    later("There is a remote called “{name}” already. Change it, or take another name."), name=name
                )
            self._require_own_place(config)
            self._put(principal, config)
        return self._one(principal, name)

    def change(
        self, principal: Principal, *, name: str, options: Mapping[str, str] | None = None, path: str | None = None,
        paused: bool | None = None, interval: int | None = None, snapshot_interval: int | None = None,
        bandwidth: str | None = None, transfers: int | None = None, lock_days: int | None = None,
        lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None, keep_daily: int | None = None,
        keep_weekly: int | None = None,
    ) -> api.RemoteInfo:  # fmt: skip
        """Change what is given. Of ``options`` those that are given change, and an empty value takes one away.

        Raises NotFoundError, UsageError; where it is to lie at another place, ConflictError if volumes that are not on
        this disk are at the old one only, and as ``Remote.list`` if the new one cannot be looked at for them.
        """
        principal.require("admin")
        given = {
            "path": path, "paused": paused, "interval": interval, "snapshot_interval": snapshot_interval,
            "bandwidth": bandwidth, "transfers": transfers, "lock_days": lock_days, "lock_mode": lock_mode,
            "keep_daily": keep_daily, "keep_weekly": keep_weekly,
        }  # fmt: skip
        with self._lock:
            before = self._known(name)
            changed = {key: value for key, value in given.items() if value is not None}
            config = check(msgspec.structs.replace(before, options=_merged(before, options), **changed))
            if place_of(config) != place_of(before):
                self._require_own_place(config)
                self._require_reachable(before, config)
            if config != before:
                self._put(principal, config)
            if (config.path, config.options) != (before.path, before.options):
                self._states.history.forget_standing(name)  # and so it is tried at once
        return self._one(principal, name)

    def remove(self, principal: Principal, *, name: str) -> None:
        """Replicate there no more. What lies there stays. Raises NotFoundError, StorageError, and ConflictError where
        volumes that are not on this disk lie there only."""
        principal.require("admin")
        with self._lock:
            self._require_elsewhere(self._known(name))
            self._archive.record(principal, events.RemoteRemoved(name))
            self.publish()
            self._states.history.forget_standing(name)
            try:
                State(self._paths_of(name), keys_of(self._archive.keyring)).forget()
            except OSError as error:
                raise storage_error(error) from error

    def test(
        self, principal: Principal, *, name: str = "", type: str = "", options: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> api.RemoteTested:  # fmt: skip
        """Try a remote that is set up, with ``options`` and ``path`` changed as given; or, with ``type``, one that is
        not set up yet. Raises NotFoundError, UsageError, UnavailableError."""
        principal.require("admin")
        if type and self._find(name) is None:
            config = RemoteConfig(name=name or "new", type=type, options=dict(options or {}), path=path or "")
        else:
            before = self._known(name)
            config = msgspec.structs.replace(
                before, options=_merged(before, options), path=before.path if path is None else path
            )
        found = self._ask("test", RemoteTest, config=check(config))
        return api.RemoteTested(
            passed=found.passed, written=found.written, read=found.read, deleted=found.deleted,
            up=found.bytes_per_second_up, down=found.bytes_per_second_down, free=found.room.free, words=found.words,
            failure=found.failure,
        )  # fmt: skip

    def files(self, principal: Principal, *, name: str, folder: str = "") -> api.RemoteListing:
        """What is in a folder of a remote, beside the replica. Raises NotFoundError, ForbiddenError for the replica's
        own, UsageError, UnavailableError."""
        principal.require("admin")
        self._known(name)
        self._archive.note(principal, "remote.look", f"{name}:{clean(folder)}")
        found = self._ask("look", Listing, remote=name, folder=folder)
        entries = (api.RemoteEntry(one.path, one.folder, one.size, one.modified // 1_000_000) for one in found.entries)
        return api.RemoteListing(name, found.folder, tuple(entries), found.unlisted)

    def require_known(self, name: str) -> None:
        """Raise NotFoundError where no remote is called so."""
        self._known(name)

    def file(self, name: str, path: str) -> RemoteFile:
        """What is known of a file that lies on a remote, beside the replica. Raises as ``files``."""
        self._known(name)
        return self._ask("look_at", RemoteFile, remote=name, path=path)

    def piece(self, name: str, path: str, offset: int, size: int) -> bytes:
        """Bytes of such a file, fewer than ``size`` only at its end. Raises as ``files``."""
        return self._ask("piece", bytes, remote=name, path=path, offset=offset, size=size)

    def store(self, name: str, path: str, data: bytes) -> bool:
        """A new file on a remote, beside the replica; False where these bytes are there already. Raises ConflictError
        where another file is, ForbiddenError for the replica's folder, and what the remote raises."""
        stored: bool | None = None
        for offset in range(0, max(len(data), 1), LARGEST_PIECE):
            piece = data[offset : offset + LARGEST_PIECE]
            asked = {"remote": name, "path": path, "data": piece, "offset": offset, "size": len(data)}
            stored = self._ask("store", bool | None, **asked)  # type: ignore[arg-type]
        return bool(stored)

    # -- runs -------------------------------------------------------------------------------------------------

    def replicate(self, principal: Principal, *, remote: str = "") -> tuple[api.RunInfo, ...]:
        """Bring one remote, or all that are not paused, up to date: what was confirmed until now is there when these
        runs are done. Raises NotFoundError, UsageError without any, UnavailableError."""
        return self._begin(principal, "replicate", "replicate.begin", remote)

    def verify(self, principal: Principal, *, remote: str = "", full: bool = False) -> tuple[api.RunInfo, ...]:
        """Check one replica, or all: some files of it, or, with ``full``, whether all of it is there and whole.

        Raises as ``replicate``.
        """
        return self._begin(principal, "check" if full else "sample", "replica.verify.begin", remote)

    def runs(self, principal: Principal, *, ids: tuple[int, ...]) -> tuple[api.RunInfo, ...]:
        """These runs as they are now, with how far they are. Raises NotFoundError."""
        principal.require("admin")
        return tuple(self._states.run(self._states.history.run(id)) for id in ids)

    def stop(self, principal: Principal, *, id: int) -> None:
        """Ask a run to end; what it has uploaded is used by the next. Raises NotFoundError, UnavailableError."""
        principal.require("admin")
        run = self._states.history.run(id)
        self._archive.note(principal, "replicate.stop", f"{run.kind} {run.remote}".strip())
        self._ask("stop", type(None), id=id)

    def history(self, principal: Principal, *, remote: str | None = None, limit: int = 50) -> tuple[api.RunInfo, ...]:
        """The runs that are remembered, newest first; with ``remote`` that remote's."""
        principal.require("admin")
        runs = self._states.history.runs(remote, limit=min(max(limit, 0), KEPT))
        return tuple(map(self._states.run, runs))

    # -- what holds for all remotes ---------------------------------------------------------------------------

    def settings(self, principal: Principal) -> api.ReplicationSettings:
        """What holds for all remotes together."""
        principal.require("admin")
        put = self._archive.settings.replication()
        return api.ReplicationSettings(put.keep_local_days, put.rehearsal)

    def settings_set(
        self, principal: Principal, *, keep_local_days: int | None = None, rehearsal: bool | None = None
    ) -> api.ReplicationSettings:
        """Change what is given. Raises UsageError."""
        principal.require("admin")
        if keep_local_days is not None and not 0 <= keep_local_days <= 36_500:
            raise UsageError(
                "Mail can be kept here for 1 to 36,500 days before it may be on replicas only, or 0: always."
            )
        with self._lock:
            before = self._archive.settings.replication()
            after = events.ReplicationSet(
                before.keep_local_days if keep_local_days is None else keep_local_days,
                before.rehearsal if rehearsal is None else rehearsal,
            )
            if after != before:
                self._archive.record(principal, after)
                self.publish()
        return self.settings(principal)

    def service_key(self, principal: Principal) -> bytes:
        """The service key as it lies in a file, for systemd to keep: for who may open the archive anyhow."""
        principal.require(KEYHOLDER)
        self._archive.note(principal, "service-key.give", "systemd")
        return encoded(keys_of(self._archive.keyring))

    def service_key_write(self, principal: Principal) -> str:
        """Lay the service key beside the data folder, so that replication goes on while the archive is locked; where.

        Raises StorageError.
        """
        principal.require(KEYHOLDER)
        place = self._archive.paths.service_keyfile
        self._archive.note(principal, "service-key.give", place.name)
        write_service_keyfile(self._archive.paths, keys_of(self._archive.keyring))
        return str(place)

    # -- helpers ----------------------------------------------------------------------------------------------

    def _begin(self, principal: Principal, kind: Kind, action: str, remote: str) -> tuple[api.RunInfo, ...]:
        principal.require("admin")
        if remote:
            self._known(remote)
        self._archive.note(principal, action, remote or "all remotes")
        return tuple(map(self._states.run, self._ask("begin", tuple[Run, ...], kind=kind, remote=remote)))

    def _put(self, principal: Principal, config: RemoteConfig) -> None:
        self._archive.record(principal, _event_of(config))
        self.publish()

    def _find(self, name: str) -> RemoteConfig | None:
        return next((config_of(one) for one in self._archive.settings.remotes() if one.name == name), None)

    def _paths_of(self, name: str) -> ReplicaPaths:
        return ReplicaPaths.of(self._archive.paths.data, name)

    def _require_own_place(self, config: RemoteConfig) -> None:
        """Two remotes at one place are one copy, and would be counted as two. Raises ConflictError."""
        for other in map(config_of, self._archive.settings.remotes()):
            if other.name != config.name and is_same_place(config, other):
                raise ConflictError(
                    later(
                        "The remote “{name}” lies at this place already, and a replica needs one of its own. Give "
                        "another path. Accounts cannot be told apart: a folder of the same name in another account "
                        "needs another name, too."
                    ),
                    name=other.name,
                )

    def _require_elsewhere(self, config: RemoteConfig) -> None:
        """What is not on this disk is on another remote too, as far as this box knows. Raises ConflictError."""
        if only := self._only_at(config):
            raise ConflictError(
                later(
                    "{count} of the archive's volumes are not on this disk, and no other remote than “{name}” is "
                    "known to have them. It was not removed. Pause it, replicate to another remote once they are "
                    "here again, and remove it then."
                ),
                count=len(only),
                name=config.name,
            )

    def _require_reachable(self, before: RemoteConfig, after: RemoteConfig) -> None:
        """What is not on this disk and at no other remote is where a remote is to lie from now on. Raises
        ConflictError, and as ``Remote.list`` where that cannot be looked at."""
        only = self._only_at(before)
        if only and (lacking := only.intersection(self._ask("lacking", tuple[str, ...], config=after))):
            raise ConflictError(
                f"{len(lacking)} of the archive's volumes are not on this disk, and where “{before.name}” is to lie "
                "from now on they are not, either: their mail could not be opened any more. Nothing was changed. Copy "
                "everything from the old place to the new one first, or add the new place as a remote of its own, with "
                "a name of its own."
            )

    def _only_at(self, config: RemoteConfig) -> frozenset[str]:
        """The volumes that are not on this disk, and on no other remote, as far as this box knows: their paths."""
        absent = AbsentFiles(self._archive.paths.volumes).all()
        if not absent:
            return frozenset()
        keys = keys_of(self._archive.keyring)
        try:
            there = remembered_files(self._paths_of(config.name), config, keys)
            others = [
                remembered_files(self._paths_of(other.name), other, keys) or {}
                for other in map(config_of, self._archive.settings.remotes())
                if other.name != config.name and not is_same_place(other, config)
            ]
        except OSError as error:
            raise storage_error(error) from error
        return frozenset(
            path
            for path, one in absent.items()
            if (there is None or _has(there, one)) and not any(_has(other, one) for other in others)
        )

    def _known(self, name: str) -> RemoteConfig:
        found = self._find(name)
        if found is None:
            raise NotFoundError(
                later("There is no remote called “{name}”. `mailkeep remote list` shows those there are."), name=name
            )
        return found

    def _one(self, principal: Principal, name: str) -> api.RemoteInfo:
        return next(one for one in self.remotes(principal) if one.name == name)

    def _ask(self, method: str, kind: type[T], /, **params: Any) -> T:
        """Ask the replicator, wherever it is. Raises UnavailableError, and what it raises."""
        archive = self._archive
        if not isinstance(archive.keyring, AgentKeys):
            with self._lock:
                if self._own is None:
                    self.publish()
                    self._own = _Own(archive)
            answer: T = self._own.desk.methods()[method](**params)
            return answer
        return ask(archive.paths, method, kind, **params)

    def _run(self) -> None:
        while not self._stop.wait(NOTE_SECONDS):
            self.attend()

    def attend(self) -> None:
        """Write down what the replicator has to say, and open what it has read back."""
        try:
            for one in self._states.history.notes():
                self._archive.note(SYSTEM, one.action, one.what)
                self._states.history.noted(one.id)
            self._samples.look(self._states.history)
        except MailkeepError as error:
            log.error("what the replicator says could not be written down: %s", error.message)


class _Own:
    """A replicator in this process, on a box where nothing is served."""

    def __init__(self, archive: Archive) -> None:
        # What it takes to replicate is loaded by who replicates only.
        from appliance.services.replicator.door import Desk
        from appliance.services.replicator.replication import Replication
        from appliance.services.rolling import Roller

        self._replication = Replication(archive.paths, keys_of(archive.keyring), alone=True)
        self._replication.recover()
        self._roller = Roller(archive)
        self._roller.start()
        self.desk = Desk(self._replication)

    def close(self) -> None:
        """End what goes on."""
        self._replication.close()
        self._roller.close()


def config_of(put: events.RemotePut) -> RemoteConfig:
    """A remote as replication knows it."""
    return RemoteConfig(
        name=put.name, type=put.kind, options=put.options, path=put.path, paused=put.paused, interval=put.interval,
        snapshot_interval=put.snapshot_interval, bandwidth=put.bandwidth, transfers=put.transfers,
        lock_days=put.lock_days, lock_mode=put.lock_mode, keep_daily=put.keep_daily, keep_weekly=put.keep_weekly,
    )  # fmt: skip


def _event_of(config: RemoteConfig) -> events.RemotePut:
    return events.RemotePut(
        name=config.name, kind=config.type, options=dict(config.options), path=config.path, paused=config.paused,
        interval=config.interval, snapshot_interval=config.snapshot_interval, bandwidth=config.bandwidth,
        transfers=config.transfers, lock_days=config.lock_days, lock_mode=config.lock_mode,
        keep_daily=config.keep_daily, keep_weekly=config.keep_weekly,
    )  # fmt: skip


def _merged(before: RemoteConfig, options: Mapping[str, str] | None) -> dict[str, str]:
    """The options with those that are given. Raises UsageError where that would take a stored secret elsewhere."""
    given = options or {}
    changed = [key for key, value in given.items() if not is_secret(key) and value != before.options.get(key, "")]
    stored = [key for key in before.options if is_secret(key) and key not in given]
    if changed and stored:
        raise UsageError(
            f"{', '.join(sorted(changed))} of the remote “{before.name}” can be changed together with its secrets "
            f"only: give {', '.join(sorted(stored))} anew. A secret is sent only to the place that it was given for."
        )
    merged = {**before.options, **given}
    return {key: value for key, value in merged.items() if value}


def _has(files: Mapping[str, Placed], absent: AbsentFile) -> bool:
    one = files.get(ROOT + absent.path)
    return one is not None and (one.size, one.hash) == (absent.size, absent.hash)


def _info(config: RemoteConfig, replica: api.ReplicaState) -> api.RemoteInfo:
    shown = (
        api.RemoteOption(key, "" if is_secret(key) else value, is_secret(key))
        for key, value in sorted(config.options.items())
    )
    return api.RemoteInfo(
        name=config.name, type=config.type, path=config.path, options=tuple(shown), paused=config.paused,
        interval=config.interval, snapshot_interval=config.snapshot_interval, bandwidth=config.bandwidth,
        transfers=config.transfers, lock_days=config.lock_days, lock_mode=config.lock_mode,
        keep_daily=config.keep_daily, keep_weekly=config.keep_weekly,
        erased_stay_days=config.erased_stay_days, replica=replica,
    )  # fmt: skip


def _unknown(config: RemoteConfig) -> api.ReplicaState:
    return api.ReplicaState(
        name=config.name, state="paused" if config.paused else "new", interval=config.interval,
        trouble="The history of replication cannot be read just now.",
    )  # fmt: skip
