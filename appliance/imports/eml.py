"""A message in a file of its own: EML, a file of a Maildir (maildir(5)) or of an MH folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from appliance.imports import lines, marks
from appliance.imports.base import CHUNK, Entry, ItemError, Message, Meta, Options

_HEAD: Final = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(?:>?From [^\n]*\n)?[!-9;-~]{1,200}[ \t]*:")
_PARTIAL = "The mail program had fetched only the beginning of it from the server; the rest is not there."


def read(file: BinaryIO, _name: str, _options: Options) -> Iterator[Entry]:
    """As ``imports.base.Reader``: one entry, without an id."""
    yield Entry("", (), content=lambda: message(pieces_of(file)))


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """What is left of a file, in pieces."""
    while piece := file.read(CHUNK):
        yield piece


def message(
    pieces: Iterable[bytes], *, flags: tuple[str, ...] = (), received: int | None = None, as_is: bool = False
) -> Message:
    """The message that ``pieces`` are; ``as_is`` where they are known to be what was received once.

    Raises ItemError where they do not begin like a message.
    """
    left = iter(pieces)
    head = b""
    for piece in left:
        head += piece
        if len(head) >= _HEAD:
            break
    head = head.removeprefix(_BYTE_ORDER_MARK)
    if not as_is:
        begins = len(head) - len(head.lstrip(b"\r\n"))
        head = head[begins:]
        if not head:
            raise ItemError("It is empty.")
        if _FIELD.match(head) is None:
            raise ItemError("It is no message: it does not begin with header fields.")
    found = marks.read(head)
    meta = Meta(
        received=received,
        flags=tuple(dict.fromkeys((*flags, *found.flags))),
        warnings=(_PARTIAL,) if found.partial else (),
    )
    whole = _joined(head, left)
    return Message(whole if as_is else lines.as_received(whole, bare=lines.ends_bare(head)), meta)


def _joined(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest
