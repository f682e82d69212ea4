"""docs/format.md is enough to read an archive: an independent reader, written from it, decodes its example."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from zstandard import ZstdError

from appliance.keys.keyring import Keyring
from appliance.keys.stored import Argon2
from appliance.store import format as layout
from appliance.store.reader import LogReader, RecordRef
from appliance.store.seal import Chain, sign_volume, waiting
from appliance.store.verify import verify
from appliance.store.writer import LogWriter

ROOT = Path(__file__).parents[2]
READER = ROOT / "tests" / "reference_reader.py"
DOCUMENT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
PASSPHRASE = "correct horse battery staple"

_spec = importlib.util.spec_from_file_location("reference_reader", READER)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


def blocks():
    """The example's files by name, as the document prints them."""
    return {found[1]: found[2] for found in re.finditer(r"^```text (\S+)\n(.*?)^```$", DOCUMENT, re.M | re.S)}


@pytest.fixture
def example(tmp_path):
    """The example, laid out as a data folder."""
    for name, text in blocks().items():
        if name == "keyring.json":
            (tmp_path / name).write_text(text)
        elif "/" in name:
            path = tmp_path / "volumes" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes.fromhex(text) if name.endswith(".mkv") else text.encode())
    return tmp_path


def test_the_reader_is_independent():
    imported = set()
    for node in ast.walk(ast.parse(READER.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - set(sys.stdlib_module_names) <= {"cryptography", "zstandard", "google_crc32c"}


@pytest.mark.parametrize("way", ["passphrase", "recovery"])
def test_the_example_decodes_by_the_text_alone(example, way):
    secret = PASSPHRASE.encode()
    if way == "recovery":
        secret = reference.recovery_secret(blocks()["recovery-key"].strip())
    keyring = reference.read_keyring((example / "keyring.json").read_bytes(), way, secret)
    (name,) = [name for name in blocks() if name.endswith(".mkv")]
    raw = bytes.fromhex(blocks()[name])
    volume = reference.read_volume(raw, keyring["mailboxes"][bytes(range(16))])
    message, settings = volume["records"]
    assert message["original"] == bytes.fromhex(blocks()["message"])
    assert (message["type"], settings["type"], settings["original"], settings["provenance"]) == (1, 2, b"", b"")
    assert volume["closed"] and volume["end"] == len(raw)
    found = reference.read_folder(example, way, secret)
    del found["digest"]
    assert found == {"volumes": 1, "records": 2, "seals": 1, "bytes": len(raw), "torn": 0}


@pytest.mark.parametrize("way", ["mailbox-password", "mailbox-token"])
def test_a_mailboxs_own_secret_opens_it_by_the_text_alone(example, way):
    """Both readers, from keyring.json and the volume: no slot is used."""
    mailbox, secret = bytes(range(16)), blocks()[way].strip()
    original = bytes.fromhex(blocks()["message"])
    private = reference.mailbox_private((example / "keyring.json").read_bytes(), mailbox, secret)
    (path,) = example.rglob("*.mkv")
    assert reference.read_volume(path.read_bytes(), private)["records"][0]["original"] == original
    reader = LogReader(example / "volumes", Keyring.load(example / "keyring.json").open_mailbox(mailbox, secret))
    assert reader.read(next(reader.scan(reader.volumes()[0]))).original == original


def test_the_readers_agree_on_how_a_mailboxs_password_is_typed(tmp_path):
    """A generated one forgives case, spaces and dashes, one that was thought of does not."""
    mailbox = bytes(16)
    unlocked, text = Keyring.create(tmp_path / "keyring.json", argon2=Argon2(memory=64, passes=1))
    generated = unlocked.create_mailbox(mailbox, sealed=True).password
    chosen = "Grüße an die Prüfer"
    for password, right, wrong in (
        (generated, (generated, generated.lower().replace("-", ""), generated.replace("0", "o")), generated[:-1]),
        (chosen, (chosen, unicodedata.normalize("NFD", chosen)), chosen.lower()),
    ):
        if password == chosen:
            unlocked.set_mailbox_password(mailbox, old=generated, new=chosen)
        raw = (tmp_path / "keyring.json").read_bytes()
        for typed in right:
            private = reference.mailbox_private(raw, mailbox, typed)
            assert private == Keyring.load(tmp_path / "keyring.json").open_private(mailbox, typed)
        with pytest.raises(InvalidTag):
            reference.mailbox_private(raw, mailbox, wrong)
    keyring = reference.read_keyring(raw, "recovery", reference.recovery_secret(text))
    assert mailbox not in keyring["mailboxes"]
    assert reference.hkdf(keyring["base"], b"", reference.KEY_INFO + b"purpose index") == unlocked.key("index")


def test_the_product_reads_the_example_too(example):
    unlocked = Keyring.load(example / "keyring.json").unlock_with_passphrase(PASSPHRASE)
    report = verify(example / "volumes", unlocked, deep=True)
    assert (report.records, report.sealed, report.errors, report.notes) == (2, 1, (), ())
    reader = LogReader(example / "volumes", unlocked)
    ref = next(reader.scan(reader.volumes()[0]))
    assert reader.read(ref).provenance.rcpt_to == ("journal@archive.example",)


def test_any_changed_byte_of_the_example_is_refused(example):
    (path,) = example.rglob("*.mkv")
    whole = path.read_bytes()
    keyring = reference.read_keyring((example / "keyring.json").read_bytes(), "passphrase", PASSPHRASE.encode())
    private = keyring["mailboxes"][bytes(range(16))]
    for offset in range(0, len(whole), 7):
        with pytest.raises((reference.FormatError, InvalidTag, ZstdError)):
            reference.read_volume(whole[:offset] + bytes([whole[offset] ^ 4]) + whole[offset + 1 :], private)


def test_the_sizes_in_the_document_are_the_programs():
    for title, size in (
        ("Header", layout.HEADER_SIZE),
        ("Batch marker", layout.MARKER_SIZE),
        ("Record header", layout.RECORD_HEADER_SIZE),
        ("Trailer", layout.TRAILER.size),
    ):
        assert f"{title}, {size:,} bytes" in DOCUMENT, title
    assert f"{layout.INDEX_ENTRY_SIZE} each" in DOCUMENT
    for kind in layout.RecordType:
        assert f"{kind.value} {kind.name.lower()}" in DOCUMENT
    for magic in (layout.MARKER_MAGIC, layout.RECORD_MAGIC, layout.INDEX_MAGIC, layout.END_MAGIC, layout.VOLUME_MAGIC):
        assert f"`{magic.hex(' ')}`" in DOCUMENT


def test_no_byte_of_a_data_folder_is_unaccounted_for(tmp_path):
    """Volumes of several writers and mailboxes, streamed, closed, torn and sealed, opened by the other reader."""
    data, keyfile = tmp_path / "data", tmp_path / "data.keyfile"
    data.mkdir()
    unlocked, _ = Keyring.create(data / "keyring.json", keyfile=keyfile)
    mailboxes = [os.urandom(16) for _ in range(2)]
    password = [unlocked.create_mailbox(mailbox, sealed=mailbox == mailboxes[1]).password for mailbox in mailboxes][1]
    originals = []
    for name in ("g0", "g1", "a0"):
        writer = LogWriter(data / "volumes", name, reserve=0, max_volume=30_000)
        for number in range(12):
            mailbox = mailboxes[number % 2]
            originals.append(os.urandom(number * 700))
            writer.append(mailbox, unlocked.public_key(mailbox), originals[-1]).result()
        with writer.stream(mailboxes[0], unlocked.public_key(mailboxes[0])) as record:
            originals.append(os.urandom(2_500_000))
            record.write(originals[-1])
            record.commit()
        writer.close()
    reader = LogReader(data / "volumes", unlocked)
    newest = data / "volumes" / reader.volumes()[-1].path
    end = [found for found in reader.scan(reader.volumes()[-1]) if isinstance(found, RecordRef)][-1].end
    newest.write_bytes(newest.read_bytes()[:end] + b"torn")
    chain = Chain.load(data / "volumes", archive_id=unlocked.archive_id, verify_key=unlocked.verify_key)
    for path in list(waiting(data / "volumes", chain))[:-1]:
        sign_volume(data / "volumes", path, chain, unlocked)
    command = [sys.executable, "-I", str(READER), str(data), "--keyfile", str(keyfile)]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode != 0  # one mailbox is sealed
    command += ["--mailbox-secret", password]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)
    assert found["records"] == len(originals)
    assert found["bytes"] + 4 == sum(path.stat().st_size for path in data.rglob("*.mkv"))
    assert (found["volumes"], found["seals"], found["torn"]) == (len(reader.volumes()), chain.number, 4)
