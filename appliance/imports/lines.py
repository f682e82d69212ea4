"""Messages as mail servers give them: with CRLF at the end of each line (docs/decisions/0188).

What programs keep on a Unix disk ends its lines with LF alone. Such a message becomes what it was when it was received,
so that it is the same, byte for byte, as its copy on a server. A message whose first line ends with CRLF is left as it
is, whatever comes after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_BARE = re.compile(rb"(?<!\r)\n")


def ends_bare(head: bytes) -> bool:
    """Whether the first line of a message that begins with ``head`` ends with LF alone."""
    end = head.find(b"\n")
    return end >= 0 and head[end - 1 : end] != b"\r"


def as_received(pieces: Iterable[bytes], *, bare: bool) -> Iterator[bytes]:
    """The pieces of a message, with CRLF where it has LF alone if ``bare``; else as they are."""
    if not bare:
        yield from pieces
        return
    half = False  # the piece before ended with the first half of CRLF
    for piece in pieces:
        if half and piece.startswith(b"\n"):
            yield b"\n"
            piece = piece[1:]
        half = piece.endswith(b"\r") or (half and not piece)
        yield _BARE.sub(b"\r\n", piece) if b"\r" in piece else piece.replace(b"\n", b"\r\n")
