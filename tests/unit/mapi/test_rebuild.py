"""What comes out of Outlook's items: messages that mail programs, the archive and signatures' verifiers understand."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.mail import journal, message, mime
from appliance.mail.facts import Mailbox
from appliance.mapi import bodies, rebuild, tags
from appliance.mapi.entity import CHUNK
from tests.unit.mapi.items import MOMENT, Book, File, Made, by_value, exchange, person, raw, sent

HEADER = (
    "Microsoft Mail Internet Headers Version 2.0\r\n"
    "Received: from a.example ([192.0.2.1])\r\n\tby b.example;  Fri, 3 May 2024 11:30:17 +0200\r\n"
    "DKIM-Signature: v=1; a=rsa-sha256;\r\n\tb=abc\r\n def\r\n"
    'MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary="old"\r\n'
    "From: =?iso-8859-1?Q?Anna_B=E4r?= <anna@example.com>\r\n"
    "To: Ben <ben@example.org>\r\n"
    "Subject: The offer\r\nDate: Fri, 3 May 2024 11:30:15 +0200\r\nMessage-ID: <1@example.com>\r\nX-Empty:\r\n"
    "\r\n--old\r\nContent-Type: text/plain\r\n\r\n"
)


def test_a_sent_item_becomes_the_mail_that_was_sent() -> None:
    item = Made(
        sent(
            IMPORTANCE=2,
            SENSITIVITY=2,
            KEYWORDS=("Größe", "offers"),
            IN_REPLY_TO_ID="<0@example.org>",
            INTERNET_REFERENCES="<a@example.org>\r\n <0@example.org>",
            CONVERSATION_TOPIC="The offer",
            CONVERSATION_INDEX=b"\x01\xda" + bytes(20),
        ),
        [
            person("ben@example.org", "Ben"),
            person("carla@example.org", 'Ümit; "Carla"', 2),
            person("d@example.org", kind=3),
        ],
    )
    facts = message.read(raw(item))
    assert facts.from_ == (Mailbox("Anna Bauer", "anna@example.com"),)
    assert facts.sender == ()
    assert facts.to == (Mailbox("Ben", "ben@example.org"),)
    assert facts.cc[0].address == "carla@example.org" and facts.cc[0].name.startswith("Ümit; ")
    assert facts.bcc == (Mailbox("", "d@example.org"),)
    assert (facts.subject, facts.message_id, facts.date) == ("The offer", "1@example.com", int(MOMENT.timestamp()))
    assert facts.references == ("a@example.org", "0@example.org")
    assert facts.text == "Dear Ben,\n\nhere it is." and facts.defects == ()
    fields = dict(message.all_headers(raw(item)))
    assert (fields["Importance"], fields["Sensitivity"], fields["Keywords"]) == ("high", "Private", "Größe, offers")
    assert fields["Thread-Index"] == base64.b64encode(b"\x01\xda" + bytes(20)).decode()


def test_other_programs_read_the_same() -> None:
    item = Made(
        sent(
            SUBJECT="Ein sehr langes Angebot über Größen " * 8,
            BODY="Grüße\n" * 40,
            HTML=b"<p>Gr\xfc\xdfe</p>",
            INTERNET_CODEPAGE=1252,
        ),
        [person(f"person{n}@example.org", f"Name, {n} Ö") for n in range(30)],
        [by_value("Übersicht über alle Angebote und Größen der letzten Jahre.pdf", b"%PDF" * 999)],
    )
    written = raw(item)
    read = email.message_from_bytes(written, policy=email.policy.default)
    assert read["subject"].split() == (("Ein sehr langes Angebot über Größen " * 8).split())
    assert [one.addr_spec for one in read["to"].addresses] == [f"person{n}@example.org" for n in range(30)]
    assert read["to"].addresses[3].display_name == "Name, 3 Ö"
    assert read.get_body(("plain",)).get_content().split() == ["Grüße"] * 40
    assert read.get_body(("html",)).get_content().strip() == "<p>Grüße</p>"
    (attached,) = read.iter_attachments()
    assert attached.get_filename() == "Übersicht über alle Angebote und Größen der letzten Jahre.pdf"
    assert (attached.get_content_type(), attached.get_content()) == ("application/pdf", b"%PDF" * 999)
    assert not [part.defects for part in read.walk() if part.defects]
    assert all(len(line) <= 998 for line in written.split(b"\r\n"))
    assert b"\n" not in written.replace(b"\r\n", b"")


def test_the_transport_header_stays_as_it_was_but_for_the_structure() -> None:
    item = Made(sent(TRANSPORT_MESSAGE_HEADERS=HEADER, CONVERSATION_TOPIC="made up", HTML="<p>x</p>"))
    written = raw(item)
    head = written[: written.index(b"\r\n\r\n")]
    assert b"Received: from a.example ([192.0.2.1])\r\n\tby b.example;  Fri, 3 May 2024 11:30:17 +0200\r\n" in head
    assert b"DKIM-Signature: v=1; a=rsa-sha256;\r\n\tb=abc\r\n def\r\n" in head
    assert b"From: =?iso-8859-1?Q?Anna_B=E4r?= <anna@example.com>\r\n" in head
    assert b"X-Empty:" in head
    assert b'"old"' not in written and b"Thread-Topic" not in head
    names = [name.lower() for name, _ in message.all_headers(written)]
    assert len(names) == len(set(names))
    assert message.read(written).to == (Mailbox("Ben", "ben@example.org"),)


def test_what_the_transport_header_lacks_comes_from_properties() -> None:
    bare = "Received: by b.example\r\nSubject:\r\nX-Mine: yes\r\n"
    item = Made(
        sent(TRANSPORT_MESSAGE_HEADERS=bare), [person("ben@example.org"), person("boss@example.com", "Boss", kind=3)]
    )
    facts = message.read(raw(item))
    assert (facts.subject, facts.message_id) == ("The offer", "1@example.com")
    assert facts.from_[0].address == "anna@example.com" and facts.to[0].address == "ben@example.org"
    assert facts.bcc == (Mailbox("Boss", "boss@example.com"),)
    assert b"X-Mine: yes\r\n" in raw(item)


def test_a_renamed_mail_keeps_the_header_that_it_came_with() -> None:
    item = Made(sent(TRANSPORT_MESSAGE_HEADERS=HEADER, SUBJECT="Project Falcon, paid"))
    assert message.read(raw(item)).subject == "The offer"


def test_another_messages_header_is_kept_apart() -> None:
    item = Made(sent(TRANSPORT_MESSAGE_HEADERS=HEADER, SUBJECT="Lunch?", INTERNET_MESSAGE_ID="<2@example.com>"))
    rebuilt = rebuild.message(item)
    facts = message.read(b"".join(rebuilt.pieces))
    assert (facts.subject, facts.message_id) == ("Lunch?", "2@example.com")
    (kept,) = facts.attachments
    assert kept.name == "transport-headers.txt" and kept.digest == hashlib.sha256(HEADER.encode()).digest()
    assert any("another message" in warning for warning in rebuilt.warnings)


def test_without_message_ids_subject_and_sender_say_whose_header_it_is() -> None:
    header = "From: somebody@else.example\r\nSubject: Cheap watches\r\n"
    properties = sent(TRANSPORT_MESSAGE_HEADERS=header, SENT_REPRESENTING_SMTP_ADDRESS="anna@example.com")
    assert message.read(raw(Made(properties))).from_[0].address == "anna@example.com"
    delegated = {**properties, tags.SUBJECT: "AW: cheap watches"}
    assert message.read(raw(Made(delegated))).from_[0].address == "somebody@else.example"


def test_a_header_with_broken_lines_is_kept_whole() -> None:
    header = "\r\nX-Long: begins\r\nand goes on without a blank\r\n  and with\r\nX-Next: yes\r\n\r\nX-Not: this\r\n"
    fields = dict(message.all_headers(raw(Made(sent(TRANSPORT_MESSAGE_HEADERS=header)))))
    assert fields["X-Long"] == "begins and goes on without a blank and with"
    assert fields["X-Next"] == "yes" and "X-Not" not in fields


def test_a_text_that_is_too_long_is_cut_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LONGEST", 1024 * 1024)
    rebuilt = rebuild.message(Made(sent(BODY="x" * 100 + "\n" * (1024 * 1024) + "the end")))
    assert b"the end" not in b"".join(rebuilt.pieces)
    assert rebuilt.warnings == ("Its text is longer than 1 MiB: what follows is left out.",)


def test_8_bit_text_in_a_header_is_made_valid() -> None:
    header = "From: Jürgen <j@example.com>\r\nTo: Bär <b@example.com>\r\nSubject: Größe\r\nX-Note: naïve\r\n"
    written = raw(Made(sent(TRANSPORT_MESSAGE_HEADERS=header, SUBJECT="Größe")))
    assert written[: written.index(b"\r\n\r\n")].isascii()
    facts = message.read(written)
    assert (facts.from_, facts.subject) == ((Mailbox("Jürgen", "j@example.com"),), "Größe")


def test_nothing_is_made_up() -> None:
    names = {name for name, _ in message.all_headers(raw(Made({tags.BODY: "just text"})))}
    assert names == {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}


def test_the_same_item_gives_the_same_bytes() -> None:
    item = Made(sent(HTML=b"<p>x</p>"), [person("b@example.org")], [by_value("a.bin", bytes(range(256)) * 9000)])
    assert raw(item) == raw(item)


ANNA = "/o=Firm/ou=First/cn=Recipients/cn=anna"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (exchange("Anna", ANNA, SMTP_ADDRESS="anna@firm.example"), "anna@firm.example"),
        (exchange("Anna", ANNA), "anna@book.example"),
        (exchange("anna@shown.example", "/cn=nobody"), "anna@shown.example"),
        (exchange("Anna", "/cn=nobody"), "IMCEAEX-_cn=nobody@exchange.invalid"),
        ({tags.DISPLAY_NAME: "Änna B", tags.RECIPIENT_TYPE: 1}, "IMCEAINVALID-+C3+84nna+20B@exchange.invalid"),
        (person("SMTP:anna@x.example"), "anna@x.example"),
    ],
)
def test_who_is_known_to_exchange_gets_an_address(row: dict[int, object], expected: str) -> None:
    facts = message.read(raw(Made(sent(), [row]), Book({ANNA: "anna@book.example"})))
    assert [one.address for one in facts.to] == [expected.lower()]


def test_a_one_off_entry_names_its_address() -> None:
    uid = bytes.fromhex("812b1fa4bea310199d6e00dd010f5402")
    entry = bytes(4) + uid + b"\0\0\x01\x90" + "Carla\0SMTP\0carla@example.org\0".encode("utf-16-le")
    row = {tags.DISPLAY_NAME: "Carla", tags.ENTRY_ID: entry, tags.RECIPIENT_TYPE: 2}
    assert message.read(raw(Made(sent(), [row]))).cc == (Mailbox("Carla", "carla@example.org"),)


def test_replies_go_where_the_sender_wanted_them() -> None:
    uid = bytes.fromhex("812b1fa4bea310199d6e00dd010f5402")
    entry = bytes(4) + uid + b"\0\0\x01\x90" + "Desk\0SMTP\0desk@example.org\0".encode("utf-16-le")
    listed = (
        (1).to_bytes(4, "little") + (len(entry) + 4).to_bytes(4, "little") + len(entry).to_bytes(4, "little") + entry
    )
    assert message.read(raw(Made(sent(REPLY_RECIPIENT_ENTRIES=listed)))).reply_to[0].address == "desk@example.org"


def test_somebody_who_sent_for_somebody_else_is_named() -> None:
    facts = message.read(raw(Made(sent(SENDER_NAME="Ben", SENDER_EMAIL_ADDRESS="ben@example.com"))))
    assert (facts.from_[0].address, facts.sender[0].address) == ("anna@example.com", "ben@example.com")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"MESSAGE_FLAGS": 1, "LAST_VERB_EXECUTED": 103}, ("seen", "answered")),
        ({"MESSAGE_FLAGS": 0, "LAST_VERB_EXECUTED": 104, "FLAG_STATUS": 2}, ("forwarded", "flagged")),
        ({"MESSAGE_FLAGS": 9}, ("seen", "draft")),
        ({"MESSAGE_FLAGS": 0, "FLAG_STATUS": 1}, ()),
    ],
)
def test_the_state_it_was_left_in_is_told(values: dict[str, object], expected: tuple[str, ...]) -> None:
    rebuilt = rebuild.message(Made(sent(**values, MESSAGE_DELIVERY_TIME=MOMENT)))
    assert rebuilt.flags == expected
    assert rebuilt.received == int(MOMENT.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("IPM.Note", "mail"), ("IPM.Note.SMIME", "mail"), ("ipm.schedule.meeting.request", "mail"),
        ("REPORT.IPM.Note.NDR", "mail"), ("IPM.TaskRequest.Accept", "mail"), ("IPM.Appointment", "calendar"),
        ("IPM.Appointment.Live Meeting", "calendar"), ("IPM.Contact", "contact"), ("IPM.DistList", "contact"),
        ("IPM.Task", "task"), ("IPM.Activity", "journal"), ("IPM.StickyNote", "note"), ("", "mail"),
        ("IPM.Configuration.Autocomplete", "other"), ("IPM.Firm.Order", "mail"),
    ],
)  # fmt: skip
def test_what_an_item_is(name: str, kind: str) -> None:
    assert rebuild.kind(Made(sent(MESSAGE_CLASS=name))) == kind


def test_images_stand_with_the_html_that_shows_them() -> None:
    item = Made(
        sent(HTML=b'<img src="cid:Logo%40x"><img src=http://example.com/pic.png>'),
        attachments=[
            by_value("logo.png", b"\x89PNG", ATTACH_CONTENT_ID="logo@x"),
            by_value("pic.png", b"\x89PNG2", ATTACH_CONTENT_LOCATION="http://example.com/pic.png"),
            by_value("list.csv", b"a;b"),
        ],
    )
    written = raw(item)
    root = mime.split(written)
    assert [child.content_type for child in root.children] == ["multipart/alternative", "text/csv"]
    related = root.children[0].children[1]
    assert [child.content_type for child in related.children] == ["text/html", "image/png", "image/png"]
    html = message.html(written)
    assert html is not None and {"logo@x", "http://example.com/pic.png"} <= html.parts.keys()
    assert [one.inline for one in message.read(written).attachments] == [True, True, False]


def test_embedded_messages_are_messages() -> None:
    inner = Made(sent(SUBJECT="Inner", INTERNET_MESSAGE_ID="<i@x>"), attachments=[by_value("in.bin", b"\0\1")])
    outer = Made(sent(), attachments=[File({tags.ATTACH_METHOD: 5, tags.DISPLAY_NAME: "Inner"}, embedded=inner)])
    written = raw(outer)
    (attached,) = message.read(written).attachments
    assert attached.content_type == "message/rfc822"
    enclosed = message.part(written, attached.part)[1]
    assert message.read(enclosed).subject == "Inner"
    assert message.read(enclosed).attachments[0].digest == hashlib.sha256(b"\0\1").digest()


def test_an_item_within_itself_ends() -> None:
    loops: list[File] = []
    item = Made(sent(), attachments=loops)  # type: ignore[arg-type]
    loops += [File({tags.ATTACH_METHOD: 5}, embedded=item), File({tags.ATTACH_METHOD: 5}, embedded=item)]
    rebuilt = rebuild.message(item)
    assert sum(map(len, rebuilt.pieces)) < 50_000_000
    assert rebuilt.warnings


def test_an_attached_mail_stays_as_it_was() -> None:
    mail = b"From: x@example.org\nSubject: raw\n\nbody with \xff and a long line " + b"x" * 2000 + b"\n"
    written = raw(Made(sent(), attachments=[by_value("fwd.eml", mail, ATTACH_MIME_TAG="message/rfc822")]))
    (attached,) = message.read(written).attachments
    assert (attached.content_type, message.part(written, attached.part)[1]) == ("message/rfc822", mail)


def test_long_attachments_are_streamed() -> None:
    data = hashlib.sha256(b"x").digest() * (40 * 1024 * 32)
    big = File({tags.ATTACH_METHOD: 1, tags.ATTACH_LONG_FILENAME: "big.bin"}, data, pieces_of=CHUNK)
    pieces = list(rebuild.message(Made(sent(), attachments=[big])).pieces)
    assert max(map(len, pieces)) < 3 * CHUNK
    (attached,) = message.read(b"".join(pieces)).attachments
    assert attached.digest == hashlib.sha256(data).digest()


def test_a_damaged_attachment_is_kept_as_far_as_it_goes() -> None:
    broken = File({tags.ATTACH_METHOD: 1, tags.ATTACH_LONG_FILENAME: "a.zip"}, bytes(5000), breaks_at=3500)
    rebuilt = rebuild.message(Made(sent(), attachments=[broken, by_value("b.txt", b"whole")]))
    first, second = message.read(b"".join(rebuilt.pieces)).attachments
    assert (first.size, second.size) == (3500, 5)
    assert rebuilt.warnings == ("The attachment “a.zip” is kept up to byte 3,500: A block of it is missing.",)


def test_what_is_only_a_link_says_where_to() -> None:
    link = File({tags.ATTACH_METHOD: 2, tags.ATTACH_LONG_FILENAME: "a.doc", tags.ATTACH_LONG_PATHNAME: r"\\srv\a.doc"})
    written = raw(Made(sent(), attachments=[link]))
    assert rb"\\srv\a.doc" in message.part(written, message.read(written).attachments[0].part)[1]


@pytest.mark.parametrize("has_header", [True, False])
def test_a_clear_signed_message_is_what_was_signed(has_header: bool) -> None:
    signature = b"Content-Type: application/pkcs7-signature\r\n\r\nxx\r\n--sig--\r\n"
    body = b"--sig\r\nContent-Type: text/plain\r\n\r\nsigned  \r\n--sig\r\n" + signature
    kind = b'Content-Type: multipart/signed;\r\n\tprotocol="application/pkcs7-signature"; boundary="sig"\r\n'
    header = "Subject: The offer\r\n" + ("" if has_header else kind.decode())
    data = (kind + b"\r\n" if has_header else b"") + body
    item = Made(
        sent(MESSAGE_CLASS="IPM.Note.SMIME.MultipartSigned", TRANSPORT_MESSAGE_HEADERS=header, BODY=""),
        attachments=[by_value("smime.p7m", data, ATTACH_MIME_TAG="multipart/signed")],
    )
    written = raw(item)
    assert written.endswith(b"\r\n\r\n" + body)
    root = mime.split(written)
    assert root.content_type == "multipart/signed"
    assert [child.content_type for child in root.children] == ["text/plain", "application/pkcs7-signature"]
    outer = Made(sent(), attachments=[File({tags.ATTACH_METHOD: 5}, embedded=item)])
    enclosed = raw(outer)
    part = message.leaves(enclosed)[1]
    assert enclosed[part.body : part.end].rstrip() == written.rstrip()


def test_an_encrypted_message_is_its_cms_object() -> None:
    der = bytes.fromhex("3082010006092a864886f70d010703a0") + bytes(300)
    item = Made(sent(MESSAGE_CLASS="IPM.Note.SMIME", BODY=""), attachments=[by_value("smime.p7m", der)])
    written = raw(item)
    root = mime.split(written)
    assert (root.content_type, root.parameters["smime-type"]) == ("application/pkcs7-mime", "enveloped-data")
    assert mime.decoded(written, root) == der


def test_what_was_signed_and_encrypted_still_verifies(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(arguments: str) -> bytes:
        done = subprocess.run(["openssl", *arguments.split()], cwd=tmp_path, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    openssl("req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 -subj /CN=anna@example.com")
    content = "Content-Type: text/plain; charset=utf-8\r\n\r\nGrüße  \r\n-- \r\nAnna\r\n".encode()
    (tmp_path / "content").write_bytes(content)
    signed = re.sub(rb"\r?\n", b"\r\n", openssl("cms -sign -binary -in content -signer cert -inkey key"))
    encrypted = openssl("cms -encrypt -binary -in content -outform DER cert")
    kinds = {"IPM.Note.SMIME.MultipartSigned": signed, "IPM.Note.SMIME": encrypted}
    for name, data in kinds.items():
        item = Made(sent(MESSAGE_CLASS=name, BODY=None), attachments=[by_value("smime.p7m", data)])
        (tmp_path / name).write_bytes(raw(item))
    verified = openssl("cms -verify -noverify -in IPM.Note.SMIME.MultipartSigned")
    assert verified == content
    assert openssl("cms -decrypt -binary -in IPM.Note.SMIME -recip cert -inkey key") == content


def test_a_journal_report_is_read_as_one() -> None:
    people = "To: ben@example.org\r\nBcc: eva@example.org\r\n"
    envelope = "Sender: anna@example.com\r\nSubject: Inner\r\nMessage-Id: <i@x>\r\n" + people
    inner = Made(sent(SUBJECT="Inner", INTERNET_MESSAGE_ID="<i@x>"), [person("ben@example.org")])
    item = Made(
        sent(
            TRANSPORT_MESSAGE_HEADERS="X-MS-Journal-Report:\r\nSubject: Inner\r\nFrom: exchange@example.com\r\n",
            SUBJECT="Inner",
            BODY=envelope,
            HTML=b"<p>Sender</p>",
        ),
        attachments=[File({tags.ATTACH_METHOD: 5}, embedded=inner)],
    )
    written = raw(item)
    reading = journal.read(written)
    assert reading.kind == "journal" and reading.report is not None
    assert [(one.address, one.kind) for one in reading.report.recipients] == [
        ("ben@example.org", "to"),
        ("eva@example.org", "bcc"),
    ]
    assert message.read(journal.original(written, reading)).message_id == "i@x"


def test_a_bounce_says_to_programs_what_failed() -> None:
    row = {**person("gone@example.org"), tags.NDR_STATUS_CODE: 511, tags.SUPPLEMENTARY_INFO: "550 5.1.1 no such user"}
    properties = sent(
        MESSAGE_CLASS="REPORT.IPM.Note.NDR",
        SUBJECT="Undeliverable",
        BODY="",
        RECEIVED_BY_NAME="Anna",
        RECEIVED_BY_SMTP_ADDRESS="anna@example.com",
    )
    written = raw(Made(properties, [row]))
    assert message.read(written).to == (Mailbox("Anna", "anna@example.com"),)
    root = mime.split(written)
    assert (root.content_type, root.parameters["report-type"]) == ("multipart/report", "delivery-status")
    status = mime.decoded(written, root.children[1]).decode()
    assert "Final-Recipient: rfc822; gone@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n" in status
    assert "gone@example.org" in message.read(written).text


def test_rich_text_that_somebody_wrote_is_attached() -> None:
    rich = rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}\b bold\b0\par text}"
    stored = (len(rich) + 12).to_bytes(4, "little") + len(rich).to_bytes(4, "little") + b"MELA" + bytes(4) + rich
    written = raw(Made(sent(BODY=None, RTF_COMPRESSED=stored)))
    facts = message.read(written)
    assert facts.text.split() == ["bold", "text"]
    assert message.part(written, facts.attachments[0].part)[1] == rich


def test_rich_text_that_is_damaged_is_told() -> None:
    rebuilt = rebuild.message(Made(sent(RTF_COMPRESSED=b"\x20\0\0\0\x20\0\0\0junkjunk")))
    assert rebuilt.warnings == ("Its text in rich text format could not be read: it is of no known form.",)
    assert message.read(b"".join(rebuilt.pieces)).text.startswith("Dear Ben")


@pytest.mark.parametrize(
    ("html", "page", "text"),
    [
        (b"<p>\xcf\xf0\xe8\xe2\xe5\xf2</p>", 1251, "Привет"),
        ("<p>日本</p>".encode("iso2022_jp"), 50220, "日本"),
        ("<p>日本</p>".encode("cp932"), 932, "日本"),
        ("<p>Größe</p>".encode(), 1252, "Größe"),
        ("<p>Größe</p>".encode("utf-16"), 1200, "Größe"),
        (b"<p>Gr\xf6\xdfe</p>", 0, "Größe"),
        (b'<meta content="text/html; charset=windows-1251"><p>\xcf\xf0</p>', 0, "Пр"),
        (b"<p>ascii</p>", 1200, "ascii"),
        (b"<p>Gr\xf6\xdfe</p>", 999_999, "Größe"),
    ],
)
def test_html_is_read_in_the_code_page_that_it_is_in(html: bytes, page: int, text: str) -> None:
    assert message.read(raw(Made(sent(BODY=None, HTML=html, INTERNET_CODEPAGE=page)))).text == text


def test_what_could_not_be_read_is_told() -> None:
    assert rebuild.message(Made(sent(), damaged=["the recipients are cut off"])).warnings == (
        "The recipients are cut off.",
    )
