"""Exports: what is in them is written down, and nobody can fill the disk that mail is received on."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator

import pytest

from appliance.errors import ConflictError, NotFoundError, UsageError
from appliance.services import api, auditing, exporting, reading
from appliance.services.archive import Archive
from appliance.services.exporting import MOST_PICKED, Exports
from appliance.services.jobs import MOST_FINISHED, Jobs
from appliance.services.principal import Principal, View
from tests.scratch import BOX, ScratchArchive, mail


class _Exporting:
    """Exports with the jobs that make them."""

    def __init__(self, box: ScratchArchive) -> None:
        self.jobs = Jobs(box.archive)
        self.exports = Exports(box.archive, self.jobs)

    def finished(self, id: str) -> api.JobInfo:
        """The export's job, when it has ended."""
        while (job := self.jobs.get(BOX, id=id)).state in ("waiting", "running"):
            time.sleep(0.01)
        return job


def _messages(box: ScratchArchive, count: int) -> list[str]:
    box.receive(*(mail(f"Number {number}") for number in range(count)))
    box.project()
    return [hit.id for hit in box.search("*").hits]


def test_every_message_that_was_picked_is_in_the_audit_trail(box: ScratchArchive) -> None:
    ids = _messages(box, 3)
    made = _Exporting(box)
    job = made.finished(made.exports.begin(BOX, ids=ids[:2], everywhere=True).id)
    content = b"".join(made.exports.download(BOX, id=job.id).chunks)
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert len(bundle.namelist()) == 3
    what = auditing.audit(box.archive, BOX, find="export.begin").lines[0].what
    assert all(one in what for one in ids[:2]) and ids[2] not in what


def test_only_so_many_exports_stay_on_the_disk(box: ScratchArchive) -> None:
    _messages(box, 1)
    made = _Exporting(box)
    for _ in range(MOST_FINISHED + 2):
        made.finished(made.exports.begin(BOX, query="*", everywhere=True).id)
    assert len(made.jobs.list(BOX, kind="export")) == MOST_FINISHED
    assert len(list(box.paths.exports.iterdir())) == MOST_FINISHED


def test_an_export_that_is_stopped_leaves_nothing(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = _messages(box, 3)
    made = _Exporting(box)
    opened: list[str] = []

    def stop_at_the_second(_archive: Archive, _who: Principal, _view: View, id: str) -> Iterator[tuple[object, ...]]:
        opened.append(id)
        if len(opened) == 2:
            (job,) = made.jobs.list(BOX)
            made.jobs.stop(BOX, id=job.id)
        return iter(())

    monkeypatch.setattr(exporting, "open_for_export", stop_at_the_second)
    job = made.finished(made.exports.begin(BOX, ids=ids, everywhere=True).id)
    assert (job.state, job.download, opened) == ("stopped", "", ids[:2])
    assert list(box.paths.exports.iterdir()) == []
    with pytest.raises(ConflictError):
        made.exports.download(BOX, id=job.id)


def test_too_many_picked_or_none_at_all_is_said_at_once(box: ScratchArchive) -> None:
    exports = _Exporting(box).exports
    with pytest.raises(UsageError):
        exports.begin(BOX, ids=["0" * 32] * (MOST_PICKED + 1))
    with pytest.raises(NotFoundError):
        exports.begin(BOX, ids=["../../etc/passwd"])


def test_an_export_that_meets_a_fault_of_ours_ends(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = _messages(box, 1)

    def faulty(*_given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(exporting, "open_for_export", faulty)
    made = _Exporting(box)
    job = made.finished(made.exports.begin(BOX, ids=ids, everywhere=True).id)
    assert job.state == "failed" and job.message
    assert list(box.paths.exports.iterdir()) == []


def test_the_html_of_others_mail_is_not_read_unnoticed(box: ScratchArchive) -> None:
    ids = _messages(box, 1)
    before = auditing.audit(box.archive, BOX, find="message").total
    reading.message_html(box.archive, BOX, id=ids[0], everywhere=True)
    assert auditing.audit(box.archive, BOX, find="message").total == before + 1
