"""``verify`` notices what was taken away, also before a seal attests that it was there."""

from __future__ import annotations

from pathlib import Path

from tests.scratch import ScratchArchive, mail


def _filled(box: ScratchArchive) -> Path:
    box.receive(*(mail(f"Number {n}", "word " * 50) for n in range(20)))
    box.project()
    box.writer.close()
    return next((box.paths.volumes / box.mailbox.id).glob("t0-*.mkv"))


def test_a_whole_archive_has_no_errors(box: ScratchArchive) -> None:
    _filled(box)
    checked = box.verify()
    assert not checked.errors
    assert checked.records > 20


def test_a_volume_that_was_cut_before_it_was_sealed_is_noticed(box: ScratchArchive) -> None:
    volume = _filled(box)
    with volume.open("r+b") as file:
        file.truncate(volume.stat().st_size - 9000)
    assert any(one.file.endswith(volume.name) for one in box.verify().errors)


def test_a_volume_that_was_taken_away_before_it_was_sealed_is_noticed(box: ScratchArchive) -> None:
    volume = _filled(box)
    volume.unlink()
    assert any(one.file.endswith(volume.name) and "missing" in one.what for one in box.verify().errors)
