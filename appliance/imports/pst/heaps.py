"""The middle layer of a PST: heaps, and the property bags and tables in them (MS-PST section 2.3, LTP)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from appliance.imports.pst.damage import DamagedError, Notes
from appliance.imports.pst.index import Node
from appliance.imports.pst.nodes import Blocks
from appliance.mapi import values

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a value that is read into memory; what is longer has to be read in pieces."""

_HEAP, _TREE, _TABLE, _BAG = 0xEC, 0xB5, 0x7C, 0xBC
_DEEPEST = 8
_MOST_RECORDS = 4_000_000
_MOST_BLOCKS = 0x10000  # that a HID can name
_NARROWEST = 8  # bytes of a row: its id and its version
_BAG_RECORD = "HHI"  # number, type, value or place
_BAG_WIDTH = 8
_COLUMN = struct.Struct("<HHHBB")


Cell = tuple[int, int | bytes]
"""A property: its type, and its value as it stands in a row, or else the number that stands for it in a property bag:
the value itself where it takes four bytes or fewer, else where it lies (HNID)."""
Cells = Mapping[int, Cell]
"""A property bag's or a table row's properties by their numbers."""


def reference(cell: Cell) -> int | None:
    """Where the value lies; None where it stands in the cell itself."""
    type, stands = cell
    return None if isinstance(stands, bytes) or values.FIXED.get(type, 8) <= 4 else stands


class Heap:
    """A heap on a node (section 2.3.1), and the node's subnodes beside."""

    def __init__(self, blocks: Blocks, node: Node, notes: Notes) -> None:
        """Raises DamagedError where there is no heap."""
        self._file = blocks
        self._node = node
        self.notes = notes
        self._ids = tuple(islice(blocks.leaves(node.data, notes), _MOST_BLOCKS))
        self._blocks: dict[int, tuple[bytes, tuple[int, ...]]] = {}
        self._subnodes: dict[int, Node] | None = None
        head, _ = self._block(0)
        if len(head) < 12 or head[2] != _HEAP:
            raise DamagedError("a heap is damaged")
        self.kind = head[3]
        self.root = int.from_bytes(head[4:8], "little")

    @property
    def subnodes(self) -> dict[int, Node]:
        """The node's subnodes, by id. Raises DamagedError."""
        if self._subnodes is None:
            self._subnodes = self._file.subnodes(self._node.sub, self.notes)
        return self._subnodes

    def read(self, cell: Cell) -> bytes:
        """The value of a property, as it is stored. Raises DamagedError."""
        at, stands = reference(cell), cell[1]
        if at is not None:
            return self.value(at)
        return stands if isinstance(stands, bytes) else stands.to_bytes(4, "little")

    def value(self, id: int) -> bytes:
        """What lies at a HID or in a subnode (HNID); b"" for 0. Raises DamagedError, also beyond ``LARGEST``."""
        if id & 0x1F:
            return self._file.data(self._subnode(id).data, LARGEST, self.notes)
        return self._item(id) if id else b""

    def pieces(self, id: int) -> Iterator[bytes]:
        """What lies there, in pieces, however much it is. Raises DamagedError, also in between."""
        if id & 0x1F:
            return self._file.pieces(self._subnode(id).data, self.notes)
        return iter((self._item(id),) if id else ())

    def rows(self, id: int, width: int) -> Iterator[bytes]:
        """The rows of a table's matrix: none goes across the end of a block (section 2.3.4.4)."""
        if id & 0x1F:
            leaves = self._file.leaves(self._subnode(id).data, self.notes)
            parts: Iterator[bytes] = (self._file.block(leaf, self.notes) for leaf in leaves)
        else:
            parts = iter((self._item(id),) if id else ())
        for part in parts:
            for at in range(0, len(part) - width + 1, width):
                yield part[at : at + width]

    def records(self, id: int) -> Iterator[tuple[bytes, int, int]]:
        """The leaves of a tree on the heap (BTH, section 2.3.2): records' bytes, bytes of a key, of a record."""
        head = self._item(id)
        if len(head) < 8 or head[0] != _TREE or head[1] not in (2, 4, 8, 16) or head[3] > _DEEPEST:
            raise DamagedError("a tree on a heap is damaged")
        key, value = head[1], head[2]
        left = _MOST_RECORDS
        open_ = [(int.from_bytes(head[4:8], "little"), head[3])]
        while open_:
            at, level = open_.pop()
            content = self._item(at) if at else b""
            width = key + (4 if level else value)
            left -= len(content) // width + 1
            if left < 0:
                raise DamagedError("a tree on a heap goes round in circles")
            content = content[: len(content) // width * width]
            if not level:
                yield content, key, width
                continue
            below = [int.from_bytes(content[end - 4 : end], "little") for end in range(width, len(content) + 1, width)]
            open_.extend((one, level - 1) for one in reversed(below))

    def _subnode(self, id: int) -> Node:
        found = self.subnodes.get(id)
        if found is None:
            raise DamagedError(f"subnode {id:#x} is missing")
        return found

    def _item(self, id: int) -> bytes:
        shift = self._file.layout.heap_shift
        block, bounds = self._blocks.get(id >> shift) or self._block(id >> shift)
        index = (id & (1 << shift) - 1) >> 5
        if id & 0x1F or not 0 < index < len(bounds):
            raise DamagedError(f"{id:#x} is missing in a heap")
        start, end = bounds[index - 1], bounds[index]
        if not start <= end <= len(block):
            raise DamagedError(f"{id:#x} of a heap is damaged")
        return block[start:end]

    def _block(self, number: int) -> tuple[bytes, tuple[int, ...]]:
        """A block of the heap, and where the items in it begin; the last one's end comes last (section 2.3.1.5)."""
        if number >= len(self._ids):
            raise DamagedError("a heap is cut short")
        block = self._file.block(self._ids[number], self.notes)
        table = int.from_bytes(block[:2], "little")
        count = int.from_bytes(block[table : table + 2], "little") + 1
        if table + 4 + 2 * count > len(block):
            raise DamagedError("a heap is damaged")
        found = self._blocks[number] = block, struct.unpack_from(f"<{count}H", block, table + 4)
        return found


def bag(heap: Heap) -> dict[int, Cell]:
    """The properties of a node (PC, section 2.3.3). Raises DamagedError."""
    if heap.kind != _BAG:
        raise DamagedError("these are no properties")
    found: dict[int, Cell] = {}
    for content, _, width in heap.records(heap.root):
        if width != _BAG_WIDTH:
            raise DamagedError("properties are laid out in an unknown way")
        flat = struct.unpack("<" + _BAG_RECORD * (len(content) // width), content)
        found.update(zip(flat[::3], zip(flat[1::3], flat[2::3], strict=True), strict=True))
    return found


class Table:
    """A table (TC, section 2.3.4)."""

    def __init__(self, heap: Heap) -> None:
        """Raises DamagedError where it is none."""
        self._heap = heap
        head = heap.value(heap.root) if heap.kind == _TABLE else b""
        if len(head) < 22 or head[0] != _TABLE or len(head) < 22 + 8 * head[1]:
            raise DamagedError("this is no table")
        self._present, self._width = struct.unpack_from("<HH", head, 6)
        self._index, self._matrix = struct.unpack_from("<II", head, 10)
        columns = _COLUMN.iter_unpack(head[22 : 22 + 8 * head[1]])
        self._columns = {id: (type, at, size, bit) for type, id, at, size, bit in columns}
        if self._width < _NARROWEST:
            raise DamagedError("a table without columns")

    def ids(self) -> list[int]:
        """The ids of all rows, rising: of nodes, where the table is one of them. Raises DamagedError."""
        found: list[int] = []
        for content, key, width in self._heap.records(self._index):
            if key != 4:
                raise DamagedError("a table's index is laid out in an unknown way")
            found.extend(int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), width))
        return sorted(set(found))

    def rows(self) -> Iterator[Row]:
        """Each row's properties, in the table's order. Raises DamagedError."""
        return (Row(row, self._present, self._columns) for row in self._heap.rows(self._matrix, self._width))


class Row(Mapping[int, Cell]):
    """A table's row: its properties, taken out of it as they are asked for."""

    def __init__(self, row: bytes, present: int, columns: Mapping[int, tuple[int, int, int, int]]) -> None:
        self._row = row
        self._present = present
        self._columns = columns

    def __getitem__(self, id: int) -> Cell:
        type, at, size, bit = self._columns[id]
        row, present = self._row, self._present + (bit >> 3)
        if present >= len(row) or not row[present] & 0x80 >> (bit & 7) or at + size > len(row):
            raise KeyError(id)
        stands = row[at : at + size]
        return type, stands if values.FIXED.get(type, 9) <= 8 else int.from_bytes(stands[:4], "little")

    def __iter__(self) -> Iterator[int]:
        return (id for id in self._columns if id in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
