"""Bringing back one volume that is on replicas only, for somebody who waits for it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from appliance.cloud.fetching import arriving, place
from appliance.cloud.manifests import ReplicaKeys, files_of, generation, generation_names, get_placed
from appliance.cloud.objects import Placed
from appliance.cloud.remote import Remote
from appliance.errors import MailkeepError, NotFoundError, UnavailableError
from appliance.services.replicator.replication import Replication
from appliance.store.absent import AbsentFile, AbsentFiles

log = logging.getLogger(__name__)

ROOT = "volumes/"
"""What paths in a manifest begin with, seen from the data folder."""
MOST_GENERATIONS = 3
"""Generations that are looked into."""


class Fetching:
    """Fetches from whichever remote has the file and answers. Threads may share it."""

    def __init__(self, replication: Replication, volumes: Path) -> None:
        self._replication = replication
        self._volumes = volumes
        self._absent = AbsentFiles(volumes)
        self._known: dict[str, tuple[tuple[int, int], Mapping[str, Placed]]] = {}
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
            troubles = []
            for config in self._replication.remotes().remotes:
                try:
                    remote = self._replication.remote(config)
                    self._get(remote, wanted)
                except MailkeepError as error:
                    log.warning("%s could not be had from “%s”: %s", path, config.name, error.message)
                    troubles.append(error.message)
                else:
                    return
        said = " ".join(dict.fromkeys(troubles)) or "No remote is set up."
        raise UnavailableError(
            f"This mail is on a replica only and could not be fetched just now. Nothing is lost. {said}"
        )

    def _get(self, remote: Remote, wanted: AbsentFile) -> None:
        placed = self._placed(remote, wanted)
        target = arriving(self._volumes, wanted.path)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        get_placed(remote, placed, target)
        place(self._volumes, wanted.path, target, wanted.hash)

    def _placed(self, remote: Remote, wanted: AbsentFile) -> Placed:
        """Where the file is, as one of the newest generations says; all that is absent here is in each of them."""
        keys: ReplicaKeys = self._replication.keys
        for number in generation_names(remote)[:MOST_GENERATIONS]:
            found = self._files(remote, keys, number).get(ROOT + wanted.path)
            if found is not None and found.hash == wanted.hash:
                return found
        raise NotFoundError(f"No generation at “{remote.config.name}” has {wanted.path}.")

    def _files(self, remote: Remote, keys: ReplicaKeys, number: tuple[int, int]) -> Mapping[str, Placed]:
        """The files of a generation; those of the one that was asked for last are kept."""
        with self._lock:
            known = self._known.get(remote.config.name)
        if known is None or known[0] != number:
            known = number, files_of(generation(remote, keys, *number), remote, keys)
            with self._lock:
                self._known[remote.config.name] = known
        return known[1]

    def _one_at_a_time(self, path: str) -> threading.Lock:
        with self._lock:
            return self._under_way.setdefault(path, threading.Lock())
