"""Working time: weekends and nights do not count, and clocks that are changed do not confuse it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.errors import UsageError
from appliance.services.alarms.working_time import WorkingTime, check, elapsed

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = WorkingTime(hours=6, zone="Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("since", "now", "hours"),
    [
        ("2026-11-20 17:00", "2026-11-23 08:00", 1),  # Friday evening to Monday morning
        ("2026-11-20 17:00", "2026-11-23 13:00", 6),
        ("2026-11-21 10:00", "2026-11-22 23:00", 0),  # a weekend
        ("2026-11-23 03:00", "2026-11-23 07:59", 0),  # before work
        ("2026-11-23 09:15", "2026-11-23 09:45", 0.5),
        ("2026-11-16 00:00", "2026-11-23 00:00", 50),  # a week
        ("2026-11-23 12:00", "2026-11-23 09:00", 0),  # mail of a time that is yet to come
    ],
)
def test_only_working_hours_count(since: str, now: str, hours: float) -> None:
    assert elapsed(OFFICE, at(since), at(now)) == hours * 3600


def test_a_day_on_which_clocks_are_changed_has_the_hours_that_it_has() -> None:
    always = WorkingTime(hours=1, days=tuple(range(7)), begins=0, ends=1440, zone="Europe/Berlin")
    assert elapsed(always, at("2026-03-29 00:00"), at("2026-03-30 00:00")) == 23 * 3600
    assert elapsed(always, at("2026-10-25 00:00"), at("2026-10-26 00:00")) == 25 * 3600


def test_the_zone_decides() -> None:
    since, now = at("2026-11-23 08:00"), at("2026-11-23 18:00")
    assert elapsed(WorkingTime(zone="America/New_York"), since, now) == 4 * 3600  # 8:00 there is 14:00 here


def test_years_without_mail_are_counted_quickly() -> None:
    assert elapsed(OFFICE, 0.0, at("2026-11-23 18:00")) > 250 * 10 * 3600


@pytest.mark.parametrize(
    "wrong",
    [
        WorkingTime(hours=-1), WorkingTime(hours=10**6), WorkingTime(days=()), WorkingTime(days=(7,)),
        WorkingTime(begins=600, ends=600), WorkingTime(ends=1441), WorkingTime(zone="Mars/Olympus"),
        WorkingTime(zone="../../etc/passwd"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: WorkingTime) -> None:
    with pytest.raises(UsageError):
        check(wrong)


def test_days_come_in_order() -> None:
    assert check(WorkingTime(days=(4, 0, 0))).days == (0, 4)
