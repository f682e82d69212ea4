"""Another reader, libpff, finds the same in each PST: every property, recipient and attachment, byte for byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pypff
import pytest

from appliance.imports.pst import names
from appliance.imports.pst.damage import Notes
from appliance.imports.pst.heaps import Cell, Heap
from appliance.imports.pst.index import Index
from appliance.imports.pst.items import Store, StoredItem
from appliance.imports.pst.nodes import Blocks
from appliance.mapi import values

PSTS = (
    "Aspose.Email-Python-Dotnet--Outlook.pst",
    "java-libpst--dist-list.pst",
    "msgvault--32-bit.pst",
    "pst-extractor--outlook.com.ost",
    "tika--testPST.pst",
)
NAMED = -1
"""Stands for the numbers of named properties, which libpff replaces by others."""


def ours(heap: Heap, cells: Mapping[int, Cell]) -> Counter[tuple[int, int, bytes]]:
    found: Counter[tuple[int, int, bytes]] = Counter()
    for id, cell in cells.items():
        found[id if id < 0x8000 else NAMED, cell[0], _short(cell[0], heap.read(cell))] += 1
    return found


def theirs(record_set: Any) -> Counter[tuple[int, int, bytes]]:
    found: Counter[tuple[int, int, bytes]] = Counter()
    for entry in record_set.entries:
        named = entry.name_to_id_map_entry is not None or entry.entry_type >= 0x8000
        data = _short(entry.value_type, entry.data or b"")
        found[NAMED if named else entry.entry_type, entry.value_type, data] += 1
    return found


def _short(type: int, data: bytes) -> bytes:
    """A number without what pads it, longer data by its hash."""
    size = values.FIXED.get(type)
    return data[:size].rstrip(b"\0") if size is not None else hashlib.sha256(data).digest()


def empty(entry: tuple[int, int, bytes]) -> bool:
    """Whether a cell says nothing: libpff gives one for each column, be it in the row or not."""
    return not any(entry[2]) or entry[2] == hashlib.sha256(b"").digest()


def messages(folder: Any) -> Iterator[Any]:
    yield from folder.sub_messages
    for below in folder.sub_folders:
        yield from messages(below)


@pytest.mark.parametrize("name", PSTS)
def test_libpff_finds_the_same(corpora: Path, name: str) -> None:
    path = corpora / "pst" / name
    other = pypff.file()
    other.open(str(path))
    seen = set()
    with path.open("rb") as file:
        blocks = Blocks(Index(file))
        store = Store(blocks, names.read(blocks, Notes()), "cp1252")
        for message in messages(other.get_root_folder()):
            seen.add(message.identifier)
            node = blocks.index.node(message.identifier)
            assert node is not None
            same_item(StoredItem(store, node), message)
        assert seen == {node.id for node in blocks.index.nodes() if node.id & 0x1F == 4}
    other.close()


def same_item(item: StoredItem, other: Any) -> None:
    where = hex(other.identifier)
    assert ours(item._heap, item.properties._cells) == theirs(other.get_record_set(0)), where
    assert list(item.properties.damaged) == []
    same_recipients(item, getattr(other, "recipients", None), where)
    count = getattr(other, "number_of_attachments", 0)
    assert len(item.attachments) == count, where
    for number in range(count):
        mine, its = item.attachments[number], other.get_attachment(number)
        assert ours(mine._heap, mine._cells) == theirs(its.get_record_set(0)), where
        if mine.item() is None:
            assert b"".join(mine.pieces()) == its.read_buffer(its.size), where


def same_recipients(item: StoredItem, other: Any, where: str) -> None:
    count = other.number_of_record_sets if other is not None else 0
    assert len(item.recipients) == count, where
    for number in range(count):
        row = item.recipients[number]
        mine, its = ours(row._heap, row._cells), theirs(other.get_record_set(number))
        assert not mine - its, where
        assert all(empty(entry) for entry in its - mine), where
