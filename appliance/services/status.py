"""How the product is, in numbers, and what an administrator should look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from operator import add
from pathlib import Path
from typing import NamedTuple

from appliance import __version__
from appliance.catalogue.store import Counts
from appliance.mail import published
from appliance.services import alarming, api, replica_states
from appliance.services.alarms.conditions import Disagreement, Observed, Quiet, troubles
from appliance.services.alarms.working_time import WorkingTime
from appliance.services.archive import Archive, Indexed
from appliance.services.backlog import LogCount
from appliance.services.observing import box_observed
from appliance.services.principal import Principal
from appliance.services.replica_states import Seen
from appliance.services.sealed import Usage
from appliance.services.timestamping import overdue
from appliance.services.unlock import is_memory_locked, slot_kinds, unlocks_itself
from appliance.settings import events


class _Seen(NamedTuple):
    """What one look at the archive found."""

    now: float
    log: LogCount
    counts: Counts
    indexed: Indexed
    behind: int  # records and messages that are not searchable yet
    late: float  # seconds since the oldest of them came in
    workers: list[published.WorkerStats]
    memory_locked: bool
    usage: dict[bytes, Usage]  # by mailbox

    @property
    def searchable(self) -> int:
        """Records in the log that are not in sealed mailboxes."""
        return self.log.records - self.log.sealed

    @property
    def agrees(self) -> bool:
        """Whether log, catalogue and index hold the same number, once nothing is on its way."""
        return self.behind > 0 or (
            self.searchable == self.counts.records and self.counts.messages == self.indexed.documents
        )


class Look(NamedTuple):
    """What one look found: the numbers of the status page, and what each mailbox holds."""

    status: api.Status
    usage: dict[bytes, Usage]  # by mailbox id


def status(archive: Archive, principal: Principal) -> api.Status:
    """The numbers of the status page, at this moment."""
    principal.require("admin")
    return look(archive).status


def look(archive: Archive) -> Look:
    """Look at everything, and bring the alarms up to date. It takes the longer the more there is (``looking``)."""
    disk = shutil.disk_usage(archive.paths.data)
    seen = _see(archive)
    replicated = archive.see_replicas(seen.log.records)
    alarms = archive.alarms.see(troubles(_observed(archive, seen, replicated), archive.alarms.level))
    last = max((one.last for one in seen.usage.values() if one.last is not None), default=None)
    numbers = api.Status(
        version=__version__,
        started_at=archive.started_at,
        unlocked=True,
        unlocks_itself=unlocks_itself(archive.paths),
        records=seen.log.records,
        sealed=seen.log.sealed,
        erased=seen.log.erased,
        projected=seen.counts.records,
        messages=seen.counts.messages,
        indexed=seen.indexed.documents,
        unassigned=seen.counts.unassigned,
        unparsed=seen.counts.unparsed,
        users=archive.settings.count_users(),
        mailboxes=len(archive.settings.mailboxes()),
        volumes=seen.log.volumes,
        volumes_signed=seen.log.signed,
        backlog=seen.behind,
        oldest_unsearchable_seconds=seen.late,
        last_message_at=None if last is None else last // 1_000_000,
        per_minute=tuple(
            map(add, archive.catalogue.per_minute(int(seen.now), 60), archive.sealed.per_minute(int(seen.now), 60))
        ),
        log_bytes=seen.log.bytes,
        index_bytes=seen.indexed.sealed_bytes,
        disk_free=disk.free,
        disk_total=disk.total,
        accepted=sum(one.accepted for one in seen.workers),
        refused=sum(one.refused for one in seen.workers),
        deferred=sum(one.deferred for one in seen.workers),
        alarms=tuple(map(alarming.info, alarms)),
        agrees=seen.agrees,
        memory_locked=seen.memory_locked,
        slots=slot_kinds(archive.paths),
        index_live_bytes=seen.indexed.live_bytes,
        replicas=replicated.replicas,
        only_here=replicated.only_here,
    )
    return Look(numbers, seen.usage)


def _see(archive: Archive) -> _Seen:
    catalogue, now = archive.catalogue, archive.clock()
    counts, indexed = catalogue.counts(), archive.indexed()
    log = archive.backlog.count(catalogue)
    # What was projected while the three were counted is on its way, too: sums of two moments are not compared.
    changed = catalogue.value("change") - min(counts.change, indexed.sequence)
    return _Seen(
        now=now,
        log=log,
        counts=counts,
        indexed=indexed,
        behind=log.waiting + max(changed, 0),
        late=0.0 if log.oldest is None else max(now - log.oldest / 1e6, 0.0),
        workers=workers(archive.paths.data),
        memory_locked=is_memory_locked(archive.paths),
        usage=archive.backlog.usage(catalogue),
    )


def _observed(archive: Archive, seen: _Seen, replicated: Seen) -> Observed:
    """What alarms are made of."""
    counts = seen.counts
    return box_observed(
        archive.paths,
        seen.now,
        damaged=seen.log.damaged,
        late=seen.late,
        disagreement=None
        if seen.agrees
        else Disagreement(seen.searchable, counts.records, counts.messages, seen.indexed.documents),
        workers=tuple(seen.workers),
        turned_away=archive.turned_away.lately(seen.workers, seen.now),
        quiet=tuple(_quiet(archive, seen)),
        unstamped_days=overdue(archive),
        tries=archive.tries.recent(),
        replicas=tuple(replica_states.troubles(replicated)),
        reported=archive.alarms.book.reported,
    )


def _quiet(archive: Archive, seen: _Seen) -> Iterator[Quiet]:
    """The mailboxes that take mail, with when the last came in."""
    rules = archive.settings.watches()
    for mailbox, created, deleted in archive.settings.all_mailboxes():
        if mailbox.state == "active" and deleted is None:
            last = seen.usage.get(mailbox.mailbox, Usage()).last
            since = (created if last is None else last) / 1e6
            yield Quiet(
                mailbox.mailbox.hex(), mailbox.address, since, last is not None, working_time(rules, mailbox.mailbox)
            )


def working_time(rules: Mapping[bytes, events.WatchSet], mailbox: bytes) -> WorkingTime:
    """When silence of a mailbox counts: by its own rule, else by that for all."""
    rule = rules.get(mailbox) or rules.get(b"") or events.WatchSet()
    return WorkingTime(rule.hours, rule.days, rule.begins, rule.ends, rule.zone)


def workers(data: Path) -> list[published.WorkerStats]:
    """What each gateway worker says of itself."""
    found = []
    for file in sorted(published.stats_folder(data).glob("gateway-*.json")):
        try:
            found.append(published.decode_stats(file.read_bytes()))
        except (OSError, ValueError):
            continue
    return found
