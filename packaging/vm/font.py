"""The font of the appliance's screen: Debian's Uni2-VGA14 with a few characters that the console writes and it lacks.

It is the only one of Debian's with the letters of all European languages and the half blocks of which QR codes are
drawn, and has room for twenty more. Run as `python3 font.py` on a system with console-setup: writes where setupcon
looks.

Source: psf(5) of kbd, version 1: a header of 4 bytes, the glyphs, then for each glyph the characters that it is for.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

DEBIANS = Path("/usr/share/consolefonts/Uni2-VGA14.psf.gz")
OURS = Path("/etc/console-setup/mailkeep.psf.gz")

_MAGIC = b"\x36\x04"
_GLYPHS, _MODE = 512, 0x03  # 512 glyphs, with a table of characters
_ROWS = 14
_END = b"\xff\xff"


def rows(first: int, *filled: int) -> bytes:
    """A glyph of 8 columns that is empty but for the rows from `first` on."""
    return (bytes(first) + bytes(filled)).ljust(_ROWS, b"\0")


def bar(eighths: int) -> bytes:
    """A block that is filled from below."""
    height = round(_ROWS * eighths / 8)
    return bytes(_ROWS - height) + b"\xff" * height


ADDED = {
    "…": rows(9, 0xDB, 0xDB),
    "✓": rows(2, 0x03, 0x03, 0x06, 0x06, 0xCC, 0xCC, 0x78, 0x30),
    **{character: bar(eighths) for eighths, character in enumerate("▁▂▃▄▅▆▇", start=1) if character != "▄"},
}
"""Characters, none of them in Debian's font, and their glyphs."""


def extended(font: bytes, added: dict[str, bytes]) -> bytes:
    """The font with glyphs put where it has unused ones. Raises ValueError where it is not as it should be."""
    magic, mode, height = struct.unpack_from("<2sBB", font)
    if (magic, mode, height) != (_MAGIC, _MODE, _ROWS):
        raise ValueError("not a PSF font of 512 glyphs of 8 by 14")
    table_at = 4 + _GLYPHS * _ROWS
    glyphs = bytearray(font[4:table_at])
    units = struct.iter_unpack("<2s", font[table_at:])
    table: list[bytes] = [b""]
    for (unit,) in units:
        if unit == _END:
            table.append(b"")
        else:
            table[-1] += unit
    table.pop()
    unused = [number for number, characters in enumerate(table) if not characters]
    if len(table) != _GLYPHS or len(unused) < len(added):
        raise ValueError("the font has no room")
    for number, (character, glyph) in zip(unused, added.items(), strict=False):
        glyphs[number * _ROWS : (number + 1) * _ROWS] = glyph
        table[number] = character.encode("utf-16-le")
    return font[:4] + bytes(glyphs) + b"".join(characters + _END for characters in table)


if __name__ == "__main__":
    OURS.write_bytes(gzip.compress(extended(gzip.decompress(DEBIANS.read_bytes()), ADDED), mtime=0))
