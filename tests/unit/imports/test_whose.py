"""Whose an imported message is, and when it came, where its file does not say."""

from __future__ import annotations

import pytest

from appliance.imports import whose
from appliance.imports.base import Message, Meta, Options
from appliance.imports.nursery import Nursery
from tests.unit.imports.readings import gone_through

FROM = b"From x@y Mon Jan  1 10:00:00 2024\r\n"
MAIL = (
    b"From: Anna <Anna@Example.org>\r\nTo: ben@example.org, =?utf-8?q?Zo=C3=AB?= <zoe@example.org>\r\n"
    b"Cc: undisclosed:;\r\nBcc: secret@example.org\r\nDate: Mon, 1 Jan 2024 11:00:00 +0100\r\n"
    b"Subject: a\r\n\r\nText\r\n"
)
REPORT = (
    b"From: journal@example.org\r\nTo: archive@example.org\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n"
    b"X-MS-Journal-Report:\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n'
    b"Sender: anna@example.org\r\nSubject: a\r\nMessage-Id: <1@x>\r\nTo: hidden@example.org\r\n\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + MAIL
)


def test_a_mails_header_names_its_people() -> None:
    assert set(whose.addresses_of(MAIL)) == {
        *("anna@example.org", "ben@example.org", "zoe@example.org", "secret@example.org"),
    }


def test_a_journal_reports_envelope_decides_though_only_its_beginning_was_looked_at() -> None:
    for raw in (REPORT + b"\r\n--b--\r\n", REPORT + b"x" * 1000):
        assert set(whose.addresses_of(raw)) == {"anna@example.org", "hidden@example.org"}


def test_addresses_come_through_a_child_and_the_message_stays_what_it_was(nursery: Nursery) -> None:
    large = MAIL + b"y" * 12_000_000 + b"\r\n"
    gone = gone_through(nursery, FROM + MAIL + b"\r\n" + FROM + large, "x.mbox", Options(addresses=True))
    assert [one.raw for one in gone.whole] == [MAIL, large]
    assert all("zoe@example.org" in one.event.meta.addresses for one in gone.whole)
    without = gone_through(nursery, FROM + MAIL, "x.mbox")
    assert without.whole[0].event.meta.addresses == ()


def test_the_headers_date_stands_in_for_the_time_of_receipt(nursery: Nursery) -> None:
    gone = gone_through(nursery, MAIL, "x.eml")
    assert gone.whole[0].event.meta.received == 1_704_103_200_000_000
    kept = whose.completed(Message([MAIL], Meta(received=5)), addresses=False)
    assert kept.meta.received == 5


@pytest.mark.parametrize(
    "date", [b"", b"yesterday", b"Mon, 1 Jan 1900 10:00:00 +0000", b"Mon, 1 Jan 9999 10:00:00 +0000"]
)
def test_a_date_that_cannot_be_true_is_none(date: bytes) -> None:
    assert whose.date_of(b"Subject: x\r\nDate: " + date + b"\r\n\r\nDate: Mon, 1 Jan 2024 11:00:00 +0100\r\n") is None
