"""Which numbers named properties have in a file (MS-PST section 2.4.7)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from uuid import UUID

from appliance.imports.pst.damage import DamagedError, Notes
from appliance.imports.pst.heaps import Heap, bag
from appliance.imports.pst.nodes import Blocks
from appliance.mapi.bag import Name, named

_NODE = 0x61
_SETS, _ENTRIES, _STRINGS = 0x0002, 0x0003, 0x0004
_ENTRY = struct.Struct("<IHH")
_MOST = 0x8000
"""Numbers that there are for named properties."""
_LONGEST = 1024  # bytes of a name
_WELL_KNOWN = (
    UUID(int=0),
    UUID("00020328-0000-0000-C000-000000000046"),  # PS_MAPI
    UUID("00020329-0000-0000-C000-000000000046"),  # PS_PUBLIC_STRINGS
)


def read(blocks: Blocks, notes: Notes) -> Mapping[Name, int]:
    """The numbers by the names. What of the map cannot be read is not in it."""
    try:
        node = blocks.index.node(_NODE)
        if node is None:
            return {}
        heap = Heap(blocks, node, notes)
        cells = bag(heap)
        sets, entries, strings = (heap.read(cells[id]) if id in cells else b"" for id in (_SETS, _ENTRIES, _STRINGS))
    except DamagedError as damage:
        notes.append(f"the names of properties cannot be read: {damage}")
        return {}
    sets, entries = sets[: 16 * _MOST], entries[: _ENTRY.size * _MOST]
    known = _WELL_KNOWN + tuple(UUID(bytes_le=sets[at : at + 16]) for at in range(0, len(sets) - 15, 16))
    found: dict[Name, int] = {}
    for number, set_, place in _ENTRY.iter_unpack(entries[: len(entries) // _ENTRY.size * _ENTRY.size]):
        if set_ >> 1 >= len(known):
            continue
        name: int | str = number
        if set_ & 1:
            size = min(int.from_bytes(strings[number : number + 4], "little"), _LONGEST)
            name = strings[number + 4 : number + 4 + size].decode("utf-16-le", "replace")
        found[named(known[set_ >> 1], name)] = 0x8000 + place
    return found
