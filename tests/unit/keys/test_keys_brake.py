"""Guessing gets slower with each wrong try, for the one who guesses."""

from __future__ import annotations

import pytest

from appliance.errors import SignInError
from appliance.keys.brake import FORGET_SECONDS, Brake


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_tries_after_the_free_ones_wait_twice_as_long_each_time():
    clock = Clock()
    brake = Brake(free=3, longest=10.0, clock=clock)
    for _ in range(3):
        brake.failed("k")
        brake.check("k")
    for wait in (1, 2, 4, 8, 10, 10):
        brake.failed("k")
        clock.now += wait - 0.01
        with pytest.raises(SignInError, match="1 second"):
            brake.check("k")
        clock.now += 0.02
        brake.check("k")
    brake.check("another")


def test_success_and_an_hour_make_good():
    clock = Clock()
    brake = Brake(free=0, longest=10.0, clock=clock)
    for _ in range(9):
        brake.failed("k")
    with pytest.raises(SignInError):
        brake.check("k")
    brake.passed("k")
    brake.check("k")
    brake.failed("k")
    clock.now += FORGET_SECONDS + 1
    brake.failed("k")
    clock.now += 1.01
    brake.check("k")


def test_who_guesses_under_many_names_fills_no_memory():
    brake = Brake(free=0, longest=10.0)
    for number in range(30_000):
        brake.failed(number)
    assert len(brake._failures) == 10_000
    with pytest.raises(SignInError):
        brake.check(29_999)
