"""Writing through ``appliance.files``: every byte arrives, and a replaced file is the old one or the new one."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.files import FILES, Files, read_exactly, read_file, replace_file, write_all


class Short(Files):
    """Takes a few bytes at a time, and gives a few at a time."""

    def __init__(self, steps):
        self.steps = itertools.cycle(steps)

    def write(self, descriptor, buffers, offset):
        return super().write(descriptor, [b"".join(buffers)[: next(self.steps)]], offset)

    def read(self, descriptor, size, offset):
        return super().read(descriptor, min(size, next(self.steps)), offset)


@given(st.lists(st.binary(max_size=30), max_size=12), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_every_byte_arrives_however_short_the_writes(buffers, steps):
    files = Short(steps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        descriptor = files.create(path)
        end = write_all(files, descriptor, buffers, 5)
        files.close(descriptor)
        whole = b"".join(buffers)
        assert end == 5 + len(whole)
        assert path.read_bytes() == (bytes(5) + whole if whole else b"")
        descriptor = files.open(path)
        assert read_exactly(files, descriptor, 1000, 5) == whole
        files.close(descriptor)
        assert read_file(files, path) == path.read_bytes()


def test_more_buffers_than_one_call_takes(tmp_path):
    buffers = [bytes([number % 256]) * 3 for number in range(5000)]
    descriptor = FILES.create(tmp_path / "file")
    write_all(FILES, descriptor, buffers, 0)
    FILES.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"".join(buffers)


def test_a_replaced_file_is_old_or_new_whichever_call_fails(tmp_path):
    class Failing(Files):
        left = 0

        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name in ("create", "write", "sync", "rename", "sync_directory", "unlink"):
                self.left -= 1
                if self.left == 0:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            return found

    path = tmp_path / "file"
    path.write_bytes(b"old")
    for fail_at in itertools.count(1):
        files = Failing()
        files.left = fail_at
        new = b"new %d" % fail_at
        before = path.read_bytes()
        try:
            replace_file(files, path, new)
        except OSError:
            assert path.read_bytes() in (before, new)
        else:
            assert path.read_bytes() == new
        if files.left > 0:
            assert fail_at > 5
            break
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_seen_by_others_and_goes_with_its_holder(tmp_path):
    descriptor = FILES.create(tmp_path / "file")
    reader = FILES.open(tmp_path / "file")
    assert not FILES.is_locked(reader)
    assert FILES.lock(descriptor)
    assert FILES.is_locked(reader)
    assert not FILES.lock(reader)
    FILES.close(descriptor)
    assert not FILES.is_locked(reader)
    FILES.close(reader)


def test_a_name_is_taken_once(tmp_path):
    FILES.close(FILES.create(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        FILES.create(tmp_path / "file")
