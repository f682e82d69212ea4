"""When a series of appointments or a task recurs (MS-OXOCAL section 2.2.1.44), as a rule of RFC 5545.

Times here are naive and local, as Outlook stores them: minutes since 1601, on the appointment's own clock.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

MOST: Final = 5_000
"""Deleted or changed dates of a series that are read."""

Rule = dict[str, list[str | int | date]]
"""A rule's parts by their names in RFC 5545."""

_EPOCH = datetime(1601, 1, 1)
_DAILY, _WEEKLY, _MONTHLY, _YEARLY = 0x200A, 0x200B, 0x200C, 0x200D
_DAY, _WEEK, _MONTH, _MONTH_NTH, _MONTH_END = range(5)
_GREGORIAN = (0, 1, 2)  # as the file says nothing, or says so
_BY_DATE, _BY_COUNT = 0x2021, 0x2022
_DAYS = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
_SUBJECT, _LOCATION = 0x0001, 0x0010
_FIXED = {0x0002: 4, 0x0004: 4, 0x0008: 4, 0x0020: 4, 0x0040: 4, 0x0080: 4, 0x0100: 4}


class PatternError(Exception):
    """A recurrence that cannot be said in RFC 5545, or is damaged; its text says which, in a few words."""


class Changed(NamedTuple):
    """One date of a series that was moved or renamed; "" for what was not changed."""

    original: datetime
    start: datetime
    end: datetime
    subject: str = ""
    location: str = ""


class Pattern(NamedTuple):
    """When something recurs."""

    rule: Rule
    """FREQ and so on as RFC 5545 names them, without UNTIL."""
    until: datetime | None
    """Start of the last one, where the series ends on a date."""
    start: datetime
    length: timedelta
    deleted: tuple[datetime, ...] = ()
    """Starts of those that were deleted."""
    changed: tuple[Changed, ...] = ()


class _Bytes:
    """Little-endian numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def short(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def long(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise PatternError("it is cut off")
        self._at += count
        return piece

    def longs(self) -> list[int]:
        """A count and as many numbers."""
        count = self.long()
        if count > MOST:
            raise PatternError("it has too many exceptions")
        return list(struct.unpack(f"<{count}I", self.take(4 * count)))

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def read(data: bytes) -> Pattern:
    """Out of PidLidAppointmentRecur or PidLidTaskRecurrence. Raises PatternError."""
    source = _Bytes(data)
    source.take(4)
    frequency, pattern, calendar = source.short(), source.short(), source.short()
    source.take(4)
    period = source.long()
    source.take(4)
    details = _details(source, pattern)
    end, count, week_start = source.long(), source.long(), source.long()
    deleted, modified = source.longs(), source.longs()
    first, last = source.long(), source.long()
    offset, until_offset, changed = _appointment(source) if source.left >= 18 else (0, 0, ())
    if calendar not in _GREGORIAN:
        raise PatternError("it follows a calendar that iCalendar does not know")
    start = _moment(first + offset)
    rule = _rule(frequency, pattern, period, details, start)
    if end == _BY_COUNT:
        rule["COUNT"] = [max(1, count)]
    if rule["FREQ"] == ["WEEKLY"]:
        rule["WKST"] = [_DAYS[week_start % 7]]
    return Pattern(
        rule=rule,
        until=_moment(last + offset) if end == _BY_DATE else None,
        start=start,
        length=timedelta(minutes=max(0, until_offset - offset)),
        deleted=tuple(_moment(day + offset) for day in deleted if day not in modified or not changed),
        changed=changed,
    )


def _details(source: _Bytes, pattern: int) -> tuple[int, ...]:
    if pattern == _DAY:
        return ()
    if pattern in (_WEEK, _MONTH, _MONTH_END):
        return (source.long(),)
    if pattern == _MONTH_NTH:
        return (source.long(), source.long())
    raise PatternError("it follows a calendar that iCalendar does not know")


def _rule(frequency: int, pattern: int, period: int, details: tuple[int, ...], start: datetime) -> Rule:
    if frequency not in (_DAILY, _WEEKLY, _MONTHLY, _YEARLY):
        raise PatternError("it is of no known kind")
    if pattern == _DAY:
        return {"FREQ": ["DAILY"], "INTERVAL": [max(1, period // (24 * 60))]}
    if pattern == _WEEK:
        return {"FREQ": ["WEEKLY"], "INTERVAL": [max(1, period)], "BYDAY": _week_days(details[0])}
    yearly = frequency == _YEARLY or (frequency == _MONTHLY and period and period % 12 == 0)
    rule: Rule = {"FREQ": ["YEARLY" if yearly else "MONTHLY"]}
    rule["INTERVAL"] = [max(1, period // 12 if yearly else period)]
    if yearly:
        rule["BYMONTH"] = [start.month]
    if pattern == _MONTH_NTH:
        week = details[1]
        return {**rule, "BYDAY": _week_days(details[0]), "BYSETPOS": [-1 if week >= 5 else max(1, week)]}
    return {**rule, **_month_day(details[0] if pattern == _MONTH else 31)}


def _month_day(day: int) -> Rule:
    """Outlook takes a short month's last day for one that it has not (MS-OXCICAL section 2.1.3.2.2)."""
    if not 1 <= day <= 31:
        raise PatternError("it is on a day that no month has")
    if day == 31:
        return {"BYMONTHDAY": [-1]}
    if day > 28:
        return {"BYMONTHDAY": list(range(28, day + 1)), "BYSETPOS": [-1]}
    return {"BYMONTHDAY": [day]}


def _week_days(mask: int) -> list[str | int | date]:
    days: list[str | int | date] = [name for bit, name in enumerate(_DAYS) if mask >> bit & 1]
    if not days:
        raise PatternError("it is on no day of the week")
    return days


def _appointment(source: _Bytes) -> tuple[int, int, tuple[Changed, ...]]:
    """What an appointment has beyond a task: the time of day, and what was changed (AppointmentRecurrencePattern)."""
    source.take(4)
    version = source.long()
    start, end = source.long(), source.long()
    count = source.short()
    if count > MOST:
        raise PatternError("it has too many exceptions")
    rows = [_exception(source) for _ in range(count)]
    with suppress(PatternError):  # the names in 8-bit letters stand
        rows = _in_unicode(source, rows, version)
    return start, end, tuple(changed for changed, _ in rows)


def _exception(source: _Bytes) -> tuple[Changed, int]:
    start, end, original, flags = source.long(), source.long(), source.long(), source.short()
    texts = {_SUBJECT: "", _LOCATION: ""}
    for bit in range(9):
        flag = 1 << bit
        if not flags & flag:
            continue
        if flag in texts:
            source.short()
            texts[flag] = source.take(source.short()).decode("cp1252", "replace")
        else:
            source.take(_FIXED[flag])
    return Changed(_moment(original), _moment(start), _moment(end), texts[_SUBJECT], texts[_LOCATION]), flags


def _in_unicode(source: _Bytes, rows: list[tuple[Changed, int]], version: int) -> list[tuple[Changed, int]]:
    """The same names once more (ExtendedException)."""
    source.take(source.long())
    better = []
    for changed, flags in rows:
        if version >= 0x3009:
            source.take(source.long())
        source.take(source.long())
        if flags & (_SUBJECT | _LOCATION):
            source.take(12)
            subject = source.take(2 * source.short()).decode("utf-16-le", "replace") if flags & _SUBJECT else ""
            place = source.take(2 * source.short()).decode("utf-16-le", "replace") if flags & _LOCATION else ""
            source.take(source.long())
            changed = changed._replace(subject=subject, location=place)
        better.append((changed, flags))
    return better


def _moment(minutes: int) -> datetime:
    try:
        return _EPOCH + timedelta(minutes=minutes)
    except OverflowError as error:
        raise PatternError("it is at a time that cannot be") from error
