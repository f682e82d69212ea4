"""Mutated PSTs, read as the product reads them: whatever is in one, reading ends, and every item is accounted for."""

from __future__ import annotations

import random
import re
import tempfile
import time
import traceback
from collections.abc import Callable

from appliance.imports.base import FileError, ItemError, Options
from appliance.imports.nursery import Nursery
from appliance.imports.reading import Arriving, Broken, Opened, Reading
from tests.fuzz.readers import corpora_at_hand

LONGEST_SECONDS = 60.0
_PATIENCE = 20.0
_BOX = 512
"""Pages, and the grid that blocks lie on."""
_STRAIGHT = 600
"""Bytes from the beginning in which the header is."""
_UNFORESEEN = re.compile(r"cannot be read \(\w+\)|ended the process|took longer than|more memory than|no PST or OST\.$")
"""Ways to fail that are no answer: a reader that stumbles, dies, hangs, or eats memory."""


def seeds() -> list[bytes]:
    """PSTs to begin from; the small ones more often, because they are read in a moment."""
    folder = corpora_at_hand()
    files = sorted((folder / "pst").iterdir(), key=lambda file: file.stat().st_size) if folder else []
    return [raw for place, file in enumerate(files) for raw in [file.read_bytes()] * (len(files) - place)]


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The file with a few things wrong, so that it can still be told for a PST."""
    data = bytearray(raw)
    chance.choice(_MUTATIONS)(data, chance)
    return bytes(data)


def check(raw: bytes, nursery: Nursery, options: Options) -> int:
    """Read ``raw`` to its end; how many items were accounted for. AssertionError is a finding."""
    began = time.monotonic()
    count = 0
    why: list[str] = []
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        file.flush()
        opened = Opened(file.fileno(), len(raw))
        try:
            with Reading(nursery, opened, "mutated.pst", options, patience=_PATIENCE) as reading:
                for event in reading:
                    assert event.number == count
                    count += 1
                    if isinstance(event, Arriving):
                        why += _read(event)
                    elif isinstance(event, Broken):
                        why.append(event.why)
        except FileError as error:
            why.append(str(error))
    unforeseen = [words for words in why if _UNFORESEEN.search(words) and raw[:4] == b"!BDN"]
    assert not unforeseen, unforeseen
    assert all(why)
    assert count or why
    taken = time.monotonic() - began
    assert taken <= LONGEST_SECONDS, f"{taken:.1f} seconds"
    return count


def check_batch(task: tuple[int, int]) -> list[str]:
    """Check (seed, how many) PSTs; those that failed are left in files, whose paths are returned."""
    seed, count = task
    chance = random.Random(seed)
    files = seeds()
    findings = []
    with Nursery() as nursery:
        for _ in range(count if files else 0):
            raw = mutated(chance.choice(files), chance)
            options = Options(others=True, recovered=chance.random() < 0.5)
            try:
                check(raw, nursery, options)
            except Exception:
                with tempfile.NamedTemporaryFile(prefix="mailkeep-fuzz-", suffix=".pst", delete=False) as file:
                    file.write(raw)
                findings.append(file.name)
                traceback.print_exc()
    return findings


def _read(event: Arriving) -> list[str]:
    try:
        for _ in event.pieces:
            pass
    except ItemError as error:
        return [str(error)]
    return []


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 4, 32, 256))):
        data[chance.randrange(12, len(data))] ^= 1 << chance.randrange(8)


def _flip_header(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(12, _STRAIGHT)] ^= chance.randrange(1, 256)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(12, len(data)) :]


def _swap(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 30))):
        one, other = (chance.randrange(2, len(data) // _BOX) * _BOX for _ in range(2))
        data[one : one + _BOX], data[other : other + _BOX] = data[other : other + _BOX], data[one : one + _BOX]


def _fill(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 10))):
        at = chance.randrange(12, len(data))
        size = min(chance.choice((1, 2, 4, 8, 64, 512, 4096)), len(data) - at)
        data[at : at + size] = chance.choice((b"\0", b"\xff", b"\x7f")) * size


def _drop(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(2, len(data) // _BOX) * _BOX
    del data[at : at + chance.choice((1, _BOX, 8 * _BOX))]


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _flip, _flip_header, _cut, _swap, _fill, _drop),
)
