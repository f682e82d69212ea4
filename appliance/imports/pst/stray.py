"""Entries of a PST's indexes that the indexes do not lead to any more.

Outlook writes changed pages of an index anew and leaves the old ones where they are, and what it deletes stays in the
file until something else is written over it. So the leaves that lie about in a file say what a damaged index said, and
what had been in it (docs/decisions/0184-damaged-psts.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from appliance.imports.pst.damage import DamagedError

if TYPE_CHECKING:
    from appliance.imports.pst.index import Index

MOST: Final = 500_000
"""Nodes, and blocks, that are kept at most."""
_READ = 4 * 1024 * 1024
_NODES, _BLOCKS = 0x81, 0x80


class Strays(NamedTuple):
    """Entries by their keys: of nodes as ``Layout.node``, of blocks as ``Layout.block``."""

    nodes: dict[int, tuple[int, ...]]
    blocks: dict[int, tuple[int, ...]]


def gather(index: Index) -> Strays:
    """All of a file, the newest of those with the same key. Reads the whole file."""
    found = Strays({}, {})
    leaves = sorted(_leaves(index), reverse=True)
    for _, at, type in leaves:
        kept = found.nodes if type == _NODES else found.blocks
        page = index.page(index.read(at, index.layout.page), type)
        for key, row in zip(page.keys, page.rows, strict=True):
            if key not in kept and len(kept) < MOST and not index.knows(type, key):
                kept[key] = row
    return Strays(dict(sorted(found.nodes.items())), found.blocks)


def _leaves(index: Index) -> Iterator[tuple[int, int, int]]:
    """Every leaf that the indexes do not lead to: its id, where it lies, its type."""
    size, body = index.layout.page, index.layout.body
    for start in range(0, index.size, _READ):
        chunk = index.read(start, _READ)
        types, again = chunk[body::size], chunk[body + 1 :: size]
        for type in (_NODES, _BLOCKS):
            number = types.find(type)
            while number >= 0:
                if again[number : number + 1] == bytes((type,)):
                    yield from _leaf(index, chunk[number * size : (number + 1) * size], start + number * size, type)
                number = types.find(type, number + 1)


def _leaf(index: Index, content: bytes, at: int, type: int) -> Iterator[tuple[int, int, int]]:
    try:
        page = index.page(content, type)
    except DamagedError:
        return
    if not page.level and page.keys and index.leaf(type, page.keys[0]) != at:
        yield page.id, at, type
