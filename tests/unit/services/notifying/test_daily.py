"""The daily mail: what is missed is said once it is really missed, in numbers and words of its language."""

from __future__ import annotations

import pytest

from appliance.services import api
from appliance.services.alarms.book import Alarm
from appliance.services.notifying.daily import Day, letter

NOW = 1_795_435_200.0  # Monday, 23 Nov 2026, 12:00 UTC
DAYS = 86_400


def said(language: str = "en", *, standing: tuple[Alarm, ...] = (), **replica: int | None) -> str:
    """The whole mail of an archive with one replica."""
    there = api.ReplicaState(name="nas", state="current", **{"reached_at": int(NOW), **replica})  # type: ignore[arg-type]
    status = api.Status(
        version="1", started_at=1, unlocked=True, unlocks_itself=True, records=12_345, projected=12_345,
        messages=12_000, indexed=12_000, unassigned=0, unparsed=0, users=2, mailboxes=1, volumes=3, volumes_signed=2,
        backlog=0, oldest_unsearchable_seconds=0.0, last_message_at=int(NOW - 3 * DAYS), per_minute=(),
        log_bytes=5 * 1024**3, index_bytes=1536, disk_free=64 * 1024**3, disk_total=252 * 1024**3, accepted=1,
        refused=0, deferred=0, replicas=(there,), agrees=True,
    )  # fmt: skip
    day = Day(now=NOW, status=status, received=1_000, head=(7, "ab" * 32), standing=standing, over=())
    subject, parts = letter(day, host="box.test", language=language)
    return "\n".join([subject, *(f"{part.heading}: {line}" for part in parts for _, line in part.lines)])


@pytest.mark.parametrize(
    ("replica", "missed"),
    [
        ({"first_at": int(NOW - DAYS)}, False),
        ({"first_at": int(NOW - 10 * DAYS)}, True),
        ({"first_at": int(NOW - 90 * DAYS), "checked_at": int(NOW - DAYS), "rehearsed_at": int(NOW - DAYS)}, False),
        ({"first_at": int(NOW - 90 * DAYS), "checked_at": int(NOW - 10 * DAYS), "rehearsed_at": int(NOW)}, True),
    ],
)
def test_a_weekly_check_is_missed_when_more_than_a_week_went_by(replica: dict[str, int], missed: bool) -> None:
    assert ("was not checked in full within the last 9 days" in said(**replica)) is missed


def test_numbers_and_spans_are_those_of_the_language() -> None:
    english, german = said(first_at=int(NOW)), said("de", first_at=int(NOW))
    assert "1,000 messages" in english and "12,345" in english and "5.0 GB" in english and "3 days ago" in english
    assert "1.000 Nachrichten" in german and "12.345" in german and "5,0 GB" in german and "vor 3 Tagen" in german


def test_an_alarm_says_for_how_long_it_has_stood_and_that_somebody_knows() -> None:
    alarm = Alarm("1", "swap", "", "warning", int(NOW - 3 * DAYS), {"swaps": "/dev/sda2"}, acknowledged_by="u1")
    assert "encrypt it. (For 3 days. Somebody has seen it.)" in said(standing=(alarm,), first_at=int(NOW))
