"""What becomes one message and what stays two; what a header cannot do; what comes back out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.services import reading, users
from tests.scratch import BOX, ScratchArchive, mail, report


def test_forked_reports_of_one_message_are_one_message_with_all_their_people(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "carla"):
        box.user(f"{name}@example.com")
    original = mail("Fork")
    box.receive(report(original, "To: ben@example.com"), report(original, "To: carla@example.com"))
    box.project()
    assert box.total("*") == 1
    for name in ("anna", "ben", "carla"):
        assert box.total("fork", f"{name}@example.com") == 1
    assert box.total("participant:carla@example.com AND participant:ben@example.com") == 1


def test_a_copy_with_other_trace_headers_and_encoding_is_the_same_message_but_keeps_its_own_bytes(
    box: ScratchArchive,
) -> None:
    box.user("anna@example.com")
    box.user("ben@example.com")
    plain = (
        b"Received: from a\r\nFrom: anna@example.com\r\nTo: ben@example.com\r\nMessage-ID: <1@example.com>\r\n"
        b"Date: Fri, 20 Nov 2026 08:15:03 +0000\r\nSubject: Umlaut\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    )
    recoded = plain.replace(b"Received: from a", b"Received: from b\r\nX-MS-Exchange-Whatever: 1").replace(
        b"8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe", b"quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe"
    )
    first, second = box.receive(report(plain, "To: ben@example.com"), report(recoded, "To: ben@example.com", sender=""))
    box.project()
    assert box.total("*") == 1
    assert box.total("*", "ben@example.com") == 1
    hit = box.search("*").hits[0].id
    assert box.export(hit) == plain
    catalogue = box.archive.catalogue
    assert catalogue.message_of_record(first) == catalogue.message_of_record(second)


def test_a_draft_and_the_sent_mail_with_one_message_id_are_two(box: ScratchArchive) -> None:
    box.receive(
        mail("Offer", "first thoughts", message_id="same@example.com"),
        mail("Offer", "the real offer", message_id="same@example.com"),
    )
    box.project()
    assert box.total("subject:offer") == 2


def test_one_content_in_two_peoples_mail_is_in_both_archives(box: ScratchArchive) -> None:
    box.user("anna@example.com")
    box.user("ben@example.com")
    box.receive(mail(to="ben@example.com"), mail(to="ben@example.com"))
    box.project()
    assert box.total("*", "anna@example.com") == box.total("*", "ben@example.com") == box.total("*") == 1


HORRORS = {
    "a 20 KB Message-ID": mail("horror", message_id="x" * 20_000 + "@example.com"),
    "References without spaces": mail("horror", headers="References: " + "".join(f"<{n}@x>" for n in range(400))),
    "no Message-ID and no Subject": b"From: anna@example.com\r\n\r\nhorror\r\n",
    "the year 1970": mail("horror", date="Thu, 1 Jan 1970 00:00:00 +0000"),
    "the year 2038": mail("horror", date="Tue, 19 Jan 2038 03:14:08 +0000"),
    "a date that is none": mail("horror", date="yesterday, perhaps"),
    "10,000 recipients": mail("horror", to=", ".join(f"user{n}@example.com" for n in range(10_000))),
    "a NUL": mail("horror", "before\0after"),
    "one long line": mail("horror", "x" * 200_000),
    "an empty message": b"",
    "only bytes": os.urandom(2000),
    "a broken boundary": mail("horror boundary", headers='Content-Type: multipart/mixed; boundary="nowhere"'),
    "bare line feeds": mail("horror feeds").replace(b"\r\n", b"\n"),
    "a subject of surrogates": mail("horror", headers="X-A: b").replace(b"horror", b"\xed\xa0\x80 horror"),
}


@pytest.fixture(scope="module")
def horrors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScratchArchive, dict[str, bytes]]]:
    """An archive with all of them, and the record of each."""
    box = ScratchArchive(tmp_path_factory.mktemp("horrors"))
    records = dict(zip(HORRORS, box.receive(*HORRORS.values()), strict=True))
    box.project()
    yield box, records
    box.close()


@pytest.mark.parametrize("name", HORRORS)
def test_nothing_in_a_message_stops_it_from_being_kept_and_found(
    horrors: tuple[ScratchArchive, dict[str, bytes]], name: str
) -> None:
    box, records = horrors
    message = box.archive.catalogue.message_of_record(records[name])
    assert message is not None
    assert box.total(f"id:{message}") == 1
    assert box.export(message) == HORRORS[name]
    if b"horror" in HORRORS[name]:
        assert message in {hit.id for hit in box.search("horror").hits}


def test_ten_thousand_recipients_of_a_report_all_own_it(box: ScratchArchive) -> None:
    box.user("user9999@example.com")
    box.receive(report(mail("Everybody"), *(f"To: user{n}@example.com" for n in range(10_000))))
    box.project()
    assert box.total("everybody", "user9999@example.com") == 1


def test_a_report_that_cannot_be_read_is_kept_whole_and_flagged(box: ScratchArchive) -> None:
    raw = b"X-MS-Journal-Report:\r\nFrom: a@b.example\r\nSubject: no parts\r\n\r\nnothing like a report\r\n"
    box.receive(raw)
    box.project()
    page = box.search("is:unparsed")
    assert page.total == 1
    assert page.hits[0].unparsed
    assert box.export(page.hits[0].id) == raw


def test_every_message_of_the_corpus_comes_back_bit_for_bit(box: ScratchArchive, corpora: Path) -> None:
    originals = [file.read_bytes() for file in sorted((corpora / "eml").glob("*.eml"))]
    records = box.receive(*originals)
    box.project()
    counts = box.archive.catalogue.counts()
    assert counts.records == len(originals) >= 300
    assert box.total("*") == counts.messages
    for record, original in zip(records, originals, strict=True):
        found = box.archive.reader.read(*_place(box, record))
        assert found.original == original
    exported = {box.export(hit.id) for hit in box.search("*").hits}
    assert exported <= set(originals)
    assert len(exported) == counts.messages


def _place(box: ScratchArchive, record: bytes) -> tuple[str, int]:
    message = box.archive.catalogue.message_of_record(record)
    assert message is not None
    row = next(one for one in box.archive.catalogue.records_of(record)[1] if one.record_id == record)
    return row.volume, row.offset


def test_a_journaled_original_and_its_report_both_come_back_bit_for_bit(box: ScratchArchive) -> None:
    original = mail("Both", "body\r\n.\r\n..\r\nend")
    envelope = report(original, "To: ben@example.com")
    box.receive(envelope)
    box.project()
    hit = box.search("both").hits[0].id
    assert box.export(hit) == original
    assert box.export(hit, report=True) == envelope


def test_the_decrypted_form_of_a_protected_message_is_searched_and_shown_and_the_protected_one_kept(
    box: ScratchArchive,
) -> None:
    protected = mail("Protected", "This message is protected.", message_id="rms@example.com")
    clear = mail("Protected", "The merger is on Monday.", message_id="rms@example.com")
    both = report(protected, "To: ben@example.com").replace(
        b"\r\n--_journal_--\r\n",
        b"\r\n--_journal_\r\nContent-Type: message/rfc822\r\n\r\n" + clear + b"\r\n--_journal_--\r\n",
    )
    box.user("ben@example.com")
    box.receive(both)
    box.project()
    hit = box.search("merger", "ben@example.com").hits[0].id
    view = reading.message(box.archive, BOX, id=hit, everywhere=True)
    assert "merger is on Monday" in view.text
    assert box.export(hit) == protected
    assert box.export(hit, report=True) == both


def test_late_aliases_are_found_after_the_index_was_long_committed(box: ScratchArchive) -> None:
    anna = box.user("anna@example.com")
    box.receive(*(mail(f"Note {n}", to="old.name@example.com", sender="x@y.example") for n in range(120)))
    box.project()
    assert box.total("*", "anna@example.com") == 0
    users.user_change(box.archive, BOX, id=anna, aliases=["old.name@example.com"])
    box.project()
    assert box.total("*", "anna@example.com") == 120
