"""A storage as a compound file of its own (MS-CFB, version 3): what an OLE object was before it was attached.

The same storage always gives the same bytes: times are left out, and everything lies in the order of its names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.mapi.compound import SIGNATURE, CompoundError, Storage, Stream

_SECTOR = 512
_MINI = 64
_CUTOFF = 4096
_PER_SECTOR = _SECTOR // 4
_FREE, _END, _FAT, _DIFAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFC
_IN_HEADER = 109  # FAT sectors that the header itself lists
_LARGEST = 2**31 - 2**20  # bytes; section 2.6.3
_DEEPEST = 100
_BLACK = 1
_STORAGE, _STREAM, _ROOT = 1, 2, 5


@dataclass(slots=True)
class _Node:
    """An entry of the directory to be: its place in the tree, and where its bytes begin."""

    name: str
    kind: int
    storage: Storage | None = None
    stream: Stream | None = None
    size: int = 0
    start: int = 0
    left: int = _FREE
    right: int = _FREE
    child: int = _FREE


def written(storage: Storage) -> Iterator[bytes]:
    """The compound file with that storage as its root, in pieces. Raises CompoundError where it cannot be read."""
    nodes = [_Node("Root Entry", _ROOT, storage)]
    _add(nodes, 0, storage, 0)
    streams = [node for node in nodes if node.size]
    large = [node for node in streams if node.size >= _CUTOFF]
    small = [node for node in streams if node.size < _CUTOFF]

    table: list[int] = []
    for node in large:
        node.start = _chain(table, -(-node.size // _SECTOR))
    mini_table: list[int] = []
    for node in small:
        node.start = _chain(mini_table, -(-node.size // _MINI))
    nodes[0].size = len(mini_table) * _MINI
    nodes[0].start = _chain(table, -(-nodes[0].size // _SECTOR))
    mini_sectors = -(-len(mini_table) // _PER_SECTOR)
    mini_start = _chain(table, mini_sectors)
    directory = _chain(table, -(-len(nodes) // 4))
    if len(table) * _SECTOR > _LARGEST:
        raise CompoundError("The object is too large for a compound file of its own.")
    fat_sectors, more_sectors = _own_sectors(len(table))
    first_fat, first_more = len(table), len(table) + fat_sectors
    table += [_FAT] * fat_sectors + [_DIFAT] * more_sectors
    places = list(range(first_fat, first_fat + fat_sectors))

    yield struct.pack(
        "<8s16xHHHHH6x9I",
        SIGNATURE, 0x3E, 3, 0xFFFE, 9, 6, 0, fat_sectors, directory, 0, _CUTOFF,
        mini_start, mini_sectors, first_more if more_sectors else _END, more_sectors,
    ) + _numbers(places[:_IN_HEADER], _IN_HEADER)  # fmt: skip
    for node in large:
        yield from _padded(node, _SECTOR)
    yield b"".join(piece for node in small for piece in _padded(node, _MINI)).ljust(_up(nodes[0].size, _SECTOR), b"\0")
    yield _numbers(mini_table, mini_sectors * _PER_SECTOR)
    yield b"".join(map(_packed, nodes)).ljust(_up(len(nodes) * 128, _SECTOR), b"\0")
    yield _numbers(table, fat_sectors * _PER_SECTOR)
    for number in range(more_sectors):
        begin = _IN_HEADER + number * (_PER_SECTOR - 1)
        after = first_more + number + 1 if number + 1 < more_sectors else _END
        yield _numbers(places[begin : begin + _PER_SECTOR - 1], _PER_SECTOR - 1) + struct.pack("<I", after)


def _add(nodes: list[_Node], parent: int, storage: Storage, depth: int) -> None:
    """Append what the storage holds, as a balanced tree in the order of the names (section 2.6.4)."""
    if depth > _DEEPEST:
        raise CompoundError("The object's storages lie too deeply within one another.")
    inner = [_Node(one.name, _STREAM, stream=one, size=one.size, start=_END) for one in storage.streams()]
    inner += [_Node(one.name, _STORAGE, one) for one in storage.storages()]
    inner.sort(key=lambda node: (len(node.name), node.name.upper()))
    first = len(nodes)
    nodes += inner
    nodes[parent].child = _tree(nodes, first, len(nodes))
    for place, node in enumerate(inner):
        if node.storage is not None:
            _add(nodes, first + place, node.storage, depth + 1)


def _tree(nodes: list[_Node], begin: int, end: int) -> int:
    if begin >= end:
        return _FREE
    middle = (begin + end) // 2
    nodes[middle].left = _tree(nodes, begin, middle)
    nodes[middle].right = _tree(nodes, middle + 1, end)
    return middle


def _chain(table: list[int], count: int) -> int:
    """Add a chain of so many sectors that lie one behind the other; its first, or the mark for none."""
    if not count:
        return _END
    start = len(table)
    table += range(start + 1, start + count)
    table.append(_END)
    return start


def _own_sectors(others: int) -> tuple[int, int]:
    """How many sectors the table takes that lists these and itself, and the list of where it lies."""
    fat = more = 0
    while True:
        needed = -(-(others + fat + more) // _PER_SECTOR)
        needed_more = -(-max(0, needed - _IN_HEADER) // (_PER_SECTOR - 1))
        if (needed, needed_more) == (fat, more):
            return fat, more
        fat, more = needed, needed_more


def _packed(node: _Node) -> bytes:
    name = node.name.encode("utf-16-le")[:62]
    clsid, state = (node.storage.clsid, node.storage.state) if node.storage is not None else (bytes(16), 0)
    return struct.pack(
        "<64sHBBIII16sI16xIQ",
        name, len(name) + 2, node.kind, _BLACK, node.left, node.right, node.child, clsid, state, node.start, node.size,
    )  # fmt: skip


def _padded(node: _Node, unit: int) -> Iterator[bytes]:
    if node.stream is not None:
        yield from node.stream.pieces()
    yield bytes(-node.size % unit)


def _numbers(numbers: list[int], count: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers).ljust(4 * count, b"\xff")


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
