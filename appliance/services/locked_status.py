"""What can be told of a locked archive: what waits for the key, and what the gateway and the disk do meanwhile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from appliance import __version__
from appliance.catalogue.store import Catalogue
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services import alarming, api, replica_states
from appliance.services.alarms.conditions import troubles
from appliance.services.alarms.keeper import Alarms
from appliance.services.generations import Generations
from appliance.services.observing import box_observed
from appliance.services.paths import Paths
from appliance.services.replica_states import ReplicaStates
from appliance.services.status import workers
from appliance.services.tries import WrongTries
from appliance.services.turned_away import TurnedAway
from appliance.services.unlock import is_memory_locked, load_keyring, slot_kinds, unlocks_itself
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef, VolumeInfo

SEEN = frozenset({
    "locked", "disk", "memory", "swap", "certificate", "gateway", "turned-away", "sign-in", "verify", "undelivered",
    "replica-unknown", "replica-unsound", "replica-clock", "replica-superseded", "replica-empty", "replica-behind",
    "unreplicated",
})  # fmt: skip
"""Kinds of alarms that need no key to be seen; the others stay as they were until the archive is unlocked."""


class LockedStatus:
    """The numbers that need no key: the log is counted by its clear headers, and the catalogue holds keyed hashes."""

    def __init__(self, paths: Paths, *, clock: Callable[[], float] = time.time) -> None:
        self._paths = paths
        self.clock = clock
        self._reader = LogReader(paths.volumes, seal_key=load_keyring(paths))
        self.replicas = ReplicaStates(paths, self._reader)
        """How far the remotes are."""
        self.alarms = Alarms(paths.alarms, clock=clock)
        """What an administrator should look at."""
        self.tries = WrongTries()
        """Passphrases that did not fit."""
        self._turned_away = TurnedAway()
        self._started_at = int(clock())

    def status(self) -> api.Status:
        """The numbers now. What cannot be known without the key is 0."""
        now = self.clock()
        catalogue = Catalogue(Generations(self._paths).current().catalogue)
        try:
            counts, last, cursors = catalogue.counts(), catalogue.last_received(), catalogue.cursors()
        finally:
            catalogue.close()
        keyring = load_keyring(self._paths)
        volumes = [one for one in self._reader.volumes() if one.mailbox != SYSTEM_MAILBOX]
        searched = [one for one in volumes if not keyring.is_sealed(one.mailbox)]
        waiting = [ref for one in searched for ref in self._beyond(one, *cursors.get(one.path, (0, False)))]
        oldest = min((ref.time for ref in waiting), default=None)
        last = max((at for at in (last, *(ref.time for ref in waiting)) if at is not None), default=None)
        records = counts.records + len(waiting)
        replicated = self.replicas.see(now, records)
        disk = shutil.disk_usage(self._paths.data)
        gateway = workers(self._paths.data)
        observed = box_observed(
            self._paths, now, waiting=len(waiting), workers=tuple(gateway),
            turned_away=self._turned_away.lately(gateway, now), tries=self.tries.recent(),
            replicas=tuple(replica_states.troubles(replicated)), reported=self.alarms.book.reported,
        )  # fmt: skip
        alarms = self.alarms.see(troubles(observed, self.alarms.level), SEEN)
        return api.Status(
            version=__version__,
            started_at=self._started_at,
            unlocked=False,
            unlocks_itself=unlocks_itself(self._paths),
            records=records,
            projected=counts.records,
            messages=counts.messages,
            indexed=0,
            unassigned=counts.unassigned,
            unparsed=counts.unparsed,
            users=0,
            mailboxes=len(keyring.mailboxes.keys() - {SYSTEM_MAILBOX, IMPORTS_MAILBOX}),  # those are no doors
            volumes=len(volumes),
            volumes_signed=sum(one.sealed for one in volumes),
            backlog=len(waiting),
            oldest_unsearchable_seconds=0.0 if oldest is None else max(now - oldest / 1e6, 0.0),
            last_message_at=None if last is None else last // 1_000_000,
            per_minute=(),
            log_bytes=sum(one.stored for one in volumes),
            index_bytes=0,
            disk_free=disk.free,
            disk_total=disk.total,
            accepted=sum(one.accepted for one in gateway),
            refused=sum(one.refused for one in gateway),
            deferred=sum(one.deferred for one in gateway),
            alarms=tuple(map(alarming.info, alarms)),
            memory_locked=is_memory_locked(self._paths),
            slots=slot_kinds(self._paths),
            replicas=replicated.replicas,
            only_here=replicated.only_here,
        )

    def _beyond(self, volume: VolumeInfo, cursor: int, finished: bool) -> list[RecordRef]:
        """The messages that the catalogue does not have yet."""
        if finished or volume.absent:
            return []
        found = (one for one in self._reader.scan(volume, cursor) if isinstance(one, RecordRef))
        return [one for one in found if one.type == RecordType.MESSAGE]
