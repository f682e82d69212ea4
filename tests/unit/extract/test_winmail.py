"""Mail with a winmail.dat: what is in it is read, searched and taken out as if it had been attached; nothing else is
different from what it was."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.extract import text, winmail
from appliance.extract.pool import ExtractPool
from appliance.mail import message
from appliance.mail.facts import MessageFacts
from tests import outlook_files
from tests.outlook_files import BODY, CONTENT_ID, DATA, HTML, LONG_NAME, METHOD, MIME_TYPE, SUBJECT, Attached, Item
from tests.unit.extract import samples

PICTURE = b"\x89PNG picture"
PAGE = b'<html><body><p>formatted <img src="cid:logo@here"></p></body></html>'


@pytest.fixture(scope="module")
def pool() -> Iterator[ExtractPool]:
    with ExtractPool(workers=2) as running:
        yield running


def mail(*parts: tuple[str, bytes], own: str = "") -> bytes:
    """A message with parts of these types, under names that say nothing."""
    head = "From: anna@example.com\r\nSubject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    written = f"--b\r\nContent-Type: text/plain\r\n\r\n{own}\r\n" if own else ""
    for number, (kind, content) in enumerate(parts):
        encoded = base64.encodebytes(content).decode()
        written += (
            f"--b\r\nContent-Type: {kind}; name=part{number}\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}"
        )
    return f"{head}{written}--b--\r\n".encode()


def described(raw: bytes) -> MessageFacts:
    facts, inner = winmail.opened(raw, message.read(raw))
    return text.with_attachments(raw, facts, 20, inner)


def test_attachments_within_are_attachments_of_the_message() -> None:
    stream = outlook_files.tnef(
        Item(
            {SUBJECT: "inner", BODY: "the text"},
            attachments=[
                Attached({LONG_NAME: "plan.docx", DATA: samples.word("words in the plan")}),
                Attached({LONG_NAME: "Übersicht.pdf", DATA: samples.pdf("words in the overview")}),
            ],
        )
    )
    raw = mail(
        ("application/pdf", b"%PDF-broken"), ("application/ms-tnef", stream), ("text/csv", b"a;b"), own="the text"
    )
    facts = described(raw)
    assert facts.subject == "outer"
    assert facts.text == "the text"
    assert [(one.part, one.name, one.within, one.inline, one.text) for one in facts.attachments] == [
        (1, "part0", None, False, ""),
        (2, "part1", None, True, ""),
        (3, "part2", None, False, "a;b"),
        (5, "plan.docx", 2, False, "words in the plan"),
        (6, "Übersicht.pdf", 2, False, "words in the overview"),
    ]
    pdf = samples.pdf("words in the overview")
    assert (facts.attachments[-1].size, facts.attachments[-1].digest) == (len(pdf), hashlib.sha256(pdf).digest())
    assert facts.identity == message.read(raw).identity
    taken = winmail.contents(raw, [6, 5, 77, 1])
    assert [(one.about.part, one.about.name, one.about.within) for one in taken] == [
        (5, "plan.docx", 2),
        (6, "Übersicht.pdf", 2),
    ]
    assert [one.content for one in taken] == [samples.word("words in the plan"), pdf]


def test_two_parts_are_counted_one_after_the_other() -> None:
    first = outlook_files.tnef(Item({BODY: "first"}, attachments=[Attached({LONG_NAME: "a.txt", DATA: b"a"})]))
    second = outlook_files.tnef(Item({BODY: "second"}, attachments=[Attached({LONG_NAME: "b.txt", DATA: b"b"})]))
    raw = mail(("application/octet-stream", first), ("application/vnd.ms-tnef", second))
    facts = described(raw)
    assert [(one.name, one.text, one.within) for one in facts.attachments if one.within is not None] == [
        ("a.txt", "a", 0),
        ("b.txt", "b", 1),
    ]
    for one in facts.attachments[2:]:
        assert [taken.content.decode() for taken in winmail.contents(raw, [one.part])] == [one.text]
    assert facts.text == "first"
    assert facts.attachments[1].text == "second"  # which is found by a search, too


@pytest.mark.parametrize(
    ("own", "shown", "found"),
    [
        ("", "the text\nwithin", ""),
        ("the  text \r\nwithin\r\n-- \r\nfooter", "the  text \r\nwithin\r\n-- \r\nfooter", ""),
        ("Checked for viruses.", "Checked for viruses.", "the text\nwithin"),
    ],
)
def test_the_text_within_is_shown_where_there_is_no_other_and_found_in_any_case(
    own: str, shown: str, found: str
) -> None:
    raw = mail(("application/ms-tnef", outlook_files.tnef(Item({BODY: "the text\r\nwithin"}))), own=own)
    facts = described(raw)
    assert facts.text.split() == shown.split()
    assert [one.text for one in facts.attachments] == [found]


def test_html_within_is_shown_with_its_pictures() -> None:
    stream = outlook_files.tnef(
        Item(
            {HTML: PAGE},
            attachments=[
                Attached({LONG_NAME: "a.txt", DATA: b"a"}),
                Attached({LONG_NAME: "l.png", MIME_TYPE: "image/png", CONTENT_ID: "logo@here", DATA: PICTURE}),
            ],
        )
    )
    raw = mail(("application/ms-tnef", stream))
    assert described(raw).has_html
    html = winmail.html(raw)
    assert html is not None
    assert "formatted" in html.text
    (taken,) = winmail.contents(raw, [html.parts["logo@here"]])
    assert (taken.content, taken.about.content_type, taken.about.inline) == (PICTURE, "image/png", True)

    own = raw.replace(b"--b\r\n", b"--b\r\nContent-Type: text/html\r\n\r\n<p>own\r\n--b\r\n", 1)
    shown = winmail.html(own)
    assert shown is not None
    assert shown.text.strip() == "<p>own"


def test_a_message_attached_within_is_an_attachment_that_is_searched() -> None:
    inner = Item(
        {SUBJECT: "forwarded", BODY: "words of before"}, attachments=[Attached({LONG_NAME: "x.txt", DATA: b"y"})]
    )
    raw = mail(("application/ms-tnef", outlook_files.tnef(Item({BODY: "see below"}, attachments=[
        Attached({METHOD: 5, LONG_NAME: "forwarded"}, inner)
    ]))))  # fmt: skip
    one = described(raw).attachments[1]
    assert one.content_type == "message/rfc822"
    for word in ("forwarded", "words of before", "x.txt", "y"):
        assert word in one.text


def test_winmail_within_a_message_within_a_message_is_searched() -> None:
    raw = mail(("application/ms-tnef", outlook_files.tnef(Item({BODY: "far inside"}))))
    outer = samples.mail_with("inner.eml", "message/rfc822", samples.mail_with("inner.eml", "message/rfc822", raw))
    assert "far inside" in described(outer).attachments[0].text


@pytest.mark.parametrize("name", ["inner.msg", "inner.oft", "no ending"])
def test_an_attached_msg_is_searched_as_the_mail_that_it_is(name: str) -> None:
    inner = outlook_files.msg(
        Item(
            {SUBJECT: "Angebot 4711", BODY: "mit Rabatt", 0x0C1F001F: "anna@example.org"},
            [{0x0C150003: 1, 0x3001001F: "Ben", 0x39FE001F: "ben@example.org"}],
            [Attached({LONG_NAME: "Preise.docx", DATA: samples.word("sieben Euro")})],
        )
    )
    (one,) = described(samples.mail_with(name, "application/octet-stream", inner)).attachments
    assert one.text_status == "ok"
    for word in ("Angebot 4711", "mit Rabatt", "anna@example.org", "ben@example.org", "Preise.docx", "sieben Euro"):
        assert word in one.text
    # The original is what it was.
    assert one.digest == hashlib.sha256(inner).digest()


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("winmail.dat", b"Untitled Attachment", "none"),
        ("winmail.dat", b"\x78\x9f\x3e\x22", "failed"),
        ("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "none"),
        ("a.msg", b"From: x\r\n\r\n", "none"),
        ("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "__properties_version1.0".encode("utf-16-le"), "failed"),
    ],
)
def test_what_cannot_be_opened_stays_an_attachment(name: str, content: bytes, status: str) -> None:
    raw = samples.mail_with(name, "application/ms-tnef" if name == "winmail.dat" else "", content)
    facts = described(raw)
    (one,) = facts.attachments
    assert (one.name, one.text, one.text_status, one.within, one.inline) == (name, "", status, None, False)
    assert facts.text == "see attachment"


def test_a_part_of_which_only_some_could_be_read_is_listed_beside_that() -> None:
    item = Item({BODY: "words"}, attachments=[Attached({LONG_NAME: "a.txt", DATA: b"a"}), Attached({DATA: b"lost"})])
    raw = mail(("application/ms-tnef", outlook_files.tnef(item)[:-20]))
    facts = described(raw)
    assert facts.text == "words"
    assert [(one.name, one.inline) for one in facts.attachments][:2] == [("part0", False), ("a.txt", False)]


def test_other_mail_is_not_touched(corpora: Path) -> None:
    opened = 0
    for path in sorted((corpora / "eml").iterdir()):
        raw = path.read_bytes()
        facts = message.read(raw)
        found, inner = winmail.opened(raw, facts)
        opened += bool(inner)
        if not inner:
            assert found is facts
        assert found.identity == facts.identity
    assert opened == 1


def test_every_real_stream_is_opened_in_a_child(pool: ExtractPool, corpora: Path) -> None:
    for path in sorted((corpora / "tnef").iterdir()):
        content = path.read_bytes()
        raw = samples.mail_with("winmail.dat", "application/ms-tnef", content, text="own words")
        facts = pool.describe(raw).result(timeout=60).facts
        listed = pool.describe(raw, attachments=False).result(timeout=60).facts
        within = [one for one in facts.attachments if one.within == 1]
        assert bool(within) == content.startswith(b"\x78\x9f\x3e\x22") or path.name == "MimeKit--body.tnef"
        assert [(one.part, one.digest) for one in listed.attachments] == [
            (one.part, one.digest) for one in facts.attachments
        ]
        taken = pool.contents(raw, [one.part for one in within]).result(timeout=60)
        assert [hashlib.sha256(one.content).digest() for one in taken] == [one.digest for one in within]
        assert (facts.attachments[0].part, facts.attachments[0].size) == (1, len(content))


def test_real_mail_that_is_nothing_but_tnef(pool: ExtractPool, corpora: Path) -> None:
    raw = (corpora / "eml" / "Aspose.Email-Python-Dotnet--tnefWithMsgInside.eml").read_bytes()
    facts = pool.describe(raw).result(timeout=60).facts
    assert facts.has_html
    assert facts.text
    (inner,) = [one for one in facts.attachments if one.within == 0]
    assert inner.content_type == "message/rfc822"
    assert "case 2a" in inner.text
    assert "5e76ryjj.docx" in inner.text
    shown = pool.sanitise(raw, cid_base="/part/").result(timeout=60)
    assert "<p" in shown.html


def test_looking_at_a_message_says_nothing_of_text_that_was_not_read(pool: ExtractPool) -> None:
    raw = samples.mail_with("plan.pdf", "application/pdf", samples.pdf("the plan"))
    (one,) = pool.describe(raw, attachments=False).result(timeout=60).facts.attachments
    assert (one.text, one.text_status) == ("", "none")
