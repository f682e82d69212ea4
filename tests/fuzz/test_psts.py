"""The short form of the fuzzing run over PSTs: the same few dozen each time; ``make fuzz`` takes new ones."""

from __future__ import annotations

import random

import pytest

from appliance.imports.base import Options
from appliance.imports.nursery import Nursery
from tests.fuzz import psts

pytestmark = pytest.mark.fuzz

_FEW = 60


def test_mutated_psts_end_in_a_report() -> None:
    files = psts.seeds()
    if not files:
        pytest.skip("no PSTs; set MAILKEEP_CORPORA to a folder with pst/ in it")
    chance = random.Random(20261122)
    counts = []
    with Nursery() as nursery:
        for number in range(_FEW):
            raw = psts.mutated(chance.choice(files), chance)
            counts.append(psts.check(raw, nursery, Options(others=True, recovered=number % 2 == 0)))
        assert psts.check(files[0], nursery, Options(others=True)) == 1  # and the nursery reads on
    assert sum(counts) > _FEW
