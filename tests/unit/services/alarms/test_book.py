"""The book of alarms: they begin once, get graver, are acknowledged, end, and outlive a restart and a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from appliance.errors import NotFoundError
from appliance.files import Files
from appliance.services.alarms.book import KEPT, Book
from appliance.services.alarms.keeper import Alarms
from appliance.services.alarms.trouble import Trouble

WARNING = Trouble("disk", "warning", figures={"used": 0.81})
ERROR = Trouble("disk", "error", figures={"used": 0.92})
GATEWAY = Trouble("gateway", "error", "0", {"worker": 0})


class Clock:
    """The time, set by a test."""

    def __init__(self) -> None:
        self.now = 1_795_435_200.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def keeper(tmp_path: Path, clock: Clock, files: Files | None = None) -> Alarms:
    made = Alarms(tmp_path / "alarms.json", clock=clock, files=files or Files())
    made.keeps = True
    return made


def test_a_trouble_that_stays_is_one_alarm_with_its_newest_figures() -> None:
    book = Book().seen([WARNING], 100.0)
    again = book.seen([Trouble("disk", "warning", figures={"used": 0.83})], 160.0)
    assert [one.id for one in again.standing] == [one.id for one in book.standing]
    assert again.standing[0].since == 100 and again.standing[0].figures == {"used": 0.83}


def test_what_ends_and_comes_back_is_another_alarm() -> None:
    first = Book().seen([WARNING], 100.0)
    over = first.seen([], 200.0)
    assert not over.standing and over.over[0].until == 200
    second = over.seen([WARNING], 300.0)
    assert second.standing[0].id != first.standing[0].id and len(second.over) == 1


def test_what_comes_and_goes_every_minute_is_one_alarm() -> None:
    book = Book().seen([GATEWAY], 0.0)
    for minute in range(1, 10):
        book = book.seen([] if minute % 2 else [GATEWAY], minute * 60.0)
    assert len(book.standing) == 1 and not book.over
    book = book.seen([], 670.0)
    assert not book.standing and book.over[0].until == 670


def test_who_acknowledged_a_warning_has_not_acknowledged_the_error() -> None:
    book = Book().seen([WARNING], 0.0)
    seen = book.acknowledged(book.standing[0].id, "u1", 10.0)
    assert seen.seen([WARNING], 20.0).standing[0].acknowledged_by == "u1"
    graver = seen.seen([ERROR], 20.0)
    assert (graver.standing[0].level, graver.standing[0].acknowledged_by) == ("error", "")
    assert graver.standing[0].since == 0


def test_who_can_only_see_some_kinds_ends_no_others() -> None:
    book = Book().seen([WARNING, Trouble("silence", "warning", "m")], 0.0)
    locked = book.seen([Trouble("locked", "warning")], 10.0, {"disk", "locked"})
    assert {one.kind for one in locked.standing} == {"silence", "locked"}


def test_the_history_does_not_grow_for_ever() -> None:
    book = Book()
    for number in range(KEPT + 20):
        book = book.seen([WARNING], number * 10.0).seen([], number * 10.0 + 5)
    assert len(book.over) == KEPT
    assert book.over[0].since > book.over[-1].since
    assert len(book.seen([WARNING], 500 * 86_400.0).over) < KEPT


def test_alarms_outlive_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = keeper(tmp_path, clock)
    (alarm,) = first.see([WARNING])
    first.acknowledge(alarm.id, "local:root")
    first.report("verify", Trouble("verify", "error", figures={"errors": 1}))
    first.tell("mail", {alarm.id: "warning"})
    first.told_today("2026-11-23")
    clock.now += 3600
    second = keeper(tmp_path, clock)
    assert second.book == first.book
    (after,) = second.see([WARNING])
    assert (after.id, after.since, after.acknowledged_by) == (alarm.id, alarm.since, "local:root")
    assert not after.untold("mail", 0.0) and after.untold("webhook", 0.0)
    assert second.book.reported[0].kind == "verify" and second.book.daily == "2026-11-23"


def test_a_look_where_nothing_is_served_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    keeper(tmp_path, clock).see([WARNING])
    idle = Alarms(tmp_path / "alarms.json", clock=clock)
    before = (tmp_path / "alarms.json").read_bytes()
    assert [one.kind for one in idle.see([GATEWAY, WARNING])] == ["gateway", "disk"]
    assert (tmp_path / "alarms.json").read_bytes() == before
    assert [one.kind for one in idle.book.standing] == ["disk"]


def test_figures_alone_are_not_written_again_and_again(tmp_path: Path, clock: Clock) -> None:
    alarms = keeper(tmp_path, clock)
    alarms.see([WARNING])
    stamp = (tmp_path / "alarms.json").stat().st_ino
    alarms.see([Trouble("disk", "warning", figures={"used": 0.85})])
    assert (tmp_path / "alarms.json").stat().st_ino == stamp
    assert alarms.book.standing[0].figures == {"used": 0.85}


def test_a_full_disk_keeps_nobody_from_being_told_and_is_written_down_later(tmp_path: Path, clock: Clock) -> None:
    class Full(Files):
        full = True

        def sync(self, descriptor: int) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().sync(descriptor)

    files = Full()
    alarms = keeper(tmp_path, clock, files)
    (alarm,) = alarms.see([ERROR])
    alarms.tell("mail", {alarm.id: "error"})
    assert not alarms.book.standing[0].untold("mail", 0.0), "it would be told every five seconds"
    assert not (tmp_path / "alarms.json").exists()
    files.full = False
    alarms.see([ERROR])
    assert keeper(tmp_path, clock).book.standing[0].told == {"mail": "error"}


@pytest.mark.parametrize("content", [b"", b"{", b'{"standing": 3}', b"\xff" * 100])
def test_a_file_that_cannot_be_read_begins_anew(tmp_path: Path, clock: Clock, content: bytes) -> None:
    (tmp_path / "alarms.json").write_bytes(content)
    alarms = keeper(tmp_path, clock)
    assert alarms.book == Book()
    alarms.see([WARNING])
    assert len(keeper(tmp_path, clock).book.standing) == 1


def test_only_an_alarm_that_stands_can_be_acknowledged(tmp_path: Path, clock: Clock) -> None:
    alarms = keeper(tmp_path, clock)
    (alarm,) = alarms.see([WARNING])
    alarms.see([])
    with pytest.raises(NotFoundError, match="over already"):
        alarms.acknowledge(alarm.id, "u1")
