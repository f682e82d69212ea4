"""The short form of the fuzzing run over archives: the same few dozen each time; ``make fuzz`` takes new ones."""

from __future__ import annotations

import random

import pytest

from appliance.imports.nursery import Nursery
from tests.fuzz import archives

pytestmark = pytest.mark.fuzz

_FEW = 110


def test_mutated_archives_end_in_a_report() -> None:
    chance = random.Random(20261122)
    files = archives.seeds()
    counts = []
    with Nursery() as nursery:
        for number in range(_FEW):
            name, raw = files[number % len(files)]
            counts.append(archives.check(name, archives.mutated(raw, chance), nursery))
        whole = [archives.check(name, raw, nursery) for name, raw in files]
    assert sum(counts) > _FEW
    assert whole == [4, 1, *[18] * 8, 1]
