"""A reader gets each message bit for bit, and is told beforehand exactly how much he will get."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest

from appliance.mail.published import Limits
from gateway.pop3 import connection, session, visit, worker
from tests.unit.gateway.pop3.conftest import Server

PLAIN = b"From: anna@example.com\r\nSubject: one\r\n\r\nHello\r\n"
ODD = [
    b"",
    b"\r\n",
    b".",
    b".\r\n",
    b"..\r\n.\r\n",
    b"no header at all",
    b"a\r\n.b\r\n..c\r\n",
    b"a\n.b\n.\n..\n",
    b"ends in LF\n",
    b"ends in CR\r",
    b"ends in LF CR\n\r",
    b"\n.\n",
    b"NUL \x00 and \xff\xfe\r\n",
    b"x" * 5000 + b"\r\n",
    bytes(range(256)) * 40,
]


def test_every_octet_comes_and_is_counted(server: Server) -> None:
    box = server.box()
    mails = [PLAIN, *ODD, os.urandom(300_000)]
    box.receive(*mails)
    client = server.enter(box)
    sizes = dict(map(int, line.split()) for line in client.lines("LIST"))
    for number, mail in enumerate(mails, 1):
        expected = mail if mail.endswith(b"\r\n") or not mail else mail + b"\r\n"
        assert client.message(number) == expected
        assert sizes[number] == len(expected)
        assert client.say(f"LIST {number}") == f"+OK {number} {len(expected)}"
    assert client.say("STAT") == f"+OK {len(mails)} {sum(sizes.values())}"


def test_a_large_message_comes_whole(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    box = server.box()
    line = b".dots and words\r\n"
    large = b"Subject: large\r\n\r\n" + line * (3 * visit.LARGEST_WHOLE // len(line)) + os.urandom(1_500_000)
    box.receive(PLAIN, large, PLAIN)
    client = server.enter(box)
    assert client.message(2) == large + b"\r\n"
    assert client.message(3) == PLAIN
    assert client.lines("TOP 2 1") == ["Subject: large", "", ".dots and words"]
    assert client.say("LIST 2") == f"+OK 2 {len(large) + 2}"


@pytest.mark.parametrize("measured_first", [False, True])
def test_messages_about_as_large_as_what_is_held_whole(server: Server, measured_first: bool) -> None:
    box = server.box()
    sizes = [visit.LARGEST_WHOLE + more for more in (-16, -3, -2, -1, 0, 1)]
    mails = [fill(size) for size in sizes for fill in (_noise, lambda size: b"x" * size)]
    box.receive(*mails, PLAIN)
    client = server.enter(box)
    if measured_first:
        assert client.say("STAT") == f"+OK {len(mails) + 1} {sum(map(len, mails)) + 2 * len(mails) + len(PLAIN)}"
    for number, mail in enumerate(mails, 1):
        assert client.message(number) == mail + b"\r\n"
        assert client.say(f"LIST {number}") == f"+OK {number} {len(mail) + 2}"
    assert client.message(len(mails) + 1) == PLAIN


def test_a_message_that_is_damaged_after_its_size_was_told_is_refused_and_keeps_its_size(server: Server) -> None:
    box = server.box()
    first = [_noise(800_000) for _ in range(4)]
    box.receive(*first, PLAIN + b"damaged\r\n", PLAIN)
    server.writer.roll()
    client = server.enter(box)
    listed = client.lines("LIST")
    (volume,) = (server.data / "volumes" / box.id.hex()).glob("*.mkv")
    with volume.open("r+b") as file:
        at = file.seek(_places(server, box.id)[4] + 100)
        octet = file.read(1)
        file.seek(at)
        file.write(bytes([octet[0] ^ 1]))
    assert [client.message(number) for number in range(1, 5)] == [mail + b"\r\n" for mail in first]
    assert client.say("RETR 5").startswith("-ERR [SYS/PERM]")
    assert client.say("TOP 5 0").startswith("-ERR [SYS/PERM]")
    assert client.message(6) == PLAIN
    assert client.lines("LIST") == listed


def test_what_was_opened_to_tell_its_size_is_not_opened_again_and_not_all_is_held(server: Server) -> None:
    box = server.box()
    mails = [_noise(200_000) for _ in range(30)]
    box.receive(*mails)
    client = server.enter(box)
    client.say("STAT")
    for volume in (server.data / "volumes" / box.id.hex()).glob("*.mkv"):
        volume.unlink()
    held = 0
    while client.say(f"RETR {held + 1}").startswith("+OK"):
        assert client.rest() == mails[held] + b"\r\n"
        held += 1
    assert 10 <= held <= 12  # 2 MiB


def test_real_mail_is_what_it_was(server: Server, corpora) -> None:
    mails = [path.read_bytes() for path in sorted((corpora / "eml").rglob("*.eml"))[:300]]
    box = server.box()
    box.receive(*mails)
    client = server.enter(box)
    for number, mail in enumerate(mails, 1):
        assert client.message(number) == (mail if mail.endswith(b"\r\n") else mail + b"\r\n")


def test_messages_in_any_order_and_again(server: Server) -> None:
    box = server.box()
    mails = [b"Subject: %d\r\n\r\n%s\r\n" % (n, b"z" * n) for n in range(40)]
    box.receive(*mails)
    client = server.enter(box)
    for number in [*range(40, 0, -1), *range(1, 41), 7, 7, 8, 30, 31, 32, 1, *range(1, 41, 3)]:
        assert client.message(number) == mails[number - 1]


def test_pipelined_commands_are_answered_in_order(server: Server) -> None:
    box = server.box()
    mails = [b"Subject: %d\r\n\r\nx\r\n" % n for n in range(500)]
    box.receive(*mails)
    client = server.enter(box)
    client.send(b"".join(b"RETR %d\r\nNOOP\r\n" % n for n in range(1, 501)) + b"QUIT\r\n")
    for mail in mails:
        assert client.reply().startswith("+OK")
        assert client.rest() == mail
        assert client.reply().startswith("+OK")
    assert client.reply().startswith("+OK")
    assert client.is_closed()


@pytest.mark.parametrize(
    ("mail", "lines", "expected"),
    [
        (b"A: b\r\n\r\none\r\ntwo\r\n", 0, b"A: b\r\n\r\n"),
        (b"A: b\r\n\r\none\r\ntwo\r\n", 1, b"A: b\r\n\r\none\r\n"),
        (b"A: b\r\n\r\none\r\ntwo", 2, b"A: b\r\n\r\none\r\ntwo\r\n"),
        (b"A: b\r\n\r\none\r\ntwo\r\n", 99999, b"A: b\r\n\r\none\r\ntwo\r\n"),
        (b"A: b\n\n.one\ntwo\n", 1, b"A: b\n\n.one\n\r\n"),
        (b"A: b\r\n", 5, b"A: b\r\n"),
        (b"", 5, b""),
    ],
)
def test_top_gives_the_header_and_as_many_lines(server: Server, mail: bytes, lines: int, expected: bytes) -> None:
    box = server.box()
    box.receive(mail)
    client = server.enter(box)
    assert client.say(f"TOP 1 {lines}").startswith("+OK")
    assert client.rest() == expected


def test_names_stay_for_ever_and_are_the_record_ids(server: Server) -> None:
    box = server.box()
    first = box.receive(PLAIN, PLAIN)
    client = server.enter(box)
    names = client.lines("UIDL")
    assert sorted(line.split()[1] for line in names) == sorted(one.hex() for one in first)
    assert client.say("UIDL 2") == f"+OK {names[1]}"
    client.say("QUIT")
    server.writer.roll()
    second = box.receive(PLAIN)
    again = server.enter(box)
    assert again.lines("UIDL") == [*names, f"3 {second[0].hex()}"]


def test_what_comes_meanwhile_is_there_the_next_time(server: Server) -> None:
    box = server.box()
    box.receive(PLAIN)
    client = server.enter(box)
    box.receive(PLAIN)
    assert client.say("STAT") == f"+OK 1 {len(PLAIN)}"
    assert client.say("RETR 2").startswith("-ERR")
    client.say("QUIT")
    assert server.enter(box).say("STAT") == f"+OK 2 {2 * len(PLAIN)}"


def test_a_damaged_message_is_refused_and_the_others_come(server: Server) -> None:
    box = server.box()
    large = os.urandom(3_000_000)
    box.receive(PLAIN, PLAIN + b"damaged\r\n", large, PLAIN)
    server.writer.roll()
    (volume,) = (server.data / "volumes" / box.id.hex()).glob("*.mkv")
    place = _places(server, box.id)
    with volume.open("r+b") as file:
        for at in (place[1] + 200, place[2] + 2_500_000):
            file.seek(at)
            octet = file.read(1)
            file.seek(at)
            file.write(bytes([octet[0] ^ 1]))
    client = server.enter(box)
    count = int(client.say("STAT").split()[1])
    answers = []
    for number in range(1, count + 1):
        first = client.say(f"RETR {number}")
        answers.append(client.rest() if first.startswith("+OK") else first)
    assert answers[0] == PLAIN and answers[-1] == PLAIN
    assert all(one.startswith("-ERR [SYS/PERM]") for one in answers[1:-1])
    assert len(client.lines("LIST")) == len(client.lines("UIDL")) == count


def _noise(size: int) -> bytes:
    """What does not compress, without a line end at its end."""
    return os.urandom(size - 1) + b"x"


def _places(server: Server, mailbox: bytes) -> list[int]:
    from appliance.store.reader import LogReader
    from appliance.store.refs import RecordRef

    reader = LogReader(server.data / "volumes")
    found = [one for volume in reader.volumes(mailbox) for one in reader.scan(volume)]
    return [one.offset for one in found if isinstance(one, RecordRef)]


def test_a_client_that_reads_nothing_keeps_nobody_waiting(server: Server) -> None:
    box, other = server.box(), server.box("ben@archive.example")
    box.receive(os.urandom(8_000_000))
    other.receive(PLAIN)
    slow = server.enter(box)
    slow.send(b"RETR 1\r\n" * 50)
    assert server.enter(other).message(1) == PLAIN
    slow.close()


def test_who_leaves_without_reading_the_last_replies_is_not_kept_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.5)
    monkeypatch.setattr(connection, "_HIGH_WATER", 64 * 1024 * 1024)
    monkeypatch.setattr(session, "IMPLEMENTATION", "x" * 10_000)  # more replies than the system's buffers hold
    server.limits = Limits(connections_per_client=1)
    server.publish()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stranger.settimeout(20)
        stranger.connect(("127.0.0.1", server.plain_port))
        assert stranger.recv(4) == b"+OK "
        stranger.sendall(b"CAPA\r\n" * 2000 + b"QUIT\r\n")
        deadline = time.monotonic() + 60
        while not _is_let_in(server):  # for so long it is the one connection that he may have
            assert time.monotonic() < deadline
            time.sleep(0.05)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := stranger.recv(1024 * 1024):
                taken += len(piece)
    assert taken < 2000 * 10_000, "what was not read in time was thrown away"


def test_an_archiver_that_is_slow_keeps_nobody_from_reading(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [server.box(f"reader{number}@archive.example") for number in range(worker.READING_THREADS + 1)]
    for box in boxes:
        box.receive(PLAIN)
    *slow, other = [server.enter(box) for box in boxes]
    answering = threading.Event()
    reading = server.archiver.reading
    monkeypatch.setattr(server.archiver, "reading", lambda *given: (answering.wait(60), reading(*given)))
    for client in slow:
        client.send(b"RETR 1\r\n")
    try:
        assert other.lines("LIST") == [f"1 {len(PLAIN)}"]
    finally:
        answering.set()
    for client in slow:
        assert client.reply().startswith("+OK")


def _is_let_in(server: Server) -> bool:
    try:
        server.client().close()
    except (AssertionError, OSError):
        return False
    return True
