"""The part of the double that has replicas: remotes in memory, runs that a test moves on, a test that passes or not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.cloud.backends import check_config, is_secret
from appliance.cloud.remote import RemoteConfig
from appliance.errors import ConflictError, NotFoundError, UsageError
from appliance.services import api

NOW = int(datetime.now(UTC).timestamp())
SECRET = "wJalrXUtnFEMI-K7MDENG"
REFUSED = "The remote does not accept the credentials. Check user or key, and the password as it is."


class ReplicasDouble:
    """Remotes and runs; mixed into ``ArchiveDouble``."""

    remotes_by_name: dict[str, api.RemoteInfo]

    def _admin(self, token: str) -> None:
        raise NotImplementedError

    def _note(self, method: str, **params: Any) -> None:
        raise NotImplementedError

    def begin_replicas(self) -> None:
        """Two remotes and some runs."""
        self.passes = True
        self.secrets: dict[str, dict[str, str]] = {"wasabi": {"secret_access_key": SECRET}}
        self.keeping = api.ReplicationSettings(keep_local_days=0, rehearsal=True)
        self.runs: list[api.RunInfo] = [_run(number) for number in range(12, 0, -1)]
        options = (
            api.RemoteOption("access_key_id", "AKIA0MAILKEEP"),
            api.RemoteOption("endpoint", "https://s3.eu-central-1.wasabisys.com"),
            api.RemoteOption("provider", "Wasabi"),
            api.RemoteOption("secret_access_key", "", secret=True),
        )
        self.remotes_by_name = {
            "office-nas": _info(RemoteConfig("office-nas", "local", path="/mnt/nas/mail keep"), (), waiting=3),
            "wasabi": _info(RemoteConfig("wasabi", "s3", path="acme-mail/archive", lock_days=30), options),
        }

    def only_here(self, records: int) -> int:
        """Messages that no remote has."""
        return min((one.replica.waiting for one in self.remotes_by_name.values()), default=records)

    def set_replica(self, name: str, **changes: Any) -> None:
        """Have a replica look otherwise."""
        remote = self.remotes_by_name[name]
        self.remotes_by_name[name] = msgspec.structs.replace(
            remote, replica=msgspec.structs.replace(remote.replica, **changes)
        )

    def set_running(self, name: str, **changes: Any) -> api.RunInfo:
        """Have a run under way."""
        run = api.RunInfo(
            id=len(self.runs) + 1, remote=name, kind="replicate", asked=True, state="running", queued_at=NOW - 61,
            begun_at=NOW - 60, done=1_300_000_000, bytes=1_300_000_000, total=4_000_000_000, rate=21_700_000.0,
            eta=124.0, what="volumes",
        )  # fmt: skip
        run = msgspec.structs.replace(run, **changes)
        self.runs.insert(0, run)
        self.set_replica(name, run=run)
        return run

    async def remotes(self, token: str) -> tuple[api.RemoteInfo, ...]:
        self._admin(token)
        return tuple(self.remotes_by_name.values())

    async def remote_add(self, token: str, *, name: str, type: str, **settings: Any) -> api.RemoteInfo:
        self._admin(token)
        self._note("remote_add", name=name, type=type, **settings)
        if name in self.remotes_by_name:
            raise ConflictError(f"There is a remote called “{name}” already. Change it, or take another name.")
        return self._put(msgspec.convert({"name": name, "type": type, **settings}, RemoteConfig), {})

    async def remote_change(self, token: str, *, name: str, **settings: Any) -> api.RemoteInfo:
        self._admin(token)
        self._note("remote_change", name=name, **settings)
        before = self._remote(name)
        known = {one.key: self.secrets[name][one.key] if one.secret else one.value for one in before.options}
        merged = known | dict(settings.pop("options", {}))
        values = {key: getattr(before, key) for key in _SETTINGS} | settings
        config = {"name": name, "type": before.type, "options": {key: text for key, text in merged.items() if text}}
        return self._put(msgspec.convert({**values, **config}, RemoteConfig), {"replica": before.replica})

    async def remote_remove(self, token: str, *, name: str) -> None:
        self._admin(token)
        self._note("remote_remove", name=name)
        del self.remotes_by_name[name]

    async def remote_test(
        self, token: str, *, name: str = "", type: str = "", options: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> api.RemoteTested:  # fmt: skip
        self._admin(token)
        self._note("remote_test", name=name, type=type, options=options, path=path)
        if type:
            check_config(RemoteConfig(name, type, options or {}, path or ""))
        if not self.passes:
            return api.RemoteTested(False, True, False, False, 0.0, 0.0, None, REFUSED)
        words = "A probe was written, read back, compared and deleted."
        return api.RemoteTested(True, True, True, True, 24_000_000.0, 61_000_000.0, 3_100_000_000_000, words)

    async def replicate_begin(self, token: str, *, remote: str = "") -> tuple[api.RunInfo, ...]:
        self._admin(token)
        self._note("replicate_begin", remote=remote)
        return tuple(self.set_running(name) for name in ([remote] if remote else self.remotes_by_name))

    async def replica_verify_begin(
        self, token: str, *, remote: str = "", full: bool = False
    ) -> tuple[api.RunInfo, ...]:
        self._admin(token)
        self._note("replica_verify_begin", remote=remote, full=full)
        return (self.set_running(remote, kind="check" if full else "sample"),)

    async def replica_stop(self, token: str, *, id: int) -> None:
        self._admin(token)
        self._note("replica_stop", id=id)
        run = next(one for one in self.runs if one.id == id)
        self.runs[self.runs.index(run)] = msgspec.structs.replace(run, state="stopped", ended_at=NOW, words="Stopped.")
        self.set_replica(run.remote, run=None)

    async def replica_history(
        self, token: str, *, remote: str | None = None, limit: int = 50
    ) -> tuple[api.RunInfo, ...]:
        self._admin(token)
        return tuple(run for run in self.runs if remote in (None, run.remote))[:limit]

    async def replica_settings(self, token: str) -> api.ReplicationSettings:
        self._admin(token)
        return self.keeping

    async def replica_settings_set(
        self, token: str, *, keep_local_days: int | None = None, rehearsal: bool | None = None
    ) -> api.ReplicationSettings:
        self._admin(token)
        if keep_local_days is not None and keep_local_days > 36_500:
            raise UsageError("Mail can be kept here for 1 to 36,500 days.")
        given = {"keep_local_days": keep_local_days, "rehearsal": rehearsal}
        self.keeping = msgspec.structs.replace(
            self.keeping, **{key: value for key, value in given.items() if value is not None}
        )
        return self.keeping

    def _remote(self, name: str) -> api.RemoteInfo:
        if name not in self.remotes_by_name:
            raise NotFoundError(f"There is no remote called “{name}”.")
        return self.remotes_by_name[name]

    def _put(self, config: RemoteConfig, kept: Mapping[str, Any]) -> api.RemoteInfo:
        check_config(config)
        self.secrets[config.name] = {key: text for key, text in config.options.items() if is_secret(key)}
        options = tuple(
            api.RemoteOption(key, "" if is_secret(key) else text, is_secret(key))
            for key, text in sorted(config.options.items())
        )
        fresh = api.ReplicaState(name=config.name, state="new", interval=config.interval, waiting=146)
        info = msgspec.structs.replace(_info(config, options), **{"replica": fresh, **kept})
        self.remotes_by_name[config.name] = info
        return info


_SETTINGS = (
    "path", "paused", "interval", "snapshot_interval", "bandwidth", "transfers", "lock_days", "lock_mode",
    "keep_daily", "keep_weekly",
)  # fmt: skip


def _info(config: RemoteConfig, options: tuple[api.RemoteOption, ...], waiting: int = 0) -> api.RemoteInfo:
    replica = api.ReplicaState(
        name=config.name, state="current", interval=config.interval, reached_at=NOW - 190, lag_seconds=190.0,
        waiting=waiting, waiting_bytes=41_200 * waiting, last_at=NOW - 190, next_at=NOW + 110, epoch=1,
        generation=214, records=48_113, free=3_100_000_000_000, used=2_210_000_000, checked_at=NOW - 260_000,
        rehearsed_at=NOW - 90_000,
    )  # fmt: skip
    settings = {key: getattr(config, key) for key in _SETTINGS}
    return api.RemoteInfo(
        name=config.name, type=config.type, options=options, erased_stay_days=config.erased_stay_days,
        replica=replica, **settings,
    )  # fmt: skip


def _run(number: int) -> api.RunInfo:
    begun = NOW - (13 - number) * 5_000
    run = api.RunInfo(
        id=number, remote=("office-nas", "wasabi")[number % 2], kind="replicate", asked=number % 4 == 0, state="done",
        queued_at=begun - 1, begun_at=begun, ended_at=begun + 9, words=f"Generation {200 + number} is complete.",
        bytes=13_400_000 * number, rate=1_480_000.0 * number,
        lines=(f"Generation {200 + number} of epoch 1 holds {48_000 + number} records.",),
    )  # fmt: skip
    if number == 7:
        return msgspec.structs.replace(
            run, state="failed", words="The remote “wasabi” does not answer. Everything is safe on this box; it is "
            "tried again by itself. (dial tcp: i/o timeout)", times=41, bytes=0, rate=0.0, lines=(),
        )  # fmt: skip
    return msgspec.structs.replace(run, kind="check", words="All of it is there and whole.") if number == 4 else run
