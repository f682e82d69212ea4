"""A bit flips on the disk: ``verify`` names file and offset, and all the rest is still found, exported and rebuilt."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
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
from tests.faults.conftest import Filled
from tests.faults.proof import await_generation, messages
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


class Spot(NamedTuple):
    """A bit to flip: in which file below volumes, at which octet; between which offsets it is to be reported."""

    region: str
    file: str
    offset: int
    reported: range


@pytest.fixture(scope="module")
def serving(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A copy that serves; each test flips its bit and flips it back."""
    product = filled.product.copy(tmp_path_factory.mktemp("rot") / "data")
    product.start()
    yield Filled(product, filled.ledger)
    product.kill()


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


REGIONS = ("header", "sealed key", "marker", "record header", "frame", "trailer", "footer")


@pytest.mark.parametrize("region", REGIONS)
def test_a_flipped_bit_is_named_by_file_and_offset_and_the_rest_is_found(serving: Filled, region: str) -> None:
    product, ledger = serving
    spot = next(one for one in spots(product) if one.region == region)
    assert not product.check().errors
    with flipped(product.data / "volumes" / spot.file, spot.offset):
        named = [(one.file, one.offset) for one in product.check().errors]
        assert any(file == spot.file and offset in spot.reported for file, offset in named), named
        assert product.total("*") == len(ledger.confirmed)
        product.status()
    assert not product.check().errors


def test_a_flipped_bit_of_a_seal_is_named(filled: Filled, tmp_path: Path) -> None:
    """With nothing running: the archiver makes a seal anew that it finds broken, and tells of the gap in the chain."""
    product = filled.product.copy(tmp_path / "data")
    spot = next(one for one in spots(product) if one.region == "seal")
    with flipped(product.data / "volumes" / spot.file, spot.offset):
        code, checked = product.verify()
        assert code == 1
        assert spot.file in {one["file"] for one in checked["errors"] if one["offset"] in spot.reported}
    code, checked = product.verify()
    assert code == 0 and not checked["errors"]


def test_what_a_flipped_bit_leaves_whole_is_still_exported_and_rebuilt(filled: Filled, tmp_path: Path) -> None:
    product = filled.product.copy(tmp_path / "data")
    spot = next(one for one in spots(product) if one.region == "frame")
    hurt = next(ref for ref in messages(product.data) if ref.volume == spot.file and spot.offset in covered(ref))
    lost = next(one.mail.word for one in filled.ledger.confirmed if one.record_id == hurt.record_id)
    whole = {one.mail.word: one.mail.sha256 for one in filled.ledger.confirmed if one.mail.word != lost}
    flip(product.data / "volumes" / spot.file, spot.offset)

    code, checked = product.verify()
    assert code == 1
    assert (spot.file, hurt.offset) in [(one["file"], one["offset"]) for one in checked["errors"]]
    product.start()
    try:
        assert exported(product, tmp_path / "before.zip") == whole
        refused = product.attempt("export", product.hits(lost)[0].id)
        assert refused.returncode != 0 and not refused.stdout
        assert spot.file in refused.stderr.decode()
        product.run("rebuild")
        await_generation(product, "0002")
        assert {hit.subject.split()[-1] for hit in product.hits("*")} == set(whole)
        assert exported(product, tmp_path / "after.zip") == whole
        status = product.status()
        assert status.agrees and any("damaged" in alarm.text for alarm in status.alarms), status
    finally:
        product.kill()


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
