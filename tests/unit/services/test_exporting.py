"""Exports: what is in them is written down, and nobody can fill the disk that mail is received on."""

from __future__ import annotations

import io
import time
import zipfile

import pytest

from appliance.errors import ConflictError, NotFoundError, UsageError
from appliance.services import api, auditing, exporting, reading
from appliance.services.exporting import MOST_FINISHED, MOST_PICKED, MOST_UNFINISHED, Exports
from tests.scratch import BOX, ScratchArchive, mail


def _finished(exports: Exports, id: str) -> api.JobInfo:
    while (job := exports.get(BOX, id=id)).state in ("waiting", "running"):
        time.sleep(0.01)
    return job


def _messages(box: ScratchArchive, count: int) -> list[str]:
    box.receive(*(mail(f"Number {number}") for number in range(count)))
    box.project()
    return [hit.id for hit in box.search("*").hits]


def test_every_message_that_was_picked_is_in_the_audit_trail(box: ScratchArchive) -> None:
    ids = _messages(box, 3)
    exports = Exports(box.archive)
    job = _finished(exports, exports.begin(BOX, ids=ids[:2], everywhere=True).id)
    content = b"".join(exports.download(BOX, id=job.id).chunks)
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert len(bundle.namelist()) == 3
    what = auditing.audit(box.archive, BOX, find="export.begin").lines[0].what
    assert all(one in what for one in ids[:2]) and ids[2] not in what


def test_only_so_many_exports_wait_and_only_so_many_stay(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    _messages(box, 1)
    exports = Exports(box.archive)
    with exports._one_at_a_time:
        for _ in range(MOST_UNFINISHED):
            exports.begin(BOX, query="*", everywhere=True)
        with pytest.raises(ConflictError):
            exports.begin(BOX, query="*", everywhere=True)
    for job in exports.list(BOX):
        _finished(exports, job.id)
    for _ in range(MOST_FINISHED + 2):
        _finished(exports, exports.begin(BOX, query="*", everywhere=True).id)
    assert len(exports.list(BOX)) <= MOST_FINISHED + 1
    assert len(list(box.paths.exports.iterdir())) == len(exports.list(BOX))


def test_too_many_picked_or_none_at_all_is_said_at_once(box: ScratchArchive) -> None:
    exports = Exports(box.archive)
    with pytest.raises(UsageError):
        exports.begin(BOX, ids=["0" * 32] * (MOST_PICKED + 1))
    with pytest.raises(NotFoundError):
        exports.begin(BOX, ids=["../../etc/passwd"])


def test_an_export_that_meets_a_fault_of_ours_ends(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = _messages(box, 1)

    def faulty(*_given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(exporting, "open_for_export", faulty)
    exports = Exports(box.archive)
    job = _finished(exports, exports.begin(BOX, ids=ids, everywhere=True).id)
    assert job.state == "failed" and job.message
    assert list(box.paths.exports.iterdir()) == []


def test_the_html_of_others_mail_is_not_read_unnoticed(box: ScratchArchive) -> None:
    ids = _messages(box, 1)
    before = auditing.audit(box.archive, BOX, find="message").total
    reading.message_html(box.archive, BOX, id=ids[0], everywhere=True)
    assert auditing.audit(box.archive, BOX, find="message").total == before + 1
