"""Dropping: an erased record's ciphertext leaves the disk, without any key, and all else stays provable."""

from __future__ import annotations

import os

import pytest

from appliance.errors import ConflictError, DamageError, NotFoundError, UsageError
from appliance.files import FILES
from appliance.store import merkle
from appliance.store.drop import drop
from appliance.store.reader import LogReader, RecordRef, Tombstone
from appliance.store.switch import clear
from appliance.store.verify import verify
from tests.archive_volumes import chain_of, compact_all, fill, names, office_mail


class OnlySigns:
    """What dropping may ask of the keys: nothing of it opens mail."""

    def __init__(self, keyring):
        self.archive_id, self.sign = keyring.archive_id, keyring.sign


def drop_from(archive, ref, *refs):
    erased = {one.record_id for one in (ref, *refs)}
    return drop(archive.volumes, ref.volume, erased, chain_of(archive), OnlySigns(archive.keyring), reserve=0)


def on_disk(archive):
    return b"".join(path.read_bytes() for path in sorted(archive.volumes.rglob("*")) if path.is_file())


def ciphertext(archive, ref):
    """The record's bytes after its header."""
    return (archive.volumes / ref.volume).read_bytes()[ref.offset + 68 : ref.end - 44]


def test_the_ciphertext_is_gone_and_the_other_records_are_where_they_were(archive):
    mails = office_mail(12)
    refs = fill(archive, mails, max_volume=1 << 20)
    gone, kept = refs[2:5], refs[:2] + refs[5:]
    secret = [ciphertext(archive, ref) for ref in gone]
    assert all(one in on_disk(archive) for one in secret)
    drop_from(archive, *gone)
    left = on_disk(archive)
    assert not any(one[start : start + 64] in left for one in secret for start in range(0, len(one) - 64, 64))
    reader = archive.reader()
    assert [reader.read(ref).original for ref in kept] == mails[:2] + mails[5:]
    scanned = list(reader.scan(refs[0].volume))
    assert [one for one in scanned if isinstance(one, RecordRef)] == kept
    assert [(one.record_id, one.offset, one.length, one.time) for one in scanned if isinstance(one, Tombstone)] == [
        (ref.record_id, ref.offset, ref.length, ref.time) for ref in gone
    ]
    for ref in gone:
        with pytest.raises(NotFoundError, match="erased"):
            reader.read(ref)


def test_verify_and_the_leaf_root_agree_after_a_drop(archive):
    refs = fill(archive, office_mail(20), max_volume=1 << 20)
    drop_from(archive, *refs[3:9])
    report = archive.verify()
    assert (report.errors, report.notes, report.records, report.erased) == ((), (), 14, 6)
    assert not verify(archive.volumes, archive.keyring).errors
    entries = LogReader(archive.volumes).entries(refs[0].volume)
    assert [entry.record_id for entry in entries] == [ref.record_id for ref in refs]
    seal = chain_of(archive).seal_of(refs[0].volume)
    hashes = [merkle.leaf_hash(entry.committed()) for entry in entries]
    path = merkle.path(hashes, 4)
    assert merkle.root_of_path(hashes[4], 4, len(hashes), path) == seal.leaf_root


def test_more_can_be_dropped_later_until_nothing_is_left(archive):
    refs = fill(archive, office_mail(9), max_volume=1 << 20)
    for ref in refs:
        assert drop_from(archive, ref) is not None
        assert drop_from(archive, ref) is None, "it is gone already"
        assert len([name for name in names(archive) if name.endswith((".mkv", ".mka"))]) == 1
    report = archive.verify()
    assert (report.errors, report.records, report.erased) == ((), 0, 9)
    assert archive.originals() == []


def test_a_reader_that_knew_the_volume_before_follows(archive):
    mails = office_mail(6)
    refs = fill(archive, mails, max_volume=1 << 20)
    reader = archive.reader()
    for number, ref in enumerate(refs[:-1]):
        drop_from(archive, ref)
        assert [reader.read(one).original for one in refs[number + 1 :]] == mails[number + 1 :]
        assert [one.size for one in reader.volumes()] == [chain_of(archive).seal_of(ref.volume).size]


def test_streamed_mail_is_dropped_too(archive):
    writer = archive.writer()
    with writer.stream(archive.mailbox, archive.public_key) as record:
        record.write(os.urandom(3_000_000))
        ref = record.commit()
    writer.close()
    fill(archive, [b"another"])
    size = len(on_disk(archive))
    drop_from(archive, ref)
    assert len(on_disk(archive)) < size - 2_900_000
    assert archive.originals() == [b"another"]


def test_only_a_sealed_volume_can_be_dropped_from(archive):
    writer = archive.writer()
    ref = archive.append(writer, b"mail")
    with pytest.raises(ConflictError, match="no seal yet"):
        drop_from(archive, ref)
    writer.close()


def test_a_compacted_volume_cannot_be_dropped_from_and_a_dropped_one_not_compacted(archive):
    refs = fill(archive, office_mail(6), max_volume=1 << 20)
    others = fill(archive, office_mail(6, seed=2), writer="g1", max_volume=1 << 20)
    drop_from(archive, others[0])
    (seal,) = compact_all(archive)
    assert {one.volume for one in seal.replaces} == {refs[0].volume}
    with pytest.raises(UsageError, match="compacted"):
        drop_from(archive, refs[0])
    assert not archive.verify().errors


def test_damage_in_the_volume_keeps_it_as_it_is(archive):
    refs = fill(archive, office_mail(6), max_volume=1 << 20)
    path = archive.volumes / refs[0].volume
    raw = bytearray(path.read_bytes())
    raw[refs[4].offset + 100] ^= 1
    path.write_bytes(raw)
    there = names(archive)
    with pytest.raises(DamageError):
        drop_from(archive, refs[0])
    assert (names(archive), path.read_bytes()) == (there, raw)


def test_a_lost_seal_does_not_make_the_next_start_remove_the_only_copy(archive):
    """Without its seal nobody looks at an archive volume; but it is not thrown away either."""
    refs = fill(archive, office_mail(6), max_volume=1 << 20)
    seal = drop_from(archive, refs[0])
    (archive.volumes / seal.volume.replace(".mka", ".seal")).unlink()
    clear(archive.volumes, chain_of(archive), files=FILES)
    assert (archive.volumes / seal.volume).exists()
    assert archive.verify().errors
