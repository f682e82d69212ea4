"""Many records in one go: each is what ``read`` gives for it, or the trouble that ``read`` has with it."""

from __future__ import annotations

import errno
import os
import random
from contextlib import closing

import msgspec
import pytest

from appliance.errors import LockedError, MailkeepError, NotFoundError, StorageError
from appliance.files import Files
from appliance.store.drop import drop
from appliance.store.format import LARGEST_FRAME
from appliance.store.reader import LogReader, Record, RecordRef
from tests.archive_volumes import chain_of, compact_all, fill, office_mail

ANY = 1 << 40


class WatchedFiles(Files):
    """Counts what is opened and read; ``bad`` are offsets at which the disk does not give what is there."""

    def __init__(self, bad: range = range(0)) -> None:
        self.opened = self.closed = 0
        self.reads: list[int] = []
        self._bad = bad

    def open(self, path):
        self.opened += 1
        return super().open(path)

    def close(self, descriptor):
        self.closed += 1
        super().close(descriptor)

    def read(self, descriptor, size, offset):
        self.reads.append(size)
        if offset < self._bad.stop and self._bad.start < offset + size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, size, offset)


def told(found):
    """A record as it is, an error by what it says."""
    return (type(found), found.message) if isinstance(found, MailkeepError) else found


def one_by_one(reader, refs):
    found = []
    for ref in refs:
        try:
            found.append(reader.read(ref))
        except MailkeepError as error:
            found.append(told(error))
    return found


def together(reader, refs, largest=ANY):
    return [told(found) for found in reader.read_each(refs, largest)]


def flip(path, offset, bit=0):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["volumes", "compacted", "dropped"])
def test_they_are_what_read_gives_in_any_order(archive, kind):
    mails = office_mail(60)
    refs = fill(archive, mails, max_volume=60_000)
    erased = set()
    if kind == "compacted":
        compact_all(archive, step_bytes=120_000)
    elif kind == "dropped":
        gone = [ref for ref in refs if ref.volume == refs[0].volume][1:3]
        erased = {ref.record_id for ref in gone}
        drop(archive.volumes, refs[0].volume, erased, chain_of(archive), archive.keyring, reserve=0)
    assert len({ref.volume for ref in refs}) > 2
    for chosen in (refs, refs[::-1], random.Random(3).choices(refs, k=100)):
        found = together(archive.reader(), chosen)
        assert found == one_by_one(archive.reader(), chosen)
        whole = {ref.record_id: mail for ref, mail in zip(refs, mails, strict=True) if ref.record_id not in erased}
        assert [one.original for one in found if isinstance(one, Record)] == [
            whole[ref.record_id] for ref in chosen if ref.record_id in whole
        ]


def test_any_flipped_bit_costs_the_record_that_it_hit_and_is_told_as_read_tells_it(archive):
    originals = [b"number %d " % number * 30 for number in range(5)]
    refs = fill(archive, originals)
    path = archive.path()
    whole = path.read_bytes()
    chance = random.Random(11)
    for _ in range(300):
        flip(path, hit := chance.randrange(len(whole)), chance.randrange(8))
        found = together(archive.reader(), refs)
        assert found == one_by_one(archive.reader(), refs)
        for ref, original, one in zip(refs, originals, found, strict=True):
            if not (ref.offset <= hit < ref.end or hit < refs[0].offset):  # or the volume's header, for all of them
                assert one.original == original
        path.write_bytes(whole)


def test_another_record_than_the_one_looked_for_is_never_given(archive):
    refs = fill(archive, [b"first" * 20, b"second" * 30, b"third" * 40])
    forged = [
        refs[0],
        msgspec.structs.replace(refs[1], record_id=bytes(16)),
        msgspec.structs.replace(refs[1], length=refs[1].length + 7),
        msgspec.structs.replace(refs[1], offset=refs[1].offset + 1),
        msgspec.structs.replace(refs[1], length=0),
        refs[2],
    ]
    found = together(archive.reader(), forged)
    assert found == one_by_one(archive.reader(), forged)
    assert [one.original for one in found if isinstance(one, Record)] == [
        b"first" * 20, b"second" * 30, b"second" * 30, b"third" * 40
    ]  # fmt: skip


def test_what_is_larger_is_left_to_who_streams_it(archive):
    limit = 300_000
    originals = [b"x" * limit, b"y" * (limit + 1), b"", os.urandom(LARGEST_FRAME + 1), b"z"]
    refs = fill(archive, originals)
    found = together(archive.reader(), refs, limit)
    assert [one and one.original for one in found] == [originals[0], None, b"", None, b"z"]
    assert together(archive.reader(), [refs[3]])[0] is None, "more than one frame"


def test_a_volume_that_is_gone_costs_its_own_records_only(archive):
    refs = fill(archive, office_mail(30), max_volume=100_000)
    gone = refs[len(refs) // 2].volume
    (archive.volumes / gone).unlink()
    found = together(archive.reader(), refs)
    assert found == one_by_one(archive.reader(), refs)
    assert {ref.volume for ref, one in zip(refs, found, strict=True) if not isinstance(one, Record)} == {gone}
    assert {one[0] for one in found if isinstance(one, tuple)} == {NotFoundError}


def test_a_disk_that_does_not_give_some_bytes_costs_the_records_on_them(archive):
    refs = fill(archive, [os.urandom(5_000) for _ in range(6)], max_volume=1 << 30)
    bad = range(refs[3].offset + 500, refs[3].offset + 501)
    reader = LogReader(archive.volumes, archive.keyring, files=WatchedFiles(bad))
    found = list(reader.read_each(refs, ANY))
    assert [type(one) for one in found] == [Record, Record, Record, StorageError, Record, Record]


def test_without_keys_nothing_is_read(archive):
    refs = fill(archive, [b"first", b"second"])
    with pytest.raises(LockedError):
        list(LogReader(archive.volumes).read_each(refs, ANY))


def test_neighbours_are_read_by_few_calls_in_bounded_memory_and_the_file_is_closed(archive):
    fill(archive, [b"small %d " % number * 100 for number in range(500)], max_volume=1 << 30)
    files = WatchedFiles()
    reader = LogReader(archive.volumes, archive.keyring, files=files)
    (volume,) = reader.volumes()
    refs = [found for found in reader.scan(volume) if isinstance(found, RecordRef)]
    assert len(refs) == 500
    files.opened, files.closed, files.reads = 0, 0, []
    assert all(isinstance(one, Record) for one in reader.read_each(refs, ANY))
    assert (files.opened, files.closed) == (1, 1)
    assert len(files.reads) < 50 and max(files.reads) <= 256 * 1024
    with closing(reader.read_each(refs, ANY)) as records:
        next(records)
    assert (files.opened, files.closed) == (2, 2)
