"""Writing iCalendar (RFC 5545) out of what items hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import icalendar

from appliance.mapi import lenient
from appliance.mapi.zones import Change, Zone

LONGEST: Final = 32 * 1024
"""Characters of one value: the message has the text as a whole."""

_PRODUCT = "-//mailkeep//import//EN"


def written(components: Iterable[icalendar.Component], method: str = "", zone: Zone | None = None) -> bytes:
    """An iCalendar object of these components; ``zone`` is the one that their times are in."""
    calendar = icalendar.Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    if method:
        calendar.add("method", method)
    if zone is not None:
        calendar.add_component(_zone_component(zone))
    for component in components:
        calendar.add_component(component)
    data: bytes = calendar.to_ical()
    return data


def add(component: icalendar.Component, name: str, value: str) -> str:
    """Add what says anything; what was added."""
    bare = lenient.printable(value[:LONGEST]).strip()
    if bare:
        component.add(name, bare)
    return bare


def add_local(
    component: icalendar.Component, name: str, moments: Sequence[datetime], zone: Zone | None, whole_days: bool
) -> None:
    """Local times of a series: days, times in the zone, or, where no zone is known, times on any clock."""
    values: list[date] = [one.date() if whole_days else one for one in moments]
    parameters = {"VALUE": "DATE"} if whole_days else {"TZID": zone.name} if zone is not None else {}
    component.add(name, values if name == "exdate" else values[0], parameters=parameters)


def _zone_component(zone: Zone) -> icalendar.Timezone:
    component = icalendar.Timezone()
    component.add("tzid", zone.name)
    changes: list[tuple[icalendar.Component, Change | None, int, int]]
    changes = [(icalendar.TimezoneStandard(), zone.to_standard, zone.daylight, zone.standard)]
    if zone.to_daylight is not None:
        changes.append((icalendar.TimezoneDaylight(), zone.to_daylight, zone.standard, zone.daylight))
    for part, change, before, after in changes:
        part.add("dtstart", change.in_year(1970) if change is not None else datetime(1970, 1, 1))
        part.add("tzoffsetfrom", timedelta(minutes=before))
        part.add("tzoffsetto", timedelta(minutes=after))
        if change is not None:
            day = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")[change.weekday]
            week = -1 if change.week == 5 else change.week
            part.add("rrule", {"FREQ": ["YEARLY"], "BYMONTH": [change.month], "BYDAY": [f"{week}{day}"]})
        component.add_component(part)
    return component
