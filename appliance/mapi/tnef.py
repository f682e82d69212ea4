"""TNEF streams (MS-OXTNEF), which lie in mail as winmail.dat: what Outlook knows of a message, with its attachments.

A stream is a row of attributes, of the message first and then of one attachment after the other; two of them hold MAPI
properties, the others are older and hold one value each. Nothing is copied before it is asked for, and damage after the
first attribute leaves what came before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import NamedTuple
from uuid import UUID

from appliance.mapi import values
from appliance.mapi.bag import Bag, Name, named
from appliance.mapi.base import ItemError, One, Value

SIGNATURE = b"\x78\x9f\x3e\x22"
PIECE = 256 * 1024
DEEPEST = 24
"""Items within items; what is deeper is not opened."""
MOST = 100_000
"""Attributes and properties' values, of all items together, that are looked at."""

_MESSAGE, _ATTACHMENT = 1, 2

# Attributes (section 2.1.3.2) by the lower half of their number.
_OEM_CODE_PAGE, _MESSAGE_PROPERTIES, _RECIPIENTS = 0x9007, 0x9003, 0x9004
_RENDERING, _DATA, _TITLE, _METAFILE, _ATTACHMENT_PROPERTIES = 0x9002, 0x800F, 0x8010, 0x8011, 0x9005

_METHOD, _NAME, _FILE_NAME, _OBJECT = 0x3705, 0x3001, 0x3704, 0x3701
_EMBEDDED_ITEM = 5  # PidTagAttachMethod (MS-OXCMSG section 2.2.2.9)

_IID_MESSAGE = UUID("00020307-0000-0000-c000-000000000046")

_CLASSES = {
    "IPM.MICROSOFT MAIL.NOTE": "IPM.Note",
    "IPM.MICROSOFT MAIL.READ RECEIPT": "REPORT.IPM.Note.IPNRN",
    "IPM.MICROSOFT MAIL.NON-DELIVERY": "REPORT.IPM.Note.NDR",
    "IPM.MICROSOFT SCHEDULE.MTGREQ": "IPM.Schedule.Meeting.Request",
    "IPM.MICROSOFT SCHEDULE.MTGRESPP": "IPM.Schedule.Meeting.Resp.Pos",
    "IPM.MICROSOFT SCHEDULE.MTGRESPN": "IPM.Schedule.Meeting.Resp.Neg",
    "IPM.MICROSOFT SCHEDULE.MTGRESPA": "IPM.Schedule.Meeting.Resp.Tent",
    "IPM.MICROSOFT SCHEDULE.MTGCNCL": "IPM.Schedule.Meeting.Canceled",
}
"""What the message classes of old are called today (section 2.1.3.3.2)."""

_PRIORITIES = {1: 2, 2: 1, 3: 0}  # attPriority to PidTagImportance (section 2.1.3.3.12)

Thunk = Callable[[], Value | None]


class _Attribute(NamedTuple):
    level: int
    id: int
    data: memoryview


class _Property(NamedTuple):
    """A property as it lies in the stream: its type, and the bytes of each of its values."""

    id: int
    type: int
    parts: tuple[memoryview, ...]
    name: Name | None


class _Budget:
    """How much more of the stream is looked at; items within items count together."""

    def __init__(self) -> None:
        self.left = MOST

    def spend(self, count: int = 1) -> None:
        self.left -= count
        if self.left < 0:
            raise ItemError("The TNEF stream has more properties than those of any message.")


class TnefItem:
    """The message that a TNEF stream is about. What is damaged is noted in ``properties.damaged``."""

    def __init__(self, stream: memoryview, code_page: str, depth: int, budget: _Budget) -> None:
        self._depth = depth
        self._budget = budget
        self._damaged: list[str] = []
        attributes = list(self._attributes(stream))
        if not attributes:
            raise ItemError("The TNEF stream ends before it says anything.")
        self._code_page = _code_page(attributes) or code_page or "cp1252"
        self._message = [one for one in attributes if one.level == _MESSAGE]
        self._attachments = _grouped(one for one in attributes if one.level == _ATTACHMENT)

    @cached_property
    def properties(self) -> Bag:
        """Its properties; those that the stream holds only as older attributes under their numbers of today."""
        found: dict[int, Thunk] = {}
        names: dict[Name, Thunk] = {}
        held = self._properties_in(self._message, _MESSAGE_PROPERTIES)
        code_page = _text_code_page(held) or self._code_page
        for one in self._message:
            found.update(_older(one, self._code_page))
        _add(found, names, held, code_page)
        return Bag(found, names, self._damaged)

    @cached_property
    def recipients(self) -> Sequence[Bag]:
        """The recipients, where the stream has a table of them: mostly the message around it has them instead."""
        table = next((one.data for one in self._message if one.id == _RECIPIENTS), memoryview(b""))
        reader = _Reader(table)
        found = []
        try:
            for _ in range(reader.number() if len(table) else 0):
                self._budget.spend()
                values_of: dict[int, Thunk] = {}
                names: dict[Name, Thunk] = {}
                _add(values_of, names, list(_properties(reader, self._budget)), self._code_page)
                found.append(Bag(values_of, names))
        except _CutError:
            self.properties.note("the list of recipients is cut off")
        return found

    @cached_property
    def attachments(self) -> Sequence[TnefAttachment]:
        """The attachments in order."""
        return [
            TnefAttachment(
                group, self._properties_in(group, _ATTACHMENT_PROPERTIES), self._code_page, self._depth, self._budget
            )
            for group in self._attachments
        ]

    def _attributes(self, stream: memoryview) -> Iterator[_Attribute]:
        """The attributes up to the first that is cut off."""
        if bytes(stream[:4]) != SIGNATURE:
            raise ItemError("This is no TNEF stream, as winmail.dat is.")
        reader = _Reader(stream[6:])
        while not reader.only_blanks():
            self._budget.spend()
            try:
                level = reader.take(1)[0]
                if level not in (_MESSAGE, _ATTACHMENT):
                    raise _CutError
                id, length = reader.number() & 0xFFFF, reader.number()
                yield _Attribute(level, id, reader.take(length))
                reader.take(2)  # the sum of the bytes, which some programs write wrongly
            except _CutError:
                self._damaged.append("the end of the TNEF stream is missing")
                return

    def _properties_in(self, attributes: Sequence[_Attribute], id: int) -> list[_Property]:
        found: list[_Property] = []
        for one in attributes:
            if one.id == id:
                try:
                    found.extend(_properties(_Reader(one.data), self._budget))
                except _CutError:
                    self._damaged.append("properties in the TNEF stream are cut off")
        return found


class TnefAttachment:
    """An attachment in a TNEF stream."""

    def __init__(
        self,
        attributes: Sequence[_Attribute],
        held: Sequence[_Property],
        code_page: str,
        depth: int,
        budget: _Budget,
    ) -> None:
        found: dict[int, Thunk] = {}
        names: dict[Name, Thunk] = {}
        for one in attributes:
            found.update(_older(one, code_page))
        self._data = next((one.data for one in attributes if one.id == _DATA and len(one.data)), None)
        self._object: memoryview | None = None
        for content in (one for one in held if one.id == _OBJECT and one.parts):
            if content.type == values.OBJECT:
                self._object = content.parts[0]
            elif self._data is None:
                self._data = content.parts[0]
        _add(found, names, [one for one in held if one.id != _OBJECT], code_page)
        self.properties = Bag(found, names)
        self._code_page = code_page
        self._depth = depth
        self._budget = budget

    def pieces(self) -> Iterator[bytes]:
        """Its bytes; an OLE object as the compound file that it is."""
        if self._is_item():
            return
        data = self._data
        if data is None:
            data = self._object[16:] if self._object is not None else memoryview(b"")
        for at in range(0, len(data), PIECE):
            yield bytes(data[at : at + PIECE])

    def item(self) -> TnefItem | None:
        """The embedded item. Raises ItemError where it cannot be read."""
        if self._object is None or not self._is_item():
            return None
        if self._depth >= DEEPEST:
            raise ItemError("Items are embedded in one another too deeply to be read.")
        return TnefItem(self._object[16:], self._code_page, self._depth + 1, self._budget)

    def _is_item(self) -> bool:
        if self._object is None:
            return False
        return bytes(self._object[:16]) == _IID_MESSAGE.bytes_le or self.properties.get(_METHOD) == _EMBEDDED_ITEM


def open_tnef(stream: bytes, *, code_page: str = "") -> TnefItem:
    """The item of a TNEF stream. ``code_page`` is the Python codec of 8-bit text that does not name its own.

    Raises ItemError for what is no TNEF stream.
    """
    return TnefItem(memoryview(stream), code_page, 0, _Budget())


class _CutError(Exception):
    """The bytes end before what they announce."""


class _Reader:
    """Goes through bytes from their beginning."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def only_blanks(self) -> bool:
        """Whether nothing is left but what a mail program may have put behind a part."""
        return self.left == 0 or (self.left < 8 and not bytes(self._data[self._at :]).strip(b"\0\r\n "))

    def take(self, length: int) -> memoryview:
        if length > self.left:
            raise _CutError
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def padded(self, length: int) -> memoryview:
        """Bytes after which it goes on at a multiple of four; at the very end the padding may be missing."""
        found = self.take(length)
        self._at += min(-length % 4, self.left)
        return found


def _grouped(attributes: Iterator[_Attribute]) -> list[list[_Attribute]]:
    """The attributes of each attachment; attAttachRenddata is the first of one (section 2.1.3.3.15)."""
    groups: list[list[_Attribute]] = []
    for one in attributes:
        if one.id == _RENDERING or not groups:
            groups.append([])
        groups[-1].append(one)
    return groups


def _properties(reader: _Reader, budget: _Budget) -> Iterator[_Property]:
    """A list of properties (section 2.1.3.4)."""
    for _ in range(reader.number()):
        type, id = struct.unpack("<HH", reader.take(4))
        name = _name(reader) if id >= 0x8000 else None
        single = type & ~values.SEVERAL
        size = values.FIXED.get(single)
        if size is None and single not in values.VARIABLE:
            raise _CutError  # without its type nobody knows where the next property begins
        count = reader.number() if type & values.SEVERAL or size is None else 1
        if count > reader.left:
            raise _CutError
        budget.spend(1 + count)
        parts = tuple(reader.padded(reader.number() if size is None else size) for _ in range(count))
        yield _Property(id, type, parts, name)


def _name(reader: _Reader) -> Name:
    set = UUID(bytes_le=bytes(reader.take(16)))
    if reader.number() == 0:
        return named(set, reader.number())
    return named(set, bytes(reader.padded(reader.number())).decode("utf-16-le", "replace").rstrip("\0"))


def _add(found: dict[int, Thunk], names: dict[Name, Thunk], properties: Sequence[_Property], code_page: str) -> None:
    """Add properties to what is known; of a text that is there twice the Unicode one counts."""
    unicode = {one.id for one in properties if one.type == values.UNICODE}
    for one in properties:
        if one.type == values.STRING8 and one.id in unicode and one.name is None:
            continue
        thunk = partial(_value, one, code_page)
        if one.name is not None:
            names[one.name] = thunk
        else:
            found[one.id] = thunk


def _value(one: _Property, code_page: str) -> Value | None:
    single = one.type & ~values.SEVERAL
    decoded: list[One] = []
    for part in one.parts:
        value = values.value(single, bytes(part), code_page)
        if value is not None:
            decoded.append(value)
    if one.type & values.SEVERAL:
        return tuple(decoded)
    return decoded[0] if decoded else None


def _code_page(attributes: Sequence[_Attribute]) -> str:
    data = next((one.data for one in attributes if one.id == _OEM_CODE_PAGE), memoryview(b""))
    return values.codec(int.from_bytes(data[:4], "little"))


def _text_code_page(properties: Sequence[_Property]) -> str:
    """PidTagMessageCodepage, where the message names one beside the stream's."""
    return next(
        (values.codec(int.from_bytes(one.parts[0], "little")) for one in properties if one.id == 0x3FFD and one.parts),
        "",
    )


def _older(one: _Attribute, code_page: str) -> dict[int, Thunk]:
    """An attribute of old as properties (section 2.1.3.3)."""
    if one.id in _TEXTS:
        return {_TEXTS[one.id]: lambda: values.text(bytes(one.data), code_page)}
    if one.id in _TIMES:
        return {_TIMES[one.id]: lambda: _time(one.data)}
    match one.id:
        case 0x8008:
            return {0x001A: lambda: _class(values.text(bytes(one.data), code_page))}
        case 0x800D if len(one.data) >= 2:
            return {0x0017: lambda: _PRIORITIES.get(int.from_bytes(one.data[:2], "little"), 1)}
        case 0x8000:
            return _sender(one.data, code_page)
    return {}


_TEXTS = {0x8004: 0x0037, 0x800C: 0x1000, _TITLE: _FILE_NAME}  # subject, body, file name
_TIMES = {0x8005: 0x0039, 0x8006: 0x0E06, 0x8020: 0x3008, 0x8012: 0x3007, 0x8013: 0x3008}


def _class(written: str) -> str:
    return _CLASSES.get(written.upper(), written)


def _time(data: memoryview) -> datetime | None:
    """A time (section 2.1.3.5): the sender's clock, without a zone, taken for UTC."""
    if len(data) < 12:
        return None
    year, month, day, hour, minute, second = struct.unpack_from("<6H", data)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _sender(data: memoryview, code_page: str) -> dict[int, Thunk]:
    """attFrom (section 2.1.3.3.8): a name, and an address as ``SMTP:anna@example.com``."""
    if len(data) < 8:
        return {}
    _, _, name_length, address_length = struct.unpack_from("<4H", data)
    name = values.text(bytes(data[8 : 8 + name_length]), code_page)
    kind, colon, address = values.text(
        bytes(data[8 + name_length : 8 + name_length + address_length]), code_page
    ).partition(":")
    if not colon:
        kind, address = "", kind
    return {0x0C1A: lambda: name, 0x0C1E: lambda: kind, 0x0C1F: lambda: address}
