"""What an attachment says is found, whatever it is; what cannot be read says why."""

from __future__ import annotations

import pytest

from appliance.extract import limits, text
from appliance.mail import message
from tests.unit.extract import samples


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.txt", "Grüße".encode(), "Grüße"),
        ("a.csv", "Name;Köln".encode("utf-16"), "Name;Köln"),
        ("a.html", b"<p>in <b>HTML</b><script>no</script>", "in HTML"),
        ("a.html", '<meta charset="windows-1251"><p>Письмо'.encode("cp1251"), "Письмо"),
        ("a.pdf", samples.pdf("portable words"), "portable words"),
        ("no-ending", samples.pdf("portable words"), "portable words"),
        ("a.docx", samples.word("first", "second"), "first\nsecond"),
        ("a.xlsx", samples.spreadsheet(), "Umsatz\n0\nKöln\n4711"),
        ("a.pptx", samples.slides(*(f"slide {number}" for number in range(1, 12))), "slide 9\nslide 10\nslide 11"),
        ("a.odt", samples.open_document("offen"), "offen"),
        ("a.rtf", rb"{\rtf1\ansi rich \b words\b0}", "rich words"),
        ("a.eml", b"Subject: inner\r\nFrom: ben@example.com\r\n\r\nsecret", "inner\nben@example.com\nsecret"),
        (
            "a.zip",
            samples.zipped({"in/plan.txt": "hidden", "b.docx": samples.word("deep")}),
            "in/plan.txt\nhidden\nb.docx\ndeep",
        ),
    ],
)
def test_text_of_common_kinds(name: str, content: bytes, found: str) -> None:
    read, status = text.read(name, "application/octet-stream", "", content)
    assert status == "ok"
    assert found in read


def test_a_mail_in_a_mail_gives_its_own_attachments_too() -> None:
    inner = samples.mail_with("plan.docx", "application/octet-stream", samples.word("the plan"))
    outer = samples.mail_with("inner.eml", "message/rfc822", samples.mail_with("inner.eml", "message/rfc822", inner))
    facts = text.with_attachments(outer, message.read(outer), seconds=10)
    assert "the plan" in facts.attachments[0].text
    assert "plan.docx" in facts.attachments[0].text


def test_one_level_of_archives_is_read() -> None:
    nested = samples.zipped({"inner.zip": samples.zipped({"a.txt": "too deep"}), "b.txt": "read"})
    read, _ = text.read("a.zip", "", "", nested)
    assert "read" in read
    assert "too deep" not in read


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("a.txt", b" \r\n", "empty"),
        ("a.jpg", b"\xff\xd8\xff", "none"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "none"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        ("a.pdf", b"%PDF-1.4\nbroken", "failed"),
        ("a.docx", samples.word("x")[:-30], "failed"),
        ("a.docx", samples.zipped({"word/document.xml": '<!DOCTYPE a [<!ENTITY e "ha">]><a>&e;</a>'}), "failed"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, content: bytes, status: str) -> None:
    assert text.read(name, "application/octet-stream", "", content) == ("", status)


def test_an_encrypted_archive_says_so() -> None:
    content = bytearray(samples.zipped({"a.txt": "hidden"}))
    content[6] |= 1  # the local header's flags
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    assert text.read("a.zip", "application/zip", "", bytes(content)) == ("", "encrypted")


def test_a_bomb_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.extract.packed.UNPACKED", 1_000_000)
    content = samples.zipped({"word/document.xml": b"<a>" + b" " * 2_000_000 + b"</a>"})
    assert len(content) < 10_000
    assert text.read("a.docx", "", "", content) == ("", "too-large")
    many = samples.zipped({f"{number}": b"" for number in range(limits.MOST_MEMBERS + 1)})
    assert text.read("a.zip", "application/zip", "", many) == ("", "too-large")


def test_text_is_bounded_for_each_attachment_and_for_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    read, _ = text.read("a.txt", "text/plain", "", b"word " * 1_000_000)
    assert len(read) <= limits.ATTACHMENT_TEXT
    monkeypatch.setattr(text, "MESSAGE_TEXT", 10)
    part = "--b\r\nContent-Type: text/plain; name=a.txt\r\n\r\n{}\r\n"
    parts = part.format("x" * 30) + part.format("later")
    raw = f"Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--".encode()
    facts = text.with_attachments(raw, message.read(raw), seconds=10)
    assert [(len(one.text), one.text_status) for one in facts.attachments] == [(10, "ok"), (0, "too-large")]


def test_attachments_that_take_too_long_are_given_up_one_by_one() -> None:
    raw = samples.mail_with("a.txt", "text/plain", b"words")
    facts = text.with_attachments(raw, message.read(raw), seconds=0)
    assert facts.attachments[0].text_status == "failed"
    assert facts.text == "see attachment"
