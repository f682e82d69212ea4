"""Mail whose attachments lie in a winmail.dat: found, shown and handed out like any other, the original as it came."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from appliance.errors import NotFoundError
from appliance.services import auditing, reading
from tests import outlook_files
from tests.outlook_files import BODY, CONTENT_ID, DATA, HTML, LONG_NAME, MIME_TYPE, Attached, Item
from tests.scratch import BOX, ScratchArchive
from tests.unit.extract import samples

PICTURE = b"\x89PNG picture"
PLAN = samples.word("Werkzeugliste")
STREAM = outlook_files.tnef(
    Item(
        {BODY: "Anbei der Plan", HTML: b'<p>Anbei der <b>Plan</b><img src="cid:logo@here"><script>alert(1)</script>'},
        attachments=[
            Attached({LONG_NAME: "Plan.docx", DATA: PLAN}),
            Attached({LONG_NAME: "l.png", MIME_TYPE: "image/png", CONTENT_ID: "logo@here", DATA: PICTURE}),
        ],
    )
)
RAW = (
    b"From: anna@example.com\r\nTo: ben@example.com\r\nSubject: Besprechung\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\r\n"
    b"--b\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(STREAM)
    + b"--b--\r\n"
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchArchive]:
    """An archive with that message."""
    box = ScratchArchive(tmp_path_factory.mktemp("winmail"))
    box.receive(RAW)
    box.project()
    yield box
    box.close()


@pytest.fixture
def message(box: ScratchArchive) -> str:
    """The message's id."""
    return box.search("besprechung").hits[0].id


def test_what_is_within_is_found(box: ScratchArchive, message: str) -> None:
    for query in ("anbei", "filename:plan", "attachment:werkzeugliste", "filename:winmail", "has:attachment"):
        assert [one.id for one in box.search(query).hits] == [message], query


def test_what_is_within_is_shown_and_handed_out(box: ScratchArchive, message: str) -> None:
    view = reading.message(box.archive, BOX, id=message, everywhere=True)
    assert view.text == "Anbei der Plan"
    assert view.has_html
    listed = [one for one in view.attachments if not one.inline]
    assert [(one.name, one.size, one.within) for one in listed] == [("Plan.docx", len(PLAN), 1)]
    taken = reading.part(box.archive, BOX, id=message, part=listed[0].part, everywhere=True)
    assert (taken.head.name, taken.head.size) == ("Plan.docx", len(PLAN))
    assert b"".join(taken.chunks) == PLAN
    line = auditing.audit(box.archive, BOX, limit=1).lines[0]
    assert (line.action, line.what) == ("attachment.open", f"{message} {listed[0].part} Plan.docx")

    html = reading.message_html(box.archive, BOX, id=message, everywhere=True).html
    assert f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}" in html
    assert "<b>Plan</b>" in html
    assert "alert" not in html and "part-" not in html


def test_the_part_itself_and_the_original_are_as_they_came(box: ScratchArchive, message: str) -> None:
    assert b"".join(reading.part(box.archive, BOX, id=message, part=1, everywhere=True).chunks) == STREAM
    assert box.export(message) == RAW
    with pytest.raises(NotFoundError):
        reading.part(box.archive, BOX, id=message, part=99, everywhere=True)
