"""TNEF streams: real ones hold what other readers of the format find in them; hostile ones end in a sentence."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.mapi import rebuild
from appliance.mapi.base import ItemError
from appliance.mapi.tnef import DEEPEST, MOST, TnefItem, open_tnef
from tests import outlook_files
from tests.outlook_files import Attached, Item

CLASS, SUBJECT, BODY, HTML, RTF, SENDER, ADDRESS, SUBMITTED = 0x1A, 0x37, 0x1000, 0x1013, 0x1009, 0xC1A, 0xC1F, 0x39
LONG_NAME, SHORT_NAME, DISPLAY_NAME = 0x3707, 0x3704, 0x3001
INTERNET_HEADERS = UUID("00020386-0000-0000-c000-000000000046")
STRINGS = UUID("00020329-0000-0000-c000-000000000046")
TASK = UUID("00062003-0000-0000-c000-000000000046")

Attachments = list[tuple[str, int, str]]
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
AUTHORS = ("AUTHORS", 244, "36c47da7d11846caf0474a4b3df83bb4eba9ea01d2bca500c288fa108e123d28")
REAL: dict[str, tuple[str | None, Attachments]] = {
    "MimeKit--MAPI_ATTACH_DATA_OBJ.tnef": (
        "Bodø-damer på vei!",
        [
            ("VIA_Nytt_1402.doc", 61952, "9955935516d1407e0f833d91242f7416c68a66eae69e73d855ae17724e04fe60"),
            ("VIA_Nytt_1402.pdf", 213685, "968c9c4a8a6a02ff9a6c4e2621d5f5d512593a30d57379f704c4274ead48d72e"),
            ("VIA_Nytt_14021.htm", 68919, "c2ee04f99e59079afa8661913dbd8b9002ea005c7540aaec85a67ed113e9a7b8"),
        ],
    ),
    "MimeKit--MAPI_OBJECT.tnef": (
        "OCTOBER DISCOUNTED PRICE LIST",
        [("Untitled_Attachment", 628224, "f89a1afbdfb2fc38b8888b8e0fd84509a801fa6d5491306f6f8d34a3d62931e3")],
    ),
    "MimeKit--attachments.tnef": (
        None,
        [
            ("zappa_av1.jpg", 2937, "bea844f30e0fcc20fad419a0d11032a6465da93c1da185a1196949955994409a"),
            ("bookmark.htm", 85805, "1e08d6e23c75ff80ac992eebc24c2943c7843b7dfee235966b37de5eb4362599"),
        ],
    ),
    "MimeKit--body.tnef": ("Bill of Rights", []),
    "MimeKit--data-before-name.tnef": (
        None,
        [
            ("AUTOEXEC.BAT", 0, NOTHING),
            ("CONFIG.SYS", 0, NOTHING),
            ("boot.ini", 289, "a815374e31481bbb939d99e73ecfe1de7914363ecd5c670c60a9022474251bce"),
        ],
    ),
    "MimeKit--missing-filenames.tnef": (
        "Y2K problem with Add-DT",
        [
            ("generpts.src", 61210, "69ebd0e9c298f62d1bcced07a66fce16c43f0e6e0228336e1a56d8df8874b3b9"),
            ("TechlibDEC99.doc", 33792, "d1a592c2e3729270860ec3dcac357799e2667fa9859febd1b258c6ca3612f532"),
            ("TechlibDEC99-JAN00.doc", 34304, "360db5c11b1f21c60ffbf7aa040a91f48fdef402663c303cfeddd4ef4a3dc9cd"),
            ("TechlibNOV99.doc", 33792, "b1e6b103cc5a9b759dd0a436d45bba131e69ca06a8b4c99d9beebf76d95cde93"),
        ],
    ),
    "MimeKit--multi-value-attribute.tnef": (
        None,
        [
            (
                "208225__5_seconds__Voice_Mail.mp3",
                10656,
                "cf2e3cd4175a3acd5cd193623cd8f79fda1c22f4823560213e561851c3fdd4e8",
            )
        ],
    ),
    "MimeKit--one-file.tnef": ("one-file", [AUTHORS]),
    "MimeKit--rtf.tnef": ("", []),
    "MimeKit--two-files.tnef": (
        "two files",
        [AUTHORS, ("README", 893, "d0f163180d6ad5d8d3b4e7c6bc0cc948d05888bff0f69dba375b946ea4c6b0fa")],
    ),
    "MimeKit--unicode-mapi-attr-name.tnef": (
        "RE: [ZGLOSZENIE] THU#29044 Aktualizacja numerów w dodatkowych panelach",
        [
            ("spaconsole2.cfg", 8387, "4d9639506fa4bf42ede43ffbaa8ed5a8f8fe2338bc2562f9b9aef7970bc4a25e"),
            ("image001.png", 3815, "037f9d1fa06bccd31878332853814a43e6ed86b3893770b42b057597b49d19c9"),
            ("image002.png", 3573, "ea179fb97a7e850e58b830f51a1fe411d5a4e5ffb1620c895abe9788cfac6f07"),
            ("image003.png", 3792, "20c51557b9c7ec0a5da9ccfd4c2efb0ff7be72d15b05e1ddecc3d1c69fc8eaa9"),
        ],
    ),
    "MimeKit--unicode-mapi-attr.tnef": (
        "example",
        [("example.dat", 1024, "b188960490adc65828dc99f6183137bd9951725ed739982920c9814bc842ccb5")],
    ),
    "tika--testWINMAIL.dat": (
        None,
        [
            ("quick.doc", 19968, "1240639edc264abf046523eed4bd0a154b0c4e487a9ec8b74be9d0c51b7de124"),
            ("quick.html", 428, "5e7daab0b3edcfeec62bbde2371c95fc4fe7099469448abcee94cd49ffba072e"),
            ("quick.pdf", 18638, "263bea348ce44185f191b32efee29be44ef7ef7cc45ed32b9ae6753b1103d7d0"),
            ("quick.txt", 235, "becf39adaa5a3526600ed1d443b5fd382e9879c219a08d183c0660382c59fb56"),
            ("quick.xml", 143, "cc1704ac3bf0c4b83388c4e1912bbca08cc4dadcfc551521112b55794770a20c"),
        ],
    ),
}
"""Subject and attachments of each, as MimeKit's own tests expect them; those of the last as Tika has them as files."""

NO_STREAMS = ("MimeKit--winmail.list", "MimeKit--Untitled_Attachment.1", "MimeKit--Untitled_Attachment.2")


def made(item: Item, **more: object) -> TnefItem:
    return open_tnef(outlook_files.tnef(item, **more))  # type: ignore[arg-type]


def name(attachment: object) -> object:
    get = attachment.properties.get  # type: ignore[attr-defined]
    return get(LONG_NAME) or get(SHORT_NAME) or get(DISPLAY_NAME)


@pytest.mark.parametrize("file", REAL)
def test_real_streams(corpora: Path, file: str) -> None:
    subject, attachments = REAL[file]
    item = open_tnef((corpora / "tnef" / file).read_bytes())
    assert item.properties.get(SUBJECT) == subject
    found = [(name(one), b"".join(one.pieces())) for one in item.attachments]
    assert [(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in found] == attachments
    assert not item.properties.damaged


@pytest.mark.parametrize("file", NO_STREAMS)
def test_what_is_no_stream_says_so(corpora: Path, file: str) -> None:
    with pytest.raises(ItemError, match="no TNEF stream"):
        open_tnef((corpora / "tnef" / file).read_bytes())


def test_there_are_no_other_real_streams(corpora: Path) -> None:
    assert {path.name for path in (corpora / "tnef").iterdir()} == {*REAL, *NO_STREAMS}


def test_who_wrote_and_when(corpora: Path) -> None:
    properties = open_tnef((corpora / "tnef" / "MimeKit--unicode-mapi-attr-name.tnef").read_bytes()).properties
    assert properties.get(SENDER) == "Marcin Jabłonkowski"
    assert properties.get(ADDRESS) == "M.Jablonkowski@promedica24.pl"
    assert properties.get(SUBMITTED) == datetime(2014, 6, 20, 10, 27, 10, tzinfo=UTC)
    assert properties.named(INTERNET_HEADERS, "x-originating-ip") == "[10.34.7.107]"
    html = properties.get(HTML)
    assert isinstance(html, bytes)
    assert len(html) == 6389


def test_recipients_and_body(corpora: Path) -> None:
    item = open_tnef((corpora / "tnef" / "MimeKit--body.tnef").read_bytes())
    assert [one.get(0x39FE) for one in item.recipients] == ["3kuser2@brexchange.dolphinsearch.com"]
    html = item.properties.get(HTML)
    assert isinstance(html, bytes)
    assert hashlib.sha256(html).hexdigest() == "0f4e697985fbcf97c8bd5797c90bd930cb8b7b163cec3f8ad5895e6f04efea3e"


def test_a_message_within_a_stream_within_real_mail(corpora: Path) -> None:
    from appliance.mail import message

    raw = (corpora / "eml" / "Aspose.Email-Python-Dotnet--tnefWithMsgInside.eml").read_bytes()
    item = open_tnef(message.part(raw, 0)[1])
    assert not item.properties.damaged
    inner = item.attachments[0].item()
    assert inner is not None
    assert inner.properties.get(SUBJECT) == "case 2a"
    assert [(name(one), len(b"".join(one.pieces()))) for one in inner.attachments] == [("5e76ryjj.docx", 16012)]


def test_values_of_every_type() -> None:
    at = datetime(2024, 2, 29, 12, 30, 15, 250_000, tzinfo=UTC)
    values = {
        0x60010002: -2, 0x60020003: -70_000, 0x60030004: 0.5, 0x60040005: 2.5, 0x6007000B: True, 0x6008000B: False,
        0x60090014: -(2**40), 0x600A001F: "Grüße 😀", 0x600B001E: "Grüße", 0x600C0040: at, 0x600D0102: b"\0\1\2",
        0x600F101F: ("eins", "", "drei"), 0x60101102: (b"a", b"\0" * 9), 0x60111003: (1, -2, 3), 0x60121002: (1, 2),
        0x60130102: b"",
    }  # fmt: skip
    properties = made(Item(values)).properties
    assert {tag: properties.get(tag >> 16) for tag in values} == values
    assert not properties.damaged


def test_named_properties_by_number_and_by_name() -> None:
    item = made(
        Item(
            {(TASK, 0x8105, 0x3): 5, (STRINGS, "Keywords", 0x101F): ("red", "blue"), 0x0037001F: "after them"},
            attachments=[Attached({(STRINGS, "odd", 0x1F): "of the attachment"})],
        )
    )
    assert item.properties.named(TASK, 0x8105) == 5
    assert item.properties.named(STRINGS, "keywords") == ("red", "blue")
    assert item.properties.get(SUBJECT) == "after them"
    assert item.attachments[0].properties.named(STRINGS, "odd") == "of the attachment"


def test_older_attributes_where_properties_are_missing() -> None:
    older = [
        (0x00078008, b"IPM.Microsoft Mail.Note\0"),
        (0x00018004, "Grüße\0".encode("cp1252")),
        (0x0002800C, b"the body\0"),
        (0x00038005, struct.pack("<7H", 1999, 12, 31, 23, 59, 58, 5)),
        (0x0004800D, struct.pack("<H", 1)),
        (0x00008000, struct.pack("<4H", 4, 32, 5, 21) + b"Anna\0SMTP:anna@example.com\0"),
    ]
    properties = made(Item({}), older=older).properties
    expected = {
        CLASS: "IPM.Note", SUBJECT: "Grüße", BODY: "the body", 0x17: 2, SENDER: "Anna", 0xC1E: "SMTP",
        ADDRESS: "anna@example.com", SUBMITTED: datetime(1999, 12, 31, 23, 59, 58, tzinfo=UTC),
    }  # fmt: skip
    assert {id: properties.get(id) for id in expected} == expected
    newer = made(Item({0x0037001F: "newer"}), older=older).properties
    assert newer.get(SUBJECT) == "newer"
    wrong = made(Item({}), older=[(0x00038005, b"\xff" * 14), (0x00008000, b"\xff" * 9), (0x0004800D, b"")]).properties
    assert [wrong.get(id) for id in (SUBMITTED, 0x17)] == [None, None]


def test_8_bit_text_in_the_streams_code_page() -> None:
    greek = "Καλημέρα"
    item = made(Item({0x0037001E: greek.encode("cp1253")}, [{0x3001001E: greek.encode("cp1253")}]), code_page=1253)
    assert item.properties.get(SUBJECT) == item.recipients[0].get(DISPLAY_NAME) == greek


def test_items_in_items_are_opened_to_a_depth_and_not_beyond() -> None:
    deep = Item({0x0037001F: "deepest"})
    for level in range(DEEPEST, -1, -1):
        deep = Item({0x0037001F: f"level {level}"}, attachments=[Attached({0x37050003: 5}, deep)])
    item = made(deep)
    for level in range(DEEPEST):
        assert item.properties.get(SUBJECT) == f"level {level}"
        inner = item.attachments[0].item()
        assert inner is not None
        assert not b"".join(item.attachments[0].pieces())
        item = inner
    with pytest.raises(ItemError, match="deeply"):
        item.attachments[0].item()


def test_every_cut_leaves_what_came_before() -> None:
    whole = outlook_files.tnef(
        Item(
            {0x0037001F: "subject", 0x1000001F: "body"},
            [{0x3001001F: "Ben"}],
            [Attached({0x3707001F: "a.txt", 0x37010102: b"a" * 50}), Attached({0x37010102: b"b" * 50})],
        )
    )
    whole_ones = 0
    first = 6 + 13  # signature and key, the first attribute without its sum
    for length in range(first):
        with pytest.raises(ItemError):
            open_tnef(whole[:length])
    for length in range(first, len(whole)):
        item = open_tnef(whole[:length])
        contents = [b"".join(one.pieces()) for one in item.attachments]
        assert item.properties.get(SUBJECT) in ("subject", None)
        assert [one.get(DISPLAY_NAME) for one in item.recipients] in (["Ben"], [])
        assert contents in ([], [b""], [b"a" * 50], [b"a" * 50, b""], [b"a" * 50, b"b" * 50])
        whole_ones += not item.properties.damaged
    # A stream may end between two attributes without anybody being able to tell.
    assert whole_ones < 14
    assert not open_tnef(whole).properties.damaged
    assert not open_tnef(whole + b"\r\n").properties.damaged
    assert open_tnef(whole + b"garbage behind it").properties.damaged == ["the end of the TNEF stream is missing"]


def test_a_property_of_an_unknown_type_ends_the_list_but_not_the_item() -> None:
    item = made(Item({0x0037001F: "subject", 0x60000102: b"x"}, attachments=[Attached({0x37010102: b"content"})]))
    whole = outlook_files.tnef(
        Item({0x0037001F: "subject", 0x60000102: b"x"}, attachments=[Attached({0x37010102: b"content"})])
    )
    strange = open_tnef(whole.replace(b"\x02\x01\x00\x60", b"\x99\x09\x00\x60"))
    assert strange.properties.get(SUBJECT) == item.properties.get(SUBJECT) == "subject"
    assert strange.properties.damaged == ["properties in the TNEF stream are cut off"]
    assert b"".join(strange.attachments[0].pieces()) == b"content"


def test_more_properties_than_any_message_has_are_not_looked_at() -> None:
    rows = struct.pack("<I", MOST + 1) + struct.pack("<HHHxx", 0x0002, 0x6000, 1) * (MOST + 1)
    bomb = b"\x78\x9f\x3e\x22\x01\x00" + outlook_files.attribute(1, 0x00069003, rows)
    with pytest.raises(ItemError, match="more properties"):
        open_tnef(bomb).properties.get(SUBJECT)
    many = b"\x78\x9f\x3e\x22\x01\x00" + outlook_files.attribute(1, 0x00069006, b"") * (MOST + 1)
    with pytest.raises(ItemError, match="more properties"):
        open_tnef(many)


_NUMBERS = st.sampled_from(
    [0x8000, 0x8004, 0x8005, 0x8008, 0x800D, 0x800F, 0x8010, 0x9002, 0x9003, 0x9004, 0x9005, 0x9007]
)
_COUNTED = st.builds(lambda count, rest: struct.pack("<I", count) + rest, st.integers(0, 3), st.binary(max_size=60))
_TYPED = st.builds(
    lambda type, id, rest: struct.pack("<IHH", 1, type, id) + rest,
    st.sampled_from([0x2, 0xB, 0xD, 0x1E, 0x1F, 0x40, 0x48, 0x102, 0x1003, 0x101F, 0x1102]),
    st.sampled_from([0x37, 0x1000, 0x3701, 0x3705, 0x8001]),
    st.binary(max_size=60) | _COUNTED,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), _NUMBERS, st.binary(max_size=40) | _COUNTED | _TYPED), max_size=8))
def test_any_stream_gives_an_item_or_a_sentence(attributes: list[tuple[int, int, bytes]]) -> None:
    stream = b"\x78\x9f\x3e\x22\0\0" + b"".join(outlook_files.attribute(*one) for one in attributes)
    try:
        item = open_tnef(stream)
        rebuilt = b"".join(rebuild.message(item).pieces)
    except ItemError as error:
        assert str(error).endswith(".")
        return
    assert len(rebuilt) < 20 * len(stream) + 10_000
