"""The folders of a store, as its owner saw them, and the items in each (MS-PST section 2.4)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from appliance.imports.base import ItemError
from appliance.imports.pst.damage import DamagedError, Notes
from appliance.imports.pst.heaps import Heap, Table
from appliance.imports.pst.items import Store, StoredItem, StoredProperties
from appliance.mail.folders import Path, Role, role_by_name

FOLDER, SEARCH, MESSAGE = 0x02, 0x03, 0x04
"""Types of nodes, the lower five bits of their ids (section 2.2.2.1)."""

_STORE, _ROOT, _RECEIVE_FOLDERS = 0x21, 0x122, 0x62B
_SUBFOLDERS, _CONTENTS = 0x0D, 0x0E
_NAME = 0x3001
_MESSAGE_CLASS = 0x001A
_RECEIVES = 0x6605
_SUBTREE = 0x35E0
_TRASH, _SENT = 0x35E3, 0x35E4
_DRAFTS, _SPECIAL = 0x36D7, 0x36D8
_JUNK = 4  # of the special ones (MS-OXOSFLD section 2.2.4)
_EXCHANGE_SUBTREE: Final = "IPM_SUBTREE"
_EXCHANGE_ROOT: Final = "Root - "
_EXCHANGE_MAILBOX: Final = "Root - Mailbox"
_DEEPEST = 100
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: its node, its names from the top, what it is for."""

    id: int
    path: Path
    role: Role
    shown: bool
    """Whether its owner saw it: the folders of Outlook's own housekeeping lie beside."""


class Folders:
    """Where a store's items are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notes = Notes()  # of folders and tables: nobody is told of a folder without a name

    def __iter__(self) -> Iterator[Folder]:
        """All folders, each once: those that their owner saw first, each before those in it, in the store's order."""
        return iter(self._all)

    def items(self, folder: Folder) -> Sequence[int]:
        """The nodes of a folder's items, rising; of hidden ones ("associated") none."""
        return self._listed(folder.id, _CONTENTS, MESSAGE)

    def parents(self) -> Sequence[int]:
        """All nodes that items lie in, folders or not, rising."""
        return sorted(parent for type, parent in self._children if type == MESSAGE)

    def children(self, folder: int) -> Sequence[int]:
        """The items whose nodes say that they lie there, whether the folder knows them or not."""
        return self._children.get((MESSAGE, folder), array("Q"))

    @cached_property
    def _all(self) -> Sequence[Folder]:
        reached: set[int] = set()
        found: list[Folder] = []
        for top, path in self._tops:
            found.extend(self._below(top, path, self._roles, reached, shown=True))
        found.extend(self._below(_ROOT, (), {}, reached, shown=False))
        return found

    def _below(
        self, top: int, path: Path, roles: Mapping[int, Role], reached: set[int], *, shown: bool
    ) -> Iterator[Folder]:
        open_ = [(top, path)]
        while open_:
            id, path = open_.pop()
            if id in reached:
                continue
            reached.add(id)
            yield Folder(id, path, roles.get(id, ""), shown)
            if len(path) < _DEEPEST:
                below = self._listed(id, _SUBFOLDERS, FOLDER)
                open_.extend((one, (*path, self._name(one))) for one in reversed(below))

    @cached_property
    def _tops(self) -> Sequence[tuple[int, Path]]:
        """The folders that the tree begins at as its owner saw it, which are not shown themselves."""
        top = self._folder(self._properties(_STORE), _SUBTREE)
        if top and self._store.blocks.index.node(top) is not None:
            return [(top, ())]
        found: list[tuple[int, Path]] = []
        for root in self._listed(_ROOT, _SUBFOLDERS, FOLDER):  # an OST: the mailbox's, and the public folders'
            name = self._name(root)
            for below in self._listed(root, _SUBFOLDERS, FOLDER):
                if self._name(below).upper() == _EXCHANGE_SUBTREE:
                    path = () if name == _EXCHANGE_MAILBOX else (name.removeprefix(_EXCHANGE_ROOT),)
                    found.append((below, path))
        return sorted(found, key=lambda one: (len(one[1]), one[0])) or [(_ROOT, ())]

    @cached_property
    def _roles(self) -> Mapping[int, Role]:
        """What folders are for, as the store says; where it does not (in OSTs), as those at the top are called."""
        top = self._tops[0][0]
        store, root = self._properties(_STORE), self._properties(_ROOT)
        inbox = self._inbox(top)
        own = self._properties(inbox) if inbox else None
        found: dict[int, Role] = {}
        for id, role in (
            (inbox, "inbox"),
            (self._folder(store, _TRASH), "trash"),
            (self._folder(store, _SENT), "sent"),
            (self._folder(own, _DRAFTS) or self._folder(root, _DRAFTS), "drafts"),
            (self._folder(own, _SPECIAL, _JUNK) or self._folder(root, _SPECIAL, _JUNK), "junk"),
        ):
            if id:
                found.setdefault(id, role)  # type: ignore[arg-type]
        for id in self._listed(top, _SUBFOLDERS, FOLDER):
            role = role_by_name(self._name(id))
            if role and role not in found.values():
                found.setdefault(id, role)
        return found

    def _inbox(self, top: int) -> int:
        """Where messages are delivered to (section 2.4.5), 0 where nothing says it."""
        try:
            node = self._store.blocks.index.node(_RECEIVE_FOLDERS)
            if node is None:
                return 0
            heap = Heap(self._store.blocks, node, self._notes)
            for row in Table(heap).rows():
                properties = StoredProperties(self._store, heap, row)
                id = properties.get(_RECEIVES)
                if str(properties.get(_MESSAGE_CLASS)).upper() == "IPM" and isinstance(id, int):
                    return id if id not in (top, _ROOT) else 0
        except DamagedError:
            return 0
        return 0

    def _listed(self, folder: int, table: int, type: int) -> Sequence[int]:
        """What a folder's table lists; where it cannot be read, what says of itself that it lies there."""
        try:
            node = self._store.blocks.index.node(folder & ~0x1F | table)
            if node is None:
                return ()
            return [id for id in Table(Heap(self._store.blocks, node, self._notes)).ids() if id & 0x1F == type]
        except DamagedError:
            return self._children.get((type, folder), array("Q"))

    @cached_property
    def _children(self) -> Mapping[tuple[int, int], Sequence[int]]:
        found: dict[tuple[int, int], array[int]] = {}
        for node in self._store.blocks.index.nodes():
            if node.id & 0x1F in (FOLDER, MESSAGE) and node.id != node.parent:
                found.setdefault((node.id & 0x1F, node.parent), array("Q")).append(node.id)
        return found

    def _name(self, folder: int) -> str:
        properties = self._properties(folder)
        name = properties.get(_NAME) if properties else None
        return name[:_LONGEST_NAME] if isinstance(name, str) and name else f"{folder:#x}"

    def _properties(self, id: int) -> StoredProperties | None:
        try:
            node = self._store.blocks.index.node(id)
            return None if node is None else StoredItem(self._store, node).properties
        except (DamagedError, ItemError):
            return None

    def _folder(self, properties: StoredProperties | None, id: int, place: int | None = None) -> int:
        """The folder of this file that an entry id means (section 2.4.3.2), 0 for none."""
        value = properties.get(id) if properties else None
        if place is not None:
            value = value[place] if isinstance(value, tuple) and len(value) > place else None
        if not isinstance(value, bytes) or len(value) != 24:
            return 0
        node = int.from_bytes(value[20:24], "little")
        return node if node & 0x1F == FOLDER else 0
