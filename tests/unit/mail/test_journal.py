"""Journal reports of every kind: who the envelope names, and the original to the byte."""

from __future__ import annotations

import base64
import hashlib
import json
import quopri
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.mail import journal, message
from appliance.mail.facts import JournalRecipient, MessageFacts, Provenance, Reading

ORIGINAL = b"Message-ID: <1@x.org>\r\nSubject: the mail\r\nFrom: anna@x.org\r\n\r\nfirst line\nbare\r\n\0\xff\r\n"
ENVELOPE = (
    "Sender: anna@x.org\r\nSubject: the mail\r\nMessage-Id: <1@x.org>\r\n"
    "To: Ben@X.org\r\nBcc: carla@x.org\r\nCc: dmitri@x.org, Expanded: all-staff@x.org\r\n"
    "Recipient: elif@x.org, Forwarded: farid@x.org\r\n"
)
RECIPIENTS = (
    JournalRecipient("ben@x.org", "to"),
    JournalRecipient("carla@x.org", "bcc"),
    JournalRecipient("dmitri@x.org", "cc", expanded="all-staff@x.org"),
    JournalRecipient("elif@x.org", "recipient", forwarded="farid@x.org"),
)


def report(
    envelope: str = ENVELOPE,
    original: bytes = ORIGINAL,
    *,
    mark: str = "X-MS-Journal-Report:",
    encoding: str = "7bit",
    more: bytes = b"",
    end: bytes = b"\r\n--b--\r\n",
) -> bytes:
    text = envelope.encode()
    if encoding == "base64":
        text = base64.encodebytes(text)
    elif encoding == "quoted-printable":
        text = quopri.encodestring(text.replace(b"\r\n", b"\n"))
    head = (
        f"From: <MicrosoftExchange@x.org>\r\nMessage-ID: <r@journal.report.generator>\r\n{mark}\r\n"
        'Content-Type: multipart/mixed;\r\n boundary="b"\r\n\r\n'
        f'--b\r\nContent-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    )
    enclosed = b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + original
    return head.encode() + text + enclosed + more + end


def returned(content: bytes, content_type: str = "message/rfc822", encoding: str = "7bit") -> bytes:
    """A non-delivery report with ``content`` in it."""
    head = (
        "From: postmaster@x.org\r\nTo: undelivered@x.org\r\nSubject: Undeliverable\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="n"\r\n\r\n'
        "--n\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--n\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed"
        f"\r\n--n\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n--n--\r\n"


def owners(raw: bytes, provenance: Provenance | None = None) -> tuple[str, ...]:
    reading = journal.read(raw)
    facts = message.read(journal.original(raw, reading))
    return journal.owners_addresses(reading, facts, provenance or Provenance())


@pytest.mark.parametrize("source", ["eml", "list-mail-15k.tar.xz"])
def test_generated_reports_are_read_exactly(corpora: Path, tools: Path, tmp_path: Path, source: str) -> None:
    command = [
        sys.executable,
        str(tools / "journalgen.py"),
        str(corpora / source),
        str(tmp_path),
        "--count",
        "2000",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    truths = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert len(truths) > 250
    for truth in truths:
        raw = (tmp_path / truth["file"]).read_bytes()
        reading = journal.read(raw)
        assert reading.kind == "journal", truth["file"]
        assert reading.report is not None
        assert hashlib.sha256(journal.original(raw, reading)).hexdigest() == truth["original_sha256"], truth["file"]
        assert [(one.address, one.kind, one.expanded, one.forwarded) for one in reading.report.recipients] == [
            (one["address"], one["kind"], one["expanded_from"] or "", one["forwarded_from"] or "")
            for one in truth["recipients"]
        ]
        assert reading.report.sender == truth["sender"]
        assert reading.report.on_behalf_of == (truth["on_behalf_of"] or "")
        assert reading.report.subject == truth["subject"]


@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable"])
@pytest.mark.parametrize(
    "mark",
    ["X-MS-Journal-Report:", "X-MS-Journal-Report: ", "x-ms-journal-report:", "X-WM-Journal-Report: journal"],
)
def test_every_server_s_report(encoding: str, mark: str) -> None:
    raw = report(mark=mark, encoding=encoding)
    reading = journal.read(raw)
    assert reading.report is not None
    assert reading.report.recipients == RECIPIENTS
    assert reading.report.message_id == "1@x.org"
    assert journal.original(raw, reading) == ORIGINAL


def test_any_order_any_case_and_unknown_fields() -> None:
    raw = report(
        "BCC: carla@x.org\r\nX-Future: what\r\nMESSAGE-ID: <1@x.org>\r\nLabel: Confidential\r\nsubject: a: b\r\n"
        "Mailbox: box@x.org\r\nSentUtc: 11/20/2026 08:15:02 AM\r\nto: Ben <ben@x.org>\r\n"
        "On-Behalf-Of: gina@x.org\r\nSENDER: anna@x.org\r\n"
    )
    found = journal.read(raw).report
    assert found is not None
    assert (found.sender, found.on_behalf_of, found.subject) == ("anna@x.org", "gina@x.org", "a: b")
    assert (found.label, found.mailbox, found.sent) == ("Confidential", "box@x.org", "11/20/2026 08:15:02 AM")
    assert [one.address for one in found.recipients] == ["carla@x.org", "ben@x.org"]


def test_owners_of_a_report_are_those_its_envelope_names_but_not_the_group() -> None:
    assert owners(report()) == (
        "anna@x.org", "ben@x.org", "carla@x.org", "dmitri@x.org", "elif@x.org", "farid@x.org",
    )  # fmt: skip


def test_the_decrypted_copy_is_found_beside_the_original() -> None:
    clear = b"Subject: the mail\r\n\r\nin clear"
    raw = report(more=b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + clear)
    reading = journal.read(raw)
    assert journal.original(raw, reading) == ORIGINAL
    assert [raw[start:end] for start, end in reading.extra] == [clear]


@pytest.mark.parametrize("content_type", ["message/rfc822", 'application/octet-stream; name="report.eml"'])
@pytest.mark.parametrize("encoding", ["7bit", "base64"])
def test_a_report_that_came_back_undelivered_is_unwrapped(content_type: str, encoding: str) -> None:
    content = report() if encoding == "7bit" else base64.encodebytes(report())
    raw = returned(content, content_type, encoding)
    reading = journal.read(raw)
    assert reading.kind == "journal"
    assert journal.original(raw, reading) == ORIGINAL
    assert owners(raw) == owners(report())


def test_a_report_that_came_back_without_its_message_is_flagged() -> None:
    raw = returned(b"X-MS-Journal-Report:\r\nSubject: the mail\r\n", "text/rfc822-headers")
    reading = journal.read(raw)
    assert reading.kind == "unparsed"
    assert "header alone" in reading.reason


def test_mail_dressed_up_as_an_undelivered_report_is_not_taken_from_its_recipient() -> None:
    raw = returned(report())
    assert "undelivered@x.org" in owners(raw, Provenance(mail_from="mallory@evil.example"))
    assert "undelivered@x.org" not in owners(raw, Provenance(mail_from=""))


def test_an_exchange_2003_report_is_kept_whole_and_its_people_tried() -> None:
    raw = (
        b"Content-Identifer: ExJournalReport\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        b'Sender: "Anna" <anna@x.org>\r\nMessage-ID: <1@x.org>\r\n'
        b'Recipients:\r\n"Ben" <ben@x.org>\r\ncarla@x.org\r\n'
        b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n"
    )
    reading = journal.read(raw)
    assert reading.kind == "unparsed"
    assert journal.original(raw, reading) == raw
    assert owners(raw)[:3] == ("anna@x.org", "ben@x.org", "carla@x.org")


@pytest.mark.parametrize(
    "raw",
    [
        b"X-MS-Journal-Report:\r\n\r\nSender: anna@x.org\r\n",
        b"X-MS-Journal-Report:\r\nContent-Type: multipart/mixed\r\n\r\n",
        b"X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n",
        b"X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSender: a@x.org\r\n--b--",
        report("nothing of use\r\n"),
    ],
)
def test_what_only_claims_to_be_a_report_is_flagged_and_kept_whole(raw: bytes) -> None:
    reading = journal.read(raw)
    assert reading.kind == "unparsed"
    assert reading.reason
    assert journal.original(raw, reading) == raw


def test_a_report_inside_a_mail_is_just_an_attachment() -> None:
    forged = b"From: mallory@evil.example\r\nTo: ben@x.org\r\nContent-Type: message/rfc822\r\n\r\n" + report()
    assert journal.read(forged).kind == "plain"
    assert "carla@x.org" not in owners(forged)
    inner = (
        b"X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
        b"--i\r\n\r\nSender: m@evil\r\nTo: m@evil\r\n--i--"
    )
    raw = report(original=inner)
    assert journal.original(raw, journal.read(raw)) == inner
    assert owners(raw) == owners(report())


@pytest.mark.parametrize(
    "inside",
    [
        b"\r\n--b--\r\nmore of the mail",
        b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nTo: mallory@evil.example\r\n",
        b"\r\n--b--\r\n--b\r\n\r\nx",
    ],
)
def test_boundary_lines_inside_the_message_do_not_cut_it_short(inside: bytes) -> None:
    raw = report(original=ORIGINAL + inside)
    reading = journal.read(raw)
    assert journal.original(raw, reading) == ORIGINAL + inside
    assert owners(raw) == owners(report())


def test_a_report_that_was_cut_off_gives_what_is_there() -> None:
    raw = report(end=b"")
    assert journal.original(raw, journal.read(raw)) == ORIGINAL


def test_a_hundred_thousand_recipients_are_bounded() -> None:
    lines = "".join(f"To: p{number}@x.org\r\n" for number in range(100_000))
    found = journal.read(report("Sender: anna@x.org\r\n" + lines)).report
    assert found is not None
    assert len(found.recipients) == journal.MOST_RECIPIENTS


def test_owners_of_a_plain_copy_are_everyone_it_names() -> None:
    raw = (
        b"From: a@x.org\r\nSender: b@x.org\r\nTo: c@x.org\r\nCc: D@x.org\r\nBcc: e@x.org\r\n"
        b"Reply-To: no@x.org\r\n"
        b"Delivered-To: f@x.org\r\nX-Original-To: g@x.org\r\nX-Envelope-To: h@x.org\r\nX-Gm-Original-To: i@x.org\r\n"
        b"Resent-To: j@x.org\r\nResent-From: k@x.org\r\n\r\ntext"
    )
    found = owners(raw, Provenance(mail_from="bounce@x.org", rcpt_to=("archive@x.org",)))
    assert found[:2] == ("bounce@x.org", "archive@x.org")
    assert set(found[2:]) == {f"{letter}@x.org" for letter in "abcdefghijk"}


def test_a_plain_copy_without_any_address_has_no_owner() -> None:
    assert journal.owners_addresses(Reading("plain"), MessageFacts(), Provenance()) == ()


@pytest.mark.parametrize("source", ["sync", "import"])
def test_whom_fetched_mail_names_does_not_own_it(source: str) -> None:
    raw = b"From: a@x.org\r\nTo: b@x.org\r\nDelivered-To: c@x.org\r\n\r\ntext\r\n"
    reading, facts = journal.read(raw), message.read(raw)
    assert journal.owners_addresses(reading, facts, Provenance()) == ("a@x.org", "b@x.org", "c@x.org")
    assert journal.owners_addresses(reading, facts, Provenance(source=source)) == ()
