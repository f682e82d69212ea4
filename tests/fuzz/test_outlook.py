"""The short form of the fuzzing run over MSG and TNEF: the same few hundred each time; ``make fuzz`` takes new ones."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import outlook
from tests.fuzz.readers import corpora_at_hand

pytestmark = pytest.mark.fuzz


def test_mutated_files_end_in_a_message_or_in_words() -> None:
    chance = random.Random(20261122)
    files = outlook.seeds(corpora_at_hand())
    assert all(outlook.check(read, raw) == 1 for read, raw in files)
    came = sum(outlook.check(read, outlook.mutated(raw, chance)) for read, raw in (files * 400)[:400])
    assert 50 < came < 400
