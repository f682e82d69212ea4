"""PSTs changed on purpose, with checksums mended, so that a test meets the change and not the checksum."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

from appliance.imports.pst import crypt
from appliance.imports.pst.damage import Notes
from appliance.imports.pst.index import BLOCKS, NODES, Index, Page
from appliance.imports.pst.layout import CYCLIC, PERMUTED, weak_crc
from appliance.imports.pst.nodes import Blocks

_PERMUTE = bytes.maketrans(crypt.permuted(bytes(range(256))), bytes(range(256)))


class PstFile:
    """A PST in memory: its blocks and the pages of its indexes, to be read and written."""

    def __init__(self, raw: bytes) -> None:
        self.raw = bytearray(raw)
        self.index = Index(io.BytesIO(raw))
        self.layout = self.index.layout
        self._roots = dict(zip((NODES, BLOCKS), self.layout.roots.unpack_from(raw, self.layout.roots_at), strict=True))

    @property
    def crypt(self) -> int:
        """How blocks are obscured."""
        return self.raw[self.layout.crypt_at]

    def leaves(self, type: int) -> Iterator[tuple[int, Page]]:
        """The leaves of an index, and where they lie."""
        open_ = [self._roots[type]]
        while open_:
            at = open_.pop()
            page = self.index.page(bytes(self.raw[at : at + self.layout.page]), type)
            if page.level:
                open_.extend(row[1] for row in reversed(page.rows))
            else:
                yield at, page

    def leaf_of(self, type: int, key: int) -> int:
        """Where the leaf lies that has that entry."""
        return next(at for at, page in self.leaves(type) if key in page.keys)

    def rows(self) -> Iterator[tuple[int, ...]]:
        """The entries of all blocks: id, place, size."""
        for _, page in self.leaves(BLOCKS):
            yield from page.rows

    def block(self, id: int) -> bytes:
        """A block, in plain."""
        return Blocks(Index(io.BytesIO(bytes(self.raw)))).block(id, Notes())

    def put(self, id: int, plain: bytes) -> None:
        """Write a block of the same size."""
        row = next(row for row in self.rows() if row[0] & ~1 == id & ~1)
        stored = plain
        if not row[0] & 2 and self.crypt == PERMUTED:
            stored = plain.translate(_PERMUTE)
        elif not row[0] & 2 and self.crypt == CYCLIC:
            stored = crypt.cyclic(plain, row[0] & 0xFFFFFFFF)  # it is its own inverse
        assert len(stored) == row[2]
        self.raw[row[1] : row[1] + row[2]] = stored
        kind = self.layout
        end = row[1] + -(-(row[2] + kind.footer.size) // kind.align) * kind.align
        struct.pack_into("<I", self.raw, end - kind.footer.size + (4 if kind.crc_first else 8), weak_crc(stored))

    def obscure(self, how: int) -> None:
        """Obscure all blocks in another way."""
        plain = {row[0]: self.block(row[0]) for row in self.rows()}
        self.raw[self.layout.crypt_at] = how
        for id, content in plain.items():
            self.put(id, content)

    def forget(self, type: int, key: int) -> None:
        """Take an entry out of the leaf that it is in."""
        at = self.leaf_of(type, key)
        kind = self.layout
        page = bytearray(self.raw[at : at + kind.page])
        count, _, width, _ = kind.counts.unpack_from(page)
        keys = self.index.page(bytes(page), type).keys
        place = keys.index(key) * width
        page[place : count * width] = page[place + width : count * width] + bytes(width)
        page[kind.counts.size - (6 if kind.inflates else 4)] = count - 1
        self.mend(page)
        self.raw[at : at + kind.page] = page

    def mend(self, page: bytearray) -> None:
        """Give a page the checksum that it should have."""
        kind = self.layout
        struct.pack_into("<I", page, kind.body + (4 if kind.crc_first else 8), weak_crc(bytes(page[: kind.body])))

    def append_page(self, content: bytes) -> None:
        """Put a page behind the file's end."""
        self.raw.extend(b"\0" * (-len(self.raw) % self.layout.page) + content)


def repeated(raw: bytes, times: int) -> bytes:
    """A Unicode PST with every message ``times`` times, each under a number of its own.

    All of them share their blocks, and only their nodes say in which folder they lie: folders' lists are taken out.
    """
    file = PstFile(raw)
    rows = [row for _, page in file.leaves(NODES) for row in page.rows]
    messages = [row for row in rows if row[0] & 0x1F == 0x04]
    number = max(row[0] >> 5 for row in rows)
    for _ in range(times - 1):
        for row in messages:
            number += 1
            rows.append((number << 5 | 0x04, *row[1:]))
    for folder in {row[3] for row in messages}:
        table = file.index.node(folder & ~0x1F | 0x0E)
        if table is not None:
            file.put(table.data, bytes(len(file.block(table.data))))
    entries, level = sorted(rows), 0
    while level == 0 or len(entries) > 1:
        entries = [_page(file, level, entries[at : at + 15]) for at in range(0, len(entries), 15)]
        level += 1
    struct.pack_into("<QQ", file.raw, file.layout.roots_at - 8, *entries[0][1:])
    return bytes(file.raw)


def _page(file: PstFile, level: int, rows: list[tuple[int, ...]]) -> tuple[int, int, int]:
    """Append a page of the nodes' index; its lowest key, its id, and where it lies."""
    kind = file.layout
    form = struct.Struct("<QQQ") if level else kind.node
    page = bytearray(kind.page)
    for place, row in enumerate(rows):
        form.pack_into(page, place * form.size, *row)
    id = len(file.raw)
    page[kind.counts.size - 4 : kind.counts.size] = bytes((len(rows), 15, form.size, level))
    page[kind.body : kind.body + 2] = bytes((NODES, NODES))
    struct.pack_into("<Q", page, kind.body + 8, id)
    file.mend(page)
    file.append_page(bytes(page))
    return rows[0][0], id, len(file.raw) - kind.page
