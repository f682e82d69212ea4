"""Sealed files: what was written comes back, and nothing else passes for it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from appliance.errors import DamageError
from appliance.files import FILES
from appliance.sealing import BLOCK, SALT, open_sealed, read_sealed, write_sealed

KEY = b"\x01" * 32
PLACE = b"here"


def write(path: Path, content: bytes, *, place: bytes = PLACE, key: bytes = KEY) -> bytes:
    """A sealed file; its bytes."""
    size = write_sealed(
        FILES, path, key, place, [content[start : start + 70_000] for start in range(0, len(content), 70_000)]
    )
    written = path.read_bytes()
    assert len(written) == size
    return written


def read(path: Path, *, place: bytes = PLACE, key: bytes = KEY) -> bytes:
    """What is in it, whichever way it is read."""
    try:
        content = b"".join(read_sealed(FILES, path, key, place))
    except DamageError:
        with pytest.raises(DamageError):
            open_sealed(path.read_bytes(), key, place, path.name)
        raise
    assert open_sealed(path.read_bytes(), key, place, path.name) == content
    return content


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 17])
def test_what_was_written_comes_back(tmp_path: Path, size: int) -> None:
    for content in (os.urandom(size), b"words of the mail " * (size // 18 + 1)):
        path = tmp_path / os.urandom(4).hex()
        written = write(path, content[:size])
        assert read(path) == content[:size]
        assert b"words" not in written


def test_every_single_altered_byte_is_noticed(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", b"some words of the mail, " * 20)
    for place in range(len(whole)):
        path = tmp_path / "altered"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DamageError):
            read(path)


def test_a_cut_or_lengthened_file_is_noticed(tmp_path: Path) -> None:
    content = os.urandom(2 * BLOCK + 100)
    whole = write(tmp_path / "whole", content)
    frames = _frames(whole)
    assert len(frames) == 3
    cuts = [0, 1, SALT, SALT + 2, SALT + len(frames[0]), SALT + len(frames[0]) + len(frames[1]), len(whole) - 1]
    for cut in cuts:
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(DamageError):
            read(tmp_path / "cut")
    for more in (b"\0", frames[2], frames[0], os.urandom(100)):
        (tmp_path / "more").write_bytes(whole + more)
        with pytest.raises(DamageError):
            read(tmp_path / "more")


def test_frames_that_changed_places_are_noticed(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", os.urandom(3 * BLOCK))
    other = write(tmp_path / "other", os.urandom(3 * BLOCK))
    salt, frames, others = whole[:SALT], _frames(whole), _frames(other)
    for mixed in (
        [frames[1], frames[0], frames[2]],
        [frames[0], frames[2]],
        [frames[0], frames[0], frames[1], frames[2]],
        [frames[0], others[1], frames[2]],
        others,
    ):
        (tmp_path / "mixed").write_bytes(salt + b"".join(mixed))
        with pytest.raises(DamageError):
            read(tmp_path / "mixed")


def test_a_file_opens_only_at_its_place_and_with_its_key(tmp_path: Path) -> None:
    write(tmp_path / "file", b"content")
    with pytest.raises(DamageError):
        read(tmp_path / "file", place=b"there")
    with pytest.raises(DamageError):
        read(tmp_path / "file", key=b"\x02" * 32)


def test_the_same_content_never_looks_the_same(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, b"content" * 100) for name in ("a", "b"))
    assert first[:SALT] != second[:SALT]
    assert first[SALT + 4 :] != second[SALT + 4 :]


def test_rubbish_is_refused_whatever_it_is(tmp_path: Path) -> None:
    random_ = random.Random(1)
    for size in (*range(60), 1000, 100_000):
        (tmp_path / "rubbish").write_bytes(random_.randbytes(size))
        with pytest.raises(DamageError):
            read(tmp_path / "rubbish")


def _frames(whole: bytes) -> list[bytes]:
    frames, offset = [], SALT
    while offset < len(whole):
        end = offset + 4 + int.from_bytes(whole[offset : offset + 4])
        frames.append(whole[offset:end])
        offset = end
    return frames
