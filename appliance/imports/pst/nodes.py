"""The data of a PST's nodes and blocks (MS-PST section 2.2.2.8).

Whatever a file says, everything here ends, and no data is longer than the file that it comes from, or than zlib can
make of it. What is damaged raises ``DamagedError``; what is odd but can be read (a wrong checksum) is noted in the list
that each call is given.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from appliance.imports.base import FileError
from appliance.imports.pst import crypt
from appliance.imports.pst.damage import DamagedError, Notes
from appliance.imports.pst.index import Index, Node
from appliance.imports.pst.layout import CYCLIC, PERMUTED, PLAIN, weak_crc

PIECE: Final = 256 * 1024
"""Bytes that data is handed over in, about."""
_INFLATED = 1032  # times as long as its deflated form data can be (zlib's own limit)
_WRONG_CRC = "the checksum of a part does not fit"


class Blocks:
    """The blocks of an open PST, in plain."""

    def __init__(self, index: Index) -> None:
        """Raises FileError where they are encrypted in a way that is not known."""
        self.index = index
        self.layout = index.layout
        self._crypt = index.head[index.layout.crypt_at]
        if self._crypt not in (PLAIN, PERMUTED, CYCLIC):
            raise FileError("This PST is encrypted in a way that is not known, so it cannot be read.")

    def block(self, id: int, notes: Notes) -> bytes:
        """A block's bytes. Raises DamagedError."""
        place = self.index.block(id)
        if place is None:
            raise DamagedError(f"block {id:#x} is missing")
        id, at, size = place.row[:3]
        kind = self.layout
        whole = -(-(size + kind.footer.size) // kind.align) * kind.align
        stored = self.index.read(at, whole)
        if len(stored) < whole:
            raise DamagedError(f"block {id:#x} lies beyond the end of the file")
        crc, name = kind.block_end(stored)
        if name & ~1 != id & ~1:
            raise DamagedError(f"something else lies where block {id:#x} should")
        data = stored[:size]
        if weak_crc(data) != crc:
            if place.stray:
                raise DamagedError(f"block {id:#x} was written over")
            notes.append(_WRONG_CRC)
        if kind.inflates and place.row[3] and place.row[3] != size:
            data = _inflated(data, place.row[3])
        return data if id & 2 else self._plain(data, id)

    def leaves(self, id: int, notes: Notes) -> Iterator[int]:
        """The ids of the blocks that hold a node's data, in order (section 2.2.2.8.3.2). Raises DamagedError."""
        if not id & 2:
            return iter((id,) if id else ())
        return self._leaves(id, 2, notes)

    def pieces(self, id: int, notes: Notes) -> Iterator[bytes]:
        """A node's data, in pieces of about ``PIECE``. Raises DamagedError, also in between."""
        most = self.index.size * (_INFLATED if self.layout.inflates else 1)
        held: list[bytes] = []
        size = 0
        for leaf in self.leaves(id, notes):
            block = self.block(leaf, notes)
            most -= len(block)
            if most < 0:
                raise DamagedError("data longer than the file")
            held.append(block)
            size += len(block)
            if size >= PIECE:
                yield b"".join(held)
                held, size = [], 0
        if held:
            yield b"".join(held)

    def data(self, id: int, most: int, notes: Notes) -> bytes:
        """A node's data, of at most ``most`` bytes. Raises DamagedError, also where it is longer."""
        found: list[bytes] = []
        for piece in self.pieces(id, notes):
            most -= len(piece)
            if most < 0:
                raise DamagedError("a value is too long to be read")
            found.append(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def subnodes(self, id: int, notes: Notes) -> dict[int, Node]:
        """The subnodes that a block lists, by id (section 2.2.2.8.3.3). Raises DamagedError."""
        found: dict[int, Node] = {}
        if id:
            self._subnodes(id, found, 1, notes)
        return found

    def _subnodes(self, id: int, found: dict[int, Node], above: int, notes: Notes) -> None:
        content = self.block(id, notes)
        if len(content) < self.layout.sub_header or content[0] != 2 or content[1] > above:
            raise DamagedError(f"block {id:#x} lists no subnodes")
        count = int.from_bytes(content[2:4], "little")
        form = self.layout.sub_branch if content[1] else self.layout.sub_leaf
        rows = content[self.layout.sub_header :][: count * form.size]
        rows = rows[: len(rows) // form.size * form.size]
        if not content[1]:
            found.update((row[0], Node(*row)) for row in form.iter_unpack(rows))
            return
        for _, below in form.iter_unpack(rows):
            self._subnodes(below, found, 0, notes)

    def _leaves(self, id: int, above: int, notes: Notes) -> Iterator[int]:
        content = self.block(id, notes)
        if len(content) < 8 or content[0] != 1 or not 1 <= content[1] <= above:
            raise DamagedError(f"block {id:#x} lists no blocks")
        count = int.from_bytes(content[2:4], "little")
        width = struct.calcsize("<" + self.layout.id)
        if 8 + count * width > len(content):
            raise DamagedError(f"block {id:#x} is cut short")
        for one in struct.unpack_from(f"<{count}{self.layout.id}", content, 8):
            if content[1] == 2:
                yield from self._leaves(one, 1, notes)
            elif one & 2:
                raise DamagedError(f"block {one:#x} is no data")
            else:
                yield one

    def _plain(self, data: bytes, id: int) -> bytes:
        if self._crypt == PERMUTED:
            return crypt.permuted(data)
        return crypt.cyclic(data, id & 0xFFFFFFFF) if self._crypt == CYCLIC else data


def _inflated(data: bytes, size: int) -> bytes:
    try:
        found = zlib.decompressobj().decompress(data, size)
    except zlib.error as error:
        raise DamagedError("a block cannot be inflated") from error
    if len(found) != size:
        raise DamagedError("a block inflates to another size than it should")
    return found
