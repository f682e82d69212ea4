"""Items of a PST as ``mapi.base`` has them: their properties, recipients and attachments (MS-PST section 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Final
from uuid import UUID

from appliance.imports.pst.damage import DamagedError, Notes
from appliance.imports.pst.heaps import Cell, Cells, Heap, Table, bag, reference
from appliance.imports.pst.index import Node
from appliance.imports.pst.nodes import Blocks
from appliance.mapi import values
from appliance.mapi.bag import Name, named
from appliance.mapi.base import ItemError, One, Value

SUBJECT: Final = 0x0037
_MESSAGE_CODE_PAGE, _INTERNET_CODE_PAGE = 0x3FFD, 0x3FDE
_DATA, _METHOD = 0x3701, 0x3705
_EMBEDDED = 5
_RECIPIENTS, _ATTACHMENTS = 0x692, 0x671
_ATTACHMENT = 0x05
_DEEPEST = 20
_MOST_WITHIN = 10_000
_MOST_RECIPIENTS = 100_000
_UTF16, _NO_CODE_PAGE = 1200, 0


@dataclass(frozen=True, slots=True)
class Store:
    """What all items of a file share."""

    blocks: Blocks
    names: Mapping[Name, int]
    code_page: str
    """Of 8-bit text of items that do not name theirs, as Python calls it."""


@dataclass(slots=True)
class Whole:
    """What an item and those within it share."""

    notes: Notes = field(default_factory=Notes)
    left: int = _MOST_WITHIN
    """How many items within it may still be opened: some that each hold the next one twice would be a million."""


class StoredProperties:
    """``mapi.base.Properties`` over a property bag or a row of a table."""

    def __init__(self, store: Store, heap: Heap, cells: Cells, code_page: Callable[[], str] | None = None) -> None:
        self._store = store
        self._heap = heap
        self._cells = cells
        self._code_page = code_page or self._own_code_page
        self._known: dict[int, Value | None] = {}

    @property
    def damaged(self) -> Sequence[str]:
        """What could not be read so far of the item that they belong to, a few words each."""
        return self._heap.notes

    def get(self, id: int) -> Value | None:
        """The property of that number."""
        cell = self._cells.get(id)
        if cell is None:
            return None
        if id not in self._known:
            self._known[id] = self._value(id, cell)
        return self._known[id]

    def named(self, set: UUID, name: int | str) -> Value | None:
        """The named property; names of letters whatever their case."""
        id = self._store.names.get(named(set, name))
        return None if id is None else self.get(id)

    def own_code_page(self) -> str:
        """The codec of the 8-bit text in them: their own where they say it, else the file's."""
        return self._code_page()

    def _own_code_page(self) -> str:
        for id in (_MESSAGE_CODE_PAGE, _INTERNET_CODE_PAGE):
            number = self.get(id)
            if isinstance(number, int) and number not in (_UTF16, _NO_CODE_PAGE) and values.codec(number):
                return values.codec(number)
        return self._store.code_page

    def _value(self, id: int, cell: Cell) -> Value | None:
        try:
            type, data = cell[0], self._heap.read(cell)
            if type & values.SEVERAL:
                return self._several(type & ~values.SEVERAL, data)
            found = self._one(type, data)
        except DamagedError as damage:
            self._heap.notes.append(f"property {id:#06x} cannot be read: {damage}")
            return None
        if id == SUBJECT and isinstance(found, str) and found[:1] == "\x01":
            return found[2:]  # how long its prefix is, "RE: " for one (section 2.5.3.1.1.1)
        return found

    def _one(self, type: int, data: bytes) -> One | None:
        size = values.FIXED.get(type)
        if size is not None and len(data) < size:
            data = data.ljust(size, b"\0")
        return values.value(type, data, self.own_code_page() if type == values.STRING8 else "")

    def _several(self, type: int, data: bytes) -> tuple[One, ...]:
        size = values.FIXED.get(type)
        if size is not None:
            parts = [data[at : at + size] for at in range(0, len(data) - size + 1, size)]
        else:
            count = min(int.from_bytes(data[:4], "little"), len(data) // 4 - 1)
            starts = [int.from_bytes(data[at : at + 4], "little") for at in range(4, 4 + 4 * max(count, 0), 4)]
            if starts != sorted(starts):
                raise DamagedError("its values lie over one another")
            ends = [*starts[1:], len(data)]
            parts = [data[start:end] for start, end in zip(starts, ends, strict=False)]
        found = (self._one(type, part) for part in parts)
        return tuple(one for one in found if one is not None)


class StoredItem:
    """``mapi.base.Item`` over a node."""

    def __init__(self, store: Store, node: Node, depth: int = 0, whole: Whole | None = None) -> None:
        """Raises ItemError where nothing of it can be read."""
        self._store = store
        self._depth = depth
        self._whole = whole or Whole()
        self._notes = self._whole.notes
        try:
            self._heap = Heap(store.blocks, node, self._notes)
            self._properties = StoredProperties(store, self._heap, bag(self._heap))
        except DamagedError as damage:
            raise ItemError(f"This item is damaged: {damage}.") from damage

    @property
    def properties(self) -> StoredProperties:
        """The item's own."""
        return self._properties

    @cached_property
    def recipients(self) -> Sequence[StoredProperties]:
        """Those in the table of recipients, as far as it can be read."""
        found: list[StoredProperties] = []
        try:
            if _RECIPIENTS in self._heap.subnodes:
                heap = Heap(self._store.blocks, self._heap.subnodes[_RECIPIENTS], self._notes)
                code_page = self._properties.own_code_page
                for row in islice(Table(heap).rows(), _MOST_RECIPIENTS):  # one by one: those before a damaged one count
                    found.append(StoredProperties(self._store, heap, row, code_page))  # noqa: PERF401
        except DamagedError as damage:
            self._notes.append(f"recipients cannot be read: {damage}")
        return found

    @cached_property
    def attachments(self) -> Sequence[StoredAttachment]:
        """Those in the table of attachments, and those that it leaves out because it is damaged."""
        try:
            subnodes = self._heap.subnodes
            ids = self._attached(subnodes)
        except DamagedError as damage:
            self._notes.append(f"attachments cannot be read: {damage}")
            return []
        found: list[StoredAttachment] = []
        for id in ids:
            try:
                if id not in subnodes:
                    raise DamagedError("it is missing")
                found.append(StoredAttachment(self._store, subnodes[id], self._depth, self._properties, self._whole))
            except DamagedError as damage:
                self._notes.append(f"attachment {id:#x} cannot be read: {damage}")
        return found

    def _attached(self, subnodes: Mapping[int, Node]) -> list[int]:
        if _ATTACHMENTS in subnodes:
            try:
                return Table(Heap(self._store.blocks, subnodes[_ATTACHMENTS], self._notes)).ids()
            except DamagedError as damage:
                self._notes.append(f"the list of attachments cannot be read: {damage}")
        return sorted(id for id in subnodes if id & 0x1F == _ATTACHMENT)


class StoredAttachment:
    """``mapi.base.Attachment`` over a subnode."""

    def __init__(self, store: Store, node: Node, depth: int, above: StoredProperties, whole: Whole) -> None:
        self._store = store
        self._depth = depth
        self._whole = whole
        self._heap = Heap(store.blocks, node, whole.notes)
        self._cells = bag(self._heap)
        self._properties = StoredProperties(store, self._heap, self._cells, above.own_code_page)

    @property
    def properties(self) -> StoredProperties:
        """The attachment's, its bytes left aside where they are long."""
        return self._properties

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, in pieces; none where it is an item or has none."""
        place = self._place
        if place is None or self._is_item:
            return
        try:
            yield from self._heap.pieces(self._object(place) if self._type == values.OBJECT else place)
        except DamagedError as damage:
            raise ItemError(f"An attachment is damaged: {damage}.") from damage

    def item(self) -> StoredItem | None:
        """The item that is embedded, None for any other attachment. Raises ItemError where it cannot be read."""
        place = self._place
        if place is None or not self._is_item:
            return None
        self._whole.left -= 1
        if self._depth >= _DEEPEST or self._whole.left < 0:
            raise ItemError("Items lie within items more often than can be real.")
        try:
            node = self._heap.subnodes.get(self._object(place))
        except DamagedError as damage:
            raise ItemError(f"An item within an item is damaged: {damage}.") from damage
        if node is None:
            raise ItemError("An item within an item is missing.")
        return StoredItem(self._store, node, self._depth + 1, self._whole)

    @property
    def _type(self) -> int:
        return self._cells[_DATA][0] if _DATA in self._cells else 0

    @property
    def _place(self) -> int | None:
        """Where its bytes lie, or the reference to its item."""
        return reference(self._cells[_DATA]) if _DATA in self._cells else None

    @property
    def _is_item(self) -> bool:
        return self._type == values.OBJECT and self._properties.get(_METHOD) == _EMBEDDED

    def _object(self, at: int) -> int:
        """The subnode that a PtypObject's value names (section 2.3.3.5)."""
        return int.from_bytes(self._heap.value(at)[:4], "little")
