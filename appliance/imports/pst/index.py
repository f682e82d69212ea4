"""Where the nodes and blocks of a PST lie: its two indexes (MS-PST section 2.2.2.7.7).

Trees go down at most as far as their roots are high, so every look ends. Where a part of an index is lost, what it said
is looked for in the whole file (``stray``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO, Final, NamedTuple

from appliance.imports.base import FileError
from appliance.imports.pst import stray
from appliance.imports.pst.damage import DamagedError
from appliance.imports.pst.layout import HEAD, Layout, layout, recognised, weak_crc

NODES: Final = 0x81
BLOCKS: Final = 0x80
"""Types of an index's pages (section 2.2.2.7.1)."""
_KEPT = 2048  # pages in memory
_HIGHEST = 12  # levels of a tree: 15 entries a page make 15 ** 12

Row = tuple[int, ...]
"""An entry of an index, as ``Layout`` says."""


class Node(NamedTuple):
    """A node (NBTENTRY): ids of itself, its data block, the block of its subnodes (0 for none), its parent's."""

    id: int
    data: int
    sub: int
    parent: int = 0


class Page(NamedTuple):
    """A page of an index: its id, its height above the leaves, its entries and their keys."""

    id: int
    level: int
    keys: tuple[int, ...]
    rows: tuple[Row, ...]


class Place(NamedTuple):
    """Where a block lies: its entry, and whether that was found beside the index."""

    row: Row
    stray: bool


class Index:
    """An open PST by its indexes, of which it keeps a bounded number of pages."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises FileError where the file is no PST, or of an unknown kind."""
        self._given = file  # who lets go of a buffer closes the file in it
        self._file = getattr(file, "raw", file)  # reads are small and all over the file: a buffer would read too much
        self.size: int = self._file.seek(0, 2)
        self.head = self.read(0, HEAD).ljust(HEAD, b"\0")
        self.layout = _layout(self.head)
        nodes, blocks = self.layout.roots.unpack_from(self.head, self.layout.roots_at)
        self._roots = {NODES: nodes, BLOCKS: blocks}
        self._pages: dict[tuple[int, int], Page] = {}
        self._flawed: set[int] = set()  # types of which a page was read though its checksum does not fit

    def read(self, at: int, size: int) -> bytes:
        """The file's bytes there, fewer where it ends."""
        if at >= self.size:
            return b""
        self._file.seek(at)
        found: bytes = self._file.read(size) or b""
        while len(found) < size and (more := self._file.read(size - len(found))):
            found += more
        return found

    def node(self, id: int) -> Node | None:
        """The node with that id, None where there is none."""
        row = self._known(NODES, id)
        if row is None and NODES in self._flawed:
            row = self.strays.nodes.get(id)
        return None if row is None else Node(*row)

    def nodes(self) -> Iterator[Node]:
        """Every node, each once: by rising ids, those of lost parts of the index last."""
        yield from (Node(*row) for row in self._walk(self._roots[NODES], _HIGHEST) if row is not None)
        if not self.whole:
            yield from (Node(*row) for row in self.strays.nodes.values())

    @cached_property
    def whole(self) -> bool:
        """Whether every part of the nodes' index is as it was written. The first look takes reading all of it."""
        return None not in self._walk(self._roots[NODES], _HIGHEST) and NODES not in self._flawed

    def block(self, id: int) -> Place | None:
        """Where the block with that id lies, None where nothing says it."""
        key = id & ~1
        row = self._known(BLOCKS, key)
        if row is not None:
            return Place(row, stray=False)
        if BLOCKS in self._flawed or "strays" in self.__dict__:  # it is damaged, or was searched already
            row = self.strays.blocks.get(key)
        return None if row is None else Place(row, stray=True)

    @cached_property
    def strays(self) -> stray.Strays:
        """What stands in pages that the indexes do not lead to, be it that they are damaged or that it was deleted. The
        first look takes reading the whole file."""
        return stray.gather(self)

    def leaf(self, type: int, key: int) -> int | None:
        """Where the leaf lies that the key belongs into; None where the way there is lost."""
        try:
            return self._leaf(type, key)[0]
        except DamagedError:
            return None

    def knows(self, type: int, key: int) -> bool:
        """Whether an index has that entry."""
        return self._known(type, key) is not None

    def page(self, page: bytes, type: int) -> Page:
        """A page of an index. Raises DamagedError, also where its checksum does not fit."""
        if not self._fits(page):
            raise DamagedError("an index is damaged: its checksum does not fit")
        return self._parsed(page, type)

    def _parsed(self, page: bytes, type: int) -> Page:
        kind = self.layout
        if len(page) < kind.page:
            raise DamagedError("an index goes on beyond the end of the file")
        first, second, _, id = kind.page_end(page)
        count, _, width, level = kind.counts.unpack_from(page)
        form = kind.branch if level else (kind.node if type == NODES else kind.block)
        if first != type or second != type or level >= _HIGHEST or width < form.size or count * width > kind.body:
            raise DamagedError("an index is damaged")
        mask = ~1 if type == BLOCKS else ~0
        rows = tuple(form.unpack_from(page, at) for at in range(0, count * width, width))
        return Page(id, level, tuple(row[0] & mask for row in rows), rows)

    def _fits(self, page: bytes) -> bool:
        kind = self.layout
        return len(page) == kind.page and kind.page_end(page)[2] == weak_crc(page[: kind.body])

    def _known(self, type: int, key: int) -> Row | None:
        """The entry with that key; None also where the way to it is lost."""
        try:
            _, page = self._leaf(type, key)
        except DamagedError:
            self._flawed.add(type)
            return None
        place = bisect_right(page.keys, key) - 1
        return page.rows[place] if place >= 0 and page.keys[place] == key else None

    def _leaf(self, type: int, key: int) -> tuple[int, Page]:
        at = self._roots[type]
        page = self._page(at, type)
        while page.level:
            place = max(bisect_right(page.keys, key) - 1, 0)
            if not page.rows:
                raise DamagedError("an index is damaged")
            at, above = page.rows[place][1], page.level
            page = self._page(at, type)
            if page.level >= above:
                raise DamagedError("an index goes round in circles")
        return at, page

    def _walk(self, at: int, above: int) -> Iterator[Row | None]:
        """The nodes below a page; None in place of those that are lost."""
        try:
            page = self._page(at, NODES)
        except DamagedError:
            yield None
            return
        if page.level >= above:
            yield None
        elif not page.level:
            yield from page.rows
        else:
            for _, below in page.rows:
                yield from self._walk(below, page.level)

    def _page(self, at: int, type: int) -> Page:
        page = self._pages.get((at, type))
        if page is None:
            content = self.read(at, self.layout.page)
            page = self._parsed(content, type)
            if not self._fits(content):  # one wrong bit need not lose all entries: nodes and blocks say who they are
                self._flawed.add(type)
                page = page._replace(keys=tuple(sorted(page.keys)), rows=tuple(sorted(page.rows)))
            if len(self._pages) >= _KEPT:
                self._pages.clear()  # those that are needed are read again soon: this is cheaper than to count looks
            self._pages[at, type] = page
        return page


def _layout(head: bytes) -> Layout:
    if not recognised(head):
        raise FileError("This is no PST or OST.")
    version = int.from_bytes(head[10:12], "little")
    found = layout(version)
    if found is None:
        why = "Windows encrypts it (WIP)" if version == 37 else f"its version {version} is not known"
        raise FileError(f"This PST cannot be read: {why}. Export it from Outlook as a PST once more.")
    return found
