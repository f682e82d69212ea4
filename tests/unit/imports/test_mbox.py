"""mbox: every message comes as it was received, however the program that kept it wrote it down."""

from __future__ import annotations

import io
import mailbox
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.imports import mbox
from appliance.imports.base import Entry, FileError, Message, Options
from appliance.imports.nursery import Nursery
from appliance.imports.reading import Arriving, Left
from tests.unit.imports.readings import gone_through

FROM = b"From anna@example.org Mon Jan  1 10:00:00 2024\n"
LATE = b"From ben@example.org Tue Feb  6 23:59:58 2024\n"


def entries(raw: bytes, options: Options | None = None) -> list[Entry]:
    """The entries of an mbox file."""
    return list(mbox.read(io.BytesIO(raw), "Inbox", options or Options()))


def messages(raw: bytes, options: Options | None = None) -> list[tuple[bytes, Message]]:
    """Its messages, whole."""
    found = []
    for entry in mbox.read(io.BytesIO(raw), "Inbox", options or Options()):
        if entry.content is not None:
            message = entry.content()
            found.append((b"".join(message.pieces), message))
    return found


def raws(raw: bytes) -> list[bytes]:
    """Its messages' bytes."""
    return [message for message, _ in messages(raw)]


def test_messages_are_apart_and_as_they_were_received() -> None:
    first, second = b"Subject: a\n\nOne\n\nTwo\n", b"Subject: b\n\nThree\n"
    assert raws(FROM + first + b"\n" + LATE + second + b"\n") == [
        first.replace(b"\n", b"\r\n"),
        second.replace(b"\n", b"\r\n"),
    ]


def test_line_ends_of_another_system_are_kept() -> None:
    first, second = b"Subject: a\r\n\r\nOne\r\n\r\nTwo\r\n", b"Subject: b\r\n\r\nThree, with a bare\nline end\r\n"
    assert raws(FROM.replace(b"\n", b"\r\n") + first + b"\r\n" + LATE + second + b"\r\n") == [first, second]


@pytest.mark.parametrize("tail", [b"", b"\n", b"Body", b"Body\n", b"Body\n\n", b"Body\n\n\n"])
def test_the_end_of_the_file_loses_nothing(tail: bytes) -> None:
    kept = tail[:-1] if tail.endswith(b"\n\n") else tail
    assert (
        raws(FROM + b"Subject: a\n\n" + tail) == [(b"Subject: a\n\n" + kept).replace(b"\n", b"\r\n")] or tail == b"\n"
    )


def test_messages_without_header_or_body() -> None:
    assert raws(FROM + b"\nBody alone\n\n" + LATE + b"Subject: head alone\n\n" + FROM + b"A: b\n\n\n" + LATE) == [
        b"\r\nBody alone\r\n",
        b"Subject: head alone\r\n\r\n",
        b"A: b\r\n\r\n",
        b"",
    ]


def test_quoted_lines_lose_one_mark() -> None:
    body = b"Subject: a\n\n>From here\n>>From there\n > From nowhere\nX>From x\n"
    ((raw, message),) = messages(FROM + body + b"\n")
    assert raw == b"Subject: a\r\n\r\nFrom here\r\n>From there\r\n > From nowhere\r\nX>From x\r\n"
    assert message.meta.exact


def test_what_may_have_been_quoted_by_its_sender_is_not_called_exact() -> None:
    (first, second) = messages(FROM + b"Subject: a\n\n>From here\n\n" + LATE + b"Subject: b\n\nplain\n")
    assert first[0].endswith(b"\r\nFrom here\r\n") and not first[1].meta.exact
    assert second[1].meta.exact


@pytest.mark.parametrize(
    "line",
    [
        b"From the beginning it was clear",
        b"From Monday at 10:00 on, all is open",
        b"From anna",
        b"From Mon to Fri 10:00",
    ],
)
def test_lines_of_text_are_no_separators(line: bytes) -> None:
    mail = b"Subject: a\n\nHello\n\n" + line + b"\nand so on: yes.\n"
    found = raws(FROM + mail + b"\n" + LATE + b"Subject: b\n\n")
    if line == b"From anna":  # a word alone, and a line that may be a header field: nobody can tell
        return
    assert found[0] == mail.replace(b"\n", b"\r\n")
    assert len(found) == 2


@pytest.mark.parametrize(
    "separator",
    [
        b"From - Mon Jan 01 10:00:00 2024",
        b"From mboxrd@z Thu Jan  1 00:00:00 1970",
        b"From 1583421@xxx Tue Jul 05 09:36:06 +0000 2022",
        b"From ???@??? Mon Jan 01 10:00:00 2024",
        b"From foo at bar.com  Mon Jan  1 10:00:00 2024",
        b"From foo@bar.com Mon Jan  1 10:00 EST 2024",
        b"From foo@bar.com Mon, 1 Jan 2024 10:00:00 +0100",
        b'From "anna b"@example.org Mon Jan  1 10:00:00 2024',
        b"From foo@bar.com",
    ],
)
def test_separators_as_programs_write_them(separator: bytes) -> None:
    for end in (b"\n", b"\r\n"):
        mail = b"Subject: a" + end + end + b"Text" + end
        assert len(raws((separator + end + mail + end) * 3)) == 3


def test_a_separator_without_a_blank_line_before_it_is_one() -> None:
    assert len(raws(FROM + b"Subject: a\n\nText\n" + LATE + b"Subject: b\n\nText\n")) == 2


def test_lengths_are_believed_where_they_lead_to_the_next_message() -> None:
    body = b"Before\n\n" + LATE + b"Subject: enclosed\n\n>From here\n"
    mail = b"Subject: a\nContent-Length: %d\n\n" % len(body) + body
    rest = LATE + b"Subject: b\n\nlast\n"
    ((first, message), (second, _)) = messages(FROM + mail + b"\n" + rest)
    assert first == mail.replace(b"\n", b"\r\n")
    assert message.meta.exact
    assert second == b"Subject: b\r\n\r\nlast\r\n"
    assert raws(FROM + mail) == [mail.replace(b"\n", b"\r\n")]


@pytest.mark.parametrize("length", [b"3", b"9999999", b"999999999999999", b"-4", b"x", b"0"])
def test_lengths_that_lead_nowhere_are_not_believed(length: bytes) -> None:
    mail = b"Subject: a\nContent-Length: " + length + b"\n\nSome text\n"
    assert raws(FROM + mail + b"\n" + LATE + b"Subject: b\n\nlast\n")[0] == mail.replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("separator", "expected"),
    [
        (b"From a@b Mon Jan  1 10:00:00 2024", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        (b"From a@b Tue Jul 05 09:36:06 +0200 2022", datetime(2022, 7, 5, 7, 36, 6, tzinfo=UTC)),
        (b"From a@b Tue Jul 05 09:36:06 2022 -0130", datetime(2022, 7, 5, 11, 6, 6, tzinfo=UTC)),
        (b"From a@b Sat Feb 29 23:59 MET 2020", datetime(2020, 2, 29, 23, 59, tzinfo=UTC)),
        (b"From - Mon Jan  1 10:00:00 2024", None),
        (b"From mboxrd@z Thu Jan  1 00:00:00 1970", None),
        (b"From a@b Mon Foo 99 99:99:99 2024", None),
    ],
)
def test_the_time_of_receipt_is_the_separators(separator: bytes, expected: datetime | None) -> None:
    ((_, message),) = messages(separator + b"\nSubject: a\n\nText\n")
    assert message.meta.received == (int(expected.timestamp()) * 1_000_000 if expected else None)


def test_what_thunderbird_knows_of_a_message() -> None:
    def kept(status: str, status2: str = "00000000") -> bytes:
        return FROM + f"X-Mozilla-Status: {status}\nX-Mozilla-Status2: {status2}\nSubject: a\n\nText\n\n".encode()

    raw = kept("0001") + kept("0000") + kept("1007", "00200000") + kept("0009") + kept("0401")
    found = entries(raw)
    assert [bool(entry.content) for entry in found] == [True, True, True, False, True]
    assert "Thunderbird" in found[3].left
    flags = [message.meta.flags for _, message in messages(raw, Options(recovered=True))]
    assert [set(one) for one in flags] == [
        {"seen"},
        set(),
        {"seen", "answered", "flagged", "forwarded", "deleted"},
        {"seen", "deleted"},
        {"seen"},
    ]
    assert "only the beginning" in messages(kept("0401"))[0][1].meta.warnings[0]


def test_status_of_unix_programs() -> None:
    ((_, message),) = messages(FROM + b"Status: RO\nX-Status: AFT\nSubject: a\n\nStatus: D\n")
    assert set(message.meta.flags) == {"seen", "answered", "flagged", "draft"}


def test_labels_of_google_takeout() -> None:
    raw = b"".join(
        FROM + b"X-GM-THRID: 1\nX-Gmail-Labels: " + labels + b"\nSubject: a\n\nText\n\n"
        for labels in (
            b'Work/2024,Inbox,Unread,Important,"Anna, Ben",Category Promotions',
            b"=?UTF-8?Q?Gesendet,Ge=C3=B6ffnet,Markiert,Pr=C3=BCfung?=",
            b"Archived,Opened",
            b"Spam,\n Trash",
        )
    )
    found = entries(raw)
    assert [(entry.folder, entry.role) for entry in found] == [
        (("Inbox",), "inbox"),
        (("Gesendet",), "sent"),
        (("All Mail",), "all"),
        (("Spam",), "junk"),
    ]
    metas = [message.meta for _, message in messages(raw)]
    assert metas[0].labels == (("Work", "2024"), ("Anna, Ben",))
    assert [meta.labels for meta in metas[1:]] == [(("Prüfung",),), (), (("Trash",),)]
    assert [set(meta.flags) for meta in metas] == [set(), {"seen", "flagged"}, {"seen"}, {"seen"}]


def test_a_message_is_passed_over_without_reading_it() -> None:
    raw = (FROM + b"Subject: a\n\n" + b"Text\n" * 100_000 + b"\n") * 3
    assert [entry.id for entry in entries(raw)] == ["0", str(len(raw) // 3), str(len(raw) // 3 * 2)]


def test_large_messages_and_endless_lines_pass_through(nursery: Nursery) -> None:
    large = b"Subject: large\n\n" + b"A line of text that goes on\n" * 1_500_000
    endless = b"Subject: endless\n\n" + b"x" * 30_000_000 + b"\n"
    gone = gone_through(nursery, FROM + large + b"\n" + LATE + endless + b"\n" + FROM + b"Subject: c\n\n", "Inbox")
    assert [len(one.raw) for one in gone.whole] == [len(large) + large.count(b"\n"), len(endless) + 3, 14]
    assert gone.error is None


def test_lines_that_nearly_are_separators_cost_no_more_than_others() -> None:
    """With one expression for all of a separator this would run into the suite's time limit."""
    nearly = b"\nFrom " + b"mon jan 1 1:11 " * 60 + b"\n"
    assert len(raws(FROM + b"Subject: a\n\n" + nearly * 5000)) == 1


def test_what_is_no_mbox_is_said() -> None:
    with pytest.raises(FileError, match="no mbox"):
        entries(b"Subject: a\n\n")


def test_every_file_of_the_corpora(corpora: Path, nursery: Nursery) -> None:
    files = sorted((corpora / "mbox").iterdir())
    assert len(files) > 20
    for path in files:
        gone = gone_through(nursery, path, path.name)
        assert gone.error is None and gone.format == "mbox", path.name
        theirs = [message.as_bytes() for message in mailbox.mbox(path, create=False)]
        assert len(gone.whole) == len(theirs), path.name
        assert not gone.others(Left)
        for ours, other in zip(gone.whole, theirs, strict=True):
            assert _words(ours.raw) == _words(other), path.name
        assert all(isinstance(event, Arriving) for event in gone.events)


def _words(raw: bytes) -> list[bytes]:
    """A message's words, as the standard library's reader leaves quoting and blanks to others."""
    return re.sub(rb"(?m)^>(?=>*From )", b"", raw).split()


@pytest.mark.parametrize("quoting", ["mboxrd", "mboxcl2"])
def test_written_and_read_mail_is_the_same_to_the_byte(corpora: Path, quoting: str) -> None:
    mails = [
        raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for raw in (path.read_bytes() for path in sorted((corpora / "eml").iterdir()))
        if b"\0" not in raw and re.match(rb"[!-9;-~]+:", raw) and raw.endswith(b"\n")
        if b"\r" not in raw.replace(b"\r\n", b"") and b"ontent-Length:" not in raw
        if b"\n\n" in raw.replace(b"\r\n", b"\n")  # without a blank line nobody can tell head from body
    ]
    assert len(mails) > 100
    kept = b"".join(_stored(mail.replace(b"\r\n", b"\n"), quoting) for mail in mails)
    assert raws(kept) == [_as_stored(mail, quoting) for mail in mails]


def _stored(mail: bytes, quoting: str) -> bytes:
    if quoting == "mboxrd":
        return FROM + re.sub(rb"(?m)^(>*From )", rb">\1", mail) + b"\n"
    return FROM + _with_length(mail) + b"\n"


def _as_stored(mail: bytes, quoting: str) -> bytes:
    if quoting == "mboxrd":
        return mail
    return _with_length(mail.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def _with_length(mail: bytes) -> bytes:
    head, blank, body = mail.partition(b"\n\n")
    return head + b"\nContent-Length: %d" % len(body) + blank + body


def _mutations(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    whole = (FROM + b"Subject: a\nContent-Length: 20\nX-Mozilla-Status: 0001\n\n>From x\n\nText\n\n" + LATE) * 5
    for _ in range(300):
        held = bytearray(whole)
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(held))
            held[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        yield bytes(held[: chance.randrange(len(held))])


def test_damage_ends_and_loses_nothing_behind_it() -> None:
    good = [b"Subject: %d\n\nText\n" % number for number in range(3)]
    behind = b"".join(LATE + mail + b"\n" for mail in good)
    for raw in _mutations(7):
        try:
            found = raws(b"From " + raw + b"\n\n" + behind)
        except FileError:
            pytest.fail("a file that begins as mbox was refused")
        assert found[-2:] == [mail.replace(b"\n", b"\r\n") for mail in good[-2:]]
