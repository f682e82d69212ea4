"""A bit flips on the disk: ``verify`` names file and offset, and all the rest is still found, exported and rebuilt."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.store.format import (
    END_SIZE,
    FIXED_HEADER_SIZE,
    HEADER_SIZE,
    MARKER_SIZE,
    RECORD_HEADER_SIZE,
    TRAILER,
    parse_end,
)
from appliance.store.names import seal_path
from appliance.store.reader import RecordRef
from tests.faults.load import Load
from tests.faults.proof import await_generation, await_idle, everything_holds, messages
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
def filled(template: Product, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """Made once for all regions: each test flips its bit and flips it back."""
    product = template.copy(tmp_path_factory.mktemp("filled") / "data")
    product.start()
    load = Load(product.smtp, "rot", connections=2)
    with load.sending():
        load.await_confirmed(30)
    await_idle(product)
    assert product.stop() == 0
    with product.serving():  # the volumes are closed now, so the archiver signs them
        deadline = time.monotonic() + 60
        while (status := product.status()).volumes_signed < status.volumes:
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        everything_holds(product, load.ledger())
    return Filled(product, load)


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


@pytest.mark.parametrize("region", REGIONS)
def test_a_flipped_bit_is_named_by_file_and_offset_and_the_rest_is_served(filled: Filled, region: str) -> None:
    product, load = filled
    spot = next(one for one in spots(product) if one.region == region)
    with flipped(product.data / "volumes" / spot.file, spot.offset):
        code, checked = product.verify()
        assert code == 1
        named = [(one["file"], one["offset"]) for one in checked["errors"]]
        assert any(file == spot.file and offset in spot.reported for file, offset in named), checked
        assert product.run("search", "*", "--limit", "0")["total"] == len(load.confirmed)


def test_what_a_flipped_bit_leaves_whole_is_still_exported_and_rebuilt(filled: Filled, tmp_path: Path) -> None:
    twin = filled.product.copy(tmp_path / "data")
    spot = next(one for one in spots(twin) if one.region == "frame")
    hurt = next(ref for ref in messages(twin.data) if ref.volume == spot.file and spot.offset in covered(ref))
    lost = next(one.mail.word for one in filled.load.confirmed if one.record_id == hurt.record_id)
    whole = {one.mail.word: one.mail.sha256 for one in filled.load.confirmed if one.mail.word != lost}
    flip(twin.data / "volumes" / spot.file, spot.offset)

    twin.start()
    try:
        assert exported(twin, tmp_path / "before.zip") == whole
        refused = twin.attempt("export", twin.hits(lost)[0].id)
        assert refused.returncode != 0 and not refused.stdout
        assert spot.file in refused.stderr.decode()
        twin.run("rebuild")
        await_generation(twin, "0002")
        assert {hit.subject.split()[-1] for hit in twin.hits("*")} == set(whole)
        assert exported(twin, tmp_path / "after.zip") == whole
        assert any("damaged" in alarm.text for alarm in twin.status().alarms)
    finally:
        twin.kill()


def exported(product: Product, out: Path) -> dict[str, str]:
    """SHA-256 of each original that an export of everything gave, by its word."""
    product.export("*", out)
    with zipfile.ZipFile(out) as bundle:
        manifest = csv.DictReader(io.StringIO(bundle.read("manifest.csv").decode()))
        return {
            line["subject"].split()[-1]: hashlib.sha256(bundle.read(line["file"])).hexdigest()
            for line in manifest
            if line["file"]
        }


def covered(ref: RecordRef) -> range:
    """The octets of a record."""
    return range(ref.offset, ref.offset + ref.length)


@contextlib.contextmanager
def flipped(path: Path, offset: int) -> Iterator[None]:
    """One bit the other way round, for a ``with`` block."""
    flip(path, offset)
    try:
        yield
    finally:
        flip(path, offset)


def flip(path: Path, offset: int) -> None:
    """Turn one bit round."""
    with path.open("r+b") as file:
        file.seek(offset)
        octet = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([octet ^ 0x04]))
