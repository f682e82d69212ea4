"""A bit flips on the disk: ``verify`` names file and offset, and all the rest is still found, exported and rebuilt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.store.format import (
    FIXED_HEADER_SIZE,
    HEADER_SIZE,
    MARKER_SIZE,
    RECORD_HEADER_SIZE,
    TRAILER,
    parse_end,
    END_SIZE,
)
from appliance.store.names import seal_path
from appliance.store.reader import LogReader, RecordRef
from tests.faults.load import Load
from tests.faults.proof import await_idle, everything_holds, messages
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


class Spot(NamedTuple):
    """A bit to flip: in which file below volumes, at which octet; between which offsets it is to be reported."""

    region: str
    file: str
    offset: int
    reported: range


class Filled(NamedTuple):
    """An archive at rest with signed volumes, and what is in it."""

    product: Product
    load: Load


@pytest.fixture(scope="module")
def filled(template: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """Made once for all regions: each test flips its bit and flips it back."""
    product = template.copy(tmp_path_factory.mktemp("filled") / "data")
    product.start()
    load = Load(product.smtp, "rot", connections=2)
    with load.sending():
        load.await_confirmed(30)
    await_idle(product)
    assert product.stop() == 0
    with product.serving():  # the volumes are closed now: the archiver signs them
        while any(not one.sealed for one in volumes(product)):
            assert product.running
        everything_holds(product, load.ledger())
    yield Filled(product, load)


def volumes(product: Product):
    reader = LogReader(product.data / "volumes")
    return [one for one in reader.volumes() if one.mailbox != bytes(16)]


def spots(product: Product) -> list[Spot]:
    """One bit of each region of a volume, and of its seal."""
    newest: dict[str, list[RecordRef]] = {}
    for ref in messages(product.data):
        newest.setdefault(ref.volume, []).append(ref)
    path, refs = max(newest.items(), key=lambda one: len(one[1]))
    raw = (product.data / "volumes" / path).read_bytes()
    end = parse_end(raw[-END_SIZE:])
    assert end is not None
    record = refs[len(refs) // 2]
    inside = range(record.offset, record.offset + record.length)
    return [
        Spot("header", path, 20, range(HEADER_SIZE)),
        Spot("sealed key", path, FIXED_HEADER_SIZE + 100, range(HEADER_SIZE)),
        Spot("marker", path, HEADER_SIZE + 6, range(HEADER_SIZE, HEADER_SIZE + MARKER_SIZE)),
        Spot("record header", path, record.offset + 20, inside),
        Spot("frame", path, record.offset + RECORD_HEADER_SIZE + record.length // 2 - 40, inside),
        Spot("trailer", path, record.offset + record.length - TRAILER.size + 5, inside),
        Spot("footer", path, end + 30, range(end, len(raw))),
        Spot("seal", seal_path(path), 40, range(1)),
    ]


REGIONS = ("header", "sealed key", "marker", "record header", "frame", "trailer", "footer", "seal")
