"""Facts of real and of hostile mail."""

from __future__ import annotations

import base64
import email
import hashlib
import quopri
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from appliance.errors import NotFoundError
from appliance.mail import message, mime


def mail(*lines: str, body: str = "Hello") -> bytes:
    return "\r\n".join([*lines, "", body]).encode()


def test_every_real_message_gives_facts(corpora: Path) -> None:
    files = sorted((corpora / "eml").iterdir())
    assert len(files) > 300
    for file in files:
        raw = file.read_bytes()
        facts = message.read(raw)
        assert facts.size == len(raw), file.name
        assert len(facts.identity) == 32, file.name
        assert message.html(raw) is not None or not facts.has_html, file.name
        for attachment in facts.attachments:
            described, content = message.part(raw, attachment.part)
            assert described == attachment, file.name
            assert hashlib.sha256(content).digest() == attachment.digest, file.name


# What the standard library reads otherwise, and why ours is meant.
_READ_OTHERWISE = {
    "0a349a-mail-parser--012.eml": "its boundary is found, though not written as declared",
    "713f77-mail-parser--017.eml": "no semicolon before the boundary parameter",
    "mail-parser--017.eml": "uuencode is left as it is",
    "mail-parser--026.eml": "uuencode is left as it is",
    "spamassassin--mime4": "base64 that ends within a group",
    "8012e2-mail-parser--003.eml": "a comment after quoted-printable",
}


def test_parts_and_contents_are_those_the_standard_library_finds(corpora: Path) -> None:
    compared = 0
    for file in sorted((corpora / "eml").iterdir()):
        raw = file.read_bytes()
        theirs = list(_leaves(email.message_from_bytes(raw)))
        ours = list(mime.leaves(mime.split(raw)))
        if file.name in _READ_OTHERWISE:
            continue
        if any(part.get_content_maintype() == "multipart" for part in theirs):
            # A multipart without parts: ours is shown as text, with a defect that says why.
            assert any(part.defects for part in ours), file.name
            continue
        for their, our in zip(theirs, ours, strict=True):
            assert our.content_type == their.get_content_type(), file.name
            if not their.is_multipart():
                content = their.get_payload(decode=True)
                assert isinstance(content, bytes)
                assert _lines(mime.decoded(raw, our)) == _lines(content), file.name
                compared += 1
    assert compared > 400


def _leaves(part: Message) -> Iterator[Message]:
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        for child in part.get_payload():
            assert isinstance(child, Message)
            yield from _leaves(child)
    else:
        yield part


def _lines(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").rstrip()


def test_headers_in_every_encoding_people_use() -> None:
    facts = message.read(
        b"Subject: =?utf-8?Q?Gr=C3=BC=C3?= =?utf-8?Q?=9Fe?=\r\n =?iso-8859-1?Q?_aus_K=F6ln?= und \xc3\xa4\r\n"
        b"From: =?unknown-charset?B?w7w=?= <a@x.org>\r\nDate: Fri, 20 Nov 2026 08:15:03 +0100\r\n"
        b"Message-ID: <1@x.org>\r\nReferences: <a@b><c@d> <e@f>\r\nIn-Reply-To: <e@f>\r\n\r\nbody"
    )
    assert facts.subject == "Grüße aus Köln und ä"
    assert facts.from_[0].name == "ü"
    assert facts.date == 1795158903
    assert facts.references == ("a@b", "c@d", "e@f")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("Thu, 1 Jan 1970 00:00:00 +0000", 0),
        ("Wed, 31 Dec 1969 23:59:59 +0000", -1),
        ("Tue, 19 Jan 2038 03:14:08 GMT", 2147483648),
        ("20 Nov 26 08:15 -0500", 1795180500),
        ("2026-11-20T08:15:00Z", 1795162500),
        ("the other day", None),
        ("Fri, 99 Foo 99999 99:99:99 +9999", None),
        ("", None),
    ],
)
def test_dates(written: str, seconds: int | None) -> None:
    assert message.read(mail(f"Date: {written}")).date == seconds


def test_the_plain_alternative_is_the_text_and_html_only_where_it_says_nothing() -> None:
    def alternative(plain: str) -> bytes:
        return mail(
            'Content-Type: multipart/alternative; boundary="b"',
            body=f"--b\r\n\r\n{plain}\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>in <b>HTML</b></p>\r\n--b--\r\n",
        )

    both = message.read(alternative("in words"))
    assert both.text == "in words"
    assert both.has_html
    assert both.attachments == ()
    assert message.read(alternative("  \r\n")).text == "in HTML"


def test_attachment_names_in_every_form() -> None:
    names = [
        ("filename*=utf-8''%D0%9F%D0%B8%D1%81%D1%8C%D0%BC%D0%BE%20%E2%84%96.pdf", "Письмо №.pdf"),
        ("filename*0*=utf-8''a%20; filename*1=\"b.pdf\"", "a b.pdf"),
        ('filename="=?utf-8?B?w7wucGRm?="', "ü.pdf"),
        ('filename="../../etc/passwd"', "passwd"),
        ("filename=two words.pdf", "two words.pdf"),
        (f'filename="{"x" * 400}.pdf"', "x" * 230 + ".pdf"),
    ]
    for written, meant in names:
        raw = mail("Content-Type: application/pdf", f"Content-Disposition: attachment; {written}")
        assert message.read(raw).attachments[0].name == meant


def test_a_message_in_a_message_is_one_attachment_named_by_its_subject() -> None:
    raw = mail("Content-Type: message/rfc822", body="Subject: inner\r\n\r\nsecret")
    (attachment,) = message.read(raw).attachments
    assert (attachment.name, attachment.content_type) == ("inner.eml", "message/rfc822")
    assert message.part(raw, 0)[1] == b"Subject: inner\r\n\r\nsecret"


def test_a_part_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        message.part(mail("Subject: x"), 1)


def test_html_knows_the_parts_it_refers_to() -> None:
    raw = mail(
        'Content-Type: multipart/related; boundary="b"',
        body="--b\r\nContent-Type: text/html\r\n\r\n<img src=cid:logo@x>\r\n"
        "--b\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\n\r\nPNG\r\n--b--\r\n",
    )
    found = message.html(raw)
    assert found is not None
    assert found.parts == {"logo@x": 1}
    assert message.html(mail("Subject: x")) is None


# -- what hurts the users of other archives ---------------------------------------------------------------------


def test_endless_message_id_and_references_without_blanks() -> None:
    ids = "".join(f"<{number}@x.org>" for number in range(2_000))
    facts = message.read(mail(f"Message-ID: <{'m' * 20_000}@x.org>", f"References: {ids}"))
    assert facts.message_id == "m" * 998
    assert facts.references[-1] == "1999@x.org"
    assert len(facts.references) == 100


def test_no_id_no_subject_no_header_at_all() -> None:
    for raw in (b"", b"\r\n", b"just words", b"\0\0\0", b"\r\n\r\n\r\n", b"From nobody\n"):
        facts = message.read(raw)
        assert facts.message_id == ""
        assert facts.size == len(raw)
    assert message.read(b"just words").text == "just words"


def test_a_line_of_eight_megabytes_and_nul_bytes() -> None:
    raw = b"Subject: a\0b\r\n\r\n" + b"x" * 8_000_000 + b"\0end"
    facts = message.read(raw)
    assert facts.subject == "a b"
    assert len(facts.text) == message.LONGEST_TEXT
    assert "\0" not in facts.text


def test_ten_thousand_recipients() -> None:
    field = ",\r\n ".join(f"p{number}@example.com" for number in range(10_000))
    assert len(message.read(mail(f"To: {field}")).to) == 10_000


def test_a_thousand_levels_and_a_hundred_thousand_parts() -> None:
    nested = "".join(f'Content-Type: multipart/mixed; boundary="{n}"\r\n\r\n--{n}\r\n' for n in range(1_000))
    assert "nested too deep" in message.read(nested.encode()).defects
    many = mail('Content-Type: multipart/mixed; boundary="b"', body="--b\r\n\r\nx\r\n" * 100_000)
    assert message.read(many).text.startswith("x\nx")


def test_a_boundary_that_begins_like_another() -> None:
    raw = mail(
        'Content-Type: multipart/mixed; boundary="b"',
        body="--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
        "--bb\r\n\r\none\r\n--bb\r\n\r\ntwo\r\n--bb--\r\n"
        "--b\r\n\r\nthree\r\n--b--\r\n",
    )
    assert message.read(raw).text == "one\ntwo\nthree"


# -- identity ---------------------------------------------------------------------------------------------------

_TEXT = "Grüße aus Köln,\r\nund ein ungewöhnlich langer Satz, der in jeder Übertragung anders umbrochen wird.\r\n"


def _form(received: str, boundary: str, encoding: str, text: str = _TEXT, charset: str = "utf-8") -> bytes:
    encode = {
        "base64": base64.encodebytes,
        "quoted-printable": lambda data: quopri.encodestring(data.replace(b"\r\n", b"\n")),
        "8bit": bytes,
    }[encoding]
    content = encode(text.encode(charset)).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    head = (
        f"Received: {received}\r\nX-MS-Exchange-Organization: {received}\r\nMessage-ID: <1@x.org>\r\n"
        f"From: =?utf-8?Q?J=C3=BCrgen?= <j@x.org>\r\nTo: a@x.org,\r\n b@x.org\r\nSubject: Gruss\r\n aus Koeln\r\n"
        f"Date: Fri, 20 Nov 2026 08:15:03 +0100\r\nContent-Type: multipart/mixed; boundary={boundary}\r\n\r\n"
        f"--{boundary}\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    tail = f"\r\n--{boundary}\r\nContent-Type: image/png\r\n\r\nPNG\r\n--{boundary}--\r\n"
    return head.encode() + content + tail.encode()


def test_one_message_on_two_ways_has_one_identity() -> None:
    first = message.read(_form("by a", "one", "8bit")).identity
    assert first == message.read(_form("by b", "two", "base64")).identity
    assert first == message.read(_form("by c", "three", "quoted-printable")).identity
    assert first == message.read(_form("by d", "four", "8bit", charset="iso-8859-1")).identity
    assert first == message.read(_form("by e", "five", "8bit", _TEXT.replace("\r\n", "  \r\n"))).identity


def test_a_draft_and_the_sent_mail_differ() -> None:
    draft = message.read(_form("by a", "one", "8bit", "Dear"))
    sent = message.read(_form("by a", "one", "8bit", "Dear all"))
    assert draft.message_id == sent.message_id
    assert draft.identity != sent.identity


def test_the_same_mail_with_another_attachment_differs() -> None:
    raw = _form("by a", "one", "8bit")
    assert message.read(raw).identity != message.read(raw.replace(b"PNG", b"GIF")).identity
