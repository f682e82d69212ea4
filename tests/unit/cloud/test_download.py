"""Fetching many files: few requests, every file as it was written, and one that is not keeps no other."""

from __future__ import annotations

import random
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.cloud import download as d
from appliance.cloud.download import Fetched, download, ranges_of
from appliance.cloud.objects import Placed, object_name
from appliance.errors import DiskFullError, UnavailableError
from tests.cloud_double import FolderRemote
from tests.replica_box import Quiet

SIZES = (10, 2_000, 0, 500, 40_000, 1)


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "remote")


def bundle(
    remote: FolderRemote, sizes: tuple[int, ...] = SIZES, seed: int = 1
) -> tuple[list[Placed], dict[str, bytes]]:
    """An object of files one after the other, and what is in each."""
    source = random.Random(seed)
    contents = [source.randbytes(size) for size in sizes]
    whole = b"".join(contents)
    name = object_name(sha256(whole).digest())
    (remote.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (remote.folder / name).write_bytes(whole)
    placed, offset = [], 0
    for number, content in enumerate(contents):
        placed.append(Placed(f"{seed}-{number}", len(content), sha256(content).digest(), name, offset))
        offset += len(content)
    return placed, {one.path: content for one, content in zip(placed, contents, strict=True)}


def fetched(remote: FolderRemote, wanted: list[Placed], folder: Path) -> tuple[dict[str, bytes], set[str]]:
    """What came, and what was said to be wrong."""
    came: dict[str, bytes] = {}
    wrong: set[str] = set()

    def take(one: Fetched) -> None:
        if one.wrong is not None:
            wrong.add(one.placed.path)
        else:
            came[one.placed.path] = one.path.read_bytes()
            one.path.unlink()

    download(remote, wanted, folder / "staging", take, Quiet(), what="files")
    assert list((folder / "staging").iterdir()) == []
    return came, wrong


@pytest.mark.parametrize("most", [10, 1_000, 10**6], ids=["whole bundles", "some of both", "ranges"])
@pytest.mark.parametrize("gap", [-1, 100, 10**6])
def test_every_file_comes_as_it_was_written(
    remote: FolderRemote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, gap: int
) -> None:
    monkeypatch.setattr(d, "RANGE", most)
    monkeypatch.setattr(d, "_GAP", gap)
    first, contents = bundle(remote)
    second, more = bundle(remote, (3_000,), seed=2)
    wanted = [*first[::2], *second, *first[1::2]]
    came, wrong = fetched(remote, wanted, tmp_path)
    assert came == {**contents, **more} and not wrong


def test_what_lies_together_is_one_request(remote: FolderRemote, tmp_path: Path) -> None:
    placed, contents = bundle(remote)
    assert fetched(remote, placed, tmp_path) == (contents, set())
    assert [call for call, _ in remote.calls] == ["read"]


def test_what_lies_far_apart_is_not_read_along() -> None:
    near, far = Placed("a", 10, b"", "o", 0), Placed("b", 10, b"", "o", 100 * 2**20)
    assert [(one.offset, one.size) for one in ranges_of([far, near])] == [(100 * 2**20, 10), (0, 10)]


def test_the_order_that_was_asked_for_is_kept() -> None:
    objects = [Placed(str(number), 10, b"", f"o{number % 3}", number * 10) for number in range(9)]
    assert [one.object for one in ranges_of(objects[::-1])] == ["o2", "o1", "o0"]


@pytest.mark.parametrize("most", [10, 10**6], ids=["whole bundles", "ranges"])
def test_one_that_is_another_file_keeps_no_other(
    remote: FolderRemote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(d, "RANGE", most)
    placed, contents = bundle(remote)
    whole = bytearray(remote.content(placed[0].object))
    whole[placed[4].offset + 1] ^= 1
    remote.spoil(placed[0].object, bytes(whole))
    came, wrong = fetched(remote, placed, tmp_path)
    assert wrong == {placed[4].path}
    assert came == {path: content for path, content in contents.items() if path not in wrong}


@pytest.mark.parametrize("most", [10, 10**6], ids=["whole bundles", "ranges"])
def test_an_object_that_is_gone_or_cut_is_told_file_by_file(
    remote: FolderRemote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(d, "RANGE", most)
    placed, contents = bundle(remote)
    other, more = bundle(remote, (700, 9), seed=2)
    whole = remote.content(placed[0].object)
    remote.spoil(placed[0].object, whole[: placed[3].offset + 1])
    came, wrong = fetched(remote, [*placed, *other], tmp_path)
    assert wrong == {one.path for one in placed[3:]} and came.keys() == {*contents, *more} - wrong
    remote.spoil(placed[0].object, None)
    came, wrong = fetched(remote, [*placed, *other], tmp_path)
    assert wrong >= {one.path for one in placed if one.size} and came.keys() >= more.keys()


def test_what_is_not_about_one_file_ends_it(remote: FolderRemote, tmp_path: Path) -> None:
    placed, _ = bundle(remote)
    remote.fail(UnavailableError("No network."), "read")
    with pytest.raises(UnavailableError, match="No network"):
        fetched(remote, placed, tmp_path)
    remote.fail(DiskFullError("Full."), "read")
    with pytest.raises(DiskFullError):
        fetched(remote, placed, tmp_path)
