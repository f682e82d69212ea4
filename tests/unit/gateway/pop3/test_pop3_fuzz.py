"""Whatever octets come, a session answers in the forms of RFC 1939 or ends; it reveals and deletes nothing unasked."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.keys.envelope import MailboxKeyPair
from appliance.keys.mailbox_keys import UnlockedMailbox
from appliance.pull.maildrop import Maildrops
from appliance.store.reader import LogReader
from appliance.store.writer import LogWriter
from gateway.pop3.connection import Connection
from gateway.pop3.session import RefusedError, Session
from gateway.pop3.syntax import Credentials
from gateway.pop3.visit import Reader, Visit

SECRET = b"nobody may read this"
MAILS = [b"Subject: %d\r\n\r\n%s\r\n.dot\r\n" % (number, SECRET) for number in range(3)]
LOGIN = b"USER a@b\r\nPASS right\r\n"
LINE = re.compile(rb"(\+OK|-ERR|\+ )[^\r\n]*\r\n")


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.protocol: Connection | None = None

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 995) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        assert not self.closed

    resume_reading = pause_reading


class Guest:
    """Somebody in the mailbox; remembers what is erased."""

    def __init__(self, house: House) -> None:
        self.reader = Reader(house.visit, house.executor)
        self.deletes = house.deletes
        self._house = house

    async def begin_reading(self) -> None:
        pass

    async def may_delete(self) -> None:
        pass

    async def erase(self, numbers: Iterable[int]) -> None:
        self._house.erased += numbers

    async def leave(self) -> None:
        await self.reader.close()
        self._house.inside -= 1


class House:
    """A house with one mailbox, whose password is ``right``."""

    most_errors = 10_000

    def __init__(self, visit: Visit, executor: ThreadPoolExecutor, *, deletes: bool) -> None:
        self.visit = visit
        self.executor = executor
        self.deletes = deletes
        self.erased: list[int] = []
        self.inside = 0

    def tls(self) -> None:
        return None

    async def enter(self, credentials: Credentials, peer: str) -> Guest:
        if credentials != Credentials("a@b", "right"):
            raise RefusedError("[AUTH] no")
        self.inside += 1
        return Guest(self)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    data: Path = tmp_path_factory.mktemp("data")
    mailbox, pair = os.urandom(16), MailboxKeyPair.generate()
    writer = LogWriter(data / "volumes", "g0", reserve=0)
    for mail in MAILS:
        writer.append(mailbox, pair.public, mail, None).result()
    writer.close()
    visit = Visit(Maildrops(data).look(mailbox), LogReader(data / "volumes", UnlockedMailbox(mailbox, pair)))
    return House(visit, ThreadPoolExecutor(1), deletes=True)


async def converse(house: House, pieces: list[bytes], *, secure: bool = True, eof: bool = True) -> bytes:
    """What a session says that gets these pieces, one after the other."""
    house.erased.clear()
    pipe = Pipe()
    connection = Connection(asyncio.get_running_loop(), secure=secure)
    connection.connection_made(pipe)
    session = asyncio.ensure_future(Session(connection, house).run())
    for piece in pieces:
        if pipe.closed:
            break
        connection.data_received(piece)
        await asyncio.sleep(0)
    if eof:
        connection.eof_received()
    else:
        await asyncio.sleep(0.01)
        connection.connection_lost(None)
    await asyncio.wait_for(session, 60)
    assert house.inside == 0
    return bytes(pipe.written)


WORDS = st.sampled_from([
    b"USER a@b", b"PASS right", b"PASS wrong", b"AUTH PLAIN", b"AUTH PLAIN AGFAYgByaWdodA==", b"AGFAYgByaWdodA==",
    b"STAT", b"LIST", b"RETR", b"DELE", b"NOOP", b"RSET", b"TOP", b"UIDL", b"CAPA", b"STLS", b"APOP", b"LAST", b"*",
])  # fmt: skip
PIECES = st.sampled_from(
    [b" ", b"1", b"2", b"3", b"4", b"-1", b"99999999999", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"="]
)
SOUP = st.lists(st.one_of(WORDS, PIECES, st.just(b"\r\n"), st.binary(max_size=8)), max_size=60).map(b"".join)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(SOUP, st.data())
def test_strangers_get_wellformed_refusals_and_no_mail(house: House, soup: bytes, data: st.DataObject) -> None:
    soup = soup.replace(b"right", b"wrong").replace(b"AGFAYgByaWdodA==", b"AGFAYgB3cm9uZw==")
    said = asyncio.run(converse(house, cut(soup + b"\r\nQUIT\r\n", data)))
    assert SECRET not in said and not house.erased
    wellformed(said)


@FUZZ
@given(SOUP, st.data())
def test_no_password_opens_anything_before_tls(house: House, soup: bytes, data: st.DataObject) -> None:
    said = asyncio.run(converse(house, cut(LOGIN + soup + b"\r\nQUIT\r\n", data), secure=False))
    assert SECRET not in said and not house.erased
    wellformed(said)


@FUZZ
@given(SOUP, st.data())
def test_nothing_is_deleted_without_quit_and_only_what_dele_named(
    house: House, soup: bytes, data: st.DataObject
) -> None:
    soup = soup.replace(b"QUIT", b"")
    pieces = cut(LOGIN + soup, data)
    wellformed(asyncio.run(converse(house, pieces, eof=False)), whole=False)
    assert not house.erased
    said = asyncio.run(converse(house, [*pieces, b"\r\nQUIT\r\n"]))
    wellformed(said)
    assert len(house.erased) <= said.count(b"is removed when you QUIT")


@FUZZ
@given(SOUP)
def test_how_a_session_is_cut_into_packets_changes_nothing(house: House, soup: bytes) -> None:
    wire = LOGIN + soup + b"\r\nQUIT\r\n"
    whole = asyncio.run(converse(house, [wire]))
    erased = list(house.erased)
    assert asyncio.run(converse(house, [wire[i : i + 1] for i in range(len(wire))])) == whole
    assert house.erased == erased


@pytest.mark.fuzz
def test_thousands_of_lines(house: House) -> None:
    chance = random.Random(11)
    verbs = [
        b"STAT",
        b"LIST",
        b"RETR",
        b"TOP",
        b"UIDL",
        b"NOOP",
        b"RSET",
        b"DELE",
        b"CAPA",
        b"USER",
        b"AUTH PLAIN",
        b"X",
    ]
    for _ in range(8):
        lines = []
        for _ in range(1000):
            words = [chance.choice(verbs), *(str(chance.randrange(-1, 6)).encode() for _ in range(chance.randrange(3)))]
            line = bytearray(b" ".join(words))
            if line and chance.random() < 0.2:
                line[chance.randrange(len(line))] = chance.randrange(256)
            lines.append(bytes(line) + chance.choice([b"\r\n"] * 20 + [b"\n", b"\r", b""]))
        said = asyncio.run(converse(house, [LOGIN + b"".join(lines) + b"\r\nQUIT\r\n"]))
        wellformed(said)
        assert SECRET in said and said.count(b"\r\n") > 900


def cut(wire: bytes, data: st.DataObject) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    return [wire[a:b] for a, b in itertools.pairwise([0, *cuts, len(wire)])]


def wellformed(said: bytes, *, whole: bool = True) -> None:
    """Replies, each a line, some followed by lines up to a dot; ``whole``: the last one too."""
    at = 0
    while at < len(said):
        found = LINE.match(said, at)
        if found is None and not whole:
            return
        assert found, said[at : at + 100]
        at = found.end()
        if is_multi(found.group()):
            end = 1 if said[at : at + 3] == b".\r\n" else said.find(b"\r\n.\r\n", at)
            if end < 0 and not whole:
                return
            assert end >= 0, said[at:]
            at = at + 3 if said[at : at + 3] == b".\r\n" else end + 5


def is_multi(line: bytes) -> bool:
    return line == b"+OK\r\n" or bool(
        re.match(rb"\+OK (\d+ octets\r|\d+ messages, \d+ octets|What this|Names that|Mechanisms)", line)
    )
