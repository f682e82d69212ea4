"""The machine's own screen: which characters its font can draw (ioctl_console(2)).

A virtual terminal has a font of 256 or 512 glyphs and a table of the characters that they stand for. A terminal of
another kind (a serial line, SSH, a window) has a font that only the person before it sees.
"""

from __future__ import annotations

import ctypes
import fcntl
from collections.abc import Callable
from typing import Final

GIO_UNIMAP: Final = 0x4B66
"""linux/kd.h: get the table from characters to glyphs."""

_MOST_PAIRS: Final = 0xFFFF  # the kernel counts them in 16 bits


class Pair(ctypes.Structure):
    """``struct unipair``: a character of Unicode's first plane, and its glyph's place in the font."""

    _fields_ = (("unicode", ctypes.c_ushort), ("fontpos", ctypes.c_ushort))


class Table(ctypes.Structure):
    """``struct unimapdesc``: room for pairs; the kernel fills it, and says how many there are."""

    _fields_ = (("entry_ct", ctypes.c_ushort), ("entries", ctypes.POINTER(Pair)))


Ask = Callable[[int, int, Table], object]
"""ioctl(2) on a file descriptor. Raises OSError."""


def characters(terminal: int, ask: Ask = fcntl.ioctl) -> frozenset[str] | None:
    """What the terminal's font can draw; None where it is no virtual terminal, which cannot tell.

    ``terminal`` is an open file descriptor.
    """
    pairs = (Pair * _MOST_PAIRS)()
    table = Table(_MOST_PAIRS, pairs)
    try:
        ask(terminal, GIO_UNIMAP, table)
    except OSError:
        return None
    return frozenset(chr(pairs[place].unicode) for place in range(table.entry_ct))
