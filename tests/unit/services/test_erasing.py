"""Erasing mail of sealed mailboxes: only where it may be, never under a hold, and whole whenever the power goes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from appliance.errors import ConflictError, ForbiddenError, NotFoundError
from appliance.files import Files
from appliance.mail.published import erased_folder
from appliance.pull.maildrop import Maildrops
from appliance.services import api, auditing, erasing, mailboxes, status
from appliance.services.principal import Principal
from appliance.services.pulling import Pulling
from appliance.services.sealed import SealedMail
from appliance.services.signing import Signer
from appliance.settings import events
from appliance.store.absent import held
from appliance.store.reader import LogReader, RecordRef
from appliance.store.seal import Chain, sign_volume, waiting
from appliance.store.verify import verify
from tests.scratch import BOX, ScratchArchive, mail

DAY = 24 * 3600
READER = Principal(id="pull:council@archive.test", client="192.0.2.7")


def council(box: ScratchArchive, **settings: object) -> api.MailboxInfo:
    values = {"delete_after_pull": True, **settings}
    made = mailboxes.mailbox_create(
        box.archive, BOX, name="Council", address="council@archive.test", sealed=True, **values  # type: ignore[arg-type]
    )  # fmt: skip
    return made.mailbox


def counted(box: ScratchArchive, id: str) -> int:
    return next(one.records for one in mailboxes.mailboxes(box.archive, BOX) if one.id == id)


def listed(box: ScratchArchive, id: str) -> set[bytes]:
    """What the pull server is told to leave out."""
    file = erased_folder(box.paths.data) / id
    raw = file.read_bytes() if file.exists() else b""
    return {raw[start : start + 16] for start in range(0, len(raw), 16)}


def pulled(box: ScratchArchive, id: str, *records: bytes) -> erasing.Erasure:
    return erasing.erase(box.archive, READER, bytes.fromhex(id), records, "pulled")


def days_later(box: ScratchArchive, days: float) -> None:
    box.archive.clock = lambda: time.time() + days * DAY


def test_what_is_erased_counts_as_gone_at_once(box: ScratchArchive) -> None:
    id = council(box).id
    first, second, third = box.receive(mail("1"), mail("2"), mail("3"), mailbox_id=id)
    before = next(one.bytes for one in mailboxes.mailboxes(box.archive, BOX) if one.id == id)
    done = pulled(box, id, first, third)
    assert (set(done.erased), done.held) == ({first, third}, ())
    assert counted(box, id) == 1
    assert next(one.bytes for one in mailboxes.mailboxes(box.archive, BOX) if one.id == id) < before
    assert listed(box, id) == {first, third}
    now = status.status(box.archive, BOX)
    assert (now.records, now.sealed, now.erased) == (1, 1, 2)
    assert now.agrees and not now.alarms
    (line,) = auditing.audit(box.archive, BOX, find="records.erase").lines
    assert (line.who, line.what) == (READER.id, "2 of council@archive.test (pulled)")
    box.close()
    box.open()
    assert counted(box, id) == 1
    assert pulled(box, id, first).erased == (), "it is gone already"
    assert set(pulled(box, id, second).erased) == {second}
    mailboxes.mailbox_delete(box.archive, BOX, id=id)


def test_only_what_a_mailbox_holds_and_lets_go_is_erased(box: ScratchArchive) -> None:
    sealed = council(box)
    keeping = mailboxes.mailbox_create(
        box.archive, BOX, name="Keeps", address="keeps@archive.test", sealed=True
    ).mailbox  # fmt: skip
    (ordinary,) = box.receive(mail("Somebody's"))
    (kept,) = box.receive(mail("Kept"), mailbox_id=keeping.id)
    (own,) = box.receive(mail("Own"), mailbox_id=sealed.id)
    for id, record in ((box.mailbox.id, ordinary), (keeping.id, kept)):
        with pytest.raises(ForbiddenError, match="not set to"):
            pulled(box, id, record)
        with pytest.raises(ForbiddenError):
            erasing.erase(box.archive, READER, bytes.fromhex(id), [record], "retention")
    with pytest.raises(NotFoundError):
        erasing.erase(box.archive, READER, bytes(15) + b"x", [own], "pulled")
    assert pulled(box, sealed.id, ordinary, kept, b"?" * 16) == erasing.Erasure((), ())
    assert counted(box, sealed.id) == counted(box, keeping.id) == counted(box, box.mailbox.id) == 1
    assert not auditing.audit(box.archive, BOX, find="records.erase").lines


def test_a_hold_on_all_mail_keeps_what_came_in_its_period(box: ScratchArchive) -> None:
    id = council(box, retention_days=1).id
    (before,) = box.receive(mail("Before"), mailbox_id=id)
    since = int(time.time() * 1e6)
    (within,) = box.receive(mail("Within"), mailbox_id=id)
    box.archive.record(BOX, events.HoldPlaced("h1", "lawsuit", since=since))
    box.archive.record(BOX, events.HoldPlaced("h2", "another", archive="u-1"))
    done = pulled(box, id, before, within)
    assert (done.erased, done.held) == ((before,), (within,))
    days_later(box, 10)
    assert erasing.apply_retention(box.archive) == 0
    assert counted(box, id) == 1
    box.archive.record(BOX, events.HoldReleased("h1"))
    assert erasing.apply_retention(box.archive) == 1
    assert counted(box, id) == 0


def test_retention_erases_only_sealed_mail_that_is_older_than_the_days(box: ScratchArchive) -> None:
    id = council(box, retention_days=30, delete_after_pull=False).id
    other = mailboxes.mailbox_create(
        box.archive, BOX, name="Keeps", address="keeps@archive.test", sealed=True
    ).mailbox.id  # fmt: skip
    for mailbox in (id, other, box.mailbox.id):
        box.receive(mail("Old"), mailbox_id=mailbox)
    days_later(box, 29.9)
    assert erasing.apply_retention(box.archive) == 0
    days_later(box, 30.1)
    assert erasing.apply_retention(box.archive) == 1
    assert (counted(box, id), counted(box, other), counted(box, box.mailbox.id)) == (0, 1, 1)
    (line,) = auditing.audit(box.archive, BOX, find="records.erase").lines
    assert (line.who, line.what) == ("system", "1 of council@archive.test (retention)")
    box.project()
    assert box.total("old") == 1


def test_many_are_erased_in_entries_of_bounded_size(box: ScratchArchive, monkeypatch) -> None:
    monkeypatch.setattr(erasing, "LARGEST_ENTRY", 4)
    id = council(box).id
    records = box.receive(*(mail(str(number)) for number in range(10)), mailbox_id=id)
    assert len(pulled(box, id, *records).erased) == 10
    assert counted(box, id) == 0
    assert auditing.audit(box.archive, BOX, find="records.erase").total == 3


def test_erasures_are_made_again_from_the_log(box: ScratchArchive) -> None:
    id = council(box).id
    first, _ = box.receive(mail("1"), mail("2"), mailbox_id=id)
    pulled(box, id, first)
    box.close()
    for file in box.paths.data.glob("settings.db*"):
        file.unlink()
    for file in erased_folder(box.paths.data).iterdir():
        file.unlink()
    box.open()
    mailboxes.publish(box.archive)
    assert counted(box, id) == 1
    assert listed(box, id) == {first}


def sealed_up(box: ScratchArchive) -> Chain:
    """Close the volume that mail went into, and sign all there are."""
    box.writer.roll()
    keyring = box.archive.keyring
    chain = Chain.load(box.paths.volumes, archive_id=keyring.archive_id, verify_key=keyring.verify_key)
    for volume in list(waiting(box.paths.volumes, chain)):
        with contextlib.suppress(ConflictError):
            sign_volume(box.paths.volumes, volume, chain, keyring)
    return chain


def on_disk(box: ScratchArchive, id: str) -> bytes:
    """All bytes of a mailbox's folder."""
    return b"".join(file.read_bytes() for file in sorted((box.paths.volumes / id).iterdir()))


def ciphertexts(box: ScratchArchive, id: str) -> dict[bytes, bytes]:
    """Of each record of a mailbox, 64 bytes from the middle of its ciphertext."""
    found = {}
    for volume in box.archive.reader.volumes(bytes.fromhex(id)):
        raw = (box.paths.volumes / volume.path).read_bytes()
        for ref in box.archive.reader.scan(volume):
            middle = ref.offset + ref.length // 2
            found[ref.record_id] = raw[middle : middle + 64]
    return found


def test_ciphertext_of_a_mailbox_that_somebody_works_on_goes_later(box: ScratchArchive) -> None:
    """Compaction, or who lets volumes go, holds the mailbox's folder."""
    new = mailboxes.mailbox_create(
        box.archive, BOX, name="C", address="council@archive.test", sealed=True, delete_after_pull=True
    )
    id = new.mailbox.id
    first, _ = box.receive(mail("1"), mail("2"), mailbox_id=id)
    chain = sealed_up(box)
    pulled(box, id, first)
    before = on_disk(box, id)
    with held(box.paths.volumes / id):
        assert erasing.drop_erased(box.archive, chain) == 0
    assert on_disk(box, id) == before
    assert erasing.drop_erased(box.archive, chain) == 1


def test_the_ciphertext_of_erased_mail_goes_and_the_rest_stays(box: ScratchArchive) -> None:
    new = mailboxes.mailbox_create(
        box.archive, BOX, name="C", address="council@archive.test", sealed=True, delete_after_pull=True
    )
    id = new.mailbox.id
    first, second, third = box.receive(mail("1"), mail("2", "kept " * 50), mail("3"), mailbox_id=id)
    texts = ciphertexts(box, id)
    chain = sealed_up(box)
    pulled(box, id, first, third)
    assert erasing.drop_erased(box.archive, chain) == 2
    left = on_disk(box, id)
    assert texts[second] in left
    assert texts[first] not in left and texts[third] not in left
    assert listed(box, id) == set(), "the log itself says now that they are gone"
    now = status.status(box.archive, BOX)
    assert (now.sealed, now.erased) == (1, 0)
    assert now.agrees and not now.alarms
    (line,) = auditing.audit(box.archive, BOX, find="records.drop").lines
    assert line.what == "2 of council@archive.test"
    assert erasing.drop_erased(box.archive, chain) == 0
    pulled(box, id, second)
    assert erasing.drop_erased(box.archive, chain) == 1, "from what was dropped from before"
    assert texts[second] not in on_disk(box, id)
    report = verify(box.paths.volumes, box.archive.keyring, deep=True)
    assert report.errors == ()
    box.close()
    box.open()
    assert counted(box, id) == 0
    mailboxes.mailbox_delete(box.archive, BOX, id=id)


def test_the_archiver_erases_and_drops_by_itself(box: ScratchArchive) -> None:
    id = council(box, retention_days=30).id
    old = box.receive(mail("1"), mail("2"), mailbox_id=id)
    texts = ciphertexts(box, id)
    box.writer.roll()
    days_later(box, 31)
    signer = Signer(box.archive)
    signer.start()
    signer.close()
    assert counted(box, id) == 0
    assert not any(texts[record] in on_disk(box, id) for record in old)
    actions = [one.action for one in auditing.audit(box.archive, BOX, find="records.").lines]
    assert actions == ["records.drop", "records.erase"], "newest first"


def test_what_stays_can_still_be_pulled(box: ScratchArchive) -> None:
    new = mailboxes.mailbox_create(
        box.archive, BOX, name="C", address="council@archive.test", sealed=True, delete_after_pull=True
    )
    id = new.mailbox.id
    first, second = box.receive(mail("1"), mail("2"), mailbox_id=id)
    opened = box.archive.keyring.open_mailbox(bytes.fromhex(id), new.password)
    reader = LogReader(box.paths.volumes, opened)
    chain = sealed_up(box)
    pulled(box, id, first)
    erasing.drop_erased(box.archive, chain)
    (volume,) = reader.volumes(bytes.fromhex(id))
    refs = [one for one in reader.scan(volume) if isinstance(one, RecordRef)]
    assert [one.record_id for one in refs] == [second]
    assert reader.read(refs[0]).original == mail("2")
    opened.close()


def test_who_is_in_already_erases_nothing_of_a_mailbox_that_was_disabled(box: ScratchArchive) -> None:
    new = mailboxes.mailbox_create(
        box.archive, BOX, name="C", address="council@archive.test", sealed=True, delete_after_pull=True
    )
    id = new.mailbox.id
    first, second = box.receive(mail("1"), mail("2"), mailbox_id=id)
    opened = box.archive.keyring.open_mailbox(bytes.fromhex(id), new.password)
    pop3 = Pulling(box.archive)
    pop3.reading(grant=opened.grant, client="192.0.2.1")
    pop3.erase(grant=opened.grant, records=[first])
    mailboxes.mailbox_change(box.archive, BOX, id=id, state="disabled")
    for ask in (
        lambda: pop3.may_erase(grant=opened.grant),
        lambda: pop3.erase(grant=opened.grant, records=[second]),
        lambda: pop3.reading(grant=opened.grant, client="192.0.2.1"),
    ):
        with pytest.raises(ForbiddenError, match="disabled"):
            ask()
    assert counted(box, id) == 1 and listed(box, id) == {first}
    opened.close()


def test_a_reader_that_was_there_before_sees_what_was_dropped(box: ScratchArchive) -> None:
    id = council(box).id
    records = box.receive(mail("1"), mail("2"), mail("3"), mailbox_id=id)
    chain = sealed_up(box)
    drops = Maildrops(box.paths.data)

    def seen() -> list[bytes]:
        drop = drops.look(bytes.fromhex(id))
        return [drop.record_id(number) for number in range(len(drop))]

    assert seen() == records
    for number in (0, 2):
        pulled(box, id, records[number])
        assert records[number] not in seen()
        erasing.drop_erased(box.archive, chain)
        assert listed(box, id) == set()
        assert records[number] not in seen(), "though no list names it any more"
    assert seen() == [records[1]]


def test_nothing_is_dropped_from_a_volume_that_is_still_written(box: ScratchArchive) -> None:
    id = council(box).id
    first, _ = box.receive(mail("1"), mail("2"), mailbox_id=id)
    chain = Chain.load(
        box.paths.volumes, archive_id=box.archive.keyring.archive_id, verify_key=box.archive.keyring.verify_key
    )
    pulled(box, id, first)
    assert erasing.drop_erased(box.archive, chain) == 0
    assert listed(box, id) == {first}
    assert erasing.drop_erased(box.archive, sealed_up(box)) == 1
    assert listed(box, id) == set()


def test_a_crash_between_erasing_and_dropping_is_made_good(box: ScratchArchive, monkeypatch) -> None:
    id = council(box).id
    records = box.receive(mail("1"), mail("2"), mail("3"), mailbox_id=id)
    texts = ciphertexts(box, id)
    sealed_up(box)

    def crash(*_: object, **__: object) -> None:
        raise OSError(5, "the power has gone")

    with monkeypatch.context() as patched:
        patched.setattr(erasing, "drop", crash)
        pulled(box, id, records[0])
        with pytest.raises(OSError, match="power"):
            erasing.drop_erased(box.archive, sealed_up(box))
    with monkeypatch.context() as patched:
        patched.setattr(erasing, "_tell", crash)
        patched.setattr(SealedMail, "dropped", crash)  # the switch is made, and nobody here knows
        with pytest.raises(OSError, match="power"):
            erasing.drop_erased(box.archive, sealed_up(box))
    box.close()
    box.open()
    mailboxes.publish(box.archive)
    assert texts[records[0]] not in on_disk(box, id)
    assert listed(box, id) == set()
    assert counted(box, id) == 2
    assert erasing.drop_erased(box.archive, sealed_up(box)) == 0


class Failing(Files):
    """A disk on which the Nth call that changes something fails, and all after it: as if the power had gone."""

    def __init__(self, works: int) -> None:
        self._left = works

    def _next(self) -> None:
        if self._left == 0:
            raise OSError(5, "the power has gone")
        self._left -= 1

    def create(self, path: Path, mode: int = 0o640) -> int:
        self._next()
        return super().create(path, mode)

    def sync(self, descriptor: int) -> None:
        self._next()
        super().sync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._next()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._next()
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        self._next()
        super().sync_directory(path)


def test_the_pull_server_is_told_again_after_a_crash_at_any_step(box: ScratchArchive) -> None:
    id = council(box).id
    records = box.receive(*(mail(str(number)) for number in range(20)), mailbox_id=id)
    erased: set[bytes] = set()
    works = 0
    while True:
        erased.add(records[len(erased)])
        box.archive.record(READER, events.RecordsErased(bytes.fromhex(id), (max(erased, key=records.index),), "pulled"))
        before = listed(box, id)
        try:
            erasing.publish_erased(box.archive, Failing(works))
        except OSError:
            assert listed(box, id) in (before, erased), "the list is the one before or the new one, never a part"
        else:
            break
        erasing.publish_erased(box.archive)
        assert listed(box, id) == erased
        assert [one.name for one in erased_folder(box.paths.data).iterdir()] == [id]
        works += 1
    assert works > 3
    assert listed(box, id) == erased


def test_a_full_disk_delays_what_the_pull_server_is_told(box: ScratchArchive, monkeypatch) -> None:
    id = council(box).id
    (record,) = box.receive(mail("1"), mailbox_id=id)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(erasing, "replace_file", full)
        assert pulled(box, id, record).erased == (record,)
    assert listed(box, id) == set()
    assert not box.archive.gateway_is_told, "the signer's next round tells it"
    mailboxes.publish(box.archive)
    assert listed(box, id) == {record}
