"""Appointments, meetings, tasks and journal entries as iCalendar (MS-OXCICAL; RFC 5545, 5546).

Nothing of today is in it: DTSTAMP, which every component must have, is when the item was changed last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import icalendar

from appliance.mail.facts import Mailbox
from appliance.mapi import classes, heads, ical, lenient, people, recurrence, tags, zones
from appliance.mapi.base import AddressBook, Item, Kind, Properties
from appliance.mapi.recurrence import Pattern, PatternError
from appliance.mapi.zones import Zone

_UID = bytes.fromhex("040000008200e00074c5b7101a82e008")  # MS-OXOCAL section 2.2.1.27
_FOREIGN_UID = b"vCal-Uid\x01\0\0\0"
_BUSY = {0: "FREE", 1: "TENTATIVE", 2: "BUSY", 3: "OOF", 4: "WORKINGELSEWHERE"}
_CANCELED = 0x0004  # PidLidAppointmentStateFlags
_ANSWERED = {2: "TENTATIVE", 3: "ACCEPTED", 4: "DECLINED"}  # PidTagRecipientTrackStatus
_METHODS = {
    "IPM.SCHEDULE.MEETING.REQUEST": "REQUEST",
    "IPM.SCHEDULE.MEETING.CANCELED": "CANCEL",
    "IPM.SCHEDULE.MEETING.RESP.POS": "REPLY",
    "IPM.SCHEDULE.MEETING.RESP.NEG": "REPLY",
    "IPM.SCHEDULE.MEETING.RESP.TENT": "REPLY",
}
_ANSWERS = {".POS": "ACCEPTED", ".NEG": "DECLINED", ".TENT": "TENTATIVE"}
_TASK_STATES = {1: "IN-PROCESS", 2: "COMPLETED", 3: "NEEDS-ACTION", 4: "NEEDS-ACTION"}
_ROLES = ("REQ-PARTICIPANT", "OPT-PARTICIPANT", "NON-PARTICIPANT")
_NOON = 12
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


class Calendar(NamedTuple):
    """An iCalendar object, and what it says for a reader."""

    ical: bytes
    summary: tuple[tuple[str, str], ...]
    """Lines of a name and a value."""
    method: str = ""
    """As RFC 5546 has it: what the message asks of its recipient. "" for what asks nothing."""


def read(item: Item, kind: Kind, text: str, book: AddressBook, warnings: list[str]) -> Calendar | None:
    """The item, whose text is ``text``, as iCalendar; None where it is nothing of that kind."""
    method = _method(item.properties)
    if kind == "calendar" or method:
        return _appointment(item, method, text, book, warnings)
    if kind == "task":
        return _task(item, text, warnings)
    return _journal(item, text) if kind == "journal" else None


def _method(properties: Properties) -> str:
    name = classes.message_class(properties)
    return next((method for known, method in _METHODS.items() if classes.is_class(name, known)), "")


def _appointment(item: Item, method: str, text: str, book: AddressBook, warnings: list[str]) -> Calendar:
    properties = item.properties
    zone = _zone(properties)
    event = icalendar.Event()
    _describe(event, item, text)
    start = lenient.moment(properties, tags.START_WHOLE, tags.COMMON_START, tags.START_DATE)
    end = lenient.moment(properties, tags.END_WHOLE, tags.COMMON_END, tags.END_DATE)
    whole_days = lenient.present(properties, tags.ALL_DAY)
    pattern = _pattern(lenient.data(properties, tags.RECUR), warnings)
    further: list[icalendar.Event] = []
    if pattern is not None:
        further = _series(event, pattern, zone, whole_days)
    elif start is not None:
        event.add("dtstart", _day(start, zone) if whole_days else start)
        if end is not None and end > start:
            event.add("dtend", _day(end, zone) if whole_days else end)
    place = ical.add(event, "location", lenient.text(properties, tags.LOCATION))
    event.add("sequence", min(max(0, lenient.number(properties, tags.SEQUENCE)), 1 << 31))
    busy = _BUSY.get(lenient.number(properties, tags.BUSY_STATUS, 2), "BUSY")
    event.add("transp", "TRANSPARENT" if busy == "FREE" else "OPAQUE")
    event.add("x-microsoft-cdo-busystatus", busy)
    if method == "CANCEL" or lenient.number(properties, tags.STATE) & _CANCELED:
        event.add("status", "CANCELLED")
    who = _attend(event, item, method, book)
    _remind(event, properties, method)
    calendar = ical.written([event, *further], method, zone if pattern is not None and not whole_days else None)
    when = [("Start", _shown(start, zone, whole_days)), ("End", _shown(end, zone, whole_days))]
    rule = ";".join(f"{name}={','.join(map(str, said))}" for name, said in pattern.rule.items()) if pattern else ""
    return Calendar(calendar, _said([*when, ("Recurs", rule), ("Location", place), *who]), method)


def _series(event: icalendar.Event, pattern: Pattern, zone: Zone | None, whole_days: bool) -> list[icalendar.Event]:
    """Put the recurrence into the event; what it has beside are its changed dates, each an event of its own."""
    ical.add_local(event, "dtstart", [pattern.start], zone, whole_days)
    if pattern.length and not (whole_days and pattern.length < timedelta(days=1)):
        ical.add_local(event, "dtend", [_later(pattern.start, pattern.length)], zone, whole_days)
    rule = dict(pattern.rule)
    if pattern.until is not None:
        rule["UNTIL"] = [pattern.until.date() if whole_days else zone.moment(pattern.until) if zone else pattern.until]
    event.add("rrule", rule)
    if pattern.deleted:
        ical.add_local(event, "exdate", pattern.deleted, zone, whole_days)
    further = []
    for changed in pattern.changed:
        one = icalendar.Event()
        one.add("uid", str(event["uid"]))
        one.add("dtstamp", event.DTSTAMP or _ZERO)
        ical.add_local(one, "recurrence-id", [changed.original], zone, whole_days)
        ical.add_local(one, "dtstart", [changed.start], zone, whole_days)
        if changed.end > changed.start:
            ical.add_local(one, "dtend", [changed.end], zone, whole_days)
        ical.add(one, "summary", changed.subject or str(event.get("summary", "")))
        ical.add(one, "location", changed.location)
        further.append(one)
    return further


def _task(item: Item, text: str, warnings: list[str]) -> Calendar:
    properties = item.properties
    todo = icalendar.Todo()
    _describe(todo, item, text)
    start = lenient.moment(properties, tags.TASK_START, tags.COMMON_START)
    due = lenient.moment(properties, tags.TASK_DUE, tags.COMMON_END)
    done = lenient.moment(properties, tags.TASK_COMPLETED)
    if start is not None:
        todo.add("dtstart", _day(start, None))
    if due is not None and (start is None or due >= start):
        todo.add("due", _day(due, None))
    completed = lenient.present(properties, tags.TASK_COMPLETE)
    if completed and done is not None:
        todo.add("completed", done)
    status = _TASK_STATES.get(lenient.number(properties, tags.TASK_STATUS), "NEEDS-ACTION")
    todo.add("status", "COMPLETED" if completed else status)
    value = lenient.get(properties, tags.PERCENT_COMPLETE)
    share = round(min(max(value, 0.0), 1.0) * 100) if isinstance(value, float) and value == value else 0
    todo.add("percent-complete", share)
    pattern = _pattern(lenient.data(properties, tags.TASK_RECURRENCE), warnings)
    if pattern is not None and start is not None:
        rule = dict(pattern.rule)
        if pattern.until is not None:
            rule["UNTIL"] = [pattern.until.date()]
        todo.add("rrule", rule)
    owner = lenient.text(properties, tags.TASK_OWNER)
    when = [("Start", _shown(start, None, True)), ("Due", _shown(due, None, True)), ("Done", f"{share} %")]
    return Calendar(ical.written([todo]), _said([*when, ("Owner", owner)]))


def _journal(item: Item, text: str) -> Calendar:
    properties = item.properties
    entry = icalendar.Journal()
    _describe(entry, item, text)
    start = lenient.moment(properties, tags.LOG_START, tags.COMMON_START)
    if start is not None:
        entry.add("dtstart", start)
    what = ical.add(entry, "x-mailkeep-type", lenient.text(properties, tags.LOG_TYPE))
    minutes = lenient.number(properties, tags.LOG_DURATION)
    lasted = f"{minutes} minutes" if minutes > 0 else ""
    return Calendar(
        ical.written([entry]), _said([("Start", _shown(start, None, False)), ("Lasted", lasted), ("Type", what)])
    )


def _describe(component: icalendar.Component, item: Item, text: str) -> None:
    """What every component has."""
    properties = item.properties
    component.add("uid", _uid(properties))
    changed = lenient.moment(
        properties,
        tags.ATTENDEE_CRITICAL_CHANGE,
        tags.LAST_MODIFICATION_TIME,
        tags.CLIENT_SUBMIT_TIME,
        tags.CREATION_TIME,
    )
    component.add("dtstamp", changed or _ZERO)
    ical.add(component, "summary", heads.subject(properties))
    ical.add(component, "description", text)
    keywords = [lenient.printable(one) for one in lenient.texts(properties, tags.KEYWORDS)]
    if keywords:
        component.add("categories", keywords)
    classified = {1: "PRIVATE", 2: "PRIVATE", 3: "CONFIDENTIAL"}.get(lenient.number(properties, tags.SENSITIVITY))
    if classified:
        component.add("class", classified)
    priority = {0: 9, 2: 1}.get(lenient.number(properties, tags.IMPORTANCE, 1))
    if priority and isinstance(component, icalendar.Event | icalendar.Todo):
        component.add("priority", priority)


def _uid(properties: Properties) -> str:
    """MS-OXCICAL section 2.1.3.1.1.20.26: the id that another program gave, else Outlook's in hexadecimal."""
    identity = lenient.data(properties, tags.CLEAN_GLOBAL_OBJECT_ID) or lenient.data(properties, tags.GLOBAL_OBJECT_ID)
    if not identity:
        created = lenient.moment(properties, tags.CREATION_TIME, tags.START_WHOLE)
        said = f"{heads.subject(properties)}\n{created}".encode()
        return hashlib.sha256(said).hexdigest()[:40]
    at = identity.find(_FOREIGN_UID)
    if at >= 0 and identity.startswith(_UID):
        foreign = lenient.printable(lenient.clean(identity[at + len(_FOREIGN_UID) :].partition(b"\0")[0])).strip()
        if foreign:
            return foreign
    return identity[:1000].hex().upper()


def _attend(event: icalendar.Event, item: Item, method: str, book: AddressBook) -> list[tuple[str, str]]:
    """Organiser and attendees (MS-OXCICAL section 2.1.3.1.1.20.2); none for what nobody was invited to."""
    if not method and not len(item.recipients):
        return []
    found = people.of(item, book)
    if method == "REPLY":
        answer = next(
            (one for end, one in _ANSWERS.items() if end in classes.message_class(item.properties)), "NEEDS-ACTION"
        )
        for person in found.from_:
            event.add("attendee", _attendee(person, {"PARTSTAT": answer}), encode=False)
        for person in found.to[:1]:
            event.add("organizer", _attendee(person, {}), encode=False)
        return [("Answer", answer.capitalize())]
    organizer = {person.address for person in found.from_}
    groups = (found.to, found.cc, found.bcc)
    invited = [[person for person in group if person.address not in organizer] for group in groups]
    if not any(invited):
        return []
    for person in found.from_:
        event.add("organizer", _attendee(person, {}), encode=False)
    answers = _answers(item, book)
    for role, group in zip(_ROLES, invited, strict=True):
        for person in group:
            parameters = {"ROLE": role, "PARTSTAT": answers.get(person.address, "NEEDS-ACTION")}
            event.add("attendee", _attendee(person, parameters), encode=False)
    named = [("Organizer", [*found.from_]), ("Invited", [*invited[0], *invited[1]])]
    return [(name, "; ".join(one.name or one.address for one in group)) for name, group in named if group]


def _answers(item: Item, book: AddressBook) -> dict[str, str]:
    known = ((people.recipient(row, book), lenient.number(row, tags.RECIPIENT_TRACK_STATUS)) for row in item.recipients)
    return {person.address: _ANSWERED[answer] for person, answer in known if person and answer in _ANSWERED}


def _attendee(person: Mailbox, parameters: dict[str, str]) -> icalendar.vCalAddress:
    address = icalendar.vCalAddress(f"mailto:{lenient.printable(person.address)}")
    if person.name:
        address.params["CN"] = icalendar.vText(" ".join(lenient.printable(person.name).split()))
    for name, value in parameters.items():
        address.params[name] = icalendar.vText(value)
    return address


def _remind(event: icalendar.Event, properties: Properties, method: str) -> None:
    minutes = lenient.number(properties, tags.REMINDER_DELTA, -1)
    if not lenient.present(properties, tags.REMINDER_SET) or not 0 <= minutes <= 60 * 24 * 366 or method == "REPLY":
        return
    alarm = icalendar.Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", "Reminder")
    alarm.add("trigger", timedelta(minutes=-minutes))
    event.add_component(alarm)


def _zone(properties: Properties) -> Zone | None:
    description = " ".join(lenient.printable(lenient.text(properties, tags.TIME_ZONE_DESCRIPTION)).split())
    for key in (tags.TIME_ZONE_RECUR, tags.TIME_ZONE_START):
        found = zones.from_definition(lenient.data(properties, key))
        if found is not None:
            return _named(found, description)
    found = zones.from_struct(lenient.data(properties, tags.TIME_ZONE_STRUCT), description)
    return _named(found, description) if found is not None else None


def _named(zone: Zone, description: str) -> Zone:
    name = " ".join(lenient.printable(lenient.clean(zone.name)).split()) or description or f"UTC{zone.standard / 60:+g}"
    return zone._replace(name=name.replace('"', "'")[:200])


def _pattern(data: bytes, warnings: list[str]) -> Pattern | None:
    if not data:
        return None
    try:
        return recurrence.read(data)
    except PatternError as error:
        warnings.append(f"When it recurs could not be taken over: {error}.")
        return None


def _day(moment: datetime, zone: Zone | None) -> date:
    """The day that is meant by its midnight. Without a zone it is the nearest one: west of Greenwich days begin later
    than in UTC, east of it earlier."""
    if zone is not None:
        return zone.local(moment).date()
    return _later(moment, timedelta(days=1)).date() if moment.hour >= _NOON else moment.date()


def _shown(moment: datetime | None, zone: Zone | None, whole_days: bool) -> str:
    if moment is None:
        return ""
    if whole_days:
        return _day(moment, zone).isoformat()
    if zone is None:
        return f"{moment:%Y-%m-%d %H:%M} UTC"
    return f"{zone.local(moment):%Y-%m-%d %H:%M} ({zone.name})"


def _said(lines: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(_lines(lines))


def _lines(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in lines:
        bare = " ".join(value.split())
        if bare:
            yield name, bare


def _later(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment
