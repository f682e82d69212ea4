"""Opening a message: its pictures, its parts, its original, and what stays with auditors."""

from __future__ import annotations

import base64

import msgspec
import pytest

from appliance.errors import ForbiddenError, NotFoundError
from appliance.services import auditing, reading
from appliance.services.principal import Principal
from tests.scratch import BOX, ScratchArchive, mail, report

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _caller(box: ScratchArchive, address: str) -> Principal:
    archives = box.view(address).archives or frozenset()
    return Principal(id=next(iter(archives)), roles=frozenset({"user"}), archives=archives)


def _with_picture(content_type: str) -> bytes:
    return (
        b"From: anna@example.com\r\nTo: ben@example.com\r\nSubject: Picture\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/related; boundary="x"\r\n\r\n'
        b'--x\r\nContent-Type: text/html\r\n\r\n<p>Look:</p><img src="cid:logo@here"><script>alert(1)</script>\r\n'
        b"--x\r\nContent-Type: " + content_type.encode() + b"\r\nContent-ID: <logo@here>\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(PNG) + b"\r\n--x--\r\n"
    )


@pytest.mark.parametrize(
    ("content_type", "shown"), [("image/png", True), ("image/svg+xml", False), ("text/html", False)]
)
def test_a_messages_own_pictures_are_in_its_html_and_documents_are_not(
    box: ScratchArchive, content_type: str, shown: bool
) -> None:
    box.receive(_with_picture(content_type))
    box.project()
    html = reading.message_html(box.archive, BOX, id=box.search("picture").hits[0].id, everywhere=True).html
    assert (f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in html) == shown
    assert "alert" not in html and "part-" not in html


def test_an_original_that_tells_of_somebody_hidden_goes_to_those_who_know_and_to_auditors(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "boss"):
        box.user(f"{name}@example.com")
    raw = mail("Sent copy", to="ben@example.com", headers="Bcc: boss@example.com")
    box.receive(raw)
    box.project()
    id = box.search("*").hits[0].id
    for knowing in ("anna@example.com", "boss@example.com"):
        assert b"".join(reading.original(box.archive, _caller(box, knowing), id=id).chunks) == raw
    with pytest.raises(ForbiddenError):
        reading.original(box.archive, _caller(box, "ben@example.com"), id=id)
    assert box.export(id) == raw


def test_of_two_originals_a_caller_sees_the_one_that_is_theirs(box: ScratchArchive) -> None:
    for name in ("ben", "carla"):
        box.user(f"{name}@example.com")
    original = mail("Forked", to="list@vendor.example", sender="x@vendor.example")
    forked = b"X-Fork: 2\r\n" + original
    box.receive(
        report(original, "To: ben@example.com", sender="x@vendor.example"),
        report(forked, "To: carla@example.com", sender="x@vendor.example"),
    )
    box.project()
    id = box.search("forked").hits[0].id
    carla = _caller(box, "carla@example.com")
    assert b"".join(reading.original(box.archive, carla, id=id).chunks) == forked
    assert len(reading.message(box.archive, carla, id=id).copies) == 1
    assert len(reading.message(box.archive, BOX, id=id, everywhere=True).copies) == 2


def test_every_look_is_written_down_before_it_is_answered(box: ScratchArchive) -> None:
    box.receive(_with_picture("image/png"))
    box.project()
    id = box.search("*").hits[0].id
    reading.message(box.archive, BOX, id=id, everywhere=True)
    reading.part(box.archive, BOX, id=id, part=1, everywhere=True)
    box.export(id)
    actions = [line.action for line in auditing.audit(box.archive, BOX, limit=3).lines]
    assert actions == ["message.download", "attachment.open", "message.open"]
    with pytest.raises(NotFoundError):
        reading.part(box.archive, BOX, id=id, part=7, everywhere=True)


def test_ids_that_are_none_are_answered_in_words(box: ScratchArchive) -> None:
    for id in ("", "x", "0" * 32, "zz" * 16, "../../etc/passwd"):
        with pytest.raises(NotFoundError):
            reading.message(box.archive, BOX, id=id, everywhere=True)


def test_a_message_with_half_a_character_is_opened_over_the_socket(box: ScratchArchive) -> None:
    box.receive(
        b"From: a@b.example\r\nTo: =?utf-7?Q?+2AA-?= <x@y.example>\r\nSubject: =?utf-7?Q?+2AA- odd?=\r\n"
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-hello\r\n"
    )
    box.project()
    view = reading.message(box.archive, BOX, id=box.search("odd").hits[0].id, everywhere=True)
    assert "hello" in msgspec.msgpack.decode(msgspec.msgpack.encode(view))["text"]


def test_a_recipient_may_download_mail_that_a_list_or_an_alias_delivered(box: ScratchArchive) -> None:
    box.user("ben@example.com")
    headers = "Delivered-To: big-list@lists.example\nDelivered-To: ben@example.com\nReceived: for <ben@example.com>"
    raw = mail("Over a list", to="big-list@lists.example", headers=headers, sender="x@y.example")
    box.receive(report(raw, "To: ben@example.com", sender="x@y.example"))
    box.project()
    id = box.search("*").hits[0].id
    assert b"".join(reading.original(box.archive, _caller(box, "ben@example.com"), id=id).chunks) == raw
