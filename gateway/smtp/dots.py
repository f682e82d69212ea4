"""Where a message sent by DATA ends, and its transparency dots (RFC 5321 section 4.5.2), in bulk.

Only CR LF "." CR LF ends a message; a bare LF or CR is content like any other octet, so that nobody can
smuggle a second message behind a line end that another server reads differently (RFC 5321 section 4.1.1.4).
"""

from __future__ import annotations

_END = b"\r\n.\r\n"


class DotReader:
    """Takes what arrives after 354, in pieces of any size; gives back the message before dot-stuffing."""

    __slots__ = ("_held", "_skip")

    def __init__(self) -> None:
        # The text begins at the start of a line: an imagined CRLF before it makes its first line like any
        # other.
        self._held = b"\r\n"
        self._skip = 2

    def feed(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """The part of the message now known, and, once the end was seen, what came after it (else None)."""
        if self._held:
            octets = self._held + octets
        end = octets.find(_END)
        if end >= 0:
            return self._unstuffed(octets[: end + 2]), octets[end + len(_END) :]
        kept = _beginning_of_end(octets)
        self._held = octets[len(octets) - kept :]
        return self._unstuffed(octets[: len(octets) - kept] if kept else octets), None

    def _unstuffed(self, octets: bytes) -> bytes:
        text = octets.replace(b"\r\n.", b"\r\n")
        if self._skip and text:
            text, self._skip = text[self._skip :], 0
        return text


def _beginning_of_end(octets: bytes) -> int:
    """How many octets at the end may be the beginning of CRLF.CRLF."""
    for length in (4, 3, 2, 1):
        if octets.endswith(_END[:length]):
            return length
    return 0
