"""What the process that reads a file and the one that asked for it say to each other.

To the nursery goes one packet for each ``Order``, with the file and a socket beside it (SCM_RIGHTS); it answers with a
``Report``. A child says what it finds on that socket, in frames: one byte for what it is, four for the length, and the
body. For each item comes ``TRYING`` before anything of it is touched; then, for one that has content, ``MESSAGE``,
``PIECE`` as often as need be, and ``END`` or ``SPOILT``. ``LEFT`` and ``BROKEN`` follow ``TRYING`` at once.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from appliance.imports.base import Kind, Options
from appliance.mail.folders import Role

HEAD: Final = struct.Struct(">cI")

HELLO: Final = b"H"  # Hello
BEAT: Final = b"A"  # nothing: it goes on, in a part of the file where there is nothing to tell of
TRYING: Final = b"T"  # Trying
MESSAGE: Final = b"M"  # Meta
PIECE: Final = b"P"  # bytes
END: Final = b"E"  # nothing: the message is whole
SPOILT: Final = b"S"  # text: why the rest of the message cannot be had
LEFT: Final = b"L"  # text: why the item is not wanted
BROKEN: Final = b"B"  # text: why it cannot be read
FAILED: Final = b"F"  # text: why the rest of the file cannot be read
DAMAGED: Final = b"X"  # text: the sealed file itself is not what was written
DONE: Final = b"D"  # nothing: that was all

LONGEST: Final = 4 * 1024 * 1024
"""Most bytes of a frame's body."""
LONGEST_WHY: Final = 1000  # characters


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the nursery is asked for: to read a file, of which items before ``skip`` are passed over; or, with ``end``,
    to end the child of that number. ``key`` is empty for a file that is not sealed."""

    number: int
    end: bool = False
    name: str = ""
    size: int = 0
    key: bytes = b""
    options: Options = Options()
    skip: int = 0
    memory: int = 0
    cpu_seconds: int = 0

    def __repr__(self) -> str:
        return f"Order(number={self.number}, end={self.end}, name={self.name!r}, skip={self.skip})"


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """The nursery's answer: how the child ended, as ``os.waitstatus_to_exitcode`` gives it; None where it had to be
    killed. ``failed`` where none could be started. The first report, that the nursery is ready, has the number 0."""

    number: int
    code: int | None = None
    failed: str = ""


class Hello(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the file is, and how many items it says are in it."""

    format: str
    expected: int | None = None


class Trying(msgspec.Struct, frozen=True, omit_defaults=True):
    """The item that comes next; its fields are those of ``imports.base.Entry``."""

    number: int
    id: str
    folder: tuple[str, ...] = ()
    kind: Kind = "mail"
    role: Role = ""
