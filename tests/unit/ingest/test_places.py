"""Fetched mail belongs to those in whose folders it lay; the same, in whatever order log and settings come."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from appliance.catalogue.folders import DEEPEST, FolderNames
from appliance.catalogue.store import Catalogue
from appliance.mail.places import Place
from appliance.mail.places import encode as encode_places
from appliance.services import reading, users
from appliance.services.folders import folders
from appliance.services.generations import Generations
from appliance.services.principal import Principal
from appliance.store.reader import LogReader
from tests.fetched import Fetched
from tests.scratch import BOX, ScratchArchive, mail, report


@pytest.fixture
def fetched(box: ScratchArchive) -> Iterator[Fetched]:
    source = Fetched(box)
    yield source
    source.close()


def tree(box: ScratchArchive, user: str) -> dict[str, int]:
    """The user's folders by their paths, with how many messages they are said to hold."""
    trees = folders(box.archive, Principal(id=user, archives=frozenset({user})))
    found: dict[str, int] = {}

    def walk(level: object) -> None:
        for one in level:  # type: ignore[attr-defined]
            found["/".join(one.path)] = one.messages
            walk(one.children)

    for one in trees:
        walk(one.folders)
    return found


def rows(box: ScratchArchive) -> dict[str, object]:
    """What the catalogue says of records, owners, folders and places, without its own numbers."""
    path = Generations(box.paths).current().catalogue
    names = FolderNames(box.archive.keyring)
    catalogue = Catalogue(path)
    with catalogue._engine.connect() as connection:
        owned = connection.execute(
            text("SELECT record.id, message.id, archive FROM record JOIN ownership ON record = record.n "
                 "JOIN message ON message.n = record.message")
        ).all()  # fmt: skip
        lain = connection.execute(
            text("SELECT place.record, folder.id, message.id FROM place JOIN folder ON folder.n = place.folder "
                 "LEFT JOIN message ON message.n = place.message")
        ).all()  # fmt: skip
        known = connection.execute(
            text("SELECT folder.id, folder.path, folder.archive, folder.role, folder.role_at, parent.id FROM folder "
                 "LEFT JOIN folder AS parent ON parent.n = folder.parent")
        ).all()  # fmt: skip
        counted = connection.execute(text("SELECT path, places FROM volume WHERE places > 0")).all()
    catalogue.close()
    return {
        "owned": sorted(map(tuple, owned)),
        "lain": sorted(map(tuple, lain), key=repr),
        "folders": sorted((id, names.open(id, path), *more) for id, path, *more in known),
        "counted": sorted(map(tuple, counted)),
    }


def test_fetched_mail_is_theirs_in_whose_folder_it_lay_and_of_nobody_whom_it_names(
    box: ScratchArchive, fetched: Fetched
) -> None:
    anna, _ben = box.user("anna@example.com"), box.user("ben@example.com")
    record = fetched.message(mail("Between the two", sender="anna@example.com", to="ben@example.com"))
    box.project()
    assert box.archive.catalogue.counts().unassigned == 1
    assert box.total("*", "anna@example.com") == box.total("*", "ben@example.com") == 0
    fetched.lay(record, anna, "INBOX", role="inbox")
    box.project()
    assert box.archive.catalogue.counts().unassigned == 0
    assert box.total("between", "anna@example.com") == 1
    assert box.total("between", "ben@example.com") == 0


def test_a_place_that_comes_before_its_message_waits_for_it(box: ScratchArchive) -> None:
    anna = box.user("anna@example.com")
    first, second = Fetched(box, "s0"), Fetched(box, "s1")
    record = first.message(mail("Later"))
    second.lay(record, anna, "INBOX")
    in_order = LogReader.volumes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            LogReader, "volumes", lambda reader, mailbox=None: [
                one for one in in_order(reader, mailbox) if one.writer != "s0"
            ],
        )  # fmt: skip
        box.project()
        assert tree(box, anna) == {"INBOX": 0}
        assert box.total("*") == 0
    box.project()
    assert tree(box, anna) == {"INBOX": 1}
    assert box.total("later", "anna@example.com") == 1
    assert box.archive.catalogue.counts().unassigned == 0
    first.close()
    second.close()


def test_one_message_of_several_places_is_one_message_in_each_of_them(box: ScratchArchive, fetched: Fetched) -> None:
    anna, ben = box.user("anna@example.com"), box.user("ben@example.com")
    original = mail("Everywhere", message_id="one@example.com")
    journaled = report(original, "To: ben@example.com", sender="anna@example.com")
    box.receive(journaled)
    record = fetched.message(original)
    for folder in (["INBOX"], ["Projects", "2026"]):
        fetched.lay(record, anna, *folder)
        fetched.lay(record, anna, *folder)
    fetched.lay(record, ben, "INBOX")
    fetched.fetch(original.replace(b"To:", b"Received: from elsewhere\r\nTo:"), anna, "INBOX")
    box.project()
    assert tree(box, anna) == {"INBOX": 1, "Projects": 0, "Projects/2026": 1}
    assert tree(box, ben) == {"INBOX": 1}
    assert box.total("everywhere", "anna@example.com") == box.total("everywhere", "ben@example.com") == 1
    (hit,) = box.search("everywhere", "anna@example.com").hits
    view = reading.message(box.archive, Principal(id=anna, archives=frozenset({anna})), id=hit.id)
    assert [one.path for one in view.folders] == [("INBOX",), ("Projects", "2026")]
    assert {one.archive for one in view.folders} == {anna}
    assert len(view.copies) == 3


def test_the_same_place_again_changes_nothing(box: ScratchArchive, fetched: Fetched) -> None:
    anna = box.user("anna@example.com")
    record = fetched.fetch(mail(), anna, "INBOX", role="inbox")
    box.project()
    before, change = rows(box), box.archive.catalogue.counts().change
    fetched.lay(record, anna, "INBOX", role="inbox")
    box.project()
    after = rows(box)
    assert after["counted"] != before["counted"]
    assert {**after, "counted": None} == {**before, "counted": None}
    assert box.archive.catalogue.counts().change == change


def test_a_new_place_moves_the_message_in_the_change_sequence_and_is_found(
    box: ScratchArchive, fetched: Fetched
) -> None:
    anna = box.user("anna@example.com")
    record = fetched.fetch(mail("Moved"), anna, "INBOX")
    box.project()
    change = box.archive.catalogue.counts().change
    fetched.lay(record, anna, "Done")
    box.project()
    assert box.archive.catalogue.counts().change == change + 1
    view = box.view("anna@example.com")
    found = {
        "/".join(one.path): search_in(box, view, one.id) for one in folders_of(box, anna)
    }  # fmt: skip
    assert found == {"INBOX": ["Moved"], "Done": ["Moved"]}


def test_people_who_come_and_go_change_nothing_about_fetched_mail(box: ScratchArchive, fetched: Fetched) -> None:
    """Neither an address given later, nor one given away, nor the domain of a new user."""
    anna = box.user("anna@example.com", "office@example.com")
    fetched.fetch(mail("Kept", sender="late@example.org", to="office@example.com"), anna, "INBOX")
    box.project()
    users.user_change(box.archive, BOX, id=anna, aliases=[])
    box.user("office@example.com")
    box.user("late@example.org")
    box.project()
    assert box.total("kept", "anna@example.com") == 1
    assert box.total("kept", "office@example.com") == box.total("kept", "late@example.org") == 0


def test_unknown_people_in_fetched_mail_become_no_users(tmp_path: object) -> None:
    box = ScratchArchive(tmp_path, unknown="create", domains=["example.com"])  # type: ignore[arg-type]
    anna = box.user("boss@example.com")
    source = Fetched(box)
    source.fetch(mail(sender="anna@example.com", to="ben@example.com"), anna, "INBOX")
    box.project()
    assert {one.primary for one in users.users(box.archive, BOX).users} == {"admin", "boss@example.com"}
    source.close()
    box.close()


def test_a_fetched_sent_message_shows_its_bcc_to_its_sender_alone(box: ScratchArchive, fetched: Fetched) -> None:
    people = {name: box.user(f"{name}@example.com") for name in ("anna", "ben", "carla", "dora")}
    sent = mail("With Bcc", headers="Bcc: carla@example.com", message_id="bcc@example.com")
    plain = mail("With Bcc", message_id="bcc@example.com")
    fetched.fetch(sent, people["anna"], "Sent", role="sent")
    fetched.fetch(plain, people["ben"], "INBOX", role="inbox")
    # The folder of one who can read what anna sent: a deputy whose mailbox got a copy of the whole folder.
    fetched.lay(fetched.message(sent), people["dora"], "Anna's", "Sent")
    box.project()
    shown = {}
    for name, id in people.items():
        who = Principal(id=id, archives=frozenset({id}))
        page = box.search("with", f"{name}@example.com")
        if page.hits:
            view = reading.message(box.archive, who, id=page.hits[0].id)
            shown[name] = (
                [one.address for one in view.bcc],
                any(field.lower() == "bcc" for field, _ in view.headers),
                box.total("bcc:carla@example.com", f"{name}@example.com"),
            )
    assert shown == {
        "anna": (["carla@example.com"], True, 1),
        "ben": ([], False, 0),
        "dora": ([], False, 0),
    }


def test_who_writes_to_another_mailbox_gives_no_mail_away(box: ScratchArchive, fetched: Fetched) -> None:
    """A gateway in an attacker's hands can append what it likes to the volumes of the mailboxes that it knows."""
    anna, mallory = box.user("anna@example.com"), box.user("mallory@example.com")
    (journaled,) = box.receive(report(mail("Journaled"), "To: anna@example.com", sender="x@y.example"))
    taken = fetched.fetch(mail("Fetched"), anna, "INBOX")
    mailbox = bytes.fromhex(box.mailbox.id)
    public_key = box.archive.keyring.public_key(mailbox)
    for record in (journaled, taken):
        forged = encode_places([Place(record=record, archive=mallory, folder=("INBOX",))])
        fetched.raw_place(forged, mailbox, public_key)
    fetched.lay(journaled, mallory, "INBOX")  # and what was not fetched belongs to whom its envelope names
    box.project()
    assert box.total("*", "mallory@example.com") == 0
    assert box.total("*", "anna@example.com") == 2
    assert tree(box, mallory) == {"INBOX": 0}


def test_a_place_that_cannot_be_read_keeps_nobody_waiting(box: ScratchArchive, fetched: Fetched) -> None:
    anna = box.user("anna@example.com")
    record = fetched.message(mail("Whole"))
    fetched.raw_place(b"\xc1 no map")
    fetched.lay(record, anna, "INBOX")
    fetched.raw_place(b"")
    box.project()
    assert box.total("whole", "anna@example.com") == 1
    assert box.archive.backlog.count(box.archive.catalogue).waiting == 0


def test_folders_deeper_than_any_person_makes_them_are_one(box: ScratchArchive, fetched: Fetched) -> None:
    anna = box.user("anna@example.com")
    deep = tuple(str(level) for level in range(3_000))
    fetched.fetch(mail(), anna, *deep)
    fetched.fetch(mail("Other"), anna)
    box.project()
    found = tree(box, anna)
    assert len(found) == DEEPEST + 1
    assert found["/".join(deep)] == 1
    assert found[""] == 1


def test_the_log_counts_messages_not_places(box: ScratchArchive, fetched: Fetched) -> None:
    anna = box.user("anna@example.com")
    for number in range(3):
        record = fetched.fetch(mail(f"Number {number}"), anna, "INBOX")
        more = (Place(record=record, archive=anna, folder=(name,)) for name in ("Again", "And again"))
        fetched.place(*more)
    fetched.roll()
    box.sign()
    assert box.archive.backlog.count(box.archive.catalogue).records == 3
    box.project()
    counted = box.archive.backlog.count(box.archive.catalogue)
    assert (counted.records, counted.waiting) == (3, 0)
    box.close()
    box.open()
    scanned = []
    scan = LogReader.scan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            LogReader, "scan", lambda reader, volume, *more, **named: (
                scanned.append(volume.path) or scan(reader, volume, *more, **named)
            ),
        )  # fmt: skip
        again = box.archive.backlog.count(box.archive.catalogue)
    assert (again.records, again.waiting) == (3, 0)
    assert not scanned, "a volume that was counted when it was signed was read again"


def _filled(box: ScratchArchive, seed: int) -> list[str]:
    """Messages and places over several volumes, places before their messages among them, and what was imported by
    address for somebody who comes later."""
    chance = random.Random(seed)
    people = [box.user(f"{name}@example.com") for name in ("anna", "ben")]
    names = [("INBOX",), ("Sent",), ("Projects",), ("Projects", "2026"), ("Projects", "2026", "Über")]
    whose = ((), (), ("ben@example.com",), ("late@example.com", "x@elsewhere.test"))
    records: list[bytes] = []
    for number in range(6):
        source, other = Fetched(box, f"s{number}"), Fetched(box, f"t{number}x")
        records += [
            source.message(mail(f"Number {number % 4}", f"Text {turn}"), belongs_to=chance.choice(whose))
            for turn in range(3)
        ]
        for at in range(8):
            chance.choice((source, other)).lay(
                chance.choice(records), chance.choice(people), *chance.choice(names),
                role=chance.choice(("", "", "archive", "sent")), at=number * 10 + at,
            )  # fmt: skip
        box.receive(report(mail(f"Journaled {number}"), "To: ben@example.com", sender="anna@example.com"))
        source.close()
        other.close()
        box.writer.roll()
    box.project()
    people.append(box.user("late@example.com"))
    box.project()
    return people


@pytest.mark.parametrize("seed", range(4))
def test_a_rebuild_from_shuffled_volumes_gives_the_same_rows(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    people = _filled(box, seed)
    before, trees = rows(box), [tree(box, one) for one in people]
    assert any(trees)
    box.close()
    shutil.rmtree(box.paths.projections)
    in_order = LogReader.volumes

    def shuffled(reader: LogReader, mailbox: bytes | None = None):  # type: ignore[no-untyped-def]
        found = in_order(reader, mailbox)
        random.Random(seed).shuffle(found)
        return found

    monkeypatch.setattr(LogReader, "volumes", shuffled)
    monkeypatch.setattr("appliance.ingest.project.BATCH_RECORDS", 3)
    box.open()
    box.project()
    assert rows(box) == before
    assert [tree(box, one) for one in people] == trees


def test_compaction_keeps_the_places(box: ScratchArchive) -> None:
    people = _filled(box, 1)
    before, trees = rows(box), [tree(box, one) for one in people]
    assert box.compact().volumes > 6
    assert box.verify().errors == ()
    box.close()
    shutil.rmtree(box.paths.projections)
    box.open()
    box.project()
    assert rows(box) == before
    assert [tree(box, one) for one in people] == trees


def folders_of(box: ScratchArchive, user: str):  # type: ignore[no-untyped-def]
    (one,) = folders(box.archive, Principal(id=user, archives=frozenset({user})))
    return one.folders


def search_in(box: ScratchArchive, view, folder: str, *, below: bool = False) -> list[str]:  # type: ignore[no-untyped-def]
    from appliance.services.searching import search_view

    return sorted(hit.subject for hit in search_view(box.archive, view, query="*", folder=folder, below=below).hits)
