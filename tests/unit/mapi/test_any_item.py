"""Whatever is in an item, a message comes out that can be read, and always the same one."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.mail import addresses, headers, message
from appliance.mail.facts import Mailbox
from appliance.mapi import entity, fields, people, rebuild, recurrence, rtf, tags, zones
from appliance.mapi.base import ItemError
from appliance.mapi.tags import Key
from tests.unit.mapi.items import File, Made, by_value, sent

KEYS: list[Key] = [
    value
    for name, value in vars(tags).items()
    if name.isupper() and not name.startswith("PS") and isinstance(value, int | tuple)
] + [(tags.PSETID_ADDRESS, at) for at in (0x8045, 0x8053, 0x8054, 0x8055, 0x8083, 0x8084)]
CLASSES = [
    "IPM.Note", "IPM.Note.SMIME", "IPM.Note.SMIME.MultipartSigned", "IPM.Appointment", "IPM.Contact", "IPM.DistList",
    "IPM.Task", "IPM.Activity", "IPM.StickyNote", "IPM.Schedule.Meeting.Request", "IPM.Schedule.Meeting.Resp.Pos",
    "REPORT.IPM.Note.NDR", "REPORT.IPM.Note.IPNRN", "\u0131\udc80",
]  # fmt: skip
TEXT = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    [
        "a@x.org", "=?utf-8?q?x?=", "--=_", "a\r\nBcc: evil@x.org", "x" * 1200, "<>", '"', "\\", "From: a\n\nb: c",
        "SMTP", "EX", "multipart/mixed", "message/rfc822", "text/plain; charset=", "\x01\x04Re: x",
    ]
)  # fmt: skip
ONE = (
    TEXT
    | st.binary(max_size=80)
    | st.integers(-(2**31), 2**31)
    | st.booleans()
    | st.floats()
    | st.datetimes()
    | st.datetimes(timezones=st.timezones())
    | st.none()
)
VALUE = ONE | st.lists(ONE, max_size=3).map(tuple)
VALUES = st.dictionaries(st.sampled_from(KEYS), VALUE, max_size=25)


def files(items: st.SearchStrategy[Made]) -> st.SearchStrategy[File]:
    return st.builds(
        File,
        VALUES,
        st.binary(max_size=200),
        st.none() | items,
        st.none() | st.integers(0, 50),
        st.integers(1, 100),
    )


def items() -> st.SearchStrategy[Made]:
    def around(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
        people = st.lists(VALUES, max_size=3)
        return st.builds(Made, with_class(VALUES), people, st.lists(files(inner), max_size=3))

    return st.recursive(st.builds(Made, with_class(VALUES)), around, max_leaves=4)


def with_class(values: st.SearchStrategy[dict[Key, object]]) -> st.SearchStrategy[dict[Key, object]]:
    return st.tuples(values, st.sampled_from(CLASSES)).map(lambda both: {tags.MESSAGE_CLASS: both[1], **both[0]})


@given(items())
def test_any_item_gives_a_message(item: Made) -> None:
    try:
        rebuilt = rebuild.message(item)
        written = b"".join(rebuilt.pieces)
    except ItemError:
        return
    facts = message.read(written)
    secured = b"multipart/signed" in written  # its bytes are the sender's, faults included
    assert secured or facts.defects == ()
    head, separator, _ = written.partition(b"\r\n\r\n")
    assert separator and b"\n" not in head.replace(b"\r\n", b"") and b"\0" not in head
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))
    assert written == b"".join(rebuild.message(item).pieces)
    for warning in rebuilt.warnings:
        warning.encode()


@given(st.dictionaries(st.sampled_from([key for key in KEYS if key != tags.TRANSPORT_MESSAGE_HEADERS]), TEXT))
def test_no_text_becomes_a_field_of_its_own(values: dict[Key, object]) -> None:
    written = b"".join(rebuild.message(Made(values)).pieces)
    assert not message.read(written).bcc or tags.DISPLAY_BCC in values


@given(st.text(max_size=400))
@example("=?utf-8?q?literal?=")
@example("ein sehr langer Betreff " * 30)
@example("日本語" * 60)
def test_free_text_comes_back(text: str) -> None:
    written = fields.unstructured("Subject", text)
    assert all(len(line) <= 998 for line in written.split(b"\r\n"))
    name, _, value = written.partition(b":")
    assert name == b"Subject" and written.endswith(b"\r\n")
    bare = "".join(one if one.isprintable() else " " for one in text)
    again = "".join(one if one.isprintable() else " " for one in headers.text(value))
    assert again.split() == bare.split()


NAME = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=120)
LOCAL = st.text("abcdefABC0123456789.!#$%&'*+-/=?^_`{|}~()<>[]:;,üß", min_size=1, max_size=30)


@given(st.lists(st.tuples(NAME, LOCAL), max_size=12))
def test_people_come_back(listed: list[tuple[str, str]]) -> None:
    named = [
        Mailbox(name, f"{local}@example.org") for name, local in listed if fields.is_address(f"{local}@example.org")
    ]
    written = fields.mailboxes("To", named)
    value = written.partition(b":")[2]
    wanted = [addresses.normalise(one.address) for one in named]
    assert [one.address for one in addresses.parse(value)] == wanted


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=200))
@example("a" * 300 + ".pdf")
@example('Größe; "x"\\y.pdf')
@example("=?utf-8?q?x?=.txt")
def test_file_names_come_back(name: str) -> None:
    wanted = " ".join(name.split())
    written = b"".join(rebuild.message(Made(sent(), attachments=[by_value(name, b"x")])).pieces)
    part = message.leaves(written)[1]
    disposition = part.head.first(b"content-disposition")
    assert disposition is not None
    assert headers.parameters(disposition)[1].get("filename", "") == wanted
    if wanted.isprintable() and not set(wanted) & set("=<>"):  # where the standard library reads what is not there
        read = email.message_from_bytes(written, policy=email.policy.default)
        (attached,) = read.iter_attachments()
        assert " ".join((attached.get_filename() or "").split()) == wanted


@given(st.binary(max_size=4000), st.sampled_from([b"--", b"\r\n--=_", b"\r\n--", b""]))
def test_attached_mail_never_ends_its_message(data: bytes, mark: bytes) -> None:
    mail = b"From: a@x.org\r\nSubject: x\r\n\r\n" + mark + data
    item = Made(sent(), attachments=[by_value("a.eml", mail), by_value("b.bin", data)])
    written = b"".join(rebuild.message(item).pieces)
    first, second = message.read(written).attachments
    assert first.digest == hashlib.sha256(mail).digest()
    assert second.digest == hashlib.sha256(data).digest()


RTF = st.lists(
    st.sampled_from(
        [
            b"{", b"}", b"\\", b"\\*", b"\\htmltag64 <p>", b"\\htmlrtf", b"\\htmlrtf0 ", b"\\'e4", b"\\u8364 ?",
            b"\\u-10179 ?\\u-8703 ?", b"\\fonttbl", b"\\f1 ", b"\\fcharset204 ", b"\\ansicpg932", b"\\bin5 ", b"\\uc2",
            b"\\fromhtml1 ", b"text", b"\\par ", b"\xff\0", b"\\ansicpg99999999", b"\\uc99999999",
        ]
    )
    | st.binary(max_size=6)
).map(b"".join)  # fmt: skip


@given(RTF)
def test_any_rich_text_is_read(rich: bytes) -> None:
    rtf.original(b"{\\rtf1" + rich).encode()


@given(st.binary(max_size=400), st.integers(0, 2**32 - 1))
def test_any_compressed_rich_text_is_read_or_refused(data: bytes, size: int) -> None:
    header = (len(data) + 12).to_bytes(4, "little") + size.to_bytes(4, "little") + b"LZFu" + bytes(4)
    for form in (data, header + data):
        try:
            text = rtf.decompressed(form)
            assert len(text) <= 9 * len(form) + 32
            rtf.beginning(form)
        except rtf.RtfError as error:
            assert str(error)


@given(st.binary(max_size=300))
def test_any_recurrence_is_read_or_refused(data: bytes) -> None:
    try:
        recurrence.read(b"\x04\x30\x04\x30" + data)
    except recurrence.PatternError as error:
        assert str(error)


@given(st.binary(max_size=200), st.datetimes())
def test_any_time_zone_is_read_or_left(data: bytes, moment: object) -> None:
    for zone in (zones.from_definition(data), zones.from_struct(data, "x")):
        if zone is not None:
            zone.offset(moment)  # type: ignore[arg-type]
            zone.moment(moment)  # type: ignore[arg-type]


@given(st.binary(max_size=120))
def test_any_entry_identifier_is_read(data: bytes) -> None:
    for provider in ("812b1fa4bea310199d6e00dd010f5402", "dca740c8c042101ab4b908002b2fe182"):
        "".join(people.read_entry(bytes(4) + bytes.fromhex(provider) + data)).encode()


@given(st.lists(st.integers(0, 3 * 57 * 512), max_size=4), st.integers(0, 255))
@example([57 * 512], 1)
@example([57 * 512, 1], 1)
@example([57 * 1024 - 1, 1], 1)
def test_base64_is_what_every_program_writes(sizes: list[int], byte: int) -> None:
    data = [bytes([byte]) * size for size in sizes]
    written = b"".join(entity.base64(data))
    assert written.replace(b"\r\n", b"\n") == base64.encodebytes(b"".join(data)).rstrip(b"\n")
