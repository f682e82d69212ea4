"""Looks at the archive are shared: whoever asks again and again costs one look, and nobody is told what is over."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from appliance.services.alarms.trouble import Trouble
from appliance.services.looking import LONGEST_GOOD, Looking, SharedLook
from tests.scratch import BOX, ScratchArchive, mail


class Clock:
    """A clock that a look puts forward by what it takes."""

    def __init__(self, took: float) -> None:
        self.now = 1000.0
        self.took = took
        self.looks = 0

    def __call__(self) -> float:
        return self.now

    def look(self) -> int:
        self.now += self.took
        self.looks += 1
        return self.looks


@pytest.mark.parametrize(("took", "good"), [(0.002, 0.02), (1.0, 10.0), (20.0, LONGEST_GOOD)])
def test_what_took_long_is_good_for_longer_and_never_for_more_than_half_a_minute(took: float, good: float) -> None:
    clock = Clock(took)
    shared = SharedLook(clock.look, clock=clock)
    assert shared.lately() == 1
    clock.now += good * 0.99
    assert shared.lately() == 1
    clock.now += good * 0.02
    assert shared.lately() == 2


def test_who_asks_for_now_gets_a_look_that_was_begun_after_that() -> None:
    clock = Clock(1.0)
    shared = SharedLook(clock.look, clock=clock)
    assert shared.now() == 1
    clock.now += 0.001
    assert (shared.now(), shared.lately()) == (2, 2)


def test_a_limit_of_ones_own_counts_from_when_the_look_was_begun() -> None:
    clock = Clock(1.0)
    shared = SharedLook(clock.look, clock=clock)
    assert shared.lately(60.0) == 1
    clock.now += 58.9
    assert shared.lately(60.0) == 1
    clock.now += 0.2
    assert shared.lately(60.0) == 2


def test_all_who_wait_for_a_look_share_it() -> None:
    begun, go_on = threading.Event(), threading.Event()
    looks = []

    def look() -> int:
        looks.append(1)
        begun.set()
        go_on.wait(10)
        return len(looks)

    shared = SharedLook(look)
    found: list[int] = []
    askers = [threading.Thread(target=lambda: found.append(shared.lately(60.0))) for _ in range(5)]
    for one in askers:
        one.start()
    assert begun.wait(10)
    go_on.set()
    for one in askers:
        one.join(10)
    assert found == [1] * 5


def test_a_look_that_fails_is_not_kept() -> None:
    answers = iter((ValueError("once"), 7))

    def look() -> int:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    shared = SharedLook(look)
    with pytest.raises(ValueError, match="once"):
        shared.lately()
    assert shared.lately() == 7


def test_a_recent_look_has_the_alarms_as_they_are_now(tmp_path: Path) -> None:
    box = ScratchArchive(tmp_path)
    try:
        box.archive.alarms.keeps = True
        looking = Looking(box.archive)
        box.archive.alarms.report("verify", Trouble("verify", "error", figures={"errors": 1}))
        (alarm,) = looking.now().alarms
        assert not alarm.acknowledged_by
        box.dispatcher.alarming.acknowledge(BOX, id=alarm.id)
        (seen,) = looking.recent(3600.0).status.alarms
        assert (seen.id, seen.acknowledged_by) == (alarm.id, BOX.id)
    finally:
        box.close()


def test_a_recent_look_counts_what_came_before_it_and_one_of_now_what_came_since(tmp_path: Path) -> None:
    box = ScratchArchive(tmp_path)
    try:
        looking = Looking(box.archive)
        assert looking.status(BOX).records == 0
        box.receive(mail())
        assert looking.recent(3600.0).status.records == 0
        assert looking.status(BOX).records == 1
        assert looking.recent(3600.0).status.records == 1
    finally:
        box.close()
