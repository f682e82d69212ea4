"""Compaction as people meet it: a job, after which everything is found, read, rebuilt and verified as before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.cli.rebuilding import rebuild_all
from appliance.errors import DamageError, ForbiddenError, NotFoundError, StorageError, UsageError
from appliance.services import api, compacting, mailboxes
from appliance.services.auditing import audit
from appliance.services.compacting import Compacted, Compactions
from appliance.services.principal import Principal
from appliance.store.reader import LogReader, RecordRef
from appliance.store.writer import LogWriter
from tests.archive_volumes import office_mail
from tests.scratch import BOX, DOOR, ScratchArchive, mail, report


@pytest.fixture
def logged(box: ScratchArchive) -> ScratchArchive:
    """An archive with journal reports and office mail, in sealed volumes."""
    box.user("anna@example.com")
    box.user("ben@example.com")
    for turn in range(3):
        original = mail(f"Plan {turn}", "budget and beer " * 40, message_id=f"{turn}@x")
        box.receive(report(original, "To: ben@example.com"), original, *office_mail(8, seed=turn))
        box.writer.close()
        box.writer = LogWriter(box.paths.volumes, f"t{turn + 1}", reserve=0)
    box.sign()
    return box


@pytest.fixture
def filled(logged: ScratchArchive) -> ScratchArchive:
    """The same, searchable."""
    logged.project()
    return logged


def compact(box: ScratchArchive, *, mailbox: str = "") -> Compacted:
    job = ended(box, box.dispatcher.compactions.begin(BOX, mailbox=mailbox))
    assert job.state == "done", job.message
    return box.dispatcher.compactions.result(BOX, id=job.id)


def ended(box: ScratchArchive, job: api.JobInfo) -> api.JobInfo:
    for _ in range(600):
        job = box.dispatcher.jobs.get(BOX, id=job.id)
        if job.finished_at is not None:
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def seen(box: ScratchArchive) -> dict[str, object]:
    hits = box.search("*").hits
    return {
        "hits": sorted((hit.id, hit.subject, hit.size) for hit in hits),
        "ben": sorted(hit.id for hit in box.search("*", "ben@example.com").hits),
        "originals": {hit.id: box.export(hit.id) for hit in hits},
        "counts": box.archive.catalogue.counts(),
        "backlog": box.archive.backlog.count(box.archive.catalogue).records,
    }


def read(box: ScratchArchive) -> list[bytes]:
    """All originals, straight from the log."""
    reader = LogReader(box.paths.volumes, box.archive.keyring)
    volumes = reader.volumes(bytes.fromhex(box.mailbox.id))
    refs = [ref for volume in volumes for ref in reader.scan(volume) if isinstance(ref, RecordRef)]
    return [reader.read(ref).original for ref in refs]


def files(box: ScratchArchive) -> list[Path]:
    return sorted((box.paths.volumes / box.mailbox.id).iterdir())


def test_everything_is_found_and_read_as_before(filled: ScratchArchive) -> None:
    before = seen(filled)
    size = filled.archive.backlog.count(filled.archive.catalogue).bytes
    done = compact(filled)
    assert (done.volumes, done.left) == (3, ())
    assert done.after < done.before
    assert not [path for path in files(filled) if path.suffix == ".mkv"]
    assert seen(filled) == before
    assert filled.archive.backlog.count(filled.archive.catalogue).bytes < size
    filled.project()
    assert seen(filled) == before
    assert not filled.verify().errors


def test_a_rebuild_after_compaction_gives_the_same(filled: ScratchArchive) -> None:
    before = seen(filled)
    compact(filled)
    filled.close()
    rebuild_all(filled.paths, None, None)
    filled.open()
    after = seen(filled)
    assert (after["hits"], after["originals"], after["ben"]) == (before["hits"], before["originals"], before["ben"])


def test_mail_that_comes_during_and_after_compaction_is_there(filled: ScratchArchive) -> None:
    compact(filled)
    filled.receive(*office_mail(5, seed=77))
    filled.writer.roll()
    filled.project()
    filled.sign()
    before = seen(filled)
    assert compact(filled).volumes == 1
    assert seen(filled) == before
    assert not filled.verify().errors


def test_the_system_log_is_left_alone_and_the_audit_trail_tells_of_it(logged: ScratchArchive) -> None:
    compact(logged)
    assert not [path for path in (logged.paths.volumes / ("0" * 32)).iterdir() if path.suffix == ".mka"]
    lines = [line for line in audit(logged.archive, BOX).lines if line.action.startswith("compact")]
    assert {line.action for line in lines} == {"compact.begin", "compact"}


def test_one_mailbox_can_be_named_and_others_are_refused(logged: ScratchArchive) -> None:
    begin = logged.dispatcher.compactions.begin
    with pytest.raises(NotFoundError):
        begin(BOX, mailbox="nobody@archive.test")
    with pytest.raises(ForbiddenError):
        begin(Principal(id="x", roles=frozenset({"auditor"})))
    with pytest.raises(UsageError):
        begin(BOX, older_than=-1)
    assert compact(logged, mailbox=DOOR.upper()).volumes == 3


def test_a_sealed_mailbox_is_never_compacted(box: ScratchArchive) -> None:
    made = mailboxes.mailbox_create(box.archive, BOX, name="Sealed", address="sealed@archive.test", sealed=True)
    key = box.archive.keyring.public_key(bytes.fromhex(made.mailbox.id))
    box.writer.append(bytes.fromhex(made.mailbox.id), key, b"secret " * 5000).result()
    box.writer.roll()
    box.sign()
    with pytest.raises(UsageError, match="sealed"):
        box.dispatcher.compactions.begin(BOX, mailbox="sealed@archive.test")
    compact(box)
    assert [path.suffix for path in (box.paths.volumes / made.mailbox.id).iterdir()] == [".mkv", ".seal"]


def test_one_damaged_volume_does_not_keep_others_from_being_compacted(logged: ScratchArchive) -> None:
    broken = next(path for path in files(logged) if path.suffix == ".mkv")
    raw = bytearray(broken.read_bytes())
    raw[len(raw) // 2] ^= 1
    broken.write_bytes(raw)
    done = compact(logged)
    assert (done.volumes, len(done.left)) == (2, 1)
    assert broken.name in done.left[0]
    assert broken.read_bytes() == raw
    assert [path for path in files(logged) if path.suffix == ".mkv"] == [broken]


def _one_by_one(volumes, before):  # type: ignore[no-untyped-def]
    from appliance.store.compaction import plan

    return plan(volumes, before=before, step_bytes=1)


def test_what_would_not_get_smaller_stays_as_it_is(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    box.receive(b"x")
    box.writer.roll()
    box.sign()
    there = files(box)
    assert compact(box).volumes == 0
    assert files(box) == there


def test_a_stopped_job_keeps_what_is_done_and_the_next_one_goes_on(
    logged: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "plan", lambda volumes, *, before: _one_by_one(volumes, before))
    compactions = logged.dispatcher.compactions
    put, begun = compacting.put_in_place, []

    def stopping(*given, **named):  # type: ignore[no-untyped-def]
        done = put(*given, **named)
        logged.dispatcher.jobs.stop(BOX, id=begun[0].id)
        return done

    monkeypatch.setattr(compacting, "put_in_place", stopping)
    monkeypatch.setattr(compacting, "make_here", _after(begun, compacting.make_here))
    begun.append(compactions.begin(BOX))
    assert ended(logged, begun[0]).state == "stopped"
    monkeypatch.undo()
    assert len([path for path in files(logged) if path.suffix == ".mka"]) == 1
    before = read(logged)
    assert compact(logged).volumes == 2
    assert read(logged) == before


def _after(begun, make):  # type: ignore[no-untyped-def]
    def made(*given):  # type: ignore[no-untyped-def]
        while not begun:
            time.sleep(0.01)
        return make(*given)

    return made


@pytest.mark.parametrize("moment", ["made", "checked", "signed"])
def test_a_crash_is_cleared_up_at_the_next_start(
    logged: ScratchArchive, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = read(logged)

    def die(*_given, **_named):  # type: ignore[no-untyped-def]
        raise StorageError("the box lost power")

    with monkeypatch.context() as patch:
        if moment == "made":
            patch.setattr(compacting, "put_in_place", die)
        elif moment == "checked":
            patch.setattr("appliance.store.seal.Chain.append", die)
            patch.setattr("appliance.store.switch._remove", lambda *_: None)
        else:
            patch.setattr("appliance.store.switch.remove_replaced", die)
            patch.setattr("appliance.store.switch._remove", lambda *_: None)
        ended(logged, logged.dispatcher.compactions.begin(BOX))
    assert [path for path in files(logged) if path.suffix == ".mka"]
    logged.close()
    logged.open()
    assert read(logged) == before
    logged.sign()
    left = {path.suffix for path in files(logged)}
    assert left == ({".mka", ".seal"} if moment == "signed" else {".mkv", ".seal"})
    compact(logged)
    assert read(logged) == before
    assert not logged.verify().errors


def test_the_archive_compacts_by_itself_what_is_old_and_large_enough(
    logged: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    compactions: Compactions = logged.dispatcher.compactions
    assert compactions.begin_due() is None
    monkeypatch.setattr(compacting, "DUE_BYTES", 10_000)
    assert compactions.begin_due() is None, "nothing is a day old"
    monkeypatch.setattr(compacting, "DUE_AGE", -1.0)
    job = compactions.begin_due()
    assert job is not None
    assert compactions.begin_due() is None, "one at a time"
    assert ended(logged, job).state == "done"
    assert [path for path in files(logged) if path.suffix == ".mka"]
    assert compactions.begin_due() is None


def test_damage_found_while_checking_is_told_and_nothing_is_replaced(
    logged: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_given, **_named):  # type: ignore[no-untyped-def]
        raise DamageError("the copy is not right")

    there = files(logged)
    monkeypatch.setattr(compacting, "put_in_place", wrong)
    done = compact(logged)
    assert (done.volumes, set(done.left)) == (0, {"the copy is not right"})
    assert set(there) <= set(files(logged))
