"""Apple Mail's emlx: the message's length in a line, the message, and a property list of what the program knows of it.

In a ``.partial.emlx`` attachments are missing; they lie in files of their own (``imports.apple``), or only on the
server.
"""

from __future__ import annotations

import plistlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO, Final

import msgspec

from appliance.imports import apple, eml
from appliance.imports.base import CHUNK, Entry, ItemError, Message, Options

_HELD: Final = 64 * 1024 * 1024  # of a message, so that the list behind it can be read first
_LONGEST_LIST = 1024 * 1024
_FLAGS: Final = ((0, "seen"), (1, "deleted"), (2, "answered"), (4, "flagged"), (6, "draft"), (8, "forwarded"))
"""Bits of ``flags`` in the property list."""

_NO_FILES: Final[Mapping[str, apple.Opener]] = MappingProxyType({})

_NO_LENGTH = "It is no emlx file: it does not begin with the length of a message."
_CUT = "The file ends before the message does."
_PARTIAL = "Apple Mail keeps attachments of this message in other files, or only on the server; {count} are missing."


def read(file: BinaryIO, name: str, _options: Options) -> Iterator[Entry]:
    """As ``imports.base.Reader``: one entry, without an id."""
    yield Entry("", (), content=lambda: message(file, partial=is_partial(name)))


def is_partial(name: str) -> bool:
    """Whether a file's name says that attachments are missing in it."""
    return name.lower().endswith(".partial.emlx")


def message(file: BinaryIO, *, partial: bool = False, files: Mapping[str, apple.Opener] = _NO_FILES) -> Message:
    """The message in a file that is read from here on; if it is ``partial``, with the attachments ``files`` by the
    numbers of their parts. Raises ItemError."""
    line = file.readline(64).strip()
    if not line.isdigit() or len(line) > 12:
        raise ItemError(_NO_LENGTH)
    length = int(line)
    if length > _HELD:
        return eml.message(_exactly(file, length))
    held = file.read(length)
    if len(held) < length:
        raise ItemError(_CUT)
    flags, received = _known(file.read(_LONGEST_LIST))
    if not partial:
        return eml.message([held], flags=flags, received=received)
    whole = apple.whole(held, files)
    made = eml.message(whole.pieces, flags=flags, received=received)
    warnings = made.meta.warnings
    if whole.missing:
        warnings += (_PARTIAL.format(count=whole.missing),)
    return Message(made.pieces, msgspec.structs.replace(made.meta, exact=False, warnings=warnings))


def _exactly(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = file.read(min(CHUNK, length))
        if not piece:
            raise ItemError(_CUT)
        length -= len(piece)
        yield piece


def _known(properties: bytes) -> tuple[tuple[str, ...], int | None]:
    """The flags, and when it was received, in microseconds; nothing where the list cannot be read."""
    try:
        values = plistlib.loads(properties.strip(), fmt=plistlib.FMT_XML)
    except Exception:  # whatever the parser makes of a broken list, nothing but flags is lost
        return (), None
    if not isinstance(values, dict):
        return (), None
    bits, received = values.get("flags"), values.get("date-received")
    flags = tuple(flag for bit, flag in _FLAGS if isinstance(bits, int) and bits >> bit & 1)
    if isinstance(received, int | float) and 0 < received < 2**33:
        return flags, int(received) * 1_000_000
    return flags, None
