"""The open archive: everything a service needs, in one place, in the one process that may write settings."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.catalogue.store import Catalogue
from appliance.cloud.fetching import Fetcher
from appliance.errors import ConflictError, NotFoundError, StorageError
from appliance.extract.pool import ExtractPool
from appliance.index import live
from appliance.index.search import Index
from appliance.ingest.owners import Owners
from appliance.ingest.system_log import SystemLog
from appliance.keys.management import KeyManagement
from appliance.services.alarms.keeper import Alarms
from appliance.services.backlog import Backlog
from appliance.services.chain import SharedChain
from appliance.services.generations import Generation, Generations
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.services.replica_states import ReplicaStates, Seen
from appliance.services.replicator.history import Standing
from appliance.services.sealed import SealedMail
from appliance.services.seals import SealFiles
from appliance.services.tries import WrongTries
from appliance.services.turned_away import TurnedAway
from appliance.settings import events
from appliance.settings.store import Settings
from appliance.store.reader import LogReader
from appliance.store.writer import LogWriter

ARCHIVER = "a0"
"""Name of the archiver as a writer of volumes."""


class Indexed(msgspec.Struct, frozen=True):
    """The index in numbers; ``sequence`` is the last change of the catalogue that it covers."""

    documents: int
    live_bytes: int  # in memory
    sealed_bytes: int  # on disk
    sequence: int


class Archive:
    """One data folder, unlocked, with the right to write its settings.

    Only one process at a time may have it open; a second one gets ConflictError.
    """

    def __init__(
        self, paths: Paths, keyring: KeyManagement, *, clock: Callable[[], float] = time.time,
        alarms: Alarms | None = None,
    ) -> None:  # fmt: skip
        self.paths = paths
        self.keyring = keyring
        self.clock = clock
        self.started_at = int(clock())
        self.alarms = alarms or Alarms(paths.alarms, clock=clock)
        """What an administrator should look at."""
        self.tries = WrongTries()
        """Wrong passwords, to notice who guesses."""
        self.turned_away = TurnedAway()
        """Mail that mailboxes' own states and rules send back, as the gateway counts it."""
        self._lock = _take(paths.lock)
        self.settings = Settings(
            paths.settings, column_key=keyring.key("settings"), lookup_key=keyring.key("settings-lookup")
        )
        self.fetch = Fetcher(paths.replica_socket)
        """Gets back a volume that is on replicas only."""
        self.reader = LogReader(paths.volumes, keyring, fetch=self.fetch)
        self.writer = LogWriter(paths.volumes, ARCHIVER, reserve=0)
        self.system_log = SystemLog(
            reader=self.reader, writer=self.writer, keyring=keyring, settings=self.settings, clock=clock
        )
        self.system_log.replay()
        self.sealed = SealedMail(self.reader, self.settings.erased_after, self.is_sealed)
        """What is in sealed mailboxes."""
        self.chain = SharedChain(paths.volumes, keyring)
        """The chain of seals, to sign into."""
        self.seals = SealFiles(paths.volumes)
        """The chain of seals, by number."""
        self.backlog = Backlog(self.reader, paths.volumes, self.sealed)
        """What is in the log, and not searchable yet."""
        self.replica_states = ReplicaStates(paths, self.reader)
        """How far the remotes are."""
        self.directory = threading.RLock()
        """Held from looking whose an address is until it is given to somebody."""
        self.gateway_is_told = False
        """Whether the gateway's file holds what the settings say."""
        self._pool: ExtractPool | None = None
        self._pool_lock = threading.Lock()
        self._generations = Generations(paths)
        self._generation_lock = threading.Lock()
        self._open: tuple[Generation, Catalogue, Index] | None = None
        self._owners: Owners | None = None

    def close(self) -> None:
        """Give everything back."""
        self.writer.close()
        if self._pool is not None:
            self._pool.close()
        if self._open is not None:
            self._open[2].close()
            self._open[1].close()
        self.replica_states.close()
        self.settings.close()
        os.close(self._lock)

    # -- what is derived from the log -------------------------------------------------------------------------

    def open_projections(self) -> None:
        """Open catalogue and index now, so that a disk that fills up later does not keep anybody from reading.

        A disk that is full already is no reason not to start.
        """
        with contextlib.suppress(StorageError):
            self._projections()

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue in use."""
        return self._projections()[1]

    @property
    def index(self) -> Index:
        """The index in use."""
        return self._projections()[2]

    def _projections(self) -> tuple[Generation, Catalogue, Index]:
        with self._generation_lock:
            current = self._generations.current()
            if self._open is None or self._open[0] != current:
                # The old one is left to whoever still uses it in another thread.
                catalogue = Catalogue(current.catalogue)
                place = current.index(self.paths, self.keyring, catalogue)
                self._open = (current, catalogue, Index(place, budget=live.budget(place.live)))
            return self._open

    def indexed(self) -> Indexed:
        """How far the index in use is."""
        _, catalogue, index = self._projections()
        reached = index.reached()  # before the catalogue is asked: what changes meanwhile is behind, not overlooked
        newest = catalogue.newest_changes()
        behind = [reached.get(shard, 0) for shard, change in newest.items() if reached.get(shard, 0) < change]
        sequence = min(behind) if behind else max(newest.values(), default=0)
        return Indexed(index.all_documents(), index.live_bytes(), index.sealed_bytes(), sequence)

    @property
    def pool(self) -> ExtractPool:
        """The children in which mail is read; started when first needed."""
        with self._pool_lock:
            if self._pool is None:
                self._pool = ExtractPool(workers=1)
            return self._pool

    def is_sealed(self, mailbox: bytes) -> bool:
        """Whether only the mailbox's password opens its mail; no for one whose keys this archive does not have."""
        try:
            return self.keyring.is_sealed(mailbox)
        except NotFoundError:
            return False

    def see_replicas(self, records: int) -> Seen:
        """How far the remotes are that are set up, where the log has ``records`` messages."""
        set_up = {one.name: Standing(interval=one.interval, paused=one.paused) for one in self.settings.remotes()}
        return self.replica_states.see(self.clock(), records, set_up)

    # -- settings ---------------------------------------------------------------------------------------------

    @property
    def owners(self) -> Owners:
        """Owner look-up with the settings of this moment."""
        if self._owners is None or self._owners.position != self.settings.directory_version():
            self._owners = Owners.load(self.settings, self.keyring.key("settings-lookup"))
        return self._owners

    def record(self, principal: Principal, event: events.Event) -> None:
        """Append to the system log what the caller did or changed, and apply it."""
        self.system_log.append(event, by=principal.id, client=principal.client)

    def note(self, principal: Principal, action: str, what: str = "", reason: str = "") -> None:
        """Write an audit line for something that changes no setting."""
        self.record(principal, events.Noted(action=action, what=what, reason=reason))


def _take(lock: Path) -> int:
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConflictError(
            "Another mailkeep process has this archive open. Wait until it has finished, or stop it."
        ) from None
    return descriptor
