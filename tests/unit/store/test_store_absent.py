"""Volumes that are on replicas only: listed as ever, fetched when they are read, and nothing is lost sight of."""

from __future__ import annotations

import threading

import pytest

from appliance.errors import DamageError, StorageError, UnavailableError, UsageError
from appliance.files import Files
from appliance.store.absent import NAME, AbsentFile, AbsentFiles
from appliance.store.compaction import known_parts, plan
from appliance.store.reader import LogReader, RecordRef
from appliance.store.seal import waiting
from appliance.store.switch import clear
from appliance.store.verify import verify
from tests.archive_volumes import EVER, chain_of, compact_all, fill, office_mail
from tests.elsewhere import Elsewhere


@pytest.fixture
def elsewhere(archive, tmp_path):
    return Elsewhere(archive.volumes, tmp_path / "elsewhere")


def reader_of(archive, elsewhere):
    return LogReader(archive.volumes, archive.keyring, fetch=elsewhere.fetch)


def known(info):
    """What must not change when a volume goes elsewhere."""
    return info.path, info.size, info.closed, info.sealed, info.archived


def everything(reader):
    return [
        reader.read(found).original
        for volume in reader.volumes()
        for found in reader.scan(volume)
        if isinstance(found, RecordRef)
    ]


@pytest.mark.parametrize("compacted", [False, True])
def test_what_is_elsewhere_is_listed_as_it_was_and_comes_back_bit_for_bit(archive, elsewhere, compacted):
    mails = office_mail(40)
    fill(archive, mails)
    if compacted:
        compact_all(archive, step_bytes=150_000)
    before = archive.reader().volumes()
    taken = elsewhere.take_all(archive.mailbox)
    assert len(taken) > 1
    reader = reader_of(archive, elsewhere)
    listed = reader.volumes()
    assert list(map(known, listed)) == list(map(known, before))
    assert all(one.absent and one.stored == 0 for one in listed)
    assert sum(one.records for one in listed) == len(mails)
    assert elsewhere.fetched == []
    assert everything(reader) == mails
    assert sorted(elsewhere.fetched) == taken
    assert not (archive.volumes / NAME).exists()
    assert reader.volumes() == before


@pytest.mark.parametrize("compacted", [False, True])
def test_each_way_to_read_fetches(archive, elsewhere, compacted):
    refs = fill(archive, office_mail(6))
    if compacted:
        compact_all(archive)
    ref, plain = refs[3], archive.reader()
    ways = {
        "read": lambda reader: reader.read(ref).original,
        "stream": lambda reader: b"".join(reader.stream(ref)),
        "each": lambda reader: [one.original for one in reader.read_each([ref], 1 << 20)],
        "scan": lambda reader: list(reader.scan(ref.volume)),
        "listed": lambda reader: list(reader.listed(ref.volume)),
        "entries": lambda reader: reader.entries(ref.volume),
        "header": lambda reader: reader.header(ref.volume),
    }
    for name, way in ways.items():
        expected = way(plain)
        elsewhere.take_all(archive.mailbox)
        elsewhere.fetched.clear()
        assert way(reader_of(archive, elsewhere)) == expected, name
        assert len(elsewhere.fetched) == 1, name


def test_a_record_whose_parts_lie_in_another_archive_volume_brings_both(archive, elsewhere):
    refs = fill(archive, office_mail(60))
    fill(archive, office_mail(60), writer="g1")
    seals = compact_all(archive, step_bytes=200_000)
    assert len(seals) > 1
    elsewhere.take_all(archive.mailbox)
    reader = reader_of(archive, elsewhere)
    both = 0
    for ref, original in zip(refs, office_mail(60), strict=True):
        elsewhere.fetched.clear()
        assert reader.read(ref).original == original
        both += len(elsewhere.fetched) > 1
        if here := [seal.volume for seal in seals if (archive.volumes / seal.volume).exists()]:
            elsewhere.take(*here)
        reader = reader_of(archive, elsewhere)
    assert both


def test_without_somebody_who_fetches_it_is_trouble_that_passes_and_says_so(archive, elsewhere):
    ref = fill(archive, office_mail(3))[0]
    elsewhere.take(ref.volume)
    with pytest.raises(StorageError, match="on a replica only"):
        archive.reader().read(ref)
    elsewhere.down = True
    with pytest.raises(UnavailableError, match="cannot be reached"):
        reader_of(archive, elsewhere).read(ref)
    elsewhere.down = False
    assert reader_of(archive, elsewhere).read(ref).ref.record_id == ref.record_id


def test_an_archive_with_volumes_elsewhere_is_whole(archive, elsewhere):
    mails = office_mail(40)
    fill(archive, mails[:20])
    compact_all(archive)
    fill(archive, mails[20:], writer="g1")
    taken = elsewhere.take_all(archive.mailbox)
    for deep in (False, True):
        report = verify(archive.volumes, archive.keyring, deep=deep)
        assert report.errors == ()
        assert report.notes == ()
        assert report.absent == len(taken)
        assert report.records == 0
    elsewhere.fetch(taken[0])
    some = archive.verify()
    assert (some.errors, some.absent) == ((), len(taken) - 1)
    assert some.records > 0


def test_what_is_only_said_to_be_elsewhere_is_found_out(archive, elsewhere):
    volumes = sorted({ref.volume for ref in fill(archive, office_mail(80))})
    elsewhere.take(*volumes)
    absent = AbsentFiles(archive.volumes)
    other, unsealed, unlisted = volumes[:3]
    absent.add([AbsentFile(other, absent.all()[other].size, bytes(32))])
    absent.remove([unlisted])
    (archive.volumes / unsealed).with_suffix(".seal").unlink()
    found = {one.file for one in archive.verify().errors}
    assert {other, unsealed, unlisted} <= found
    assert volumes[3] not in found


def test_a_damaged_list_is_found_and_keeps_nobody_from_what_is_here(archive, elsewhere):
    refs = fill(archive, office_mail(40))
    elsewhere.take(refs[0].volume)
    list_ = archive.volumes / NAME
    list_.write_bytes(list_.read_bytes()[:-20])
    assert refs[0].volume not in {one.path for one in archive.reader().volumes()}
    assert archive.reader().read(refs[-1]).ref == refs[-1]
    assert {NAME, refs[0].volume} <= {one.file for one in archive.verify().errors}
    before = list_.read_bytes()
    for change in (lambda list_: list_.add([AbsentFile(refs[-1].volume, 1, bytes(32))]), AbsentFiles.all):
        with pytest.raises(DamageError, match="damaged"):
            change(AbsentFiles(archive.volumes))
    assert list_.read_bytes() == before


def test_no_path_leads_out_of_the_folder(archive, elsewhere):
    fill(archive, office_mail(3))
    for path in ("../keyring.json", f"{archive.mailbox.hex()}/g0-00000001.seal", "/etc/passwd"):
        with pytest.raises(UsageError):
            AbsentFiles(archive.volumes).add([AbsentFile(path, 1, bytes(32))])
    (archive.volumes / NAME).write_text('{"path":"../../x.mkv","size":1,"hash":"' + "00" * 32 + '"}\n')
    with pytest.raises(DamageError):
        AbsentFiles(archive.volumes).all()


def test_nothing_that_several_write_into_the_list_is_lost(archive):
    archive.volumes.mkdir()
    names = [f"{archive.mailbox.hex()}/g{number % 9}-{number + 1:08d}.mkv" for number in range(60)]

    def write(part):
        absent = AbsentFiles(archive.volumes)
        for name in part:
            absent.add([AbsentFile(name, 1, bytes(32))])
        absent.remove(part[::2])

    threads = [threading.Thread(target=write, args=(names[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = {name for start in range(4) for name in names[start::4][1::2]}
    assert AbsentFiles(archive.volumes).all().keys() == left


def test_compaction_and_sealing_leave_alone_what_is_elsewhere(archive, elsewhere):
    volumes = sorted({ref.volume for ref in fill(archive, office_mail(40))})
    elsewhere.take(*volumes[1:3])
    chain = chain_of(archive)
    assert list(waiting(archive.volumes, chain)) == []
    (step,) = plan(archive.reader().volumes(archive.mailbox), before=EVER)
    assert set(step.volumes) == set(volumes) - set(volumes[1:3])
    compact_all(archive)
    assert elsewhere.fetched == []
    report = archive.verify()
    assert (report.errors, report.absent) == ((), 2)
    assert everything(reader_of(archive, elsewhere)) == office_mail(40)


def test_numbers_and_chains_go_on_behind_what_is_elsewhere(archive, elsewhere):
    fill(archive, office_mail(20))
    compact_all(archive)
    first = elsewhere.take_all(archive.mailbox)
    fill(archive, office_mail(20, seed=2))
    taken = elsewhere.take_all(archive.mailbox)
    fill(archive, office_mail(20, seed=3))
    (seal,) = compact_all(archive)
    assert seal.volume not in first
    assert archive.verify().errors == ()
    elsewhere.take(seal.volume)
    assert known_parts(archive.reader(), archive.mailbox) == {}
    for path in (*first, *taken, seal.volume):
        elsewhere.fetch(path)
    report = archive.verify()
    assert (report.errors, report.absent, report.records) == ((), 0, 60)


def test_an_entry_that_outlives_its_volume_is_of_no_account(archive, elsewhere):
    mails = office_mail(20)
    volumes = sorted({ref.volume for ref in fill(archive, mails)})
    entry = elsewhere.entry(volumes[0])
    AbsentFiles(archive.volumes).add([entry])  # as after a crash before the file went
    assert not any(one.absent for one in archive.reader().volumes())
    assert archive.verify().absent == 0
    compact_all(archive)
    assert AbsentFiles(archive.volumes).all() == {}
    AbsentFiles(archive.volumes).add([entry])  # as where the disk did not take the change of the list
    assert [one.path for one in archive.reader().volumes()] == volumes
    assert archive.verify().errors == ()
    assert archive.originals() == mails


def test_what_a_crash_left_is_cleared_with_volumes_elsewhere(archive, elsewhere):
    fill(archive, office_mail(20))
    kept = {path: (archive.volumes / path).read_bytes() for path in {one.path for one in archive.reader().volumes()}}
    (seal,) = compact_all(archive)
    elsewhere.take(seal.volume)
    for path, content in kept.items():
        (archive.volumes / path).write_bytes(content)
    clear(archive.volumes, chain_of(archive))
    # What stands in their place cannot be looked at, so they stay until it can.
    assert all((archive.volumes / path).exists() for path in kept)
    elsewhere.fetch(seal.volume)
    clear(archive.volumes, chain_of(archive))
    assert not any((archive.volumes / path).exists() for path in kept)
    assert archive.verify().errors == ()


class Meanwhile(Files):
    """Something happens just before, or just after, a mailbox's folder is listed."""

    def __init__(self, *, before=None, after=None):
        self._before, self._after = before, after

    def names(self, path):
        if len(path.name) != 32:
            return super().names(path)
        if self._before is not None:
            self._before()
        found = super().names(path)
        if self._after is not None:
            self._after()
        return found


def test_no_look_misses_a_volume_that_goes_or_comes_meanwhile(archive, elsewhere):
    volumes = sorted({ref.volume for ref in fill(archive, office_mail(30))})
    going = Meanwhile(before=lambda: elsewhere.take(volumes[0]))
    assert [one.path for one in LogReader(archive.volumes, files=going).volumes()] == volumes
    coming = Meanwhile(after=lambda: elsewhere.fetch(volumes[0]))
    assert [one.path for one in LogReader(archive.volumes, files=coming).volumes()] == volumes
    assert not any(one.absent for one in archive.reader().volumes())
