"""Working time: when a mailbox that gets no mail is worth an alarm, and how much of it has gone by."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from appliance.errors import UsageError

LONGEST_HOURS = 24 * 60
"""Hours of silence that can be set: more than half a year of working days."""
DAY_MINUTES = 24 * 60
_MOST_DAYS = 400
"""Days that are counted; who has had no mail for longer is not told it more exactly."""


class WorkingTime(msgspec.Struct, frozen=True):
    """When mail is expected, and how many hours of that may go by without any (0: it is never missed).

    ``days`` are 0 (Monday) to 6; ``begins`` and ``ends`` are minutes after midnight; ``zone`` is an IANA name, empty
    for the box's own.
    """

    hours: int = 6
    days: tuple[int, ...] = (0, 1, 2, 3, 4)
    begins: int = 8 * 60
    ends: int = 18 * 60
    zone: str = ""


def check(wanted: WorkingTime) -> WorkingTime:
    """``wanted`` with its days in order, if it makes sense. Raises UsageError."""
    if not 0 <= wanted.hours <= LONGEST_HOURS:
        raise UsageError(f"The hours without mail are from 1 to {LONGEST_HOURS}, or 0 for never.")
    if not wanted.days or not set(wanted.days) <= set(range(7)):
        raise UsageError("Choose at least one day of the week on which mail is expected.")
    if not 0 <= wanted.begins < wanted.ends <= DAY_MINUTES:
        raise UsageError("Working time has to end later on the same day than it begins.")
    zone_of(wanted.zone)
    return msgspec.structs.replace(wanted, days=tuple(sorted(set(wanted.days))))


def zone_of(name: str) -> ZoneInfo | None:
    """The zone of that name; None, which is the box's own, for an empty one. Raises UsageError."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"“{name[:60]}” is no time zone. Write it as Europe/Berlin, or leave it empty.") from error


def elapsed(working: WorkingTime, since: float, now: float) -> float:
    """Seconds of working time between two moments (seconds since 1970), right also where clocks are changed."""
    zone = zone_of(working.zone)
    last = datetime.fromtimestamp(now, zone).date()
    day = max(datetime.fromtimestamp(min(since, now), zone).date(), last - timedelta(days=_MOST_DAYS))
    total = 0.0
    while day <= last:
        if day.weekday() in working.days:
            begins, ends = (_moment(day, minutes, zone) for minutes in (working.begins, working.ends))
            total += max(min(ends, now) - max(begins, since), 0.0)
        day += timedelta(days=1)
    return total


def _moment(day: date, minutes: int, zone: ZoneInfo | None) -> float:
    """The moment at which clocks in the zone show so many minutes after midnight; 24:00 is the next day's 0:00."""
    days, rest = divmod(minutes, DAY_MINUTES)
    return datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), zone).timestamp()
