"""The remotes of this process: one rclone for all, each remote opened when it is needed and kept until it changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from appliance.cloud.outside import Browsable, Outside, whole
from appliance.cloud.rclone import Rclone
from appliance.cloud.remote import Remote, RemoteConfig
from appliance.errors import UsageError


class Opener(Protocol):
    """What opens remotes: ``cloud.rclone.Rclone``, or a double in tests."""

    def remote(self, config: RemoteConfig) -> Remote:
        """The remote of these settings."""
        ...

    def tokens(self) -> Mapping[str, Mapping[str, str]]:
        """Options that were changed by the providers, by remote."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Connections:
    """Open remotes by name. Threads may share it."""

    def __init__(self, run: Path, opener: Opener | None = None) -> None:
        """``run`` is a folder for rclone's socket."""
        self._run = run
        self._opener = opener
        self._open: dict[str, tuple[RemoteConfig, Remote]] = {}
        self._whole: dict[str, tuple[RemoteConfig, Remote]] = {}
        self._lock = threading.Lock()

    def remote(self, config: RemoteConfig) -> Remote:
        """The remote as it is set up now. Raises UnavailableError without rclone."""
        return self._kept(self._open, config)

    def outside(self, config: RemoteConfig) -> Outside:
        """What lies beside the replica of a remote as it is set up now. Raises UnavailableError without rclone."""
        remote = self._kept(self._whole, whole(config))
        if not isinstance(remote, Browsable):
            raise UsageError(f"The remote “{config.name}” cannot be looked into.")
        return Outside(remote, config)

    def other(self, config: RemoteConfig) -> Remote:
        """A remote that is not kept: the caller closes it."""
        with self._lock:
            return self._rclone().remote(config)

    def stop(self, name: str) -> None:
        """Break off what is being moved to or from a remote."""
        with self._lock:
            held = self._open.get(name)
        if held is not None:
            held[1].stop()

    def tokens(self) -> Mapping[str, Mapping[str, str]]:
        """Options that were changed by the providers, by remote."""
        with self._lock:
            return {} if self._opener is None else self._opener.tokens()

    def close(self) -> None:
        """Give everything back; what is being moved is broken off."""
        with self._lock:
            held = [*self._open.values(), *self._whole.values()]
            self._open, self._whole = {}, {}
            for _, remote in held:
                remote.stop()
                remote.close()
            if self._opener is not None:
                self._opener.close()

    def _kept(self, open: dict[str, tuple[RemoteConfig, Remote]], config: RemoteConfig) -> Remote:
        with self._lock:
            held = open.get(config.name)
            if held is not None:
                if self._is_same(held[0], config):
                    return held[1]
                held[1].close()
            remote = self._rclone().remote(config)
            open[config.name] = config, remote
            return remote

    def _rclone(self) -> Opener:
        if self._opener is None:
            self._opener = Rclone(self._run)
        return self._opener

    def _is_same(self, held: RemoteConfig, wanted: RemoteConfig) -> bool:
        """Whether they differ in nothing, or only in what the provider changed through this very connection."""
        if held == wanted:
            return True
        changed = self._opener.tokens().get(held.name, {}) if self._opener is not None else {}
        return bool(changed) and msgspec.structs.replace(held, options={**held.options, **changed}) == wanted
