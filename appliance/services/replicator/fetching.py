"""Bringing back one volume that is on replicas only, for somebody who waits for it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from appliance.cloud.backends import place_of
from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.remote import Remote, RemoteConfig
from appliance.cloud.restore_state import RestoreFolder, Restoring
from appliance.cloud.whereabouts import Whereabouts
from appliance.errors import DamageError, MailkeepError, NotFoundError, UnavailableError
from appliance.store.absent import AbsentFile, AbsentFiles

log = logging.getLogger(__name__)


class Fetching:
    """Fetches from whichever remote has the file and answers: one of those that are set up, or the one that the archive
    is being restored from. Threads may share it."""

    def __init__(
        self, data: Path, keys: ReplicaKeys, *, configs: Callable[[], Sequence[RemoteConfig]],
        remote: Callable[[RemoteConfig], Remote],
    ) -> None:  # fmt: skip
        """``configs`` gives the remotes that are set up, ``remote`` opens one."""
        self._data = data
        self._volumes = data / "volumes"
        self._keys = keys
        self._configs = configs
        self._remote = remote
        self._absent = AbsentFiles(self._volumes)
        self._known: dict[str, tuple[Remote, Whereabouts]] = {}
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Lock] = {}

    def fetch(self, path: str) -> None:
        """A volume's file is in its place on return. ``path`` is relative to the volumes folder.

        Raises NotFoundError where it is not listed as absent, UnavailableError where no remote gave it, DamageError
        where the list is damaged, StorageError.
        """
        with self._one_at_a_time(path):
            if (self._volumes / path).exists():
                return
            wanted = self._absent.all().get(path)
            if wanted is None:
                raise NotFoundError(f"{path} is not among the volumes that are on a replica only.")
            restoring = self._restoring()
            restored = [] if restoring is None else [(restoring.manifest.epoch, restoring.manifest.number)]
            troubles = []
            for config in self._places(restoring):
                try:
                    self._whereabouts(self._remote(config)).bring(wanted, self._volumes, first=restored)
                except MailkeepError as error:
                    log.warning("%s could not be had from “%s”: %s", path, config.name, error.message)
                    troubles.append(error.message)
                else:
                    return
        said = " ".join(dict.fromkeys(troubles)) or "No remote is set up."
        raise UnavailableError(
            f"This mail is on a replica only and could not be fetched just now. Nothing is lost. {said}"
        )

    def lacking(self, remote: Remote) -> list[AbsentFile]:
        """Of all that is not on this disk, what no generation at a remote has, or what is not there any more as large
        as it was. Raises as ``Remote.list`` and ``read``, DamageError where the list is damaged, StorageError."""
        absent = self._absent.all().values()
        if not absent:
            return []
        there = {one.name: one.size for one in remote.list("objects")}
        whereabouts = Whereabouts(remote, self._keys)
        return [
            wanted
            for wanted in absent
            if not any(there.get(one.object, -1) >= one.offset + one.size for one in whereabouts.of(wanted))
        ]

    def _restoring(self) -> Restoring | None:
        """The restore that is not at its end yet, if there is one."""
        with contextlib.suppress(NotFoundError, DamageError):
            return RestoreFolder(self._data).load(self._keys)
        return None

    def _places(self, restoring: Restoring | None) -> Iterator[RemoteConfig]:
        """Where to ask: the settings may name the remote of the restore by an address or a key of before the fire, or
        not at all."""
        configs = self._configs()
        yield from configs
        if restoring is not None:
            theirs = restoring.remote
            if not any((place_of(one), one.options) == (place_of(theirs), theirs.options) for one in configs):
                yield theirs

    def _whereabouts(self, remote: Remote) -> Whereabouts:
        """What is known of a remote; anew where another connection has taken its place."""
        with self._lock:
            known = self._known.get(remote.config.name)
            if known is None or known[0] is not remote:
                known = self._known[remote.config.name] = remote, Whereabouts(remote, self._keys)
            return known[1]

    def _one_at_a_time(self, path: str) -> threading.Lock:
        with self._lock:
            return self._under_way.setdefault(path, threading.Lock())
