"""A message as a multi-line response (RFC 1939 section 3): dots stuffed, ended by CRLF . CRLF.

The original goes out as it is. Two things are added on the way: a dot before each line that begins with one, which
the client takes away again, and a CRLF behind an original that does not end in one, because the final dot must begin
a line. A bare LF stays what it is, but a dot behind it is stuffed too: some clients end lines there, and would
take it for the end of the message. (They take the added dot away again; a client that ends lines at CRLF only keeps
it. Such dots are found in broken mail only.)
"""

from __future__ import annotations

import re

END = b".\r\n"
_CRLF = b"\r\n"
_STUFFED = re.compile(rb"\n\.").search


class Stuffer:
    """Stuffs a message that comes in pieces. ``octets`` counts what the client has when the dots are out again."""

    def __init__(self) -> None:
        self.octets = 0
        self._tail = _CRLF  # what went before, at most two octets; the response's first line ended in CRLF

    def feed(self, piece: bytes) -> bytes:
        """The piece as it goes out."""
        if not piece:
            return piece
        self.octets += len(piece)
        first = b"." if piece[0] == 0x2E and self._tail[-1] == 0x0A else b""
        self._tail = (self._tail + piece[-2:])[-2:]
        # Most have no such dot, and the expression finds that out in half the time that replace takes.
        return first + (piece.replace(b"\n.", b"\n..") if _STUFFED(piece) is not None else piece)

    def finish(self) -> bytes:
        """What ends the response."""
        if self._tail == _CRLF:
            return END
        self.octets += len(_CRLF)
        return _CRLF + END


class Beginning:
    """Takes the header, the empty line and ``lines`` lines of the body from a message that comes in pieces (TOP)."""

    def __init__(self, lines: int) -> None:
        self.complete = False
        self._left = lines
        self._in_header = True
        self._line_is_empty = True  # nothing but perhaps a CR since the last LF

    def feed(self, piece: bytes) -> bytes:
        """As much of the piece as belongs to it; ``complete`` is set when nothing more will."""
        at = 0
        while not self.complete:
            end = piece.find(b"\n", at)
            if end < 0:
                self._line_is_empty = self._line_is_empty and not piece[at:].strip(b"\r")
                return piece
            empty = self._line_is_empty and not piece[at:end].strip(b"\r")
            self._line_is_empty = True
            at = end + 1
            if not self._in_header:
                self._left -= 1
            elif empty:
                self._in_header = False
            self.complete = not self._in_header and self._left <= 0
        return piece[:at]


def whole(original: bytes) -> bytes:
    """The whole response to RETR behind its first line."""
    stuffer = Stuffer()
    return stuffer.feed(original) + stuffer.finish()


def octets_of(length: int, tail: bytes) -> int:
    """The size that LIST tells, of an original with this length whose last octets (two, or all) are ``tail``."""
    return length if not length or tail == _CRLF else length + len(_CRLF)
