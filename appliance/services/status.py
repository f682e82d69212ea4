"""How the product is, in numbers, and what an administrator should look at."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from appliance import __version__
from appliance.catalogue.store import Counts
from appliance.mail import published
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.backlog import Backlog, LogCount
from appliance.services.principal import Principal

LOW_DISK = 0.05
"""Share of free disk below which there is an alarm."""
LATE_SECONDS = 300
"""Age of the oldest mail that is not searchable from which on there is an alarm."""


def status(archive: Archive, principal: Principal, backlog: Backlog) -> api.Status:
    """The numbers of the status page."""
    principal.require("admin")
    catalogue = archive.catalogue
    # The log is counted last: what comes in between only makes the backlog larger, never negative.
    counts, indexed = catalogue.counts(), archive.indexed()
    log = backlog.count(catalogue)
    disk = shutil.disk_usage(archive.paths.data)
    workers = _workers(archive.paths.data)
    now = archive.clock()
    behind = log.waiting + len(catalogue.changed_after(indexed.sequence, 10_000))
    late = 0.0 if log.oldest is None else max(now - log.oldest / 1e6, 0.0)
    last = catalogue.last_received()
    return api.Status(
        version=__version__,
        started_at=archive.started_at,
        unlocked=True,
        unlocks_itself=archive.paths.keyfile.exists(),
        records=log.records,
        projected=counts.records,
        messages=counts.messages,
        indexed=indexed.documents,
        unassigned=counts.unassigned,
        unparsed=counts.unparsed,
        users=archive.settings.count_users(),
        mailboxes=len(archive.settings.mailboxes()),
        volumes=log.volumes,
        volumes_signed=log.signed,
        backlog=behind,
        oldest_unsearchable_seconds=late,
        last_message_at=None if last is None else last // 1_000_000,
        per_minute=catalogue.per_minute(int(now), 60),
        log_bytes=log.bytes,
        index_bytes=indexed.bytes,
        disk_free=disk.free,
        disk_total=disk.total,
        accepted=sum(one.accepted for one in workers),
        refused=sum(one.refused for one in workers),
        deferred=sum(one.deferred for one in workers),
        alarms=tuple(_alarms(archive, log, counts, indexed.documents, behind, late, disk.free / disk.total, workers)),
        agrees=behind > 0 or _agree(log, counts, indexed.documents),
    )


def _agree(log: LogCount, counts: Counts, documents: int) -> bool:
    return log.records == counts.records and counts.messages == documents


def _alarms(
    archive: Archive, log: LogCount, counts: Counts, documents: int, behind: int, late: float, free: float,
    workers: list[published.WorkerStats],
) -> Iterator[api.Alarm]:  # fmt: skip
    now = int(archive.clock())
    if free < LOW_DISK:
        yield api.Alarm("error", f"The disk is nearly full: {free:.0%} free. Mail is put off when it is full.", now)
    if log.damaged:
        yield api.Alarm("error", f"{log.damaged} places in the log are damaged. Run `mailkeep verify`.", now)
    if late > LATE_SECONDS:
        yield api.Alarm("warning", f"Mail of {late / 60:.0f} minutes ago is not searchable yet.", now)
    if behind == 0 and not _agree(log, counts, documents):
        yield api.Alarm(
            "error",
            f"Log, catalogue and index disagree: {log.records} records in the log, {counts.records} in the "
            f"catalogue; {counts.messages} messages in the catalogue, {documents} in the index. "
            "Run `mailkeep rebuild`; searching goes on meanwhile.",
            now,
        )
    turned_away: dict[str, int] = {}
    for worker in workers:
        for address, count in worker.turned_away.items():
            turned_away[address] = turned_away.get(address, 0) + count
        if time.time() - worker.updated_at / 1e6 > 60:
            yield api.Alarm("error", f"Gateway worker {worker.worker} has not been heard of for a minute.", now)
    for address, count in sorted(turned_away.items()):
        yield api.Alarm(
            "warning",
            f"{count} deliveries to {address} were put off: the mailbox is suspended, deleted or guarded.",
            now,
        )


def _workers(data: Path) -> list[published.WorkerStats]:
    found = []
    for file in sorted(published.stats_folder(data).glob("gateway-*.json")):
        try:
            found.append(published.decode_stats(file.read_bytes()))
        except (OSError, ValueError):
            continue
    return found
