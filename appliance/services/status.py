"""How the product is, in numbers, and what an administrator should look at."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from appliance import __version__
from appliance.catalogue.store import Counts
from appliance.mail import published
from appliance.services import api
from appliance.services.archive import Archive, Indexed
from appliance.services.backlog import Backlog, LogCount
from appliance.services.principal import Principal

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
    workers: list[published.WorkerStats]
    mailboxes: dict[bytes, tuple[int, int, int]]  # records, bytes, time of the newest

    @property
    def agrees(self) -> bool:
        """Whether log, catalogue and index hold the same number, once nothing is on its way."""
        return self.behind > 0 or (
            self.log.records == self.counts.records and self.counts.messages == self.indexed.documents
        )


def status(archive: Archive, principal: Principal, backlog: Backlog) -> api.Status:
    """The numbers of the status page."""
    principal.require("admin")
    disk = shutil.disk_usage(archive.paths.data)
    seen = _look(archive, backlog, disk.free / disk.total)
    last = archive.catalogue.last_received()
    return api.Status(
        version=__version__,
        started_at=archive.started_at,
        unlocked=True,
        unlocks_itself=archive.paths.keyfile.exists(),
        records=seen.log.records,
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
        per_minute=archive.catalogue.per_minute(int(seen.now), 60),
        log_bytes=seen.log.bytes,
        index_bytes=seen.indexed.bytes,
        disk_free=disk.free,
        disk_total=disk.total,
        accepted=sum(one.accepted for one in seen.workers),
        refused=sum(one.refused for one in seen.workers),
        deferred=sum(one.deferred for one in seen.workers),
        alarms=tuple(
            api.Alarm(level, text, int(seen.now))
            for level, text in (*_about_the_box(seen), *_about_mail(archive, seen))
        ),
        agrees=seen.agrees,
    )


def _look(archive: Archive, backlog: Backlog, free: float) -> _Seen:
    catalogue, now = archive.catalogue, archive.clock()
    counts, indexed = catalogue.counts(), archive.indexed()
    log = backlog.count(catalogue)
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
        workers=_workers(archive.paths.data),
        mailboxes=catalogue.mailbox_sums(),
    )


def _about_the_box(seen: _Seen) -> Iterator[tuple[Level, str]]:
    if seen.free < LOW_DISK:
        yield "error", f"The disk is nearly full: {seen.free:.0%} free. Mail is put off when it is full."
    if seen.log.damaged:
        yield "error", f"{seen.log.damaged} places in the log are damaged. Run `mailkeep verify`."
    if seen.late > LATE_SECONDS:
        yield "warning", f"Mail of {seen.late / 60:.0f} minutes ago is not searchable yet."
    if not seen.agrees:
        yield (
            "error",
            f"Log, catalogue and index disagree: {seen.log.records} records in the log, {seen.counts.records} in the "
            f"catalogue; {seen.counts.messages} messages in the catalogue, {seen.indexed.documents} in the index. "
            "Run `mailkeep rebuild`; searching goes on meanwhile.",
        )
    for worker in seen.workers:
        if seen.now - worker.updated_at / 1e6 > UNHEARD_SECONDS:
            yield "error", f"Gateway worker {worker.worker} has not been heard of for a minute."


def _about_mail(archive: Archive, seen: _Seen) -> Iterator[tuple[Level, str]]:
    for mailbox in archive.settings.mailboxes():
        last = seen.mailboxes.get(mailbox.mailbox, (0, 0, None))[2]
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
            f"{count} deliveries to {address} were put off: the mailbox is suspended, deleted or guarded.",
        )


def _workers(data: Path) -> list[published.WorkerStats]:
    found = []
    for file in sorted(published.stats_folder(data).glob("gateway-*.json")):
        try:
            found.append(published.decode_stats(file.read_bytes()))
        except (OSError, ValueError):
            continue
    return found
