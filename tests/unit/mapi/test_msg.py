"""MSG files: real ones say what they say, made ones everything that the format allows, hostile ones a sentence."""

from __future__ import annotations

import hashlib
import io
import random
import struct
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from appliance.mapi.base import ItemError, Properties
from appliance.mapi.compound import open_compound
from appliance.mapi.msg import DEEPEST, MsgItem, open_msg
from tests import outlook_files
from tests.outlook_files import Attached, Item, Node

CLASS, SUBJECT, BODY, SENDER, SUBMITTED, NAME, SMTP, ADDRESS = 0x1A, 0x37, 0x1000, 0xC1A, 0x39, 0x3001, 0x39FE, 0x3003
TASK = UUID("00062003-0000-0000-c000-000000000046")
STRINGS = UUID("00020329-0000-0000-c000-000000000046")
OWN = UUID("11111111-2222-3333-4444-555555555555")

ASPOSE = "Aspose.Email-Python-Dotnet--"
REAL: dict[str, tuple[str, str, str, str | None, list[str], list[tuple[str | None, str]]]] = {
    f"{ASPOSE}AddVotingButtonToExistingMessage.msg": (
        "IPM.Note", "creating an outlook message file", "from@domain.com", None, ["to@domain.com"], [],
    ),
    f"{ASPOSE}Contact.msg": (
        "IPM.Contact", "FirstName LastName", "Maria Shahid", "2017-02-13T13:35:56.213000+00:00", [], [],
    ),
    f"{ASPOSE}EmbeddedImage1.msg": (
        "IPM.Note", "This is an email(Aspose.Email Evaluation)", "test001@gmail.com", None, ["test001@gmail.com"],
        [(None, "adf4802a0e158391b75be1b79e3347e5b4657f9d1822331567c227e7e7a7adc8")],
    ),
    f"{ASPOSE}MapiTask.msg": ("IPM.Task", "To Do", "", None, [], []),
    "tika--testMSG.msg": (
        "IPM.Note", "MIME registry use cases", "Jukka Zitting", "2009-01-29T19:16:40+00:00",
        ["tika-dev@lucene.apache.org"], [],
    ),
    "tika--testMSG_Post.msg": (
        "IPM.Post", "QuickBrownFox", "Allison, Timothy B.", "2017-02-28T18:47:11.709000+00:00", [], [],
    ),
    "tika--testMSG_Task.msg": (
        "IPM.Task", "Must jump over the lazy dog", "Allison, Timothy B.", "2017-02-28T18:44:00.797000+00:00", [], [],
    ),
    "tika--testMSG_att_doc.msg": (
        "IPM.Note", "test pièce jointe 1", "Nicolas1 23456", "2009-04-22T14:36:33.734375+00:00",
        ["nicolas1.23456@free.fr"],
        [
            ("test-unicode.doc", "49f38f89509d5d6ab522bd2fd99c829201cbe33a549d0c362e145f1290707ad7"),
            ("pj1.txt", "d51a33c222720b2d103f72e7e8f79ea5d3cf974e48478192da8648d6e8a688c4"),
        ],
    ),
    "tika--testMSG_att_msg.msg": (
        "IPM.Note", "test email", "Nick Booth", "2010-06-17T23:54:19+00:00", ["nick.booth@pof.com.au"],
        [
            ("Test Attachment", ""),
            ("smbprn.00009008.KdcPjl.pdf", "1bd629440fff7a30e340c95e51f2732f239ff7115be211aaa23ba498d0f1b208"),
        ],
    ),
    "tika--testMSG_forwarded.msg": (
        "IPM.Note", "FW: Testing", "Paul Allan Hill", "2011-12-08T00:30:39+00:00", ["paul@metajure.com"], [],
    ),
}  # fmt: skip
"""Class, subject, sender, submitted, recipients' addresses, attachments' names and SHA-256 ("" for an embedded item,
which goes by its subject): as other readers of the format give them, too."""


def made(item: Item) -> MsgItem:
    return open_msg(io.BytesIO(outlook_files.msg(item)))


def address(recipient: Properties) -> object:
    return recipient.get(SMTP) or recipient.get(ADDRESS)


@pytest.mark.parametrize("name", REAL)
def test_real_files(corpora: Path, name: str) -> None:
    kind, subject, sender, submitted, recipients, attachments = REAL[name]
    with (corpora / "msg" / name).open("rb") as file:
        item = open_msg(file)
        properties = item.properties
        assert properties.get(CLASS) == kind
        assert properties.get(SUBJECT) == subject
        assert (properties.get(SENDER) or "") == sender
        at = properties.get(SUBMITTED)
        assert (at.isoformat() if isinstance(at, datetime) else None) == submitted
        assert [address(one) for one in item.recipients] == recipients
        found = []
        for one in item.attachments:
            inner = one.item()
            content = b"".join(one.pieces())
            assert (inner is None) == bool(content)
            digest = hashlib.sha256(content).hexdigest()
            found.append((inner.properties.get(SUBJECT), "") if inner else (one.properties.get(0x3707), digest))
        assert found == attachments
        assert not properties.damaged


def test_there_are_no_other_real_files(corpora: Path) -> None:
    assert {path.name for path in (corpora / "msg").iterdir()} == set(REAL)


def test_an_embedded_item_has_its_own_recipients_and_text(corpora: Path) -> None:
    with (corpora / "msg" / "tika--testMSG_att_msg.msg").open("rb") as file:
        inner = open_msg(file).attachments[0].item()
        assert inner is not None
        assert inner.properties.get(BODY) == "Blah blah blah\r\n\r\n"
        assert [address(one) for one in inner.recipients] == ["nick.booth@pof.com.au"]


def test_named_properties_of_a_real_task(corpora: Path) -> None:
    with (corpora / "msg" / f"{ASPOSE}MapiTask.msg").open("rb") as file:
        properties = open_msg(file).properties
        assert properties.named(TASK, 0x8104) == datetime(2018, 6, 1, 21, 30, tzinfo=UTC)  # PidLidTaskStartDate
        assert properties.named(TASK, 0x8105) == datetime(2018, 6, 4, 21, 30, tzinfo=UTC)  # PidLidTaskDueDate
        assert properties.named(TASK, 0x9999) is None


def test_values_of_every_type() -> None:
    at = datetime(2024, 2, 29, 12, 30, 15, 250_000, tzinfo=UTC)
    number = UUID("6a1f2c3d-0000-4000-8000-00000000000f")
    values = {
        0x60010002: -2, 0x60020003: -70_000, 0x60040005: 2.5, 0x6007000B: True, 0x6008000B: False,
        0x60090014: -(2**40), 0x600A001F: "Grüße 😀", 0x600B001E: "Grüße", 0x600C0040: at, 0x600D0102: b"\0\1\2",
        0x600F101F: ("eins", "", "drei"), 0x60101102: (b"a", b"\0" * 9), 0x60111003: (1, -2, 3), 0x6012101E: ("ä", "b"),
        0x60130102: b"", 0x60141040: (at, at),
    }  # fmt: skip
    properties = made(Item({CLASS << 16 | 0x1F: "IPM.Note", 0x600E0048: number, **values})).properties
    assert {tag: properties.get(tag >> 16) for tag in values} == values
    assert properties.get(0x600E) == number.bytes_le
    assert properties.get(0x7777) is None
    assert not properties.damaged


def test_a_time_that_stands_for_none() -> None:
    never = datetime(4501, 1, 1, tzinfo=UTC)
    properties = made(Item({0x60010040: never, 0x60020040: b"\0" * 8, 0x60030040: b"\xff" * 8})).properties
    assert [properties.get(id) for id in (0x6001, 0x6002, 0x6003)] == [None, None, None]
    assert not properties.damaged


def test_named_properties_by_number_and_by_name() -> None:
    item = made(
        Item(
            {(TASK, 0x8105, 0x3): 5, (STRINGS, "Keywords", 0x101F): ("red", "blue"), (OWN, "Eigenes Feld", 0x1F): "x"},
            attachments=[Attached({(OWN, 7, 0x1F): "of the attachment"})],
        )
    )
    assert item.properties.named(TASK, 0x8105) == 5
    assert item.properties.named(STRINGS, "keywords") == ("red", "blue")
    assert item.properties.named(OWN, "Eigenes Feld") == "x"
    assert item.properties.named(OWN, 0x8105) is None
    assert item.attachments[0].properties.named(OWN, 7) == "of the attachment"


@pytest.mark.parametrize(
    ("properties", "option", "text"),
    [
        ({0x3FFD0003: 1251}, "", "Привет"),
        ({0x3FFD0003: 932}, "", "日本語"),
        ({0x3FDE0003: 50220}, "", "日本語"),  # mail in ISO-2022-JP, strings in Windows' own code page
        ({0x3FDE0003: 28592}, "", "Žluťoučký"),
        ({0x3FF10003: 0x0408}, "", "Καλημέρα"),
        ({0x3FF10003: 0x0404}, "", "中文"),
        ({0x3FFD0003: 65001}, "", "Grüße 😀"),
        ({}, "cp1250", "Žluťoučký"),
        ({0x3FFD0003: 1252}, "cp1251", "Grüße"),  # what the file says goes before what was said for all files
        ({}, "", "Grüße"),
    ],
)
def test_8_bit_text_in_its_code_page(properties: dict[int, int], option: str, text: str) -> None:
    codecs = {"Привет": "cp1251", "日本語": "cp932", "Žluťoučký": "cp1250", "Καλημέρα": "cp1253", "中文": "cp950"}
    encoded = text.encode("utf-8" if "😀" in text else codecs.get(text, "cp1252"))
    file = outlook_files.msg(
        Item({**properties, 0x0037001E: encoded}, [{0x3001001E: encoded}], [Attached({0x3707001E: encoded})])
    )
    item = open_msg(io.BytesIO(file), code_page=option)
    assert item.properties.get(SUBJECT) == text
    assert item.recipients[0].get(NAME) == text
    assert item.attachments[0].properties.get(0x3707) == text


def test_what_is_no_text_of_its_code_page_is_readable_all_the_same() -> None:
    item = made(Item({0x3FFD0003: 932, 0x0037001E: b"before \x81 after", 0x1000001F: b"\x41\x00\x00\xd8\x42"}))
    assert item.properties.get(SUBJECT) == "before \ufffd after"
    assert item.properties.get(BODY) == "A\ufffd"
    assert made(Item({0x3FFD0003: 99_999, 0x0037001E: b"a"})).properties.get(SUBJECT) == "a"


def test_unicode_goes_before_8_bit_text() -> None:
    for tags in ((0x0037001E, 0x0037001F), (0x0037001F, 0x0037001E)):
        item = made(Item({tag: "?" if tag & 1 == 0 else "Ž" for tag in tags}))
        assert item.properties.get(SUBJECT) == "Ž"


def test_many_attachments_and_recipients_keep_their_order() -> None:
    item = made(
        Item(
            {},
            [{0x3001001F: f"person {number}"} for number in range(300)],
            [Attached({0x3707001F: f"{number}.txt", 0x37010102: b"%d" % number}) for number in range(40)],
        )
    )
    assert [one.get(NAME) for one in item.recipients] == [f"person {number}" for number in range(300)]
    assert [b"".join(one.pieces()) for one in item.attachments] == [b"%d" % number for number in range(40)]


def test_a_large_attachment_comes_in_pieces() -> None:
    content = random.Random(1).randbytes(1_000_000)
    attachment = made(Item({}, attachments=[Attached({0x37010102: content})])).attachments[0]
    pieces = list(attachment.pieces())
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 256 * 1024
    assert b"".join(attachment.pieces()) == content


def test_an_ole_object_comes_as_the_file_that_it_was() -> None:
    storage = [Node("CONTENTS", b"drawing " * 1_000), Node("\x01CompObj", b"kind"), Node("in", inner=[Node("x", b"y")])]
    attachment = made(Item({}, attachments=[Attached({0x37050003: 6}, storage=storage)])).attachments[0]
    assert attachment.item() is None
    root = open_compound(io.BytesIO(b"".join(attachment.pieces())))
    assert {one.name: one.read() for one in root.streams()} == {"CONTENTS": b"drawing " * 1_000, "\x01CompObj": b"kind"}
    inner = root.storage("in")
    assert inner is not None
    assert [one.read() for one in inner.streams()] == [b"y"]


def test_items_in_items_are_opened_to_a_depth_and_not_beyond() -> None:
    deep = Item({0x0037001F: "deepest"})
    for level in range(DEEPEST, -1, -1):
        deep = Item({0x0037001F: f"level {level}"}, attachments=[Attached({0x37050003: 5}, deep)])
    item = made(deep)
    for level in range(DEEPEST):
        assert item.properties.get(SUBJECT) == f"level {level}"
        inner = item.attachments[0].item()
        assert inner is not None
        item = inner
    with pytest.raises(ItemError, match="deeply"):
        item.attachments[0].item()


def test_other_compound_files_say_what_they_are_not() -> None:
    with pytest.raises(ItemError, match="no Outlook item"):
        open_msg(io.BytesIO(outlook_files.compound([Node("WordDocument", bytes(5000))])))
    with pytest.raises(ItemError, match="no compound file"):
        open_msg(io.BytesIO(b"From: anna@example.com\r\n\r\n" * 100))


def test_a_lost_value_is_noted_and_the_rest_is_there() -> None:
    item = Item({0x0037001F: "subject", 0x1000001F: "body" * 2_000, 0x3FDE0003: 65001})
    file = bytearray(outlook_files.msg(item))
    (directory,) = struct.unpack_from("<I", file, 48)
    at = file.index("__substg1.0_1000001F".encode("utf-16-le"), (directory + 1) * 512)
    struct.pack_into("<I", file, at + 116, 0x00FFFFFF)  # where the stream begins
    properties = open_msg(io.BytesIO(file)).properties
    assert properties.get(BODY) is None
    assert properties.get(SUBJECT) == "subject"
    assert properties.get(BODY) is None
    assert list(properties.damaged) == ["property 0x1000 cannot be read"]

    file = bytearray(outlook_files.msg(item))
    at = file.index("__substg1.0_1000001F".encode("utf-16-le"))
    file[at : at + 40] = "__substg1.0_1000XXXX".encode("utf-16-le")
    properties = open_msg(io.BytesIO(file)).properties
    assert properties.get(BODY) is None
    assert list(properties.damaged) == ["property 0x1000 is missing from the file"]


def test_an_attachment_that_is_cut_off_says_so_and_others_are_there() -> None:
    item = Item({}, attachments=[Attached({0x37010102: b"a" * 9_000}), Attached({0x37010102: b"b" * 9_000})])
    file = bytearray(outlook_files.msg(item))
    (table,) = struct.unpack_from("<I", file, 76)
    struct.pack_into("<I", file, (table + 1) * 512 + 4 * 3, 0x00FFFFFF)  # what comes after its fourth sector
    first, second = open_msg(io.BytesIO(file)).attachments
    with pytest.raises(ItemError, match="cut off"):
        list(first.pieces())
    assert b"".join(second.pieces()) == b"b" * 9_000
