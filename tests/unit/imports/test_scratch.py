"""Files that wait to be imported: what has arrived is there, sealed, and read back at any place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.files import FILES, Files
from appliance.imports.base import ItemError, Options
from appliance.imports.nursery import Nursery
from appliance.imports.reading import Opened, Reading
from appliance.imports.scratch import FRAME, DamagedError, ScratchFile, ScratchWriter, sealed_size

KEY = bytes(range(32))
CHUNK = 1024 * 1024


def written(path: Path, content: bytes, chunk: int = CHUNK) -> Path:
    """A scratch file at ``path`` with this content, that came in chunks."""
    writer = ScratchWriter(FILES, path, KEY, size=len(content))
    while writer.arrived < len(content):
        writer.write(writer.arrived, content[writer.arrived : writer.arrived + chunk])
    writer.close()
    return path


@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 2 * CHUNK + 12345])
def test_what_arrived_is_read_back(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    path = written(tmp_path / "file", content)
    assert path.stat().st_size == sealed_size(size)
    descriptor = os.open(path, os.O_RDONLY)
    file = ScratchFile(descriptor, size, KEY)
    assert file.read() == content
    chance = random.Random(1)
    for _ in range(50):
        at, count = chance.randrange(size + 1), chance.randrange(200_000)
        file.seek(at)
        assert file.read(count) == content[at : at + min(count, FRAME - at % FRAME)]
    file.seek(0)
    assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(content).digest()  # type: ignore[arg-type]
    os.close(descriptor)


def test_nothing_of_it_is_legible_on_the_disk(tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"SECRET WORDS " * 50_000)
    assert b"SECRET" not in path.read_bytes()


def test_only_whole_frames_are_taken_and_the_answer_says_so(tmp_path: Path) -> None:
    content = os.urandom(FRAME * 2 + 10)
    writer = ScratchWriter(FILES, tmp_path / "file", KEY, size=len(content))
    assert writer.write(0, content[: FRAME + 5]) == FRAME
    assert writer.write(0, content[:FRAME]) == FRAME, "what has arrived is not taken twice"
    assert writer.write(100, content[100 : 2 * FRAME]) == 2 * FRAME, "chunks may lie over one another"
    assert writer.write(2 * FRAME, content[2 * FRAME : 2 * FRAME + 3]) == 2 * FRAME
    assert writer.write(2 * FRAME, content[2 * FRAME :]) == len(content)
    with pytest.raises(UsageError):
        writer.write(len(content), b"more")
    writer.close()
    with (tmp_path / "file").open("rb") as sealed:
        assert ScratchFile(sealed.fileno(), len(content), KEY).readall() == content


def test_a_gap_is_refused(tmp_path: Path) -> None:
    writer = ScratchWriter(FILES, tmp_path / "file", KEY, size=CHUNK)
    with pytest.raises(UsageError):
        writer.write(FRAME, bytes(FRAME))
    writer.close()


def test_it_goes_on_after_a_restart_over_what_was_not_remembered(tmp_path: Path) -> None:
    content = os.urandom(5 * FRAME + 1)
    path = tmp_path / "file"
    first = ScratchWriter(FILES, path, KEY, size=len(content))
    first.write(0, content[: 3 * FRAME])
    first.close()
    with path.open("r+b") as torn:  # of the third frame nobody was told, and the power went
        torn.seek(2 * (FRAME + 28) + 10)
        torn.write(bytes(1000))
    again = ScratchWriter(FILES, path, KEY, size=len(content), arrived=2 * FRAME)
    assert again.write(2 * FRAME, content[2 * FRAME :]) == len(content)
    again.close()
    with path.open("rb") as sealed:
        assert ScratchFile(sealed.fileno(), len(content), KEY).readall() == content


def test_bytes_count_once_they_are_on_disk(tmp_path: Path) -> None:
    class Failing(Files):
        def sync_data(self, descriptor: int) -> None:
            raise OSError(5, "Input/output error")

    writer = ScratchWriter(Failing(), tmp_path / "file", KEY, size=CHUNK)
    with pytest.raises(OSError):
        writer.write(0, bytes(CHUNK))
    assert writer.arrived == 0
    writer.close()


def test_the_key_is_kept_out_of_words() -> None:
    from appliance.imports.wire import Order

    assert "secret" not in repr(Order(1, key=b"secret", options=Options(password="secret")))


@pytest.mark.parametrize("at", [3, FRAME + 28 + 500, 2 * (FRAME + 28) - 1])
def test_damage_is_found_and_is_no_fault_of_the_mail(tmp_path: Path, nursery: Nursery, at: int) -> None:
    mail = b"From a@b Mon Jan  1 10:00:00 2024\nSubject: x\n\n" + b"y" * 1000 + b"\n\n"
    content = mail * 150
    path = written(tmp_path / "file", content)
    with path.open("r+b") as sealed:
        sealed.seek(at)
        before = sealed.read(1)
        sealed.seek(at)
        sealed.write(bytes([before[0] ^ 1]))
    descriptor = os.open(path, os.O_RDONLY)
    with (
        pytest.raises(DamagedError),
        Reading(nursery, Opened(descriptor, len(content), KEY), "x", Options()) as reading,
    ):
        for event in reading:
            with contextlib.suppress(ItemError):
                for _ in event.pieces:
                    pass
    os.close(descriptor)


def test_a_frame_at_another_place_is_damage(tmp_path: Path) -> None:
    content = os.urandom(2 * FRAME)
    path = written(tmp_path / "file", content)
    sealed = path.read_bytes()
    half = len(sealed) // 2
    path.write_bytes(sealed[half:] + sealed[:half])
    with path.open("rb") as exchanged, pytest.raises(DamagedError):
        ScratchFile(exchanged.fileno(), len(content), KEY).readall()


def test_sealed_files_are_read_as_others(tmp_path: Path, nursery: Nursery) -> None:
    mail = b"From a@b Mon Jan  1 10:00:00 2024\r\nSubject: x\r\n\r\n" + b"y" * 300_000 + b"\r\n\r\n"
    path = written(tmp_path / "file", mail * 5)
    descriptor = os.open(path, os.O_RDONLY)
    with Reading(nursery, Opened(descriptor, len(mail) * 5, KEY), "x.mbox", Options()) as reading:
        raws = [b"".join(event.pieces) for event in reading]
    os.close(descriptor)
    assert raws == [b"Subject: x\r\n\r\n" + b"y" * 300_000 + b"\r\n"] * 5
