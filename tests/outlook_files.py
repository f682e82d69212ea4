"""MSG files and TNEF streams made for tests, after MS-OXMSG and MS-OXTNEF, by other code than that which reads them
(but for the compound file around an MSG, which the tests of ``mapi.compounding`` compare with what olefile sees).

Properties are given by their tags (number and type), as in ``{0x0037001F: "subject"}``; named ones as
``{(set, name, type): value}``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from appliance.mapi import compounding
from appliance.mapi.compound import Storage

Tag = int | tuple[UUID, int | str, int]
Properties = Mapping[Tag, Any]

CLASS, SUBJECT, BODY, HTML = 0x001A001F, 0x0037001F, 0x1000001F, 0x10130102
METHOD, LONG_NAME, DATA, CONTENT_ID, MIME_TYPE = 0x37050003, 0x3707001F, 0x37010102, 0x3712001F, 0x370E001F
SUBMITTED = 0x00390040

_FIXED = {0x02: "<h", 0x03: "<i", 0x04: "<f", 0x05: "<d", 0x0B: "<?x", 0x14: "<q"}
_IID_MESSAGE = UUID("00020307-0000-0000-c000-000000000046")
_SETS = {
    UUID("00020328-0000-0000-c000-000000000046"): 1,
    UUID("00020329-0000-0000-c000-000000000046"): 2,
}


@dataclass
class Node:
    """A stream, or with ``inner`` a storage, of a compound file to be."""

    name: str
    data: bytes = b""
    inner: list[Node] | None = None
    clsid: bytes = bytes(16)
    state: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def pieces(self) -> list[bytes]:
        return [self.data]

    def streams(self) -> list[Node]:
        return [one for one in self.inner or () if one.inner is None]

    def storages(self) -> list[Node]:
        return [one for one in self.inner or () if one.inner is not None]


@dataclass
class Attached:
    """An attachment: properties, and an item or a storage that lies in it."""

    properties: Properties
    item: Item | None = None
    storage: list[Node] | None = None


@dataclass
class Item:
    """An item: properties, recipients' properties, attachments."""

    properties: Properties
    recipients: Sequence[Properties] = ()
    attachments: Sequence[Attached] = field(default_factory=tuple)


def compound(inner: list[Node], clsid: bytes = bytes(16)) -> bytes:
    """A compound file."""
    return b"".join(compounding.written(cast(Storage, Node("", inner=inner, clsid=clsid))))


# -- MSG ----------------------------------------------------------------------------------------------------


def msg(item: Item) -> bytes:
    """An MSG file."""
    names = _Names()
    root = _item(item, 32, names)
    root.append(names.storage())
    return compound(root)


class _Names:
    def __init__(self) -> None:
        self.known: dict[tuple[UUID, int | str], int] = {}

    def id(self, tag: Tag) -> tuple[int, int]:
        """Number and type of a property in the file."""
        if isinstance(tag, int):
            return tag >> 16, tag & 0xFFFF
        set, name, type = tag
        return 0x8000 + self.known.setdefault((set, name), len(self.known)), type

    def storage(self) -> Node:
        sets: list[UUID] = []
        entries = strings = b""
        for (set, name), index in self.known.items():
            if set not in _SETS and set not in sets:
                sets.append(set)
            number = _SETS.get(set) or sets.index(set) + 3
            if isinstance(name, str):
                entries += struct.pack("<IHH", len(strings), number << 1 | 1, index)
                written = name.encode("utf-16-le")
                strings += struct.pack("<I", len(written)) + written + bytes(-len(written) % 4)
            else:
                entries += struct.pack("<IHH", name, number << 1, index)
        streams = (b"".join(one.bytes_le for one in sets), entries, strings)
        inner = [Node(f"__substg1.0_000{number}0102", data) for number, data in enumerate(streams, 2)]
        return Node("__nameid_version1.0", inner=inner)


def _item(item: Item, header: int, names: _Names) -> list[Node]:
    nodes = _bag(item.properties, header, names)
    for number, properties in enumerate(item.recipients):
        nodes.append(Node(f"__recip_version1.0_#{number:08X}", inner=_bag(properties, 8, names)))
    for number, one in enumerate(item.attachments):
        inner = _bag(one.properties, 8, names)
        content = _item(one.item, 24, names) if one.item is not None else one.storage
        if content is not None:
            inner.append(Node("__substg1.0_3701000D", inner=content))
        nodes.append(Node(f"__attach_version1.0_#{number:08X}", inner=inner))
    return nodes


def _bag(properties: Properties, header: int, names: _Names) -> list[Node]:
    listed = bytes(header)
    nodes = []
    for tag, value in properties.items():
        id, type = names.id(tag)
        if type & 0x1000:
            base = f"__substg1.0_{id:04X}{type:04X}"
            parts = [_bytes(type & 0xFFF, one) for one in value]
            listed += struct.pack("<HHIQ", type, id, 6, 0)
            if type & 0xFFF in (*_FIXED, 0x40):
                nodes.append(Node(base, b"".join(parts)))
                continue
            lengths = b"".join(struct.pack("<Q" if type == 0x1102 else "<I", len(part)) for part in parts)
            nodes.append(Node(base, lengths))
            nodes += [Node(f"{base}-{number:08X}", part) for number, part in enumerate(parts)]
        elif type in _FIXED or type == 0x40:
            listed += struct.pack("<HHI", type, id, 6) + _bytes(type, value).ljust(8, b"\0")
        else:
            data = _bytes(type, value)
            listed += struct.pack("<HHIQ", type, id, 6, len(data))
            nodes.append(Node(f"__substg1.0_{id:04X}{type:04X}", data))
    return [Node("__properties_version1.0", listed), *nodes]


def _bytes(type: int, value: Any) -> bytes:
    """A value as it is stored, without padding."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, UUID):
        return value.bytes_le
    if isinstance(value, datetime):
        return struct.pack("<Q", filetime(value))
    if isinstance(value, str):
        return value.encode("utf-16-le") if type & 0xFFF == 0x1F else value.encode("cp1252")
    return struct.pack(_FIXED[type], value)


def filetime(at: datetime) -> int:
    """Units of 100 ns since 1601."""
    return (at - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10


# -- TNEF ---------------------------------------------------------------------------------------------------


def tnef(item: Item, *, older: Sequence[tuple[int, bytes]] = (), code_page: int = 1252) -> bytes:
    """A TNEF stream; ``older`` are attributes of the message beside its MAPI properties."""
    stream = b"\x78\x9f\x3e\x22\x01\x00"
    stream += attribute(1, 0x00089006, struct.pack("<I", 0x10000))
    stream += attribute(1, 0x00069007, struct.pack("<II", code_page, 0))
    for id, data in older:
        stream += attribute(1, id, data)
    if item.recipients:
        rows = b"".join(_tnef_bag(one) for one in item.recipients)
        stream += attribute(1, 0x00069004, struct.pack("<I", len(item.recipients)) + rows)
    stream += attribute(1, 0x00069003, _tnef_bag(item.properties))
    for one in item.attachments:
        stream += attribute(2, 0x00069002, struct.pack("<HIII", 1, 0xFFFFFFFF, 0, 0))
        held = {tag: value for tag, value in one.properties.items() if tag != DATA}
        if DATA in one.properties:
            stream += attribute(2, 0x0006800F, one.properties[DATA])
        if one.item is not None:
            held[0x3701000D] = _IID_MESSAGE.bytes_le + tnef(one.item, code_page=code_page)
        stream += attribute(2, 0x00069005, _tnef_bag(held))
    return stream


def attribute(level: int, id: int, data: bytes) -> bytes:
    """One attribute of a stream."""
    return struct.pack("<BII", level, id, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def _tnef_bag(properties: Properties) -> bytes:
    written = struct.pack("<I", len(properties))
    for number, (tag, value) in enumerate(properties.items()):
        if isinstance(tag, int):
            type = tag & 0xFFFF
            written += struct.pack("<HH", type, tag >> 16)
        else:
            set, name, type = tag
            written += struct.pack("<HH", type, 0x8000 + number) + set.bytes_le
            if isinstance(name, str):
                letters = (name + "\0").encode("utf-16-le")
                written += struct.pack("<II", 1, len(letters)) + _padded(letters)
            else:
                written += struct.pack("<II", 0, name)
        values = value if type & 0x1000 else [value]
        single = type & 0xFFF
        fixed = single in _FIXED or single in (0x40, 0x48)
        if type & 0x1000 or not fixed:
            written += struct.pack("<I", len(values))
        for one in values:
            data = _bytes(single, one)
            written += _padded(data) if fixed else struct.pack("<I", len(data)) + _padded(data)
    return written


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
