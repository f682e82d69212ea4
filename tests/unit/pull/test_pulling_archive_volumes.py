"""Pulling from a mailbox whose volumes were compacted: the same messages, and only archive volumes that are ours."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from appliance.mail.published import SealKey, decode_settings, settings_path
from appliance.pull.maildrop import Maildrops
from appliance.store.reader import LogReader
from tests.scratch import ScratchArchive, mail


@pytest.fixture
def compacted(tmp_path: Path) -> tuple[ScratchArchive, list[bytes], list[bytes]]:
    """An archive after compaction, what it received and the record ids."""
    box = ScratchArchive(tmp_path)
    mails = [mail(f"Number {number}", f"word{number} " * 50) for number in range(20)]
    records = box.receive(*mails)
    box.compact()
    return box, mails, records


def test_the_pull_server_reads_what_compaction_made(
    compacted: tuple[ScratchArchive, list[bytes], list[bytes]],
) -> None:
    box, mails, records = compacted
    published = decode_settings(settings_path(box.paths.data).read_bytes())
    found = _pulled(box, published.seal_key)
    assert dict(zip(records, mails, strict=True)) == found
    assert not list(box.paths.volumes.glob(f"{box.mailbox.id}/t0-*.mkv"))


def test_an_archive_volume_that_another_key_signed_does_not_count(
    compacted: tuple[ScratchArchive, list[bytes], list[bytes]],
) -> None:
    box, _, _ = compacted
    assert _pulled(box, SealKey(uuid4(), bytes(32))) == {}


def _pulled(box: ScratchArchive, seal_key: SealKey | None) -> dict[bytes, bytes]:
    reader = LogReader(box.paths.volumes, box.archive.keyring, seal_key=seal_key)
    drop = Maildrops(box.paths.data, seal_key).look(bytes.fromhex(box.mailbox.id))
    return {ref.record_id: reader.read(ref).original for ref in map(drop.ref, range(len(drop)))}
