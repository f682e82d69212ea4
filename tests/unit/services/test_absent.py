"""An archive some of whose volumes are on replicas only: searched, read, pulled, erased and proven as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.errors import UnavailableError
from appliance.ingest import project
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.mail.published import erased_folder
from appliance.pull.maildrop import Maildrops
from appliance.services import api, erasing, folders, mailboxes, reading, status
from appliance.services.compacting import Compacted
from appliance.services.principal import Principal
from appliance.services.projecting import rebuild
from appliance.services.proving import Proofs
from appliance.services.pulling import Pulling
from tests.elsewhere import Elsewhere, ReplicatorDouble
from tests.fetched import Fetched
from tests.scratch import BOX, ScratchArchive, mail

READER = Principal(id="pull:council@archive.test")


@pytest.fixture
def elsewhere(box: ScratchArchive, tmp_path: Path) -> Iterator[Elsewhere]:
    """A replica, and a replicator that gets files back from it."""
    elsewhere = Elsewhere(box.paths.volumes, tmp_path / "elsewhere")
    double = ReplicatorDouble(box.paths, elsewhere)
    yield elsewhere
    double.close()


def volumes_of(box: ScratchArchive, count: int, *, mailbox: str = "") -> list[bytes]:
    """Record ids of mails, each in a sealed volume of its own."""
    records = []
    for number in range(count):
        records += box.receive(mail(f"Number {number}", f"word{number}"), mailbox_id=mailbox)
        box.sign()
    return records


def take_all(box: ScratchArchive, elsewhere: Elsewhere, mailbox: str = "") -> list[str]:
    return elsewhere.take_all(bytes.fromhex(mailbox or box.mailbox.id))


def text_of(box: ScratchArchive, record: bytes) -> bytes:
    return b"".join(reading.original(box.archive, BOX, id=record.hex(), everywhere=True).chunks)


def test_what_is_elsewhere_is_found_and_comes_when_it_is_opened(box: ScratchArchive, elsewhere: Elsewhere) -> None:
    records = volumes_of(box, 3)
    box.project()
    before = status.status(box.archive, BOX)
    taken = take_all(box, elsewhere)
    assert len(taken) == 3
    assert box.total("word1") == 1
    assert elsewhere.fetched == []
    now = status.status(box.archive, BOX)
    assert (now.records, now.backlog, now.volumes, now.agrees) == (3, 0, before.volumes, True)
    assert now.log_bytes < before.log_bytes
    assert b"word1" in text_of(box, records[1])
    assert elsewhere.fetched == [taken[1]]
    checked = box.verify()
    assert (checked.errors, checked.absent) == ((), 2)


def test_folders_of_fetched_mail_that_is_elsewhere_are_there_also_after_a_rebuild(
    box: ScratchArchive, elsewhere: Elsewhere
) -> None:
    anna = Principal(id=(id := box.user("anna@example.com")), archives=frozenset({id}))
    fetched = Fetched(box)
    for number in range(2):
        record = fetched.fetch(mail(f"Number {number}"), id, "INBOX")
        fetched.lay(record, id, "Projects", f"{number}")
        fetched.roll()
        box.sign()
    fetched.close()
    box.project()
    before = folders.folders(box.archive, anna)
    assert len(elsewhere.take_all(IMPORTS_MAILBOX)) == 2
    for _ in range(2):
        assert folders.folders(box.archive, anna) == before
        now = status.status(box.archive, BOX)
        assert (now.records, now.backlog, now.agrees) == (2, 0, True), "places are no messages"
        rebuild(box.paths, box.archive.keyring, lambda _: None)


def test_where_nobody_can_get_it_back_the_reader_is_told_in_words(box: ScratchArchive, tmp_path: Path) -> None:
    (record,) = volumes_of(box, 1)
    box.project()
    elsewhere = Elsewhere(box.paths.volumes, tmp_path / "elsewhere")
    take_all(box, elsewhere)
    with pytest.raises(UnavailableError, match="on a replica only"):
        text_of(box, record)
    double = ReplicatorDouble(box.paths, elsewhere)
    elsewhere.down = True
    with pytest.raises(UnavailableError, match="cannot be reached"):
        text_of(box, record)
    elsewhere.down = False
    assert b"word0" in text_of(box, record)
    double.close()


def test_mail_is_read_in_as_it_comes_back_in_whatever_order(box: ScratchArchive, elsewhere: Elsewhere) -> None:
    volumes_of(box, 4)
    taken = take_all(box, elsewhere)
    box.receive(mail("Fresh", "fresh"))
    box.project()
    seen = status.status(box.archive, BOX)
    assert (seen.records, seen.projected, seen.backlog, seen.agrees) == (5, 1, 4, True)
    assert (box.total("fresh"), box.total("number"), elsewhere.fetched) == (1, 0, [])
    for count, path in enumerate(reversed(taken), start=1):
        elsewhere.fetch(path)
        box.project()
        assert box.total("number") == count
    seen = status.status(box.archive, BOX)
    assert (seen.records, seen.projected, seen.backlog, seen.agrees) == (5, 5, 0, True)


def test_compacted_mail_that_comes_back_is_read_in(box: ScratchArchive, elsewhere: Elsewhere) -> None:
    box.receive(*(mail(f"Number {number}", f"word{number} " * 50) for number in range(30)))
    assert box.compact().volumes
    (archive_volume,) = take_all(box, elsewhere)
    box.project()
    assert box.total("number") == 0
    elsewhere.fetch(archive_volume)
    box.project()
    assert box.total("number") == 30
    assert box.compact() == Compacted()


def test_a_rebuild_gets_everything_back_or_says_that_it_cannot(box: ScratchArchive, elsewhere: Elsewhere) -> None:
    volumes_of(box, 3)
    box.project()
    taken = take_all(box, elsewhere)
    elsewhere.down = True
    with pytest.raises(UnavailableError, match="cannot be reached"):
        rebuild(box.paths, box.archive.keyring, lambda _: None)
    assert box.total("number") == 3
    elsewhere.down = False
    elsewhere.fetched.clear()
    assert rebuild(box.paths, box.archive.keyring, lambda _: None) == 3
    assert sorted(elsewhere.fetched) == taken
    assert box.total("number") == 3


def test_mail_that_becomes_somebodys_waits_for_the_replica_and_is_not_lost(
    box: ScratchArchive, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "AGAIN_SECONDS", 0.0)
    volumes_of(box, 2)
    box.project()
    taken = take_all(box, elsewhere)
    elsewhere.down = True
    box.user("ben@example.com")
    box.project()
    box.receive(mail("Fresh", "fresh"))
    box.project()
    assert set(elsewhere.fetched) <= set(taken)
    assert elsewhere.fetched
    assert box.total("number", "ben@example.com") == 0
    assert box.total("number") == 2, "the auditor finds what he found"
    elsewhere.down = False
    box.project()
    assert box.total("number", "ben@example.com") == 2
    assert box.total("fresh", "ben@example.com") == 1
    seen = status.status(box.archive, BOX)
    assert (seen.indexed, seen.agrees) == (3, True)


def test_what_was_erased_stays_erased_when_its_volume_comes_back(box: ScratchArchive, elsewhere: Elsewhere) -> None:
    made = mailboxes.mailbox_create(
        box.archive, BOX, name="Council", address="council@archive.test", sealed=True, delete_after_pull=True
    ).mailbox  # fmt: skip
    mailbox = bytes.fromhex(made.id)
    gone, kept = volumes_of(box, 2, mailbox=made.id)
    erasing.erase(box.archive, READER, mailbox, [gone], "pulled")
    taken = take_all(box, elsewhere, made.id)
    box.close()
    box.open()
    box.archive.sealed.count()  # has seen all erasures before the volumes are back
    assert status.status(box.archive, BOX).records == 2
    with box.archive.chain.held() as chain:
        assert erasing.drop_erased(box.archive, chain) == 0
    erasing.publish_erased(box.archive)
    assert gone in (erased_folder(box.paths.data) / made.id).read_bytes()
    for path in taken:
        elsewhere.fetch(path)
    drop = Maildrops(box.paths.data, box.archive.keyring).look(mailbox)
    assert [drop.record_id(number) for number in range(len(drop))] == [kept]
    assert status.status(box.archive, BOX).records == 1
    with box.archive.chain.held() as chain:
        assert erasing.drop_erased(box.archive, chain) == 1
    assert box.verify().errors == ()
    assert status.status(box.archive, BOX).records == 1


def test_a_program_that_pulls_gets_everything_once_whatever_is_here(box: ScratchArchive, elsewhere: Elsewhere) -> None:
    made = mailboxes.mailbox_create(box.archive, BOX, name="Pulled", address="pulled@archive.test")
    mailbox = bytes.fromhex(made.mailbox.id)
    secret = box.archive.keyring.add_mailbox_token(mailbox, "test", password=made.password).token
    records = volumes_of(box, 5, mailbox=made.mailbox.id)
    taken = elsewhere.take_all(mailbox)
    pulling = Pulling(box.archive)
    assert len(Maildrops(box.paths.data, box.archive.keyring).look(mailbox)) == 0, "POP3 shows what is here"
    elsewhere.down = True
    with pytest.raises(UnavailableError, match="cannot be reached"):
        pulling.list(secret=secret, client="")
    with pytest.raises(UnavailableError, match="List the mailbox"):
        pulling.fetch(secret=secret, id=records[0].hex(), client="")
    elsewhere.down = False
    elsewhere.fetched.clear()
    first = pulling.list(secret=secret, client="", limit=2)
    assert [one.id for one in first.messages] == [one.hex() for one in records[:2]]
    assert first.more
    assert elsewhere.fetched == taken[:2], "no more than the page needs"
    elsewhere.fetch(taken[3])
    seen = list(first.messages)
    page: api.PullPage = first
    while page.more:
        page = pulling.list(secret=secret, client="", cursor=page.cursor, limit=2)
        seen += page.messages
        assert len(page.cursor) < 200
    assert sorted(one.id for one in seen) == sorted(one.hex() for one in records)
    elsewhere.take(taken[0])
    assert b"word0" in b"".join(pulling.fetch(secret=secret, id=records[0].hex(), client="").chunks)


def test_a_message_elsewhere_can_be_proven(box: ScratchArchive, elsewhere: Elsewhere) -> None:
    records = volumes_of(box, 2)
    box.project()
    expected = b"".join(Proofs(box.archive).proof(BOX, id=records[0].hex()).chunks)
    take_all(box, elsewhere)
    again = b"".join(Proofs(box.archive).proof(BOX, id=records[0].hex()).chunks)
    both = (msgspec.json.decode(one) for one in (expected, again))
    assert len({(one["record"]["commitment"], one["volume"], tuple(one["path"])) for one in both}) == 1
