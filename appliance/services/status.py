"""How the product is, in numbers, and what an administrator should look at."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from operator import add
from pathlib import Path
from typing import Literal, NamedTuple

from appliance import __version__
from appliance.catalogue.store import Counts
from appliance.index import live
from appliance.mail import published
from appliance.services import api, replica_states
from appliance.services.archive import Archive, Indexed
from appliance.services.backlog import LogCount
from appliance.services.principal import Principal
from appliance.services.sealed import Usage
from appliance.services.swap import plain_swaps_of
from appliance.services.timestamping import overdue
from appliance.services.unlock import is_memory_locked, slot_kinds, unlocks_itself

Level = Literal["warning", "error"]

LOW_DISK = 0.05
"""Share of free disk below which there is an alarm."""
UNHEARD_SECONDS = 60
"""Time without counters after which a gateway worker is taken for stuck."""
SILENCE_SECONDS = 24 * 3600
"""Time without mail after which a mailbox that had some raises an alarm: over a weekend one is expected."""

LATE_SECONDS = 300
"""Age of the oldest mail that is not searchable from which on there is an alarm."""


class _Seen(NamedTuple):
    """What one look at the archive found."""

    now: float
    log: LogCount
    counts: Counts
    indexed: Indexed
    behind: int  # records and messages that are not searchable yet
    late: float  # seconds since the oldest of them came in
    free: float  # share of the disk
    memory_free: float  # share of the tmpfs that the live index is on
    workers: list[published.WorkerStats]
    memory_locked: bool
    plain_swaps: tuple[str, ...]
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


def status(archive: Archive, principal: Principal) -> api.Status:
    """The numbers of the status page."""
    principal.require("admin")
    disk = shutil.disk_usage(archive.paths.data)
    seen = _look(archive, disk.free / disk.total)
    replicated = archive.see_replicas(seen.log.records)
    last = max((one.last for one in seen.usage.values() if one.last is not None), default=None)
    return api.Status(
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
        alarms=tuple(
            api.Alarm(level, text, int(seen.now))
            for level, text in (
                *_about_the_box(seen),
                *_about_mail(archive, seen),
                *_about_timestamps(archive),
                *replica_states.alarms(replicated),
            )
        ),
        agrees=seen.agrees,
        memory_locked=seen.memory_locked,
        slots=slot_kinds(archive.paths),
        index_live_bytes=seen.indexed.live_bytes,
        replicas=replicated.replicas,
        only_here=replicated.only_here,
    )


def _look(archive: Archive, free: float) -> _Seen:
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
        free=free,
        memory_free=_share_free(archive.paths.live),
        workers=workers(archive.paths.data),
        memory_locked=is_memory_locked(archive.paths),
        plain_swaps=plain_swaps_of(archive.paths.live),
        usage=archive.backlog.usage(catalogue),
    )


def _about_the_box(seen: _Seen) -> Iterator[tuple[Level, str]]:
    if seen.free < LOW_DISK:
        yield "error", f"The disk is nearly full: {seen.free:.0%} free. Mail is put off when it is full."
    if seen.memory_free < LOW_DISK:
        yield (
            "error",
            f"The memory for the search index is nearly full: {seen.memory_free:.0%} free. Mail is received and kept; "
            "what is new may not be searchable. Give the box more memory, or enlarge that tmpfs.",
        )
    if seen.plain_swaps:
        yield (
            "warning",
            f"This box swaps to {', '.join(seen.plain_swaps)}, which is not encrypted: words of the mail can reach the "
            "disk readable. Switch swap off, or encrypt it.",
        )
    if seen.log.damaged:
        yield "error", f"{seen.log.damaged} places in the log are damaged. Run `mailkeep verify`."
    if seen.late > LATE_SECONDS:
        yield "warning", f"Mail of {seen.late / 60:.0f} minutes ago is not searchable yet."
    if not seen.agrees:
        yield (
            "error",
            f"Log, catalogue and index disagree: {seen.searchable} records in the log, {seen.counts.records} in the "
            f"catalogue; {seen.counts.messages} messages in the catalogue, {seen.indexed.documents} in the index. "
            "Run `mailkeep rebuild`; searching goes on meanwhile.",
        )
    for worker in seen.workers:
        if seen.now - worker.updated_at / 1e6 > UNHEARD_SECONDS:
            yield "error", f"Gateway worker {worker.worker} has not been heard of for a minute."


def _about_mail(archive: Archive, seen: _Seen) -> Iterator[tuple[Level, str]]:
    for mailbox in archive.settings.mailboxes():
        last = seen.usage.get(mailbox.mailbox, Usage()).last
        if mailbox.state == "active" and last is not None and seen.now - last / 1e6 > SILENCE_SECONDS:
            yield (
                "warning",
                f"No mail has come to {mailbox.address} for {(seen.now - last / 1e6) / 3600:.0f} hours. Look at the "
                "journal rule: Exchange disables a rule whose target did not answer.",
            )
    turned_away: Counter[str] = Counter()
    for worker in seen.workers:
        turned_away.update(worker.turned_away)
    for address, count in sorted(turned_away.items()):
        yield (
            "warning",
            f"{count} deliveries to {address} were put off: the mailbox is suspended, disabled, deleted or guarded.",
        )


def _about_timestamps(archive: Archive) -> Iterator[tuple[Level, str]]:
    if days := overdue(archive):
        yield (
            "warning",
            f"What was sealed {days} days ago has no timestamp yet. Look whether the time-stamping authority answers: "
            "`mailkeep timestamp now`. It is asked every hour.",
        )


def _share_free(place: Path) -> float:
    total, free = live.room(place)
    return free / total if total else 1.0


def workers(data: Path) -> list[published.WorkerStats]:
    """What each gateway worker says of itself."""
    found = []
    for file in sorted(published.stats_folder(data).glob("gateway-*.json")):
        try:
            found.append(published.decode_stats(file.read_bytes()))
        except (OSError, ValueError):
            continue
    return found
