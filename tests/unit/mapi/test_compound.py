"""Compound files: everything in real ones is found as another reader finds it; hostile ones end in a sentence."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import olefile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.mapi.compound import CompoundError, Storage, open_compound
from appliance.mapi.compounding import written
from tests.outlook_files import Node, compound

_END, _FREE = 0xFFFFFFFE, 0xFFFFFFFF


def everything(storage: Storage, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bytes]]:
    for stream in storage.streams():
        data = b"".join(stream.pieces())
        assert len(data) == stream.size
        yield (*path, stream.name), data
    for one in storage.storages():
        yield from everything(one, (*path, one.name))


def by_olefile(data: bytes) -> dict[tuple[str, ...], bytes]:
    with olefile.OleFileIO(data) as file:
        assert not file.parsing_issues
        return {tuple(path): file.openstream(path).read() for path in file.listdir()}


def test_real_files_are_read_as_olefile_reads_them(corpora: Path) -> None:
    files = sorted((corpora / "msg").iterdir())
    assert len(files) >= 10
    for path in files:
        data = path.read_bytes()
        found = dict(everything(open_compound(io.BytesIO(data))))
        assert len(found) > 30
        assert found == by_olefile(data)
        # Written anew, it says the same to both.
        anew = b"".join(written(open_compound(io.BytesIO(data))))
        assert dict(everything(open_compound(io.BytesIO(anew)))) == found == by_olefile(anew)


_NAMES = st.text("abcdEFGH123", min_size=1, max_size=9)
_STREAMS = st.binary(max_size=200) | st.sampled_from([0, 63, 64, 65, 4095, 4096, 4097, 9000]).map(bytes)
_TREES = st.recursive(_STREAMS, lambda inner: st.dictionaries(_NAMES, inner, max_size=5), max_leaves=12)


def _nodes(tree: dict[str, object]) -> list[Node]:
    """Names that differ in case alone are one name in a compound file."""
    single = {name.upper(): (name, value) for name, value in tree.items()}
    return [
        Node(name, inner=_nodes(value)) if isinstance(value, dict) else Node(name, value)  # type: ignore[arg-type]
        for name, value in single.values()
    ]


def _flat(nodes: list[Node], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bytes]]:
    for one in nodes:
        if one.inner is None:
            yield (*path, one.name), one.data
        else:
            yield from _flat(one.inner, (*path, one.name))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(_NAMES, _TREES, max_size=8))
def test_whatever_is_written_is_read(tree: dict[str, object]) -> None:
    nodes = _nodes(tree)
    data = compound(nodes)
    assert dict(everything(open_compound(io.BytesIO(data)))) == dict(_flat(nodes)) == by_olefile(data)
    assert data == compound(nodes)


def test_a_large_object_is_written_with_more_tables_than_its_header_holds() -> None:
    large = random.Random(7).randbytes(64 * 1024) * 160  # 10 MiB: over 109 sectors of the table
    data = compound([Node("large", large), Node("small", b"x" * 100)], clsid=b"C" * 16)
    root = open_compound(io.BytesIO(data))
    assert root.clsid == b"C" * 16
    assert dict(everything(root)) == {("large",): large, ("small",): b"x" * 100}
    assert by_olefile(data)["large",] == large


def test_sectors_of_4096_bytes() -> None:
    content = bytes(range(256)) * 40  # three sectors
    table = [0xFFFFFFFD, _END, 3, 4, _END]
    header = struct.pack(
        "<8s16xHHHHH6x9I",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        0x3E,
        4,
        0xFFFE,
        12,
        6,
        1,
        1,
        1,
        0,
        4096,
        _END,
        0,
        _END,
        0,
    )
    header += struct.pack("<I", 0) + b"\xff" * 432
    directory = _entry("Root Entry", 5, child=1) + _entry("content", 2, start=2, size=len(content))
    data = b"".join(
        part.ljust(4096, fill)
        for part, fill in ((header, b"\0"), (struct.pack("<5I", *table), b"\xff"), (directory, b"\0"), (content, b"\0"))
    )
    assert dict(everything(open_compound(io.BytesIO(data)))) == {("content",): content}


def _entry(name: str, kind: int, *, child: int = _FREE, start: int = _END, size: int = 0) -> bytes:
    letters = name.encode("utf-16-le")
    return struct.pack("<64sHBBIII36xIQ", letters, len(letters) + 2, kind, 1, _FREE, _FREE, child, start, size)


def _places(data: bytes) -> tuple[int, int]:
    """Where table and directory begin in a small file of version 3."""
    (directory,) = struct.unpack_from("<I", data, 48)
    (table,) = struct.unpack_from("<I", data, 76)
    return (table + 1) * 512, (directory + 1) * 512


def test_no_compound_file() -> None:
    for data in (b"", b"PK\x03\x04" * 200, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)):
        with pytest.raises(CompoundError, match=r"\.$"):
            open_compound(io.BytesIO(data))


def test_a_chain_in_a_circle_is_no_endless_stream() -> None:
    data = bytearray(compound([Node("a", bytes(5000)), Node("b", bytes(6000))]))
    table, _ = _places(data)
    struct.pack_into("<I", data, table + 4, 0)  # the second sector is followed by the first
    stream = open_compound(io.BytesIO(data)).stream("a")
    assert stream is not None
    with pytest.raises(CompoundError, match="share"):
        stream.read()
    other = open_compound(io.BytesIO(data)).stream("b")
    assert other is not None
    assert other.read() == bytes(6000)


def test_streams_that_share_their_bytes_are_not_both_read() -> None:
    data = bytearray(compound([Node("a", b"a" * 5000), Node("b", b"b" * 5000)]))
    _, directory = _places(data)
    start = struct.unpack_from("<I", data, directory + 128 + 116)[0]
    struct.pack_into("<I", data, directory + 256 + 116, start)
    root = open_compound(io.BytesIO(data))
    first, second = root.streams()
    assert first.read() == b"a" * 5000
    assert first.read() == b"a" * 5000
    with pytest.raises(CompoundError, match="share"):
        second.read()


def test_a_stream_that_says_it_is_huge_takes_no_memory() -> None:
    data = bytearray(compound([Node("a", b"a" * 5000)]))
    _, directory = _places(data)
    struct.pack_into("<I", data, directory + 128 + 120, 0xFFFFFFF0)
    stream = open_compound(io.BytesIO(data)).stream("a")
    assert stream is not None
    with pytest.raises(CompoundError):
        stream.read()
    with pytest.raises(CompoundError, match="cut off"):
        list(stream.pieces())


def test_a_directory_in_a_circle() -> None:
    data = bytearray(compound([Node("a", inner=[Node("b", inner=[])])]))
    _, directory = _places(data)
    struct.pack_into("<I", data, directory + 256 + 76, 1)  # a is in b, which is in a
    a = open_compound(io.BytesIO(data)).storage("a")
    assert a is not None
    with pytest.raises(CompoundError, match="circle"):
        a.storage("b")


def test_every_cut_of_a_file_ends_in_a_sentence_or_in_its_streams() -> None:
    nodes = [Node("large", bytes(range(256)) * 20), Node("small", b"small"), Node("in", inner=[Node("x", b"y" * 70)])]
    whole = compound(nodes)
    expected = dict(_flat(nodes))
    for length in range(0, len(whole), 37):
        try:
            found = dict(everything(open_compound(io.BytesIO(whole[:length]))))
        except CompoundError:
            continue
        assert found == expected
