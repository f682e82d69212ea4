"""Damaged PSTs: what can be read is read, what cannot is told, and nothing is taken for what it is not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from appliance.imports.base import Entry, ItemError, Options
from appliance.imports.pst import read
from appliance.imports.pst.index import BLOCKS, NODES
from appliance.mapi import rebuild
from appliance.mapi.base import Item, Kind
from tests.pst_files import PstFile
from tests.unit.imports.test_pst import ASPOSE, DIST_LIST, OST, item, store

EVERYTHING = Options(others=True)
RECOVERED = Options(others=True, recovered=True)


@pytest.fixture(scope="session")
def psts(corpora: Path) -> Path:
    """The folder of PSTs among the real mail."""
    return corpora / "pst"


def entries(raw: bytes | bytearray, options: Options = EVERYTHING) -> dict[str, Entry]:
    return {entry.id: entry for entry in read(io.BytesIO(bytes(raw)), "some.pst", options)}


def contents(found: dict[str, Entry]) -> dict[str, bytes]:
    return {id: b"".join(entry.content().pieces) for id, entry in found.items() if entry.content is not None}


def warnings(entry: Entry) -> str:
    assert entry.content is not None
    message = entry.content()
    return " ".join(message.meta.warnings)


def test_an_item_that_is_overwritten_is_told_and_the_others_are_read(psts: Path) -> None:
    raw = (psts / ASPOSE).read_bytes()
    whole = contents(entries(raw))
    changed = PstFile(raw)
    node = changed.index.node(0x200164)
    assert node is not None
    place = changed.index.block(node.data)
    assert place is not None
    at, size = place.row[1:3]
    whole_size = -(-(size + changed.layout.footer.size) // changed.layout.align) * changed.layout.align
    changed.raw[at : at + whole_size] = bytes(whole_size)
    found = entries(changed.raw)
    assert list(found) == list(entries(raw))
    assert found["0x200164"].broken.startswith("This item is damaged: ")
    assert found["0x200164"].folder == ("Inbox",)
    assert contents(found) == {id: content for id, content in whole.items() if id != "0x200164"}


def test_a_wrong_bit_is_told_and_the_item_kept(psts: Path) -> None:
    raw = bytearray((psts / DIST_LIST).read_bytes())
    changed = PstFile(bytes(raw))
    node = changed.index.node(0x200064)
    assert node is not None
    place = changed.index.block(node.data)
    assert place is not None
    plain = changed.block(node.data)
    at = plain.index("contact name 1".encode("utf-16-le"))
    changed.raw[place.row[1] + at] ^= 1
    opened = item(store(bytes(changed.raw)), 0x200064)
    assert list(opened.properties.damaged) == ["the checksum of a part does not fit"]
    assert "checksum" in warnings(entries(changed.raw)["0x200064"])


def test_blocks_that_changed_places_are_not_taken_for_each_other(psts: Path) -> None:
    """Both have the right checksum: each says whose it is."""
    raw = (psts / ASPOSE).read_bytes()
    changed = PstFile(raw)
    nodes = [changed.index.node(id) for id in (0x200064, 0x200084)]
    places = [changed.index.block(node.data) for node in nodes if node is not None]
    (one, other) = [place.row for place in places if place is not None]
    size = -(-(max(one[2], other[2]) + 16) // 64) * 64
    first, second = bytes(changed.raw[one[1] : one[1] + size]), bytes(changed.raw[other[1] : other[1] + size])
    changed.raw[one[1] : one[1] + size], changed.raw[other[1] : other[1] + size] = second, first
    found = entries(changed.raw)
    for id in ("0x200064", "0x200084"):
        assert found[id].broken.startswith("This item is damaged: ")


@pytest.mark.parametrize("type", [NODES, BLOCKS])
def test_a_lost_part_of_an_index_is_looked_for_in_the_whole_file(psts: Path, type: int) -> None:
    """Here an older copy of the page lies behind the end; what nothing names any more is told to be missing."""
    raw = (psts / ASPOSE).read_bytes()
    whole = contents(entries(raw))
    for at, _ in list(PstFile(raw).leaves(type))[::4]:
        changed = PstFile(raw)
        page = bytes(changed.raw[at : at + changed.layout.page])
        changed.raw[at : at + changed.layout.page] = bytes(len(page))
        lost = entries(changed.raw)
        if type == NODES:
            assert "index" in lost
        changed.append_page(page)
        found = entries(changed.raw)
        assert {id: one for id, one in contents(found).items() if id in whole} == whole


def test_one_wrong_bit_in_an_index_loses_one_entry_at_most(psts: Path) -> None:
    raw = (psts / ASPOSE).read_bytes()
    whole = contents(entries(raw))
    for at, page in list(PstFile(raw).leaves(NODES))[::2]:
        changed = bytearray(raw)
        changed[at + 8 * len(page.keys)] ^= 0x10
        found = contents(entries(changed))
        assert len(set(whole) - set(found)) <= 1


def test_a_file_cut_short_gives_what_is_left(psts: Path) -> None:
    """The end of a PST has its newest indexes: what older ones still name is found all the same."""
    raw = (psts / ASPOSE).read_bytes()
    whole = contents(entries(raw))
    counts = []
    for part in (0.95, 0.7, 0.4):
        found = entries(raw[: int(len(raw) * part)])
        counts.append(len({id for id in contents_that_can_be_had(found) if id in whole}))
        assert all(entry.broken or entry.content or entry.left for entry in found.values())
    assert counts[0] == len(whole)
    assert counts == sorted(counts, reverse=True)


def contents_that_can_be_had(found: dict[str, Entry]) -> dict[str, bytes]:
    had = {}
    for id, entry in found.items():
        if entry.content is not None:
            try:
                had[id] = b"".join(entry.content().pieces)
            except ItemError:
                continue
    return had


def test_a_folder_whose_list_is_damaged_keeps_its_items(psts: Path) -> None:
    raw = (psts / ASPOSE).read_bytes()
    changed = PstFile(raw)
    node = changed.index.node(0x8082 & ~0x1F | 0x0E)  # the contents table of the inbox
    assert node is not None
    changed.put(node.data, bytes(len(changed.block(node.data))))
    assert contents(entries(changed.raw)) == contents(entries(raw))


def test_what_no_folder_lists_is_an_orphan(psts: Path) -> None:
    raw = (psts / ASPOSE).read_bytes()
    changed = PstFile(raw)
    node = changed.index.node(0x8082 & ~0x1F | 0x0E)
    assert node is not None
    plain = changed.block(node.data)
    id = (0x200144).to_bytes(4, "little")
    assert plain.count(id) == 1
    changed.put(node.data, plain.replace(id, (0x2001E4).to_bytes(4, "little")))
    found = entries(changed.raw)
    assert "0x200144" not in found
    found = entries(changed.raw, RECOVERED)
    assert found["orphan 0x200144"].folder == ("Inbox",)
    assert contents(found)["orphan 0x200144"] == contents(entries(raw))["0x200144"]


def test_a_deleted_item_is_recovered_while_nothing_was_written_over_it(psts: Path) -> None:
    """Outlook takes its entries out of the indexes; the pages that had them stay in the file for a while."""
    raw = (psts / DIST_LIST).read_bytes()
    changed = PstFile(raw)
    node, table = changed.index.node(0x200064), changed.index.node(0x8142 & ~0x1F | 0x0E)
    assert node is not None
    assert table is not None
    plain = changed.block(table.data)
    changed.put(table.data, plain.replace((0x200064).to_bytes(4, "little"), (0x200024).to_bytes(4, "little")))
    place = changed.index.block(node.data)
    assert place is not None
    for type, key in ((NODES, 0x200064), (BLOCKS, node.data)):
        at = changed.leaf_of(type, key)
        before = bytes(changed.raw[at : at + changed.layout.page])
        changed.forget(type, key)
        changed.append_page(before)
    assert "0x200064" not in entries(changed.raw)
    found = entries(changed.raw, RECOVERED)
    assert found["recovered 0x200064"].folder == ("Contacts",)
    assert contents(found)["recovered 0x200064"] == contents(entries(raw))["0x200064"]
    changed.raw[place.row[1]] ^= 0xFF
    assert "recovered 0x200064" not in entries(changed.raw, RECOVERED)


def test_an_item_that_a_reader_stumbles_over_does_not_cost_the_rest(
    psts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(range(20))
    kind = rebuild.kind

    def stumbling(item: Item) -> Kind:
        if next(asked) == 3:
            raise MemoryError
        return kind(item)

    monkeypatch.setattr(rebuild, "kind", stumbling)
    found = list(entries((psts / ASPOSE).read_bytes()).values())
    assert [entry.broken for entry in found] == ["", "", "", "This item cannot be read (MemoryError).", *[""] * 9]


def test_deflated_blocks_that_are_damaged_are_told(psts: Path) -> None:
    raw = (psts / OST).read_bytes()
    changed = PstFile(raw)
    node = changed.index.node(0x2018A4)
    assert node is not None
    place = changed.index.block(node.data)
    assert place is not None
    assert place.row[2] < place.row[3]
    changed.raw[place.row[1] + 40 : place.row[1] + 80] = bytes(40)
    assert entries(changed.raw)["0x2018a4"].broken.startswith("This item is damaged: a block ")
