"""MSG files (MS-OXMSG): an item with its recipients, attachments and embedded items, as storages of a compound file."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import BinaryIO
from uuid import UUID

from appliance.mapi import compounding, values
from appliance.mapi.bag import Bag, DamagedValueError, Name, named
from appliance.mapi.base import ItemError, One, Value
from appliance.mapi.compound import CompoundError, Storage, Stream, open_compound

DEEPEST = 24
"""Items within items; what is deeper is not opened."""

MOST_VALUES = 100_000
"""Values of a fixed size that one property may have."""

_PROPERTIES = "__properties_version1.0"
_NAMES = "__nameid_version1.0"
_DATA = "__substg1.0_37010102"
_OBJECT = "__substg1.0_3701000D"
_VALUE = re.compile(r"__substg1\.0_([0-9A-F]{4})([0-9A-F]{4})", re.IGNORECASE)

_AT_TOP, _EMBEDDED, _PART = 32, 24, 8
"""Bytes before the first property (section 2.4.1): of the file's item, one inside it, a recipient or attachment."""

_METHOD = 0x3705
_EMBEDDED_ITEM = 5  # PidTagAttachMethod (MS-OXCMSG section 2.2.2.9)

_PS_MAPI = UUID("00020328-0000-0000-c000-000000000046")
_PS_PUBLIC_STRINGS = UUID("00020329-0000-0000-c000-000000000046")
_FIRST_NAMED = 0x8000

Thunk = Callable[[], Value | None]


class MsgItem:
    """A message, or whatever else an MSG file or an embedded item is."""

    def __init__(self, storage: Storage, names: Mapping[int, Name], header: int, code_page: str, depth: int) -> None:
        self._storage = storage
        self._names = names
        self._depth = depth
        declared = _declared(storage, header)
        self._code_page = _code_page(declared, code_page)
        self._properties = _bag(storage, declared, names, self._code_page)

    @property
    def properties(self) -> Bag:
        """Its own properties."""
        return self._properties

    @cached_property
    def recipients(self) -> Sequence[Bag]:
        """A property bag for each, in order. One that cannot be read is noted in ``properties.damaged``."""
        return [
            _bag(storage, _declared(storage, _PART), self._names, self._code_page)
            for storage in self._parts("__recip_version1.0_#", "a recipient cannot be read")
        ]

    @cached_property
    def attachments(self) -> Sequence[MsgAttachment]:
        """The attachments in order. One that cannot be read is noted in ``properties.damaged``."""
        return [
            MsgAttachment(storage, self._names, self._code_page, self._depth)
            for storage in self._parts("__attach_version1.0_#", "an attachment cannot be read")
        ]

    def _parts(self, prefix: str, what: str) -> Iterator[Storage]:
        for name in self._storage.names():
            if not name.lower().startswith(prefix):
                continue
            try:
                storage = self._storage.storage(name)
            except CompoundError:
                self._properties.note(what)
                continue
            if storage is not None:
                yield storage


class MsgAttachment:
    """An attachment in an MSG file."""

    def __init__(self, storage: Storage, names: Mapping[int, Name], code_page: str, depth: int) -> None:
        self._storage = storage
        self._names = names
        self._code_page = code_page
        self._depth = depth
        self.properties = _bag(storage, _declared(storage, _PART), names, code_page)

    def pieces(self) -> Iterator[bytes]:
        """Its bytes; an OLE object as a compound file of its own. Raises ItemError."""
        data = self._storage.stream(_DATA)
        if data is not None:
            return data.pieces()
        content = self._storage.storage(_OBJECT)
        if content is None or self._is_item(content):
            return iter(())
        return compounding.written(content)

    def item(self) -> MsgItem | None:
        """The embedded item. Raises ItemError where it cannot be read."""
        content = self._storage.storage(_OBJECT)
        if content is None or not self._is_item(content):
            return None
        if self._depth >= DEEPEST:
            raise ItemError("Items are embedded in one another too deeply to be read.")
        return MsgItem(content, self._names, _EMBEDDED, self._code_page, self._depth + 1)

    def _is_item(self, content: Storage) -> bool:
        method = self.properties.get(_METHOD)
        return method == _EMBEDDED_ITEM or (method is None and content.stream(_PROPERTIES) is not None)


def open_msg(file: BinaryIO, *, code_page: str = "") -> MsgItem:
    """The item of an MSG file (or .oft), which must stay open while it is used.

    ``code_page`` is the Python codec of 8-bit text that does not name its own. Raises ItemError.
    """
    root = open_compound(file)
    if root.stream(_PROPERTIES) is None:
        raise ItemError("This compound file holds no Outlook item; older Office documents look the same from outside.")
    return MsgItem(root, _named_properties(root), _AT_TOP, code_page, 0)


def _declared(storage: Storage, header: int) -> dict[int, list[tuple[int, bytes]]]:
    """What the property stream says: by number, type and the eight bytes of the value (section 2.4.2)."""
    found: dict[int, list[tuple[int, bytes]]] = {}
    stream = storage.stream(_PROPERTIES)
    data = stream.read() if stream is not None else b""
    for at in range(header, len(data) - 15, 16):
        type, id = struct.unpack_from("<HH", data, at)
        found.setdefault(id, []).append((type, data[at + 8 : at + 16]))
    return found


def _bag(storage: Storage, declared: dict[int, list[tuple[int, bytes]]], names: Mapping[int, Name], codec: str) -> Bag:
    found: dict[int, Thunk] = {}
    for id, forms in declared.items():
        for type, data in forms:
            if type in values.FIXED:
                found[id] = partial(values.value, type, data, codec)
    for stream in storage.streams():
        match = _VALUE.fullmatch(stream.name)
        if match is None:
            continue
        id, type = int(match[1], 16), int(match[2], 16)
        if type & ~values.SEVERAL == values.STRING8 and id in found:
            continue  # the same text stands there as Unicode
        found[id] = partial(_read, storage, stream, id, type, codec)
    lost = [id for id, forms in declared.items() if id not in found and any(_is_stream(type) for type, _ in forms)]
    for id in lost:
        found[id] = partial(_absent, id)
    return Bag(found, {names[id]: thunk for id, thunk in found.items() if id in names})


def _is_stream(type: int) -> bool:
    return type in values.VARIABLE and type != values.OBJECT


def _absent(id: int) -> Value | None:
    raise DamagedValueError(f"property 0x{id:04X} is missing from the file")


def _read(storage: Storage, stream: Stream, id: int, type: int, codec: str) -> Value | None:
    try:
        if type & values.SEVERAL:
            return tuple(_several(storage, stream, type & ~values.SEVERAL, codec))
        return values.value(type, stream.read(), codec)
    except CompoundError as error:
        raise DamagedValueError(f"property 0x{id:04X} cannot be read") from error


def _several(storage: Storage, stream: Stream, type: int, codec: str) -> Iterator[One]:
    """Several values: those of a fixed size in one stream, others each in its own (section 2.1.4)."""
    size = values.FIXED.get(type)
    data = stream.read()
    single: Iterator[bytes]
    if size is not None:
        if len(data) > MOST_VALUES * size:
            raise CompoundError("A property has more values than any message's.")
        single = (data[at : at + size] for at in range(0, len(data) - size + 1, size))
    else:
        single = _own_streams(storage, stream.name, len(data) // (8 if type == values.BINARY else 4))
    for one in single:
        found = values.value(type, one, codec)
        if found is not None:
            yield found


def _own_streams(storage: Storage, name: str, count: int) -> Iterator[bytes]:
    for number in range(count):
        stream = storage.stream(f"{name}-{number:08X}")
        if stream is None:
            raise CompoundError("One of several values is missing.")
        yield stream.read()


def _code_page(declared: dict[int, list[tuple[int, bytes]]], otherwise: str) -> str:
    """The codec of an item's 8-bit strings: PidTagMessageCodepage, else what the body or the language suggests."""

    def number(id: int) -> int:
        return next((int.from_bytes(data[:4], "little") for type, data in declared.get(id, ()) if type == 0x0003), 0)

    return (
        values.codec(number(0x3FFD))
        or values.ansi_codec(number(0x3FDE))
        or otherwise
        or values.locale_codec(number(0x3FF1))
        or "cp1252"
    )


def _named_properties(root: Storage) -> dict[int, Name]:
    """The file's named properties by the number that they have in it (section 2.2.3)."""
    storage = root.storage(_NAMES)
    if storage is None:
        return {}
    sets, entries, strings = (
        stream.read() if (stream := storage.stream(f"__substg1.0_{id}0102")) is not None else b""
        for id in ("0002", "0003", "0004")
    )
    found = {}
    for at in range(0, len(entries) - 7, 8):
        name_or_offset, kind, index = struct.unpack_from("<IHH", entries, at)
        set = _property_set(sets, kind >> 1)
        if set is None:
            continue
        name = _name(strings, name_or_offset) if kind & 1 else name_or_offset
        if name != "":
            found[_FIRST_NAMED + index] = named(set, name)
    return found


def _property_set(sets: bytes, index: int) -> UUID | None:
    """The set by its index, of which two are fixed (section 2.2.3.1.2)."""
    if index in (1, 2):
        return _PS_MAPI if index == 1 else _PS_PUBLIC_STRINGS
    at = (index - 3) * 16
    return UUID(bytes_le=sets[at : at + 16]) if 0 <= at <= len(sets) - 16 else None


def _name(strings: bytes, offset: int) -> str:
    if offset + 4 > len(strings):
        return ""
    (length,) = struct.unpack_from("<I", strings, offset)
    return strings[offset + 4 : offset + 4 + length].decode("utf-16-le", "replace")
