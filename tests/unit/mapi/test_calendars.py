"""Appointments, meetings and tasks: when they are, who comes, and when they recur, as calendar programs read it."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import icalendar
import pytest
from dateutil.rrule import rrulestr

from appliance.imports import pst
from appliance.imports.base import Options
from appliance.mail import message
from appliance.mapi import rebuild, recurrence, tags, zones
from appliance.mapi.base import Item
from tests.unit.mapi.items import Made, person, raw, sent

EPOCH = datetime(1601, 1, 1)
NINE = 9 * 60


def minutes(year: int, month: int, day: int) -> int:
    return (datetime(year, month, day) - EPOCH) // timedelta(minutes=1)


def recur(
    frequency: int, pattern: int, period: int, details: bytes, *, end: int = 0x2023, count: int = 0,
    first: int = minutes(2024, 1, 1), last: int = 0x5AE980DF, deleted: tuple[int, ...] = (),
    modified: tuple[int, ...] = (), exceptions: bytes = b"", extended: bytes = b"",
) -> bytes:  # fmt: skip
    """An AppointmentRecurrencePattern (MS-OXOCAL section 2.2.1.44.5), from 9:00 to 9:30."""
    head = struct.pack("<HHHHHIII", 0x3004, 0x3004, frequency, pattern, 0, 0, period, 0)
    dates = struct.pack(f"<I{len(deleted)}I", len(deleted), *deleted)
    dates += struct.pack(f"<I{len(modified)}I", len(modified), *modified)
    whole = head + details + struct.pack("<III", end, count, 0) + dates + struct.pack("<II", first, last)
    whole += struct.pack("<IIIIH", 0x3006, 0x3009, NINE, NINE + 30, len(modified)) + exceptions
    return whole + bytes(4) + extended + bytes(4)


BERLIN = struct.pack("<iiiH8HH8H", -60, 0, -60, 0, 0, 10, 0, 5, 3, 0, 0, 0, 0, 0, 3, 0, 5, 2, 0, 0, 0)


def appointment(**changed: object) -> Made:
    values = sent(
        MESSAGE_CLASS="IPM.Appointment",
        START_WHOLE=datetime(2024, 7, 1, 7, tzinfo=UTC),
        END_WHOLE=datetime(2024, 7, 1, 8, tzinfo=UTC),
        LOCATION="Room 5; left",
        TIME_ZONE_STRUCT=BERLIN,
        TIME_ZONE_DESCRIPTION="Berlin",
    )
    return Made({**values, **{getattr(tags, name): value for name, value in changed.items()}})


def calendar(item: Item) -> icalendar.Calendar:
    written = raw(item)
    (part,) = [one for one in message.read(written).attachments if one.content_type == "text/calendar"]
    return icalendar.Calendar.from_ical(message.part(written, part.part)[1])


def event(item: Item) -> icalendar.Event:
    return calendar(item).walk("VEVENT")[0]


def test_an_appointment_says_when_and_where() -> None:
    found = event(appointment(REMINDER_SET=True, REMINDER_DELTA=15, BUSY_STATUS=0))
    assert (found.decoded("dtstart"), found.decoded("dtend")) == (
        datetime(2024, 7, 1, 7, tzinfo=UTC),
        datetime(2024, 7, 1, 8, tzinfo=UTC),
    )
    assert (found["location"], found["summary"], found["transp"]) == ("Room 5; left", "The offer", "TRANSPARENT")
    assert found.walk("VALARM")[0].decoded("trigger") == timedelta(minutes=-15)
    text = message.read(raw(appointment())).text
    assert text.startswith("Start: 2024-07-01 09:00 (Berlin)\nEnd: 2024-07-01 10:00 (Berlin)\nLocation: Room 5; left")
    assert "here it is." in text


@pytest.mark.parametrize(
    ("start", "zone"),
    [
        (datetime(2024, 6, 30, 22, tzinfo=UTC), BERLIN),
        (datetime(2024, 6, 30, 22, tzinfo=UTC), b""),
        (datetime(2024, 7, 1, 7, tzinfo=UTC), b""),
    ],
)
def test_whole_days_are_the_days_that_were_meant(start: datetime, zone: bytes) -> None:
    found = event(appointment(ALL_DAY=True, START_WHOLE=start, END_WHOLE=start + timedelta(1), TIME_ZONE_STRUCT=zone))
    assert (found.decoded("dtstart"), found.decoded("dtend")) == (date(2024, 7, 1), date(2024, 7, 2))


SERIES = {
    "every other day": (
        recur(0x200A, 0, 2 * 1440, b"", end=0x2022, count=3),
        ["2024-01-01", "2024-01-03", "2024-01-05"],
    ),
    "Mondays and Fridays of every second week": (
        recur(0x200B, 1, 2, struct.pack("<I", 0b100010), end=0x2022, count=4),
        ["2024-01-01", "2024-01-05", "2024-01-15", "2024-01-19"],
    ),
    "every workday": (
        recur(0x200A, 1, 1, struct.pack("<I", 0b111110), end=0x2022, count=6),
        ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"],
    ),
    "the 15th of every month": (
        recur(0x200C, 2, 1, struct.pack("<I", 15), end=0x2022, count=2, first=minutes(2024, 1, 15)),
        ["2024-01-15", "2024-02-15"],
    ),
    "the 30th, or what comes before it": (
        recur(0x200C, 2, 1, struct.pack("<I", 30), end=0x2022, count=3, first=minutes(2024, 1, 30)),
        ["2024-01-30", "2024-02-29", "2024-03-30"],
    ),
    "the last day": (
        recur(0x200C, 4, 1, struct.pack("<I", 31), end=0x2022, count=3, first=minutes(2024, 1, 31)),
        ["2024-01-31", "2024-02-29", "2024-03-31"],
    ),
    "the second Tuesday": (
        recur(0x200C, 3, 1, struct.pack("<II", 0b100, 2), end=0x2022, count=2, first=minutes(2024, 1, 9)),
        ["2024-01-09", "2024-02-13"],
    ),
    "the last workday of every quarter": (
        recur(0x200C, 3, 3, struct.pack("<II", 0b111110, 5), end=0x2022, count=2, first=minutes(2024, 1, 31)),
        ["2024-01-31", "2024-04-30"],
    ),
    "every 24 December": (
        recur(0x200D, 2, 12, struct.pack("<I", 24), end=0x2022, count=2, first=minutes(2024, 12, 24)),
        ["2024-12-24", "2025-12-24"],
    ),
    "until a day": (
        recur(0x200A, 0, 1440, b"", end=0x2021, last=minutes(2024, 1, 3)),
        ["2024-01-01", "2024-01-02", "2024-01-03"],
    ),
}


@pytest.mark.parametrize("name", SERIES)
def test_a_series_falls_on_the_days_that_outlook_shows(name: str) -> None:
    data, days = SERIES[name]
    found = event(appointment(RECUR=data))
    start = found.decoded("dtstart")
    assert start.utcoffset() == timedelta(hours=1) and (start.hour, start.minute) == (9, 0)
    rule = rrulestr(found["rrule"].to_ical().decode(), dtstart=start)
    assert [one.date().isoformat() for one in rule] == days
    assert found.decoded("dtend") - start == timedelta(minutes=30)


def test_dates_that_were_deleted_or_moved_are_known() -> None:
    second, third = minutes(2024, 1, 2), minutes(2024, 1, 3)
    moved = struct.pack("<IIIHHH", third + 600, third + 660, third + NINE, 0x0011, 4, 3) + b"New" + b"\4\0\3\0Hal"
    wide = (
        bytes(8) + bytes(12) + b"\5\0" + "Größe".encode("utf-16-le") + b"\4\0" + "Saal".encode("utf-16-le") + bytes(4)
    )
    data = recur(
        0x200A, 0, 1440, b"", end=0x2022, count=5, deleted=(second, third), modified=(third,),
        exceptions=moved, extended=wide,
    )  # fmt: skip
    main, changed = calendar(appointment(RECUR=data)).walk("VEVENT")
    assert [one.dt.replace(tzinfo=None) for one in main["exdate"].dts] == [datetime(2024, 1, 2, 9)]
    assert changed.decoded("recurrence-id").replace(tzinfo=None) == datetime(2024, 1, 3, 9)
    assert changed.decoded("dtstart").replace(tzinfo=None) == datetime(2024, 1, 3, 10)
    assert (changed["summary"], changed["location"], changed["uid"]) == ("Größe", "Saal", main["uid"])


def test_what_cannot_be_said_is_told() -> None:
    rebuilt = rebuild.message(appointment(RECUR=recur(0x200C, 0xA, 1, struct.pack("<I", 15))))
    assert rebuilt.warnings == (
        "When it recurs could not be taken over: it follows a calendar that iCalendar does not know.",
    )
    assert event(appointment(RECUR=b"\4\x30"))["summary"] == "The offer"


def test_clocks_change_as_the_zone_says() -> None:
    zone = zones.from_struct(BERLIN, "Berlin")
    assert zone is not None
    assert zone.moment(datetime(2024, 3, 31, 1, 59)) == datetime(2024, 3, 31, 0, 59, tzinfo=UTC)
    assert zone.moment(datetime(2024, 3, 31, 3)) == datetime(2024, 3, 31, 1, tzinfo=UTC)
    assert zone.moment(datetime(2024, 10, 27, 4)) == datetime(2024, 10, 27, 3, tzinfo=UTC)
    assert zone.local(datetime(2024, 7, 1, 7, tzinfo=UTC)) == datetime(2024, 7, 1, 9)


def test_the_uid_of_another_program_stays() -> None:
    head = bytes.fromhex("040000008200e00074c5b7101a82e008") + bytes(24)
    assert event(appointment(GLOBAL_OBJECT_ID=head + b"vCal-Uid\1\0\0\0x@google.com\0"))["uid"] == "x@google.com"
    assert event(appointment(GLOBAL_OBJECT_ID=head + b"abc"))["uid"] == (head + b"abc").hex().upper()


def test_a_meeting_request_asks_its_recipient() -> None:
    item = Made(
        {**appointment().values, tags.MESSAGE_CLASS: "IPM.Schedule.Meeting.Request", tags.BODY: ""},
        [person("ben@example.org", "Ben"), person("carla@example.org", "Carla", 2)],
    )
    written = raw(item)
    part = message.leaves(written)[1]
    assert (part.content_type, part.parameters["method"]) == ("text/calendar", "REQUEST")
    found = event(item)
    assert found["organizer"] == "mailto:anna@example.com"
    assert [(str(one), one.params["ROLE"]) for one in found["attendee"]] == [
        ("mailto:ben@example.org", "REQ-PARTICIPANT"),
        ("mailto:carla@example.org", "OPT-PARTICIPANT"),
    ]
    assert message.read(written).text.startswith("Start: 2024-07-01 09:00")


def test_an_answer_says_who_comes() -> None:
    values = {**appointment().values, tags.MESSAGE_CLASS: "IPM.Schedule.Meeting.Resp.Neg"}
    found = event(Made(values, [person("ben@example.org")]))
    assert (str(found["attendee"]), found["attendee"].params["PARTSTAT"]) == ("mailto:anna@example.com", "DECLINED")
    assert found["organizer"] == "mailto:ben@example.org"


def test_a_task_is_due() -> None:
    values = sent(
        MESSAGE_CLASS="IPM.Task", TASK_DUE=datetime(2024, 7, 3, tzinfo=UTC), PERCENT_COMPLETE=0.25, TASK_STATUS=1
    )
    (found,) = calendar(Made(values)).walk("VTODO")
    assert (found.decoded("due"), found["percent-complete"], found["status"]) == (date(2024, 7, 3), 25, "IN-PROCESS")


def test_a_journal_entry_says_when_it_was() -> None:
    values = sent(MESSAGE_CLASS="IPM.Activity", LOG_START=datetime(2024, 7, 3, 8, tzinfo=UTC), LOG_DURATION=45)
    (found,) = calendar(Made(values)).walk("VJOURNAL")
    assert found.decoded("dtstart") == datetime(2024, 7, 3, 8, tzinfo=UTC)
    assert "Lasted: 45 minutes" in message.read(raw(Made(values))).text


def test_real_series_recur_as_their_titles_say(corpora: Path) -> None:
    expected = {
        "repeats every monday for 10 weeks": "FREQ=WEEKLY;COUNT=10;INTERVAL=1;BYDAY=MO;WKST=SU",
        "repeats for 3 days": "FREQ=DAILY;COUNT=3;INTERVAL=1",
        "Occurs every August 13 effective 8/13/2021 from 10:00 AM to 10:30 AM":
            "FREQ=YEARLY;INTERVAL=1;BYMONTHDAY=13;BYMONTH=8",
        "Christmas Day": "FREQ=YEARLY;INTERVAL=1;BYMONTHDAY=25;BYMONTH=12",
        "Halloween": "FREQ=YEARLY;INTERVAL=1;BYMONTHDAY=-1;BYMONTH=10",
    }  # fmt: skip
    found = {}
    with (corpora / "pst" / "pst-extractor--outlook.com.ost").open("rb") as file:
        for entry in pst.read(file, "outlook.ost", Options(others=True)):
            if entry.kind == "calendar" and entry.content is not None:
                written = b"".join(entry.content().pieces)
                (part,) = [one for one in message.read(written).attachments if one.name == "appointment.ics"]
                one = icalendar.Calendar.from_ical(message.part(written, part.part)[1]).walk("VEVENT")[0]
                if "rrule" in one:
                    found[str(one["summary"])] = one["rrule"].to_ical().decode()
    assert {name: found.get(name) for name in expected} == expected


def test_nothing_follows_a_recurrence_that_is_cut_off() -> None:
    whole = SERIES["the second Tuesday"][0]
    for end in range(len(whole) - 26):  # what follows is an appointment's alone
        with pytest.raises(recurrence.PatternError):
            recurrence.read(whole[:end])
