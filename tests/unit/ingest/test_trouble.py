"""Projecting goes on: whatever is wrong with one volume, one message or one database, the others are searchable."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance.errors import ConflictError, StorageError
from appliance.ingest import project
from appliance.ingest.project import Projector
from appliance.mail.facts import Provenance
from appliance.services import mailboxes, users
from appliance.services.projecting import rebuild
from appliance.store.reader import LogReader, Record, RecordRef
from tests.scratch import BOX, ScratchArchive, mail, report


def _unreadable(monkeypatch: pytest.MonkeyPatch, mailbox: str) -> None:
    scan = LogReader.scan

    def failing(self: LogReader, volume, *given, **named):  # type: ignore[no-untyped-def]
        if volume.path.startswith(mailbox):
            raise StorageError("Input/output error")
        return scan(self, volume, *given, **named)

    monkeypatch.setattr(LogReader, "scan", failing)


def test_a_volume_that_the_disk_does_not_give_keeps_nobody_elses_mail(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.receive(mail("On a bad sector"))
    first = box.mailbox
    box.mailbox = mailboxes.mailbox_create(box.archive, BOX, name="Other", address="other@archive.test").mailbox
    box.receive(mail("Elsewhere"))
    with monkeypatch.context() as broken:
        _unreadable(broken, first.id)
        box.project()
        assert [hit.subject for hit in box.search("*").hits] == ["Elsewhere"]
    monkeypatch.setattr(project, "AGAIN_SECONDS", 0.0)
    assert box.projecting is not None
    box.projecting.close()
    box.projecting = None
    box.project()
    assert box.total("*") == 2


def test_a_rebuild_does_not_put_less_in_the_place_of_more(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    box.receive(mail("Kept"))
    box.project()
    with monkeypatch.context() as broken:
        _unreadable(broken, box.mailbox.id)
        with pytest.raises(StorageError, match="cannot be read"):
            rebuild(box.paths, box.archive.keyring, lambda _: None)
    assert box.total("*") == 1


def test_one_rebuild_runs_at_a_time(box: ScratchArchive) -> None:
    box.receive(mail())

    def meanwhile(_records: int) -> None:
        with pytest.raises(ConflictError):
            rebuild(box.paths, box.archive.keyring, lambda _: None)

    assert rebuild(box.paths, box.archive.keyring, meanwhile) == 1


def test_a_volume_whose_keys_are_not_here_waits_for_them_and_keeps_nobody(box: ScratchArchive, tmp_path: Path) -> None:
    stranger = ScratchArchive(tmp_path / "stranger")
    stranger.receive(mail("Of another archive"))
    stranger.close()
    shutil.copytree(stranger.paths.volumes / stranger.mailbox.id, box.paths.volumes / stranger.mailbox.id)
    box.receive(mail("Own"))
    box.project()
    assert [hit.subject for hit in box.search("*").hits] == ["Own"]


def test_an_index_that_outlived_the_catalogues_last_commits_gets_every_later_change(
    box: ScratchArchive, tmp_path: Path
) -> None:
    box.receive(report(mail("For later"), "To: later@example.com", sender="x@y.example"))
    box.project()
    box.close()
    catalogue = next(box.paths.projections.glob("*/catalogue.db"))
    shutil.copy(catalogue, tmp_path / "before.db")
    box.open()
    box.receive(*(mail(f"Number {number}") for number in range(5)))
    box.project()
    box.close()
    # A power cut: SQLite's last commits were not on the disk yet, the index's were.
    for left in catalogue.parent.glob("catalogue.db*"):
        left.unlink()
    shutil.copy(tmp_path / "before.db", catalogue)
    box.open()
    box.user("later@example.com")
    box.project()
    assert box.total("later", "later@example.com") == 1
    assert box.total("*") == 6


def test_envelopes_beyond_what_one_message_can_have_are_not_read_but_everybody_owns_it(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "MOST_ENVELOPES", 3)
    original = mail("To all")
    users.user_import(box.archive, BOX, csv=b"primary\n" + b"".join(b"p%d@example.com\n" % n for n in range(6)))
    box.receive(*(report(original, f"To: p{number}@example.com", sender="x@y.example") for number in range(6)))
    box.project()
    assert box.total("*") == 1
    assert [box.total("*", f"p{number}@example.com") for number in range(6)] == [1] * 6
    assert [box.total(f"participant:p{number}@example.com") for number in range(6)] == [1, 1, 1, 0, 0, 0]


def test_huge_messages_are_not_read_ahead_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "BATCH_BYTES", 1000)
    alive = most = 0

    class Original(bytes):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def records() -> Iterator[Record]:
        nonlocal alive, most
        for number in range(20):
            alive += 1
            most = max(most, alive)
            ref = RecordRef("v", number, 1, bytes(16), 1, 0, bytes(16))
            yield Record(ref, Provenance(), Original(900), bytes(32))

    class Pool:
        depth = 16

        def describe(self, _raw: bytes) -> Future[object]:
            done: Future[object] = Future()
            facts = SimpleNamespace(text="", attachments=())
            done.set_result(SimpleNamespace(reading=SimpleNamespace(decoded_original=b""), facts=facts))
            monkeypatch.setattr(done, "done", lambda: False)
            return done

    projector = Projector.__new__(Projector)
    projector._pool = Pool()  # type: ignore[assignment]
    projector._records = records  # type: ignore[method-assign]
    assert sum(len(batch) for batch in projector._read_ahead()) == 20
    assert most <= 4
