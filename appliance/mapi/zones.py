"""Time zones as Outlook stores them with an appointment (MS-OXOCAL sections 2.2.1.39 and 2.2.1.41)."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_STRUCT = struct.Struct("<iiiH16sH16s")  # PidLidTimeZoneStruct
_RULE = struct.Struct("<BBHHH14siii16s16s")  # TZRULE
_SYSTEM_TIME = struct.Struct("<8H")
_IN_FORCE = 0x0003  # TZRULE_FLAG_RECUR_CURRENT_TZREG, TZRULE_FLAG_EFFECTIVE_TZREG
_MOST_RULES = 1024
_FURTHEST = 24 * 60  # minutes from UTC that can be meant


class Change(NamedTuple):
    """When clocks change: the ``week``-th (5: last) ``weekday`` (0: Sunday) of a month, at a local time."""

    month: int
    weekday: int
    week: int
    hour: int
    minute: int

    def in_year(self, year: int) -> datetime:
        """The local moment in that year."""
        first = datetime(year, self.month, 1, self.hour, self.minute)
        day = first + timedelta(days=(self.weekday - first.isoweekday()) % 7 + 7 * (self.week - 1))
        while day.month != self.month:
            day -= timedelta(days=7)
        return day


class Zone(NamedTuple):
    """A time zone: minutes to add to UTC, in winter and in summer, and when it changes (neither, where it does not)."""

    name: str
    standard: int
    daylight: int
    to_standard: Change | None = None
    to_daylight: Change | None = None

    def offset(self, local: datetime) -> timedelta:
        """What local time is ahead of UTC at a naive local time."""
        if self.to_standard is None or self.to_daylight is None:
            return timedelta(minutes=self.standard)
        winter, summer = self.to_standard.in_year(local.year), self.to_daylight.in_year(local.year)
        is_summer = summer <= local < winter if summer < winter else not winter <= local < summer
        return timedelta(minutes=self.daylight if is_summer else self.standard)

    def local(self, moment: datetime) -> datetime:
        """The naive local time of a moment."""
        bare = moment.astimezone(UTC).replace(tzinfo=None)
        winter = _moved(bare, timedelta(minutes=self.standard))
        return _moved(bare, self.offset(winter))

    def moment(self, local: datetime) -> datetime:
        """The moment of a naive local time."""
        return _moved(local, -self.offset(local)).replace(tzinfo=UTC)


def from_definition(data: bytes) -> Zone | None:
    """Out of PidLidAppointmentTimeZoneDefinitionRecur or …StartDisplay; None where it is damaged."""
    if len(data) < 8:
        return None
    (length,) = struct.unpack_from("<H", data, 6)
    at = 8 + 2 * length
    name = data[8:at].decode("utf-16-le", "replace").strip("\0 ")
    if at + 2 > len(data):
        return None
    (count,) = struct.unpack_from("<H", data, at)
    chosen: Zone | None = None
    for index in range(min(count, _MOST_RULES)):
        start = at + 2 + index * _RULE.size
        if start + _RULE.size > len(data):
            break
        *_, flags, _year, _unused, bias, winter, summer, to_standard, to_daylight = _RULE.unpack_from(data, start)
        zone = _zone(name, bias, winter, summer, to_standard, to_daylight)
        chosen = zone or chosen
        if flags & _IN_FORCE and zone is not None:
            break
    return chosen


def from_struct(data: bytes, name: str) -> Zone | None:
    """Out of PidLidTimeZoneStruct, whose name is in PidLidTimeZoneDescription; None where it is damaged."""
    if len(data) < _STRUCT.size:
        return None
    bias, winter, summer, _, to_standard, _, to_daylight = _STRUCT.unpack_from(data)
    return _zone(name, bias, winter, summer, to_standard, to_daylight)


def _zone(name: str, bias: int, winter: int, summer: int, to_standard: bytes, to_daylight: bytes) -> Zone | None:
    """Biases are minutes that local time is behind UTC."""
    standard, daylight = -(bias + winter), -(bias + summer)
    if max(abs(standard), abs(daylight)) >= _FURTHEST:
        return None
    changes = _change(to_standard), _change(to_daylight)
    if None in changes:
        return Zone(name, standard, standard)
    return Zone(name, standard, daylight, *changes)


def _change(data: bytes) -> Change | None:
    _, month, weekday, week, hour, minute, _, _ = _SYSTEM_TIME.unpack(data)
    if not 1 <= month <= 12 or weekday > 6 or not 1 <= week <= 5 or hour > 23 or minute > 59:
        return None
    return Change(month, weekday, week, hour, minute)


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment
