"""What a remote promises, on a folder and on real servers of S3, WebDAV and SFTP."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from appliance.cloud import probe
from appliance.cloud.rclone import Patience, Rclone, RcloneRemote
from appliance.cloud.remote import RemoteConfig, Room
from appliance.errors import ConflictError, NotFoundError, RemoteDeniedError
from tests.remotes import Target, local_target, s3_target, sftp_target, webdav_target

TARGETS = (local_target, s3_target, webdav_target, sftp_target)
NAME = "objects/ab/abcdef"


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    rclone = Rclone(tmp_path_factory.mktemp("run") / "replica", patience=Patience(1, (0.05,)))
    yield rclone
    rclone.close()


@pytest.fixture(scope="module", params=TARGETS, ids=lambda target: target.__name__)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    start: Callable[[Path], AbstractContextManager[Target]] = request.param
    with start(tmp_path_factory.mktemp("target")) as one:
        yield one


@pytest.fixture
def remote(rclone: Rclone, target: Target) -> Iterator[RcloneRemote]:
    remote = rclone.remote(target.config)
    for one in remote.list():
        remote.delete(one.name)
    yield remote
    remote.close()


def written(folder: Path, size: int) -> Path:
    path = folder / f"source-{os.urandom(4).hex()}"
    path.write_bytes(os.urandom(size))
    return path


def test_what_goes_up_comes_back(remote: RcloneRemote, target: Target, tmp_path: Path) -> None:
    source = written(tmp_path, 300_001)
    os.utime(source, (1e9, 1e9))  # an old volume
    before = time.time()
    remote.put(source, NAME)
    assert (target.folder / NAME).read_bytes() == source.read_bytes()
    (listed,) = remote.list()
    assert (listed.name, listed.size) == (NAME, 300_001)
    if (
        target.config.type != "s3"
    ):  # as rclone plays S3, an object has the time of its file; S3 itself says when it came
        assert before - 60 < listed.modified / 1e6 < time.time() + 60
    remote.get(NAME, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, "back"])


def test_an_empty_file_is_a_file(remote: RcloneRemote, tmp_path: Path) -> None:
    remote.put(written(tmp_path, 0), NAME)
    assert [one.size for one in remote.list()] == [0]
    assert remote.read(NAME) == b""
    remote.get(NAME, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_parts_can_be_read(remote: RcloneRemote, tmp_path: Path) -> None:
    source = written(tmp_path, 100_000)
    data = source.read_bytes()
    remote.put(source, NAME)
    assert remote.read(NAME) == data
    assert remote.read(NAME, 5, 10) == data[5:15]
    assert remote.read(NAME, 99_990) == data[99_990:]
    assert remote.read(NAME, 99_990, 1000) == data[99_990:]
    assert remote.read(NAME, 100_000, 10) == b""


def test_lists_at_any_depth_below_a_folder_that_need_not_exist(remote: RcloneRemote, tmp_path: Path) -> None:
    source = written(tmp_path, 10)
    for name in ("objects/00/a", "objects/ff/b", "generations/0001-0000000001"):
        remote.put(source, name)
    assert sorted(one.name for one in remote.list("objects")) == ["objects/00/a", "objects/ff/b"]
    assert sorted(one.name for one in remote.list("objects/ff")) == ["objects/ff/b"]
    assert len(remote.list()) == 3
    assert not remote.list("epochs")


def test_an_object_is_never_overwritten(remote: RcloneRemote, target: Target, tmp_path: Path) -> None:
    source = written(tmp_path, 20_000_000)
    remote.put(source, NAME)
    remote.put(source, NAME)  # the same bytes again are nothing
    for other in (written(tmp_path, 20_000_000), written(tmp_path, 10), written(tmp_path, 0)):
        with pytest.raises(ConflictError, match="other bytes"):
            remote.put(other, NAME)
    changed = bytearray(source.read_bytes())
    changed[-1] ^= 1
    source.write_bytes(changed)
    with pytest.raises(ConflictError):
        remote.put(source, NAME)
    changed[-1] ^= 1
    assert (target.folder / NAME).read_bytes() == changed


def test_a_deleted_object_is_gone_and_deleting_it_again_is_nothing(remote: RcloneRemote, tmp_path: Path) -> None:
    remote.put(written(tmp_path, 10), NAME)
    remote.delete(NAME)
    remote.delete(NAME)
    assert not remote.list()
    with pytest.raises(NotFoundError):
        remote.read(NAME)
    with pytest.raises(NotFoundError):
        remote.get(NAME, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_the_place_is_made_where_it_is_missing(rclone: Rclone, target: Target, tmp_path: Path) -> None:
    fresh = rclone.remote(target.named("fresh", path=target.config.path.replace("replica", "newly-made")))
    assert not fresh.list()
    source = written(tmp_path, 10)
    fresh.put(source, NAME)
    assert fresh.read(NAME) == source.read_bytes()
    fresh.close()


def test_progress_never_goes_back_and_ends_at_the_size(remote: RcloneRemote, tmp_path: Path) -> None:
    source = written(tmp_path, 30_000_000)
    up: list[int] = []
    down: list[int] = []
    remote.put(source, NAME, up.append)
    remote.get(NAME, tmp_path / "back", down.append)
    for told in (up, down):
        assert told == sorted(told)
        assert told[-1] == 30_000_000


def test_many_threads_share_one_remote(remote: RcloneRemote, tmp_path: Path) -> None:
    sources = {f"objects/{number:02d}/x": written(tmp_path, 50_000 + number) for number in range(12)}
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda item: remote.put(item[1], item[0]), sources.items()))
        read = dict(zip(sources, threads.map(remote.read, sources), strict=True))
    assert read == {name: path.read_bytes() for name, path in sources.items()}


def test_a_test_uses_the_remote_and_leaves_nothing(remote: RcloneRemote, target: Target) -> None:
    result = probe.test_remote(remote, size=100_000)
    assert result.passed, result.words
    assert min(result.bytes_per_second_up, result.bytes_per_second_down) > 0
    assert target.objects() == []


def test_room_is_told_where_the_service_tells(remote: RcloneRemote, target: Target) -> None:
    room = remote.room()
    if target.config.type in ("local", "sftp"):
        assert room.free
    else:
        assert room == Room()


def test_a_misspelt_option_or_type_is_named(rclone: Rclone, tmp_path: Path) -> None:
    options = {"url": "https://127.0.0.1:1", "pas": "secret"}
    with pytest.raises(RemoteDeniedError, match=r"“pas”.*“pass”"):
        rclone.remote(RemoteConfig("typo", "webdav", options)).list()
    with pytest.raises(RemoteDeniedError, match="webdva"):
        rclone.remote(RemoteConfig("typo", "webdva", {})).list()
