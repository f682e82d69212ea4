"""Where a DATA message ends, wherever the network cuts it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.dots import DotReader

MESSAGES = [
    b"",
    b".\r\n",
    b"..\r\n",
    b"\r\n",
    b"\r\n.\r\n"[2:] + b".\r\n",
    b"Subject: x\r\n\r\nbody\r\n",
    b"a\r\n.\r\n..\r\n.b\r\n",
    b"bare\n.\nlf\n.\r\n",
    b"\r.\r\r\n.\r\r\n",
    b"nul\x00\x00 8bit \xff\xfe\r\n",
]


def stuffed(message: bytes) -> bytes:
    """The sender's side of RFC 5321 section 4.5.2."""
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def receive(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    reader, text = DotReader(), b""
    for number, piece in enumerate(pieces):
        known, rest = reader.feed(piece)
        text += known
        if rest is not None:
            return text, rest + b"".join(pieces[number + 1 :])
    return text, None


@pytest.mark.parametrize("message", MESSAGES)
def test_every_cut_in_two_and_in_three_gives_the_same_message(message: bytes) -> None:
    wire = stuffed(message) + b"QUIT\r\n"
    for first, second in itertools.combinations_with_replacement(range(len(wire) + 1), 2):
        assert receive([wire[:first], wire[first:second], wire[second:]]) == (message, b"QUIT\r\n")


@pytest.mark.parametrize("message", MESSAGES)
def test_octet_by_octet(message: bytes) -> None:
    wire = stuffed(message) + b"QUIT\r\n"
    assert receive([wire[i : i + 1] for i in range(len(wire))]) == (message, b"QUIT\r\n")


@pytest.mark.parametrize(
    "almost",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r.\r\n",
        b"\n\n.\r\n",
        b"\r\n\x00.\r\n",
        b"\r\r\n.\r\r\n",
    ],
)
def test_nothing_but_crlf_dot_crlf_ends_a_message(almost: bytes) -> None:
    text, rest = receive([b"hello" + almost + b"MAIL FROM:<evil@example.org>\r\n"])
    assert rest is None
    assert b"MAIL FROM:<evil@example.org>" in text


@given(st.binary(max_size=60).map(lambda b: b.translate(bytes(b"\r\n.a"[i % 4] for i in range(256)))), st.data())
def test_any_mix_of_line_ends_and_dots_survives_any_cutting(soup: bytes, data: st.DataObject) -> None:
    message = soup + b"\r\n"
    wire = stuffed(message) + b"X"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in itertools.pairwise([0, *cuts, len(wire)])]
    assert receive(pieces) == (message, b"X")
