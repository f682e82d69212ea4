"""Whatever octets come, a session answers in the forms of RFC 5321 or ends; nothing unsent is stored."""

from __future__ import annotations

import asyncio
import itertools
import re
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smtp.protocol import SmtpProtocol

REPLY = re.compile(rb"(?:[2345]\d\d-[\x20-\x7e]*\r\n)*[2345]\d\d [\x20-\x7e]*\r\n")


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.paused = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 25) if name == "peername" else default

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


class Recorder:
    """A handler that takes everything and remembers it; it answers a message when ``answer`` is called."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.open = 0
        self.replies: list = []
        self.refusal = None

    def handle_connect(self, server, session) -> str:
        self.open += 1
        return "220 gate.example"

    def handle_disconnect(self, server, session) -> None:
        self.open -= 1

    def handle_error(self, server, session) -> str | None:
        return "421 4.7.0 Too many errors" if session.errors >= 50 else None

    def handle_EHLO(self, server, session, hostname) -> list[str]:  # noqa: N802
        return ["gate.example", "PIPELINING"]

    def handle_MAIL(self, server, session, envelope, address, size) -> str:  # noqa: N802
        return "250 2.1.0 OK"

    def handle_RCPT(self, server, session, envelope, address) -> str:  # noqa: N802
        return "250 2.1.5 OK"

    def handle_DATA(self, server, session, envelope):  # noqa: N802
        parts: list[bytes] = []
        return SimpleNamespace(
            refusal=None,
            write=parts.append,
            abort=parts.clear,
            finish=lambda reply: (self.messages.append(b"".join(parts)), self.replies.append(reply)),
        )

    def answer(self) -> None:
        while self.replies:
            self.replies.pop(0)("250 2.0.0 archived")


def converse(pieces: list[bytes]) -> tuple[Recorder, Pipe]:
    """A session that gets these pieces; each message is answered after the piece that completes it."""
    loop = SimpleNamespace(time=lambda: 0.0)
    handler, pipe = Recorder(), Pipe()
    protocol = SmtpProtocol(handler, loop, lambda: None)  # type: ignore[arg-type]
    protocol.connection_made(pipe)
    for piece in pieces:
        if pipe.closed:
            break
        protocol.data_received(piece)
        handler.answer()
    protocol.connection_lost(None)
    return handler, pipe


WORDS = st.sampled_from(
    [b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA", b"BDAT", b"RSET", b"NOOP", b"STARTTLS", b"VRFY", b"HELP"]
)
PIECES = st.sampled_from(
    [
        b" ",
        b"FROM:",
        b"TO:",
        b"<",
        b">",
        b"@",
        b'"',
        b"\\",
        b"a@b.example",
        b"5",
        b"LAST",
        b"SIZE=",
        b"BODY=",
        b"x",
    ]
)
LINES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b".",
        b"\xff",
        b"\r\n.\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<a@b>\r\n",
        b"BDAT 3 LAST\r\n",
    ]
)
SOUP = st.lists(st.one_of(WORDS, PIECES, LINES, st.binary(max_size=8)), max_size=60).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(SOUP, st.data())
def test_any_octets_get_wellformed_replies(soup: bytes, data: st.DataObject) -> None:
    wire = b"EHLO fuzz.example\r\n" + soup
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    handler, pipe = converse([wire[a:b] for a, b in itertools.pairwise([0, *cuts, len(wire)])])
    assert re.fullmatch(rb"(?:%s)+" % REPLY.pattern, pipe.written), pipe.written
    assert handler.open == 0
    for message in handler.messages:
        assert len(message) <= len(wire)


@settings(max_examples=200, deadline=None)
@given(SOUP)
def test_how_a_session_is_cut_into_packets_changes_nothing(soup: bytes) -> None:
    wire = b"EHLO fuzz.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n" + soup + b"\r\nQUIT\r\n"
    whole, octets = converse([wire]), converse([wire[i : i + 1] for i in range(len(wire))])
    assert whole[0].messages == octets[0].messages
    assert whole[1].written == octets[1].written


def test_a_session_cut_at_every_place_is_the_same_session() -> None:
    wire = (
        b"EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n..dot\r\n\r\n.\r\n"
        b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nBDAT 4\r\n\r\n.\rBDAT 2 LAST\r\n\r\n"
        b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n.\r\nQUIT\r\n"
    )
    expected = converse([wire])
    assert expected[0].messages == [b".dot\r\n\r\n", b"\r\n.\r\r\n", b""]
    assert expected[1].closed
    for cut in range(len(wire)):
        handler, pipe = converse([wire[:cut], wire[cut:]])
        assert (handler.messages, pipe.written) == (expected[0].messages, expected[1].written)
