"""The daily mail: how the archive is, in plain words, and what did *not* happen that should have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from appliance.language import _, ngettext, speaking
from appliance.services import api
from appliance.services.alarms import words
from appliance.services.alarms.book import Alarm
from appliance.services.notifying.letters import Part, standing_line
from appliance.services.sizes import number, size

LATE_REHEARSAL_DAYS, LATE_CHECK_DAYS = 9, 9
"""Days after which a weekly rehearsal, or a weekly check of a replica, is missed."""
_DAY = 86_400

Line = tuple[str, str]
"""A mark (``letters.Part``) and a sentence."""


class Day(msgspec.Struct, frozen=True):
    """What the mail is about, at ``now`` (seconds)."""

    now: float
    status: api.Status
    received: int | None  # messages in the last 24 hours; None where a locked archive cannot tell
    head: tuple[int, str] | None  # number and SHA-256 of the newest seal
    standing: Sequence[Alarm]
    over: Sequence[Alarm]  # within the last 24 hours
    timestamps: bool | None = None  # whether an authority is set; None where a locked archive cannot tell
    rehearsal: bool = True  # whether restores are to be rehearsed


def due(last: str, hour: int | None, now: float, since: float, zone: ZoneInfo | None) -> str | None:
    """The day (YYYY-MM-DD) whose mail is to go out now; None where none is.

    ``last`` is the day of the last one. The box may have been off at the hour; what was set up at ``since`` begins with
    the hour that follows.
    """
    if hour is None:
        return None
    local = datetime.fromtimestamp(now, zone)
    at = local.replace(hour=hour, minute=0, second=0, microsecond=0)
    day = at.strftime("%Y-%m-%d")
    return day if at.timestamp() <= now and at.timestamp() >= since and day > last else None


def yesterday(now: float) -> float:
    """A day before ``now``."""
    return now - timedelta(days=1).total_seconds()


def letter(day: Day, *, host: str, language: str) -> tuple[str, list[Part]]:
    """Subject and parts of the mail."""
    with speaking(language):
        parts = [Part(_("Needs attention"), list(_attention(day)))] if day.standing else []
        parts.append(Part(_("Mail"), list(_mail(day))))
        parts.append(Part(_("Disk"), [("", _disk(day.status))]))
        parts.append(Part(_("Copies elsewhere"), list(_replicas(day))))
        if day.over:
            parts.append(Part(_("Was wrong and is over"), [("good", words.title(one.kind)) for one in day.over]))
        if missed := list(_missed(day)):
            parts.append(Part(_("What did not happen"), missed))
        parts.append(Part(_("To keep"), list(_to_keep(day))))
        return _subject(day, host), parts


def _subject(day: Day, host: str) -> str:
    if not day.standing:
        return _("[{host}] all is well: {mail}").format(host=host, mail=_received(day))
    count = len(day.standing)
    what = ngettext("{count} thing needs attention", "{count} things need attention", count).format(count=count)
    return _("[{host}] {what}: {mail}").format(host=host, what=what, mail=_received(day))


def _received(day: Day) -> str:
    if day.received is None:
        return _("the archive is locked")
    return ngettext("{count} message since yesterday", "{count} messages since yesterday", day.received).format(
        count=number(day.received)
    )


def _attention(day: Day) -> Iterator[Line]:
    for one in sorted(day.standing, key=lambda alarm: (alarm.level != "error", alarm.since)):
        yield one.level, standing_line(one, day.now)


def _mail(day: Day) -> Iterator[Line]:
    status = day.status
    if day.received is not None:
        yield (
            "good" if day.received else "",
            ngettext(
                "{count} message came in within the last 24 hours; {total} are in the archive.",
                "{count} messages came in within the last 24 hours; {total} are in the archive.",
                day.received,
            ).format(count=number(day.received), total=number(status.records)),
        )
    else:
        yield "", _("{total} messages are in the archive.").format(total=number(status.records))
    if status.last_message_at is not None:
        ago = words.ago(day.now - status.last_message_at)
        yield "", _("The last one came {ago}.").format(ago=ago)
    if not status.unlocked:
        yield "warning", _("The archive is locked. Mail is received and kept; nobody can read it until it is unlocked.")
    elif status.backlog:
        yield (
            "warning",
            ngettext(
                "{count} message is not searchable yet.", "{count} messages are not searchable yet.", status.backlog
            ).format(count=number(status.backlog)),
        )
    elif status.agrees:
        yield "good", _("All of it can be found.")
    if status.unassigned:
        yield (
            "",
            ngettext(
                "{count} message belongs to nobody: its addresses are no user’s.",
                "{count} messages belong to nobody: their addresses are no user’s.",
                status.unassigned,
            ).format(count=number(status.unassigned)),
        )


def _disk(status: api.Status) -> str:
    used = status.disk_total - status.disk_free
    return _("{free} of {total} are free. The archive’s log has {log}, the search index {index}.").format(
        free=size(status.disk_free), total=size(max(status.disk_total, used)), log=size(status.log_bytes),
        index=size(status.index_bytes),
    )  # fmt: skip


def _replicas(day: Day) -> Iterator[Line]:
    status = day.status
    if not status.replicas:
        yield "warning", _("There is none: if this box is lost, its mail is lost. Set up a replica.")
        return
    for one in status.replicas:
        named = {"name": one.name, "waiting": number(one.waiting)}
        if one.reached_at is None:
            yield "warning", _("“{name}”: nothing is there yet.").format(**named)
        elif one.state == "current":
            yield "good", _("“{name}” is up to date.").format(**named)
        elif one.state == "paused":
            yield "warning", _("“{name}” is paused; {waiting} messages are not there.").format(**named)
        else:
            mark = "error" if one.state in ("behind", "superseded") else "warning"
            yield mark, _("“{name}” is not up to date; {waiting} messages are not there.").format(**named)
    if status.only_here:
        yield (
            "",
            ngettext(
                "{count} message exists only on this box so far.", "{count} messages exist only on this box so far.",
                status.only_here,
            ).format(count=number(status.only_here)),
        )  # fmt: skip
    else:
        yield "good", _("Every message is on at least one of them.")
    rehearsed = max((one.rehearsed_at for one in status.replicas if one.rehearsed_at is not None), default=None)
    if rehearsed is not None:
        yield (
            "good",
            _("A restore was last rehearsed, and went well, {ago}.").format(ago=words.ago(day.now - rehearsed)),
        )


def _missed(day: Day) -> Iterator[Line]:
    """What an attentive person would miss without being told."""
    status = day.status
    if day.received == 0:
        yield "", _("No mail came in within the last 24 hours.")
    for one in status.replicas:
        if one.reached_at is None:
            continue
        if _is_late(one, one.checked_at, LATE_CHECK_DAYS, day.now):
            yield (
                "warning",
                _("“{name}” was not checked in full within the last {days} days.").format(
                    name=one.name, days=LATE_CHECK_DAYS
                ),
            )
        if day.rehearsal and _is_late(one, one.rehearsed_at, LATE_REHEARSAL_DAYS, day.now):
            yield (
                "warning",
                _("No restore from “{name}” was rehearsed within the last {days} days.").format(
                    name=one.name, days=LATE_REHEARSAL_DAYS
                ),
            )
    if day.head is None:
        yield "", _("Nothing has been signed yet.")


def _is_late(replica: api.ReplicaState, last: int | None, days: int, now: float) -> bool:
    """Whether what is done every week was last done too long ago; never yet counts from when the replica began."""
    since = last if last is not None else replica.first_at
    return since is not None and now - since > days * _DAY


def _to_keep(day: Day) -> Iterator[Line]:
    if day.head is not None:
        position, digest = day.head
        yield "", _("Chain head: {number} {digest}").format(number=position, digest=digest)
    yield "", _("Records: {count}").format(count=day.status.records)
    yield "", _("Whoever restores this archive compares both with the last mail like this one: they only grow.")
    if day.timestamps is False:
        yield "", _("Nobody outside attests them: no time-stamping authority is set. Keep this mail elsewhere.")
