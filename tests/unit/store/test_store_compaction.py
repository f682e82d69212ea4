"""Compaction: the same mail at the same places in fewer bytes, and everything that was attested stays true."""

from __future__ import annotations

import os

import pytest

from appliance.errors import ConflictError, DamageError, LockedError, UsageError
from appliance.store import compaction
from appliance.store.compaction import StoppedError, compact, plan
from appliance.store.reader import LogReader, RecordRef
from appliance.store.seal import Chain
from appliance.store.switch import put_in_place
from appliance.store.verify import verify
from tests.archive_volumes import EVER, chain_of, compact_all, fill, names, office_mail, seal_all, stored


def everything(archive):
    """Each record with its place, provenance, salt and original, in the order of a scan."""
    reader = archive.reader()
    return [
        reader.read(found)
        for volume in reader.volumes()
        for found in reader.scan(volume)
        if isinstance(found, RecordRef)
    ]


def listed(archive):
    """What is told of volumes without a key, but for where they are stored."""
    return [
        (one.path, one.writer, one.sequence, one.size, one.closed, one.sealed, one.created)
        for one in LogReader(archive.volumes, seal_key=archive.keyring).volumes()
    ]


def test_nothing_above_the_store_can_tell_that_volumes_were_compacted(archive):
    mails = office_mail(90)
    refs = fill(archive, mails)
    before, infos, size = everything(archive), listed(archive), stored(archive.volumes)
    entries = {info[0]: archive.reader().entries(info[0]) for info in infos}
    assert len(infos) > 3
    compact_all(archive, step_bytes=150_000)

    assert not [name for name in names(archive) if name.endswith(".mkv")]
    assert stored(archive.volumes) < size / 2
    assert everything(archive) == before
    assert [record.original for record in before] == mails
    assert listed(archive) == infos
    reader = archive.reader()
    assert {info[0]: reader.entries(info[0]) for info in infos} == entries
    assert all(volume.archived for volume in reader.volumes())
    assert sum(volume.stored for volume in reader.volumes()) == stored(archive.volumes)
    for ref, mail in list(zip(refs, mails, strict=True))[::7]:
        assert reader.read(ref.volume, ref.offset).original == mail
        assert b"".join(reader.stream(ref)) == mail
        rest = [found for found in reader.scan(ref.volume, ref.end) if isinstance(found, RecordRef)]
        assert rest == [one for one in refs if one.volume == ref.volume and one.offset >= ref.end]


def test_every_mail_of_the_corpora_is_the_same_after_compaction(archive, corpora):
    mails = [path.read_bytes() for path in sorted((corpora / "eml").rglob("*")) if path.is_file()]
    refs = fill(archive, [*mails, *mails[:40]], max_volume=8_000_000)
    compact_all(archive)
    reader = archive.reader()
    for ref, mail in zip(refs, [*mails, *mails[:40]], strict=True):
        assert reader.read(ref).original == mail
    report = archive.verify()
    assert (report.errors, report.notes, report.records) == ((), (), len(refs))


def test_verify_finds_a_compacted_archive_as_whole_as_it_was(archive):
    fill(archive, office_mail(60))
    before = archive.verify()
    seals = compact_all(archive, step_bytes=120_000)
    after = archive.verify()
    assert (after.records, after.errors, after.notes) == (before.records, (), ())
    assert after.sealed == before.sealed + len(seals)
    shallow = verify(archive.volumes, archive.keyring)
    assert (shallow.records, shallow.errors) == (before.records, ())


def test_attachments_are_kept_once_over_all_archive_volumes_of_a_mailbox(archive, make_archive):
    attachment = office_mail(1)[0].partition(b"base64\r\n\r\n")[2]
    body = b"Subject: %d\r\nContent-Transfer-Encoding: base64\r\n\r\n" + attachment
    size = {}
    for copies in (1, 30):
        one = make_archive()
        fill(one, [body % number for number in range(copies)], max_volume=70_000)
        compact_all(one, step_bytes=90_000)
        size[copies] = stored(one.volumes)
        assert everything(one)[-1].original == body % (copies - 1)
    assert size[30] - size[1] < 30 * 4_500, "an attachment of some 40 KB was stored again"


def test_mail_goes_on_after_compaction_and_numbers_are_never_given_out_twice(archive):
    fill(archive, office_mail(20))
    first = {volume.path for volume in archive.reader().volumes()}
    compact_all(archive)
    fill(archive, office_mail(20, seed=2))
    second = {volume.path for volume in archive.reader().volumes()} - first
    assert second
    assert len(archive.originals()) == 40
    assert not archive.verify().errors
    compact_all(archive)
    assert len(archive.originals()) == 40
    assert not archive.verify().errors
    assert {"c0-00000001.mka", "c0-00000002.mka"} <= names(archive)


def test_compacting_again_changes_nothing(archive):
    fill(archive, office_mail(10))
    assert len(compact_all(archive)) == 1
    there = names(archive)
    assert compact_all(archive) == []
    assert names(archive) == there


def test_what_a_crash_tore_off_stays_known(archive):
    fill(archive, office_mail(6), max_volume=1 << 20)
    writer = archive.writer("g1")
    ref = archive.append(writer, b"an orphan's only mail")
    path = archive.volumes / ref.volume
    torn = path.read_bytes()[: ref.end] + os.urandom(50)
    writer.close()
    path.write_bytes(torn)
    seal_all(archive)
    before = list(archive.reader().scan(ref.volume))
    notes = archive.verify().notes
    compact_all(archive)
    assert not path.exists()
    assert [(found.offset, found.length) for found in archive.reader().scan(ref.volume)] == [
        (found.offset, found.length) for found in before
    ]
    assert archive.reader().read(ref).original == b"an orphan's only mail"
    report = archive.verify()
    assert (report.errors, report.notes) == ((), notes)


def test_only_sealed_whole_volumes_of_that_age_and_size_are_planned(archive, monkeypatch):
    fill(archive, office_mail(40))
    writer = archive.writer("g1")
    archive.append(writer, b"still growing")
    volumes = archive.reader().volumes()
    planned = {path for step in plan(volumes, before=EVER) for path in step.volumes}
    assert planned == {one.path for one in volumes if one.writer == "g0"}
    assert plan(volumes, before=volumes[0].created) == []
    assert all(step.size <= 100_000 for step in plan(volumes, before=EVER, step_bytes=100_000))
    monkeypatch.setattr(compaction, "LARGEST_VOLUME", 1)
    assert plan(volumes, before=EVER) == []
    writer.close()


def test_an_archive_volume_that_lacks_a_record_or_has_another_is_never_signed(archive, monkeypatch):
    fill(archive, office_mail(12))
    reader, chain = archive.reader(), chain_of(archive)
    (step,) = plan(reader.volumes(), before=EVER)
    there = names(archive)

    def spoilt(work, found):
        places = list(original(work, found))
        places[3], places[4] = (
            type(places[3])(places[3].entry, places[4].offset, places[4].member),
            type(places[4])(places[4].entry, places[3].offset, places[3].member),
        )
        return iter(places)

    original = compaction._Compaction._directory
    monkeypatch.setattr(compaction._Compaction, "_directory", spoilt)
    made = compact(archive.volumes, step, chain, reader, archive.keyring, reserve=0)
    with pytest.raises(DamageError, match="commitment names"):
        put_in_place(archive.volumes, str(made), chain, archive.keyring, opener=archive.keyring)
    assert names(archive) == there, "the replaced volumes are there, and the bad archive volume is gone"
    assert not archive.verify().errors


def test_any_flipped_byte_of_a_new_archive_volume_keeps_it_from_being_signed(archive):
    fill(archive, office_mail(9))
    reader, chain = archive.reader(), chain_of(archive)
    (step,) = plan(reader.volumes(), before=EVER)
    made = compact(archive.volumes, step, chain, reader, archive.keyring, reserve=0)
    path = archive.volumes / str(made)
    whole = path.read_bytes()
    for offset in range(0, len(whole), 331):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x20]) + whole[offset + 1 :])
        with pytest.raises(DamageError):
            put_in_place(archive.volumes, str(made), chain, archive.keyring, opener=archive.keyring)
    assert chain.number == chain_of(archive).number
    path.write_bytes(whole)
    assert put_in_place(archive.volumes, str(made), chain, archive.keyring, opener=archive.keyring) is not None


@pytest.mark.parametrize("region", ["header", "record", "directory", "end", "cut", "missing"])
def test_damage_to_an_archive_volume_is_told_and_does_not_keep_the_rest_from_being_read(archive, region):
    fill(archive, office_mail(30), max_volume=30_000)
    fill(archive, office_mail(5, seed=3), writer="g1")
    (seal, other) = compact_all(archive, step_bytes=sum(
        one.size for one in archive.reader().volumes() if one.writer == "g0"
    ))  # fmt: skip
    path = archive.volumes / seal.volume
    raw = bytearray(path.read_bytes())
    place = {"header": 700, "record": len(raw) // 2, "directory": len(raw) - 200, "end": len(raw) - 10}
    if region == "missing":
        path.unlink()
    elif region == "cut":
        path.write_bytes(raw[:-1])
    else:
        raw[place[region]] ^= 1
        path.write_bytes(raw)
    errors = archive.verify().errors
    assert any(seal.volume == error.file for error in errors), errors
    reader = archive.reader()
    good = {one.volume for one in other.replaces}
    read = [
        reader.read(found).original
        for volume in reader.volumes()
        if volume.path in good
        for found in reader.scan(volume)
        if isinstance(found, RecordRef)
    ]
    assert read == office_mail(5, seed=3)


def test_a_forged_seal_hides_no_volume(archive, keyring):
    """Who can write files, but not sign, makes an archive volume that says it stands for others."""
    fill(archive, office_mail(8))
    reader, chain = archive.reader(), chain_of(archive)
    (step,) = plan(reader.volumes(), before=EVER)
    made = compact(archive.volumes, step, chain, reader, archive.keyring, reserve=0)
    genuine = {path: path.read_bytes() for path in (archive.volumes / archive.mailbox.hex()).iterdir()}
    seal = put_in_place(archive.volumes, str(made), chain, archive.keyring, opener=archive.keyring)
    for path, raw in genuine.items():
        path.write_bytes(raw)
    seal_file = archive.volumes / seal.volume.replace(".mka", ".seal")
    line, signature = seal_file.read_bytes().splitlines()
    seal_file.write_bytes(line.replace(b'"number":', b'"number":1', 1) + b"\n" + signature + b"\n")
    assert not any(volume.archived for volume in archive.reader().volumes())
    assert archive.originals() == office_mail(8)
    assert any(error.file.endswith(".seal") for error in archive.verify().errors)


def test_without_keys_nothing_is_compacted_and_without_a_seal_nothing_is_replaced(archive):
    fill(archive, office_mail(8))
    chain = chain_of(archive)
    locked = LogReader(archive.volumes)
    (step,) = plan(locked.volumes(), before=EVER)
    there = names(archive)
    with pytest.raises(LockedError):
        compact(archive.volumes, step, chain, locked, archive.keyring, reserve=0)
    empty = Chain(archive.keyring.archive_id, archive.keyring.verify_key)
    with pytest.raises(DamageError):
        compact(archive.volumes, step, empty, archive.reader(), archive.keyring, reserve=0)
    assert names(archive) == there


def test_a_mailbox_is_compacted_by_one_at_a_time(archive):
    fill(archive, office_mail(30))
    reader, chain = archive.reader(), chain_of(archive)
    (step,) = plan(reader.volumes(), before=EVER)

    def another(done):
        with pytest.raises(ConflictError):
            compact(archive.volumes, step, chain, archive.reader(), archive.keyring, reserve=0)

    made = compact(archive.volumes, step, chain, reader, archive.keyring, reserve=0, progress=another)
    assert put_in_place(archive.volumes, str(made), chain, archive.keyring, opener=archive.keyring)
    with pytest.raises(UsageError):
        compact(archive.volumes, step, chain, reader, archive.keyring, reserve=0)


def test_stopping_leaves_nothing_behind(archive):
    fill(archive, office_mail(30))
    reader, chain = archive.reader(), chain_of(archive)
    (step,) = plan(reader.volumes(), before=EVER)
    there, asked = names(archive), []

    def stopped():
        asked.append(1)
        return len(asked) > 40

    with pytest.raises(StoppedError):
        compact(archive.volumes, step, chain, reader, archive.keyring, reserve=0, stopped=stopped)
    assert names(archive) == there
    made = compact(archive.volumes, step, chain, reader, archive.keyring, reserve=0)
    assert (
        put_in_place(archive.volumes, str(made), chain, archive.keyring, opener=archive.keyring, stopped=lambda: True)
        is None
    )
    assert names(archive) == there


def test_a_reader_follows_a_switch_that_happens_under_it(archive):
    mails = office_mail(40)
    refs = fill(archive, mails)
    reader = archive.reader()
    assert reader.read(refs[0]).original == mails[0]
    infos = reader.volumes()
    compact_all(archive)
    assert [reader.read(ref).original for ref in refs] == mails
    assert [one.path for one in reader.volumes()] == [one.path for one in infos]
