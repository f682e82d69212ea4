"""Goes through a PST or OST, folder by folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final

from appliance.imports import items
from appliance.imports.base import Entry, FileError, ItemError, Message, Options
from appliance.imports.pst import names
from appliance.imports.pst.book import Book
from appliance.imports.pst.damage import Notes
from appliance.imports.pst.folders import MESSAGE, Folder, Folders
from appliance.imports.pst.index import Index, Node
from appliance.imports.pst.items import Store, StoredItem
from appliance.imports.pst.nodes import Blocks
from appliance.mapi import rebuild

CODE_PAGE: Final = "cp1252"
"""Of 8-bit text of which nothing says what it is, as Outlook in Western Europe and America wrote it."""

_LOST: Final = ("Recovered items",)
"""The folder of those whose own is not known."""

_MISSING: Final = "Its folder lists it, but it is not in the file."
_INDEX_DAMAGED: Final = (
    "Parts of this file's index are damaged. What they named was looked for in the whole file; what was not found there"
    " is missing from this list, too."
)
_UNREADABLE: Final = (
    "This PST is damaged: nothing that is in it can be found. Have Outlook's Inbox Repair Tool (scanpst.exe) mend a"
    " copy of it, and import that."
)


def read(file: BinaryIO, name: str, options: Options) -> Iterator[Entry]:
    """The items of a PST or OST: those of each folder by rising numbers of their nodes.

    Hidden items (rules, views, forms) are none, and folders that their owner never saw count as lost. A password
    keeps nobody from reading: Outlook keeps its CRC, and the rest as it is.
    """
    del name
    blocks = Blocks(Index(file))
    notes = Notes()
    store = Store(blocks, names.read(blocks, notes), options.code_page or CODE_PAGE)
    yield from _Reading(store, options).entries()


class _Reading:
    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._options = options
        self._folders = Folders(store)
        self._book = Book(store, self._folders)

    def entries(self) -> Iterator[Entry]:
        index = self._store.blocks.index
        if next(index.nodes(), None) is None:
            raise FileError(_UNREADABLE)
        known: dict[int, Folder] = {}
        for folder in self._folders:
            known[folder.id] = folder
            if folder.shown:
                for id in self._folders.items(folder):
                    yield self._listed(id, folder)
        if not index.whole:
            yield Entry("index", (), broken=_INDEX_DAMAGED)
        if self._options.recovered or not index.whole:
            yield from self._orphans(known)
        if self._options.recovered and index.whole:
            yield from self._deleted(known)

    def _orphans(self, known: Mapping[int, Folder]) -> Iterator[Entry]:
        """Items that the file has, but none of the folders that its owner saw."""
        for parent in self._folders.parents():
            folder = known.get(parent) or Folder(parent, _LOST, "", shown=False)
            listed = set(self._folders.items(folder)) if folder.shown else set()
            for id in self._folders.children(parent):
                if id not in listed:
                    yield self._listed(id, folder, "orphan")

    def _deleted(self, known: Mapping[int, Folder]) -> Iterator[Entry]:
        """Items that were deleted, as far as nothing was written over them."""
        for row in self._store.blocks.index.strays.nodes.values():
            node = Node(*row)
            if node.id & 0x1F == MESSAGE:
                folder = known.get(node.parent) or Folder(node.parent, _LOST, "", shown=False)
                entry = self._entry(node, folder, "recovered")
                if not entry.broken:
                    yield entry

    def _listed(self, id: int, folder: Folder, mark: str = "") -> Entry:
        node = self._store.blocks.index.node(id)
        if node is None:
            return Entry(f"{id:#x}", folder.path, role=folder.role, broken=_MISSING)
        return self._entry(node, folder, mark)

    def _entry(self, node: Node, folder: Folder, mark: str) -> Entry:
        entry = Entry(f"{mark} {node.id:#x}".strip(), folder.path, role=folder.role)
        try:
            item = StoredItem(self._store, node)
            entry = entry._replace(kind=rebuild.kind(item))
        except ItemError as damage:
            return entry._replace(broken=str(damage))
        except (
            ArithmeticError,
            LookupError,
            MemoryError,
            TypeError,
            ValueError,
        ) as error:  # others come behind it
            return entry._replace(broken=f"This item cannot be read ({type(error).__name__}).")
        left = items.left(entry.kind, self._options)
        return entry._replace(left=left) if left else entry._replace(content=lambda: self._message(item))

    def _message(self, item: StoredItem) -> Message:
        return items.message(item, book=self._book)
