"""Whatever fails, and whenever: what was confirmed is there, what was not is refused, and the log goes on."""

from __future__ import annotations

import errno
import itertools
import os

import pytest

from appliance.errors import DiskFullError, StorageError
from appliance.files import Files

ORIGINALS = [f"message {number}".encode() * 50 for number in range(6)]


def run(archive, files):
    """Append, roll, stream, append, close: every kind of call. Gives the originals that were confirmed."""
    confirmed = []
    try:
        writer = archive.writer(files=files)
    except StorageError:
        return confirmed
    confirmed += [original for original in ORIGINALS[:2] if archive.append(writer, original)]
    writer.roll()
    if archive.append(writer, ORIGINALS[2]):
        confirmed.append(ORIGINALS[2])
    try:
        with writer.stream(archive.mailbox, archive.public_key) as record:
            record.write(ORIGINALS[3])
            record.commit()
            confirmed.append(ORIGINALS[3])
    except StorageError:
        pass
    confirmed += [original for original in ORIGINALS[4:] if archive.append(writer, original)]
    writer.close()
    return confirmed


def rounds(failing, make_archive, **options):
    """One run for every call that can fail."""
    for fail_at in itertools.count(1):
        archive = make_archive()
        files = failing(fail_at, **options)
        confirmed = run(archive, files)
        if len(files.calls) < fail_at:
            assert fail_at > 20, "the run does far fewer calls than it should"
            return
        yield archive, files, confirmed


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_any_single_call_may_fail(failing, make_archive, error):
    for archive, files, confirmed in rounds(failing, make_archive, error=error):
        what = f"call {files.fail_at}: {files.calls[files.fail_at - 1]}"
        found = archive.originals()
        assert set(confirmed) <= set(found), what
        assert len(found) == len(set(found)), what
        assert not archive.verify().errors, what
        # One failure costs at most what waited for it; the writer has gone on by itself.
        if files.fail_at > 2:
            assert len(confirmed) >= len(ORIGINALS) - 1, what


def test_a_process_may_die_at_any_call(failing, make_archive):
    for archive, files, confirmed in rounds(failing, make_archive, dead=True):
        what = f"died at call {files.fail_at}: {files.calls[files.fail_at - 1]}"
        archive.volumes.mkdir(exist_ok=True)
        assert set(confirmed) <= set(archive.originals()), what
        again = archive.writer()
        assert archive.append(again, b"after the crash"), what
        again.close()
        assert set(confirmed) | {b"after the crash"} <= set(archive.originals()), what
        report = archive.verify()
        assert not report.errors, what
        assert not list(archive.volumes.rglob("*.new")), what


def test_short_writes_are_finished(failing, archive):
    files = failing(short=7)
    assert run(archive, files) == ORIGINALS
    assert sorted(archive.originals()) == sorted(ORIGINALS)
    assert not archive.verify().errors


def cut_at_every_call(make_archive, power_cut):
    """Cut the power after every call of a run; gives (archive, what was confirmed before)."""

    def after(files, left):
        for name in ("create", "write", "sync", "sync_directory", "make_directory", "rename"):
            method = getattr(files, name)

            def call(*args, method=method):
                nonlocal left
                if left == 0:
                    raise OSError(errno.EIO, "the power is gone")
                left -= 1
                return method(*args)

            setattr(files, name, call)
        return lambda: left

    for calls in itertools.count(0):
        archive = make_archive()
        files = power_cut()
        left = after(files, calls)
        confirmed = run(archive, files)
        files.cut()
        yield archive, confirmed
        if left() > 0:
            return


def test_the_power_may_go_after_any_call(make_archive, power_cut):
    for archive, confirmed in cut_at_every_call(make_archive, power_cut):
        assert set(confirmed) <= set(archive.originals())
        if archive.volumes.exists():
            assert not archive.verify().errors


@pytest.mark.parametrize("left_out", ["sync_data", "sync", "sync_directory"])
def test_the_power_cut_test_would_notice_a_missing_sync(make_archive, power_cut, left_out):
    """The test above proves nothing unless it fails with one kind of sync patched out."""

    class Careless(power_cut):
        pass

    setattr(Careless, left_out, lambda self, *args: None)
    if left_out == "sync":  # ``sync_data`` of the model is made of ``sync``
        Careless.sync_data = power_cut.sync
    lost = [
        set(confirmed) - set(archive.originals()) for archive, confirmed in cut_at_every_call(make_archive, Careless)
    ]
    assert any(lost)


def test_a_full_disk_refuses_and_recovers(archive):
    class Full(Files):
        room = 10**9

        def free(self, path):
            return self.room

    files = Full()
    writer = archive.writer(files=files, reserve=10**6)
    assert archive.append(writer, b"before")
    files.room = 10**6
    with pytest.raises(DiskFullError):
        writer.append(archive.mailbox, archive.public_key, b"no room").result()
    with pytest.raises(DiskFullError):
        writer.stream(archive.mailbox, archive.public_key)
    files.room = 10**9
    ref = archive.append(writer, b"after")
    writer.close()
    assert ref.volume.endswith("g0-00000001.mkv"), "nothing was written in vain, so the volume goes on"
    assert archive.originals() == [b"before", b"after"]


def test_no_space_left_is_a_full_disk_and_the_next_message_gets_a_fresh_volume(archive, failing):
    files = failing()
    writer = archive.writer(files=files)
    assert archive.append(writer, b"before")
    files.fail_at, files.error = len(files.calls) + 1, errno.ENOSPC
    with pytest.raises(DiskFullError):
        writer.append(archive.mailbox, archive.public_key, b"lost").result()
    ref = archive.append(writer, b"after")
    assert ref.volume.endswith("g0-00000002.mkv")
    writer.close()
    assert archive.originals() == [b"before", b"after"]


def test_after_a_failed_sync_nothing_is_written_to_that_volume_again(archive, failing):
    files = failing()
    writer = archive.writer(files=files, reserve=0)
    archive.append(writer, b"before")
    files.fail_at = len(files.calls) + 2
    assert files.calls[-1] == "sync_data"
    with pytest.raises(StorageError):
        writer.append(archive.mailbox, archive.public_key, b"unsure").result()
    size = archive.path().stat().st_size
    archive.append(writer, b"after")
    writer.close()
    assert archive.path().stat().st_size == size
    assert not archive.reader().volumes()[0].closed
    # It was on the disk after all: then it may be there. It was never confirmed, so the sender sends it again.
    assert archive.originals() == [b"before", b"unsure", b"after"]


def test_everybody_who_waits_hears_of_the_failure(archive, failing):
    files = failing()
    writer = archive.writer(files=files, threads=1)
    archive.append(writer, b"before")
    files.fail_at, files.dead = len(files.calls) + 1, True
    futures = [writer.append(archive.mailbox, archive.public_key, b"x" * 100_000) for _ in range(20)]
    for future in futures:
        with pytest.raises(StorageError, match="sender will try again"):
            future.result(timeout=30)
    files.dead = False
    files.fail_at = 0
    assert archive.append(writer, b"after")
    writer.close()
    assert {b"before", b"after"} <= set(archive.originals()) <= {b"before", b"after", b"x" * 100_000}
    assert not archive.verify().errors


def test_a_writer_that_was_forked_refuses(archive):
    writer = archive.writer()
    archive.append(writer, b"parent")
    child = os.fork()
    if child == 0:
        try:
            writer.append(archive.mailbox, archive.public_key, b"child").result(timeout=5)
        except StorageError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    writer.close()
    assert archive.originals() == [b"parent"]


def test_after_closing_nothing_is_taken(archive):
    writer = archive.writer()
    waiting = [writer.append(archive.mailbox, archive.public_key, b"x" * 200_000) for _ in range(10)]
    writer.close()
    assert all(future.result(timeout=0) for future in waiting), "closing finishes what was taken"
    with pytest.raises(StorageError):
        writer.append(archive.mailbox, archive.public_key, b"late").result(timeout=5)
    with pytest.raises(StorageError):
        writer.stream(archive.mailbox, archive.public_key)
    writer.close()
