"""The product and the independent reader agree on folders of volumes and archive volumes, whole and spoilt."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import shutil
import struct
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from zstandard import ZstdError

from appliance.files import FILES
from appliance.keys import mailbox_keys, stored
from appliance.keys.keyring import Argon2, Keyring, Unlocked
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.drop import drop
from appliance.store.reader import LogReader, RecordRef
from appliance.store.verify import verify
from tests.archive_volumes import chain_of, compact_all, fill, office_mail
from tests.elsewhere import Elsewhere
from tests.unit.store.conftest import Archive

READER = Path(__file__).resolve().parents[2] / "reference_reader.py"
REFUSED = (
    InvalidSignature,
    InvalidTag,
    ZstdError,
    struct.error,
    ValueError,
    KeyError,
    IndexError,
    StopIteration,
    OSError,
)

_spec = importlib.util.spec_from_file_location("reference_reader", READER)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


class Example(NamedTuple):
    """A folder with everything in it: plain, compacted twice with parts in common, dropped from twice, an orphan."""

    archive: Archive
    keys: dict

    def spoil(self, folder: Path) -> Example:
        shutil.copytree(self.archive.volumes, folder)
        return Example(Archive(folder, self.archive.keyring, self.archive.mailbox), self.keys)


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Example:
    folder = tmp_path_factory.mktemp("independent")
    keyring, _ = Keyring.create(folder / "keyring.json", passphrase="x", argon2=Argon2(memory=64, passes=1))
    mailbox = bytes(range(16))
    private = _private(folder / "keyring.json", keyring, mailbox)
    archive = Archive(folder / "volumes", keyring, mailbox)
    fill(archive, office_mail(30), max_volume=50_000)
    compact_all(archive, step_bytes=120_000)
    erased = fill(archive, office_mail(6, seed=2), writer="g1", max_volume=1 << 20)
    for gone in (erased[:2], erased[:4]):
        ids = {ref.record_id for ref in gone}
        drop(archive.volumes, erased[0].volume, ids, chain_of(archive), keyring, reserve=0)
    fill(archive, office_mail(6, seed=3))
    keys = {"archive": keyring.archive_id.bytes, "verify_key": keyring.verify_key, "mailboxes": {mailbox: private}}
    return Example(archive, keys)


def _private(path: Path, keyring: Unlocked, mailbox: bytes) -> bytes:
    password = keyring.create_mailbox(mailbox).password
    return mailbox_keys.open_private(stored.load(path, FILES).keyring, mailbox, password)


def product_finds(example: Example) -> dict | None:
    """Count and digest of all originals; None where it finds anything wrong."""
    archive = example.archive
    if verify(archive.volumes, archive.keyring, deep=True).errors:
        return None
    reader = LogReader(archive.volumes, archive.keyring)
    found = {
        (ref.volume, ref.offset): hashlib.sha256(reader.read(ref).original).digest()
        for volume in reader.volumes()
        for ref in reader.scan(volume)
        if isinstance(ref, RecordRef)
    }
    digest = hashlib.sha256(b"".join(found[place] for place in sorted(found))).hexdigest()
    return {"records": len(found), "digest": digest}


def reference_finds(example: Example) -> dict | None:
    try:
        found = reference.read_volumes(example.archive.volumes, example.keys)
    except (reference.FormatError, *REFUSED):
        return None
    return {"records": found["records"], "digest": found["digest"]}


def test_they_agree_on_what_is_whole(example):
    found = product_finds(example)
    assert found is not None
    assert found["records"] == 30 + 2 + 6
    assert reference_finds(example) == found
    kinds = {path.suffix for path in example.archive.volumes.rglob("*") if path.is_file()}
    assert kinds == {".mkv", ".mka", ".seal"}


def test_every_byte_of_the_archive_volumes_is_explained(example):
    found = reference.read_volumes(example.archive.volumes, example.keys)
    files = [path for path in example.archive.volumes.rglob("*") if path.suffix in (".mkv", ".mka")]
    assert found["bytes"] == sum(path.stat().st_size for path in files)
    assert found["torn"] == 0


@pytest.mark.parametrize("seed", range(60))
def test_they_agree_on_what_is_spoilt(example, tmp_path, seed):
    """A flipped bit, a cut, two files swapped, one missing, one doubled: both refuse it."""
    source = random.Random(seed)
    spoilt = example.spoil(tmp_path / "volumes")
    files = sorted(path for path in spoilt.archive.volumes.rglob("*") if path.is_file())
    mka = [path for path in files if path.suffix == ".mka"]
    path = source.choice(mka if seed % 2 else files)
    raw = path.read_bytes()
    fault = ("flip", "cut", "swap", "missing", "append")[seed % 5]
    if fault == "flip":
        place = source.randrange(len(raw))
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1 << source.randrange(8)]) + raw[place + 1 :])
    elif fault == "cut":
        path.write_bytes(raw[: source.randrange(len(raw))])
    elif fault == "swap":
        other = source.choice([one for one in files if one.suffix == path.suffix and one != path])
        path.write_bytes(other.read_bytes())
        other.write_bytes(raw)
    elif fault == "missing":
        path.unlink()
    else:
        path.write_bytes(raw + b"\0")
    what = f"{fault} {path.name}"
    assert product_finds(spoilt) is None, what
    assert reference_finds(spoilt) is None, what


def test_they_agree_on_what_is_elsewhere(example, tmp_path):
    there = example.spoil(tmp_path / "volumes").archive
    sealed = [path.with_suffix("") for path in there.volumes.rglob("*.seal")]
    plain = next(path.with_suffix(".mkv") for path in sealed if path.with_suffix(".mkv").exists())
    newest = max(there.volumes.rglob("c0-*.mka"))
    taken = [path.relative_to(there.volumes).as_posix() for path in (plain, newest)]
    Elsewhere(there.volumes, tmp_path / "elsewhere").take(*taken)
    report = verify(there.volumes, there.keyring, deep=True)
    assert (report.errors, report.absent) == ((), 2)
    found = reference_finds(Example(there, example.keys))
    assert found is not None
    assert 0 < found["records"] == report.records
    AbsentFiles(there.volumes).add([AbsentFile(taken[0], 1, bytes(32))])
    assert verify(there.volumes, there.keyring).errors
    assert reference_finds(Example(there, example.keys)) is None
