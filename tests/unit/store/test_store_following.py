"""Reading a log while it is written: by the archiver that follows it, beside other writers, after restarts."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from appliance.errors import StorageError, UsageError
from appliance.files import Files
from appliance.store.reader import Damage, LogReader, RecordRef
from appliance.store.writer import LogWriter

WRITE_FOR_EVER = """
import sys
from pathlib import Path
from appliance.store.writer import LogWriter
volumes, name, mailbox, public = sys.argv[1:]
writer = LogWriter(Path(volumes), name, reserve=0, threads=2, max_volume=20_000)
number = 0
while True:
    original = f"{name} {number} ".encode() * 40
    futures = [writer.append(bytes.fromhex(mailbox), bytes.fromhex(public), original)]
    for future in futures:
        future.result()
    print(number, flush=True)
    number += 1
"""


def write_for_ever(archive, name):
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(archive.volumes), name, archive.mailbox.hex()]
    return subprocess.Popen([*command, archive.public_key.hex()], stdout=subprocess.PIPE, text=True)


def test_a_reader_follows_a_growing_volume_from_where_it_stopped(archive):
    writer = archive.writer()
    reader = archive.reader()
    position, seen = 0, []
    for number in range(30):
        archive.append(writer, b"%d" % number)
        (volume,) = reader.volumes()
        for found in reader.scan(volume, position, sync=True):
            assert isinstance(found, RecordRef)
            seen.append(reader.read(found).original)
            position = found.end
    writer.close()
    assert list(reader.scan(volume, position)) == []
    assert seen == [b"%d" % number for number in range(30)]


def test_a_half_written_record_of_a_living_writer_is_no_damage(archive):
    class Halting(Files):
        halt: threading.Event | None = None
        halted = threading.Event()

        def write(self, descriptor, buffers, offset):
            if self.halt is None:
                return super().write(descriptor, buffers, offset)
            data = b"".join(buffers)
            super().write(descriptor, [data[: len(data) // 2]], offset)
            self.halted.set()
            self.halt.wait(30)
            return super().write(descriptor, [data], offset)

    files = Halting()
    writer = archive.writer(files=files)
    first = archive.append(writer, b"first")
    files.halt = threading.Event()
    future = writer.append(archive.mailbox, archive.public_key, os.urandom(5000))
    assert files.halted.wait(30)
    assert list(archive.reader().scan(first.volume)) == [first]
    assert not archive.verify().errors
    files.halt.set()
    second = future.result(timeout=30)
    assert list(archive.reader().scan(first.volume)) == [first, second]
    writer.close()


def test_a_volume_appears_with_its_header_or_not_at_all(archive, failing):
    seen = []

    class Watching(Files):
        def sync_directory(self, path):
            for volume in LogReader(archive.volumes).volumes():
                assert volume.created and not volume.damage
                seen.append(volume.sequence)
            super().sync_directory(path)

    writer = archive.writer(files=Watching(), max_volume=1)
    for _ in range(3):
        archive.append(writer, b"x")
    with writer.stream(archive.mailbox, archive.public_key) as record:
        record.write(b"y")
        assert all(not path.name.endswith("4.mkv") for path in archive.volumes.rglob("*"))
        record.commit()
    writer.close()
    assert max(seen) == 4


@pytest.mark.faults
def test_two_processes_write_to_one_mailbox_and_both_are_killed(archive):
    processes = [write_for_ever(archive, name) for name in ("g0", "g1")]
    confirmed = []
    for process, name in zip(processes, ("g0", "g1"), strict=True):
        confirmed += [f"{name} {process.stdout.readline().strip()} ".encode() * 40 for _ in range(150)]
    reader = archive.reader()
    assert all(not isinstance(found, Damage) for volume in reader.volumes() for found in reader.scan(volume))
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
    originals = archive.originals()
    assert set(confirmed) <= set(originals)
    assert len(originals) == len(set(originals))
    report = archive.verify()
    assert not report.errors
    again = archive.writer("g0")
    assert archive.append(again, b"after the kill")
    again.close()
    assert not archive.verify().errors


def test_two_processes_with_one_writers_name_do_not_harm_each_other(archive):
    process = write_for_ever(archive, "g0")
    process.stdout.readline()
    intruder = archive.writer("g0", max_volume=1)
    kept = [
        original for original in (b"%d" % number * 200 for number in range(20)) if archive.append(intruder, original)
    ]
    intruder.close()
    confirmed = int(process.stdout.readline())
    process.kill()
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    confirmed = max([confirmed, *map(int, rest)])
    originals = set(archive.originals())
    assert set(kept) <= originals
    assert {f"g0 {number} ".encode() * 40 for number in range(confirmed + 1)} <= originals
    assert not any("checksum" in error.what for error in archive.verify().errors)


def test_unfinished_files_of_a_dead_run_go_and_those_of_the_living_stay(archive):
    writer = archive.writer("g0")
    record = writer.stream(archive.mailbox, archive.public_key)
    record.write(b"x" * 100)
    dead = archive.path().parent / "g0-0123456789abcdef.new"
    dead.write_bytes(b"left behind")
    archive.writer("g0").close()
    assert not dead.exists()
    ref = record.commit()
    writer.close()
    assert archive.reader().read(ref).original == b"x" * 100


def test_sequences_have_no_gap_over_restarts_streams_and_aborts(archive):
    for _ in range(3):
        writer = archive.writer()
        archive.append(writer, b"x")
        aborted = writer.stream(archive.mailbox, archive.public_key)
        aborted.write(b"never")
        with writer.stream(archive.mailbox, archive.public_key) as record:
            record.write(b"streamed")
            record.commit()
        aborted.abort()
        writer.close()
    volumes = archive.reader().volumes()
    assert [volume.sequence for volume in volumes] == [1, 2, 3, 4, 5, 6]
    assert all(volume.closed for volume in volumes)
    assert not archive.verify().errors


def test_a_volume_closes_by_size_by_age_and_when_asked(archive):
    writer = archive.writer(max_volume=5000)
    archive.append(writer, os.urandom(4000))
    archive.append(writer, b"x")
    writer.roll(older_than=3600)
    assert [volume.closed for volume in archive.reader().volumes()] == [True, False]
    writer.roll()
    assert [volume.closed for volume in archive.reader().volumes()] == [True, True]
    writer.roll()
    writer.close()
    aged = archive.writer("g1", max_age=0.05)
    archive.append(aged, b"first")
    time.sleep(0.06)
    archive.append(aged, b"second")
    aged.close()
    assert [volume.sequence for volume in archive.reader().volumes() if volume.writer == "g1"] == [1, 2]


def test_a_batch_is_told_of_once(archive):
    told = []
    writer = LogWriter(archive.volumes, "g0", reserve=0, threads=1, notify=told.append)
    futures = [writer.append(archive.mailbox, archive.public_key, b"%d" % number) for number in range(50)]
    writer.roll()
    assert not any(future.done() for future in futures)
    assert len(told) < 50
    for resolve in told:
        resolve()
    assert [archive.reader().read(future.result(timeout=0)).original for future in futures] == [
        b"%d" % number for number in range(50)
    ]
    writer.close()


def test_a_loop_that_is_gone_keeps_nobody_waiting(archive):
    def gone(resolve):
        raise RuntimeError("Event loop is closed")

    writer = archive.writer(notify=gone)
    assert archive.append(writer, b"x")
    writer.close()


@pytest.mark.parametrize("name", ["", "G0", "0g", "g-0", "../g", "g" * 17, "gé"])
def test_a_writers_name_is_plain(archive, name):
    with pytest.raises(UsageError):
        archive.writer(name)


def test_a_folder_that_cannot_be_made_is_an_error_in_words(archive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="disk did not take"):
        LogWriter(tmp_path / "file" / "volumes", "g0")


def test_what_a_synced_scan_gives_has_been_synced_first(archive):
    """A projection must not hold a message that a power cut could still take out of the log."""
    synced = []

    class Watching(Files):
        def sync_data(self, descriptor):
            synced.append(self.size(descriptor))
            super().sync_data(descriptor)

    writer = archive.writer()
    ref = archive.append(writer, b"x")
    reader = LogReader(archive.volumes, files=Watching())
    assert next(reader.scan(ref.volume, sync=True)) == ref
    assert synced and synced[0] >= ref.end
    assert list(reader.scan(ref.volume, ref.end, sync=True)) == []
    assert len(synced) == 1, "where nothing is new, nothing is synced"
    writer.close()
