"""How the three kinds of PST and OST lay out their pages and blocks (MS-PST section 2.2.2). Pure.

ANSI is 32 bits wide (Outlook 97 to 2002), Unicode 64 bits; OSTs of Outlook 2013 and later have pages of 4,096 bytes
and compress their blocks, which MS-PST does not describe.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

HEAD = 564
"""Bytes of a header, of whichever kind, up to the last that is needed here (section 2.2.2.6)."""
MAGIC = b"!BDN"

PLAIN, PERMUTED, CYCLIC = 0, 1, 2
"""How blocks are obscured (bCryptMethod)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind's measures, in bytes; fields of structures are in the order that MS-PST gives them in."""

    page: int
    counts: struct.Struct
    """cEnt, cEntMax, cbEnt, cLevel, which follow a page's entries (section 2.2.2.7.7.1)."""
    trailer: struct.Struct
    """Of a page: type, type again, then CRC and id, in the order that ``crc_first`` says."""
    body: int
    """Bytes of a page before its trailer, which its CRC is of."""
    branch: struct.Struct
    """BTENTRY: lowest key, and where the page lies."""
    node: struct.Struct
    """NBTENTRY: id, data block, block of subnodes, parent."""
    block: struct.Struct
    """BBTENTRY: id, where it lies, bytes of it there, and bytes once inflated (4,096-byte pages only)."""
    align: int
    footer: struct.Struct
    """Of a block: size, then CRC and id, in the order that ``crc_first`` says."""
    id: str
    """Format of a block's id within an XBLOCK."""
    sub_header: int
    sub_leaf: struct.Struct
    """SLENTRY: id, data block, block of subnodes (section 2.2.2.8.3.3.1.1)."""
    sub_branch: struct.Struct
    """SIENTRY: lowest id, block."""
    heap_shift: int
    """Bits of a heap id below its block's number."""
    roots: struct.Struct
    """Where the root pages of the trees lie: nodes', blocks'; at ``roots_at`` of the header."""
    roots_at: int
    crypt_at: int
    crc_first: bool = True
    inflates: bool = False

    def page_end(self, page: bytes) -> tuple[int, int, int, int]:
        """A page's trailer: type, type again, CRC, id (PAGETRAILER, section 2.2.2.7.1)."""
        first, second, crc, id = self.trailer.unpack_from(page, self.body)
        return (first, second, crc, id) if self.crc_first else (first, second, id, crc)

    def block_end(self, stored: bytes) -> tuple[int, int]:
        """The CRC and id of a block, padding included (BLOCKTRAILER, section 2.2.2.8.1)."""
        _, crc, id = self.footer.unpack_from(stored, len(stored) - self.footer.size)
        return (crc, id) if self.crc_first else (id, crc)


ANSI = Layout(
    page=512, counts=struct.Struct("<496x4B"), trailer=struct.Struct("<2B2xII"), body=500,
    branch=struct.Struct("<I4xI"), node=struct.Struct("<4I"), block=struct.Struct("<IIH2x"),
    align=64, footer=struct.Struct("<H2xII"), id="I", sub_header=4, sub_leaf=struct.Struct("<3I"),
    sub_branch=struct.Struct("<2I"), heap_shift=16, roots=struct.Struct("<I4xI"), roots_at=0xBC, crypt_at=0x1CD,
    crc_first=False,
)  # fmt: skip
UNICODE = Layout(
    page=512, counts=struct.Struct("<488x4B"), trailer=struct.Struct("<2B2xIQ"), body=496,
    branch=struct.Struct("<Q8xQ"), node=struct.Struct("<I4xQQI4x"), block=struct.Struct("<QQH6x"),
    align=64, footer=struct.Struct("<H2xIQ"), id="Q", sub_header=8, sub_leaf=struct.Struct("<I4xQQ"),
    sub_branch=struct.Struct("<I4xQ"), heap_shift=16, roots=struct.Struct("<Q8xQ"), roots_at=0xE0, crypt_at=0x201,
)  # fmt: skip
LARGE = Layout(
    page=4096, counts=struct.Struct("<4056xHHBB"), trailer=struct.Struct("<2B2xIQ8x"), body=4072,
    branch=struct.Struct("<Q8xQ"), node=struct.Struct("<I4xQQI4x"), block=struct.Struct("<QQHH4x"),
    align=512, footer=struct.Struct("<H2xIQ8x"), id="Q", sub_header=8, sub_leaf=struct.Struct("<I4xQQ"),
    sub_branch=struct.Struct("<I4xQ"), heap_shift=19, roots=struct.Struct("<Q8xQ"), roots_at=0xE0, crypt_at=0x201,
    inflates=True,
)  # fmt: skip


def recognised(head: bytes) -> bool:
    """Whether a file that begins so is a PST or OST (dwMagic, wMagicClient)."""
    return head[:4] == MAGIC and head[8:10] in (b"SM", b"SO", b"AB")


def weak_crc(data: bytes) -> int:
    """The checksum of pages and blocks (section 5.3): CRC-32, but begun with 0 and not inverted at its end."""
    return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def layout(version: int) -> Layout | None:
    """The kind with that wVer, None for one that is not known, or that Windows encrypts (37)."""
    if version in (14, 15):
        return ANSI
    if 20 <= version <= 23:
        return UNICODE
    return LARGE if version == 36 else None
