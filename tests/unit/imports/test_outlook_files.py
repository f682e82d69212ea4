"""MSG files and winmail.dat as imports read them: every real one gives its message, hostile ones an answer in words."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from appliance.imports import formats
from appliance.imports.base import Entry, FileError, Options
from appliance.imports.reading import Arriving, Nursing, Reading
from appliance.mail import message
from tests import outlook_files
from tests.outlook_files import BODY, CLASS, DATA, LONG_NAME, SUBJECT, Attached, Item, Node
from tests.unit.imports.readings import gone_through, opened

OTHERS = Options(others=True)
NO_MAIL = {
    "Aspose.Email-Python-Dotnet--Contact.msg": ("contact", "It is a contact, and only mail is wanted.", "vcf"),
    "Aspose.Email-Python-Dotnet--MapiTask.msg": ("task", "It is a task, and only mail is wanted.", "ics"),
    "tika--testMSG_Task.msg": ("task", "It is a task, and only mail is wanted.", "ics"),
}


def entries(raw: bytes, name: str = "a.msg", options: Options | None = None) -> list[Entry]:
    format = formats.recognise(raw[:4096], name)
    return list(format.read(io.BytesIO(raw), name, options or Options()))


def content(entry: Entry) -> bytes:
    assert entry.content is not None
    return b"".join(entry.content().pieces)


def test_every_real_file_gives_its_message(corpora: Path) -> None:
    for path in sorted((corpora / "msg").iterdir()):
        raw = path.read_bytes()
        (entry,) = entries(raw, path.name, OTHERS)
        made = content(entry)
        facts = message.read(made)
        assert facts.subject, path.name
        assert facts.text, path.name
        assert not facts.defects, path.name
        assert made == content(entry) == content(entries(raw, path.name, OTHERS)[0])
        assert not entry.content().meta.exact  # type: ignore[misc]
        kind, why, ending = NO_MAIL.get(path.name, ("mail", "", ""))
        assert entry.kind == kind
        assert any(one.name.endswith(ending) for one in facts.attachments) or kind == "mail"
        (alone,) = entries(raw, path.name)
        assert (alone.left, alone.content is None) == (why, bool(why))


def test_every_real_stream_gives_its_message(corpora: Path) -> None:
    streams = 0
    for path in sorted((corpora / "tnef").iterdir()):
        raw = path.read_bytes()
        if not raw.startswith(b"\x78\x9f\x3e\x22"):
            with pytest.raises(FileError, match="no kind of file that mail is imported from"):
                entries(raw, path.name)
            continue
        streams += 1
        (entry,) = entries(raw, path.name)
        facts = message.read(content(entry))
        assert facts.text or facts.attachments, path.name
        assert not facts.defects, path.name
    assert streams == 13


def test_a_template_is_a_message_that_was_not_sent(nursery: Nursing) -> None:
    raw = outlook_files.msg(Item({CLASS: "IPM.Note", SUBJECT: "Vorlage", BODY: "Guten Tag", 0x0E070003: 0x8}))
    (one,) = gone_through(nursery, raw, "vorlage.oft").whole
    assert message.read(one.raw).subject == "Vorlage"
    assert "draft" in one.event.meta.flags


def test_a_real_file_through_the_nursery(nursery: Nursing, corpora: Path) -> None:
    gone = gone_through(nursery, corpora / "msg" / "tika--testMSG_att_msg.msg", "a.msg")
    assert (gone.format, gone.error) == ("msg", None)
    (one,) = gone.whole
    facts = message.read(one.raw)
    assert [one.content_type for one in facts.attachments] == ["message/rfc822", "application/pdf"]
    assert facts.attachments[1].digest.hex() == "1bd629440fff7a30e340c95e51f2732f239ff7115be211aaa23ba498d0f1b208"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (outlook_files.compound([Node("WordDocument", bytes(5000))]), "older Office documents"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(3000), "version that is not known"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "no compound file"),
        (b"\x78\x9f\x3e\x22\0\0", "ends before it says anything"),
    ],
)
def test_what_cannot_be_read_says_why(nursery: Nursing, raw: bytes, words: str) -> None:
    gone = gone_through(nursery, raw, "a.msg")
    assert not gone.events
    assert words in str(gone.error)


def test_one_attachment_that_is_lost_costs_only_itself(nursery: Nursing) -> None:
    item = Item(
        {SUBJECT: "subject", BODY: "body"},
        attachments=[
            Attached({LONG_NAME: "lost", DATA: b"a" * 9_000}),
            Attached({LONG_NAME: "kept", DATA: b"b" * 9_000}),
        ],
    )
    raw = bytearray(outlook_files.msg(item))
    table = int.from_bytes(raw[76:80], "little")
    raw[(table + 1) * 512 + 12 : (table + 1) * 512 + 16] = b"\xff\xff\xff\0"
    (one,) = gone_through(nursery, bytes(raw), "a.msg").whole
    facts = message.read(one.raw)
    assert facts.subject == "subject"
    assert [(one.name, one.size) for one in facts.attachments if one.name == "kept"] == [("kept", 9_000)]
    assert any("lost" in words for words in one.event.meta.warnings)


MEMORY = 320 * 1024 * 1024
"""Address space of a child that has room for Python and not for a large message beside it."""


def test_a_large_attachment_is_never_in_memory_as_a_whole(nursery: Nursing) -> None:
    large = random.Random(4).randbytes(1024 * 1024) * 240
    raw = outlook_files.msg(Item({SUBJECT: "large"}, attachments=[Attached({LONG_NAME: "large.bin", DATA: large})]))
    size = 0
    with opened(raw) as file, Reading(nursery, file, "a.msg", Options(), memory=MEMORY) as reading:
        for event in reading:
            assert isinstance(event, Arriving)
            size += sum(map(len, event.pieces))
    assert size > len(large) * 4 // 3
