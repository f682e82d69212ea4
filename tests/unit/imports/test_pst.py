"""PSTs and OSTs: everything in them is found, in its folder, with what the file says of it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from appliance.imports.base import Entry, FileError, Options
from appliance.imports.nursery import Nursery
from appliance.imports.pst import names, read
from appliance.imports.pst.book import Book
from appliance.imports.pst.damage import Notes
from appliance.imports.pst.folders import Folders
from appliance.imports.pst.index import Index
from appliance.imports.pst.items import Store, StoredItem
from appliance.imports.pst.layout import CYCLIC, PLAIN
from appliance.imports.pst.nodes import Blocks
from appliance.imports.reading import Arriving, Opened, Reading
from tests.pst_files import PstFile, repeated

ASPOSE = "Aspose.Email-Python-Dotnet--Outlook.pst"  # Outlook 2007, Unicode
DIST_LIST = "java-libpst--dist-list.pst"  # Outlook, Unicode
ANSI = "msgvault--32-bit.pst"  # Outlook 97 to 2002
OST = "pst-extractor--outlook.com.ost"  # Outlook 2016, pages of 4,096 bytes, deflated
FRENCH = "tika--testPST.pst"  # Outlook 2010, Unicode

ADDRESS = UUID("00062004-0000-0000-c000-000000000046")
APPOINTMENT = UUID("00062002-0000-0000-c000-000000000046")
EVERYTHING = Options(others=True)


@pytest.fixture(scope="session")
def psts(corpora: Path) -> Path:
    """The folder of PSTs among the real mail."""
    folder = corpora / "pst"
    if not folder.is_dir():
        pytest.skip(f"no PSTs at {folder}")
    return folder


def store(raw: bytes, code_page: str = "cp1252") -> Store:
    blocks = Blocks(Index(io.BytesIO(raw)))
    return Store(blocks, names.read(blocks, Notes()), code_page)


def item(opened: Store, id: int) -> StoredItem:
    node = opened.blocks.index.node(id)
    assert node is not None
    return StoredItem(opened, node)


def entries(path: Path, options: Options = EVERYTHING) -> list[Entry]:
    with path.open("rb") as file:
        return list(read(file, path.name, options))


def messages(raw: bytes, options: Options = EVERYTHING) -> Iterator[tuple[str, bytes]]:
    for entry in read(io.BytesIO(raw), "some.pst", options):
        assert entry.content is not None, entry
        yield entry.id, b"".join(entry.content().pieces)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (ASPOSE, {"mail": 11, "calendar": 1, "contact": 1}),
        (DIST_LIST, {"calendar": 1, "contact": 2}),
        (ANSI, {"calendar": 1}),
        (OST, {"mail": 14, "calendar": 169}),
        (FRENCH, {"mail": 7}),
    ],
)
def test_every_item_is_found_once(psts: Path, name: str, kinds: dict[str, int]) -> None:
    found = entries(psts / name)
    assert Counter(entry.kind for entry in found) == kinds
    assert not [entry for entry in found if entry.broken or entry.left]
    assert len({entry.id for entry in found}) == len(found)


def test_what_is_no_mail_is_left_where_only_mail_is_wanted(psts: Path) -> None:
    found = entries(psts / ASPOSE, Options())
    assert Counter(bool(entry.content) for entry in found) == {True: 11, False: 2}
    assert {entry.kind for entry in found if entry.left} == {"calendar", "contact"}


def test_the_same_file_gives_the_same_entries_and_bytes(psts: Path) -> None:
    raw = (psts / ASPOSE).read_bytes()
    assert list(messages(raw)) == list(messages(raw))


def test_reading_goes_on_in_the_middle_as_if_it_had_never_stopped(psts: Path, nursery: Nursery) -> None:
    """Addresses that only other items tell are known, too."""
    whole = arrived(psts / OST, nursery, 0)
    assert len(whole) == 183
    for skip in (1, 90, 182, 183):
        assert arrived(psts / OST, nursery, skip) == whole[skip:]


def arrived(path: Path, nursery: Nursery, skip: int) -> list[tuple[int, str, bytes]]:
    found = []
    with path.open("rb") as file:
        opened = Opened(file.fileno(), path.stat().st_size)
        with Reading(nursery, opened, path.name, EVERYTHING, skip=skip) as reading:
            for event in reading:
                assert isinstance(event, Arriving)
                assert not event.meta.exact
                found.append((event.number, event.id, b"".join(event.pieces)))
    return found


def test_folders_are_those_that_their_owner_saw(psts: Path) -> None:
    """Neither the top of the data file nor Outlook's own folders are among them; names are as they were shown."""
    assert Counter(entry.folder for entry in entries(psts / ASPOSE)) == {
        ("Inbox",): 6,
        ("Sent Items",): 5,
        ("Calendar",): 1,
        ("Contacts",): 1,
    }
    assert Counter(entry.folder for entry in entries(psts / OST)) == {
        ("Deleted Items",): 1,
        ("Inbox",): 10,
        ("Sent Items",): 2,
        ("Calendar",): 9,
        ("Calendar", "United States holidays"): 160,
        ("Sync Issues",): 1,
    }
    assert {entry.folder for entry in entries(psts / FRENCH)} == {()}  # they lie beside the folders


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        (ASPOSE, "drafts: Drafts, inbox: Inbox, junk: Junk E-mail, sent: Sent Items, trash: Deleted Items"),
        # an OST's are told by their names
        (
            OST,
            "archive: Archive, drafts: Drafts, inbox: Inbox, junk: Junk Email, sent: Sent Items, trash: Deleted Items",
        ),
        (FRENCH, "trash: Éléments supprimés"),
    ],
)
def test_folders_say_what_they_are_for(psts: Path, name: str, roles: str) -> None:
    folders = Folders(store((psts / name).read_bytes()))
    assert ", ".join(sorted(f"{one.role}: {one.path[-1]}" for one in folders if one.role)) == roles


def test_what_their_owner_never_saw_comes_with_what_is_recovered(psts: Path) -> None:
    found = {entry.id: entry for entry in entries(psts / ASPOSE, Options(others=True, recovered=True))}
    assert found["orphan 0x200024"].folder == ("Freebusy Data",)
    assert found["orphan 0x200024"].kind == "other"
    assert len(found) == 14


def test_recipients_dates_and_subjects(psts: Path) -> None:
    found = item(store((psts / FRENCH).read_bytes()), 0x200044)
    properties = found.properties
    assert properties.get(0x001A) == "IPM.Note"
    assert properties.get(0x0037) == 'Re: init tokenizer fails: "Bad type in putfield/putstatic"'  # without its mark
    assert str(properties.get(0x0E06)) == "2014-02-25 21:24:29.282830+00:00"
    assert [(row.get(0x0C15), row.get(0x39FE)) for row in found.recipients] == [
        (1, "kottmann@gmail.com"),
        (1, "users@opennlp.apache.org"),
    ]
    assert properties.damaged == []


def test_attachments_bit_for_bit(psts: Path) -> None:
    found = item(store((psts / ASPOSE).read_bytes()), 0x200144)
    attached = {
        str(one.properties.get(0x3707)): hashlib.sha256(b"".join(one.pieces())).hexdigest()[:16]
        for one in found.attachments
    }
    assert attached == {  # as readpst 0.6.76 and libpff 20260926 have them, too
        "text file.txt": "8782666b98dc1b06",
        "Sunset.jpg": "ea3b1238a38f72b3",
        "Blue hills.jpg": "62e85a0f3a4cbc01",
    }


def test_attachments_begin_anew_each_time_they_are_read(psts: Path) -> None:
    sunset = item(store((psts / ASPOSE).read_bytes()), 0x200144).attachments[1]
    assert b"".join(sunset.pieces()) == b"".join(sunset.pieces())


def test_items_within_items(psts: Path) -> None:
    found = item(store((psts / ASPOSE).read_bytes()), 0x2000A4)
    inner = [one.item() for one in found.attachments]
    assert [one and one.properties.get(0x0037) for one in inner] == ["message 1", "message 2"]
    assert [list(one.pieces()) for one in found.attachments] == [[], []]
    (forwarded,) = item(store((psts / FRENCH).read_bytes()), 0x2000E4).attachments
    within = forwarded.item()
    assert within is not None
    assert [one.properties.get(0x3707) for one in within.attachments] == ["attachment.docx"]


def test_named_properties_go_by_their_names(psts: Path) -> None:
    """As java-libpst's own tests expect them of this file."""
    opened = store((psts / DIST_LIST).read_bytes())
    contact = item(opened, 0x200064).properties
    assert contact.named(ADDRESS, 0x8083) == "contact1@rjohnson.id.au"
    members = item(opened, 2097188).properties.named(ADDRESS, 0x8054)
    assert isinstance(members, tuple)
    said = b"".join(one for one in members if isinstance(one, bytes)).decode("utf-16-le", "replace")
    assert len(members) == 3
    assert "dist1@rjohnson.id.au" in said
    assert "dist2@rjohnson.id.au" in said
    series = item(opened, 2097348)
    assert isinstance(series.properties.named(APPOINTMENT, 0x8216), bytes)
    changed = [one.item() for one in series.attachments]
    assert [str(one and one.properties.get(0x1000)).strip() for one in changed] == [
        "This is the appointment at 9",
        "This is the one at 10",
    ]


def test_eight_bit_text_is_read_as_its_item_or_else_its_importer_says(psts: Path) -> None:
    raw = (psts / ANSI).read_bytes()
    assert item(store(raw), 0x200024).properties.get(0x0037) == "Updated: Olympus training for new hires"
    changed = PstFile(raw)
    node = changed.index.node(0x200024)
    assert node is not None
    plain = changed.block(node.data).replace(b"Updated: Olympus", b"\xcf\xf0\xe8\xe2\xe5\xf2: Olympus.")
    message, internet = (plain.index(tag) + 4 for tag in (b"\xfd\x3f\x03\x00", b"\xde\x3f\x03\x00"))
    for its_own, its_body, option, subject in (
        (1251, 28591, "cp1252", "Привет: Olympus."),
        (1252, 20866, "cp1251", "Ïðèâåò: Olympus."),
        (0, 1251, "cp1252", "Привет: Olympus."),
        (0, 0, "cp1251", "Привет: Olympus."),
        (0, 0, "cp1252", "Ïðèâåò: Olympus."),
    ):
        edited = bytearray(plain)
        edited[message : message + 4] = its_own.to_bytes(4, "little")
        edited[internet : internet + 4] = its_body.to_bytes(4, "little")
        changed.put(node.data, bytes(edited))
        found = item(store(bytes(changed.raw), option), 0x200024).properties.get(0x0037)
        assert str(found).startswith(subject), (its_own, its_body, option)


@pytest.mark.parametrize("how", [PLAIN, CYCLIC])
def test_blocks_obscured_in_any_way_are_read(psts: Path, how: int) -> None:
    raw = (psts / DIST_LIST).read_bytes()
    changed = PstFile(raw)
    changed.obscure(how)
    assert bytes(changed.raw) != raw
    assert list(messages(bytes(changed.raw))) == list(messages(raw))


def test_a_password_keeps_nothing_back(psts: Path) -> None:
    raw = (psts / DIST_LIST).read_bytes()
    changed = PstFile(raw)
    node = changed.index.node(0x21)
    assert node is not None
    plain = changed.block(node.data)
    at = plain.index(b"\xff\x67\x03\x00")  # PidTagPstPassword, a PtypInteger32
    changed.put(node.data, plain[: at + 4] + b"\x78\x56\x34\x12" + plain[at + 8 :])
    assert store(bytes(changed.raw)).blocks.index.node(0x21) is not None
    assert item(store(bytes(changed.raw)), 0x21).properties.get(0x67FF) == 0x12345678
    assert list(messages(bytes(changed.raw))) == list(messages(raw))


def test_the_address_book_knows_who_is_named_with_an_address_anywhere_in_the_file(psts: Path) -> None:
    raw = (psts / ANSI).read_bytes()
    opened = store(raw)
    pairs = {
        str(row.get(0x3003)): str(row.get(0x39FE))
        for row in item(opened, 0x200024).recipients
        if str(row.get(0x3003)).startswith("/") and row.get(0x39FE)
    }
    book = Book(opened, Folders(opened))
    assert pairs
    assert {name: book.smtp(name.upper()) for name in pairs} == pairs
    assert book.smtp("/O=NOBODY") == ""


def test_a_file_with_many_items_is_read_like_a_small_one(psts: Path) -> None:
    raw = (psts / FRENCH).read_bytes()
    once = [content for _, content in messages(raw)]
    found = list(messages(repeated(raw, 60)))
    assert len({id for id, _ in found}) == 7 * 60
    assert Counter(content for _, content in found) == dict.fromkeys(once, 60)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no PST"),
        (b"From anna@example.org\n" * 100, "no PST"),
        (b"!BDN\0\0\0\0SM\x25\0".ljust(1000, b"\0"), "Windows encrypts it"),
        (b"!BDN\0\0\0\0SM\x63\0".ljust(1000, b"\0"), "version 99"),
        (b"!BDN\0\0\0\0SM\x17\0".ljust(5000, b"\0"), "scanpst"),
        (b"!BDN\0\0\0\0SM\x17\0", "scanpst"),
    ],
)
def test_what_cannot_be_read_at_all_says_so(raw: bytes, words: str) -> None:
    with pytest.raises(FileError, match=words):
        list(read(io.BytesIO(raw), "some.pst", Options()))
