"""What lies beside a replica can be looked at and read, on a folder and on real servers; the replica cannot."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from appliance.cloud import outside, rclone
from appliance.cloud.outside import Outside, clean, whole
from appliance.cloud.rclone import Patience, Rclone
from appliance.cloud.remote import RemoteConfig, RemoteEntry, RemoteFile
from appliance.errors import ConflictError, ForbiddenError, NotFoundError, RemoteDeniedError, UsageError
from tests.remotes import Target, local_target, s3_target, sftp_target, webdav_target

SERVERS_MEMORY = 0.05
"""Seconds after which `rclone serve` looks at its folder again."""
TARGETS = (local_target, s3_target, webdav_target, sftp_target)


class Place:
    """A target with some files beside its replica, and what sees them."""

    def __init__(self, target: Target, beside: Path, top: str, outside: Outside) -> None:
        self.target = target
        self.beside = beside
        """A folder that is not the replica's, on disk."""
        self.top = top
        """Its path on the remote."""
        self.outside = outside


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    one = Rclone(tmp_path_factory.mktemp("run") / "replica", patience=Patience(1, (0.05,)))
    yield one
    one.close()


@pytest.fixture(scope="module", params=TARGETS, ids=lambda target: target.__name__)
def place(daemon: Rclone, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    start: Callable[[Path], AbstractContextManager[Target]] = request.param
    with start(tmp_path_factory.mktemp("target")) as target:
        is_local = target.config.type == "local"
        beside = target.folder / "mail" if is_local else target.folder.parent / "mail"
        (beside / "Archiv 2009").mkdir(parents=True)
        (beside / "anna.pst").write_bytes(bytes(range(256)) * 1000)
        (beside / "Archiv 2009" / "März & April #1?.pst").write_bytes(b"x" * 10)
        own = target.folder / "objects" / "ab"
        own.mkdir(parents=True)
        (own / "abcd").write_bytes(b"ciphertext")
        remote = daemon.remote(whole(target.config))
        yield Place(target, beside, "mail" if is_local else "replica/mail", Outside(remote, target.config))
        remote.close()


def test_a_folder_beside_the_replica_is_listed_folders_first(place: Place) -> None:
    listing = place.outside.list(f"/{place.top}/")
    assert listing.folder == place.top
    assert [(one.path, one.folder) for one in listing.entries] == [
        (f"{place.top}/Archiv 2009", True),
        (f"{place.top}/anna.pst", False),
    ]
    assert listing.entries[1].size == 256_000
    assert not listing.unlisted


def test_the_top_leads_down_to_everything_but_the_replica(place: Place) -> None:
    seen, folders = set(), [""]
    while folders:
        for one in place.outside.list(folders.pop()).entries:
            seen.add(one.path)
            if one.folder:
                folders.append(one.path)
    assert {f"{place.top}/anna.pst", f"{place.top}/Archiv 2009/März & April #1?.pst"} <= seen
    assert not [path for path in seen if "objects" in path or "abcd" in path]


def test_a_file_is_read_in_ranges(place: Place) -> None:
    path, data = f"{place.top}/anna.pst", (place.beside / "anna.pst").read_bytes()
    known = place.outside.file(path)
    assert known.size == len(data)
    if known.hash:
        assert hashlib.new(known.hash_kind, data).hexdigest() == known.hash
    assert place.outside.read(path, 0, 1000) == data[:1000]
    assert place.outside.read(path, 255_000, 8000) == data[255_000:]
    assert place.outside.read(path, 256_000, 10) == b""
    assert place.outside.read(f"{place.top}/Archiv 2009/März & April #1?.pst", 2, 100) == b"x" * 8


def test_a_service_that_keeps_hashes_tells_them(place: Place) -> None:
    known = place.outside.file(f"{place.top}/anna.pst")
    assert (known.hash_kind == "md5") is (place.target.config.type == "s3")


def test_a_file_that_is_changed_looks_changed(place: Place) -> None:
    path = place.beside / "changing.pst"
    path.write_bytes(b"one")
    time.sleep(SERVERS_MEMORY)
    before = place.outside.file(f"{place.top}/changing.pst")
    assert place.outside.file(f"{place.top}/changing.pst") == before
    path.write_bytes(b"three")
    time.sleep(SERVERS_MEMORY)
    assert place.outside.file(f"{place.top}/changing.pst") != before
    path.unlink()


@pytest.mark.parametrize("name", ["objects", "objects/ab", "objects/ab/abcd", "OBJECTS/ab/abcd", "./objects//ab/abcd"])
def test_the_replica_is_neither_listed_nor_read(place: Place, name: str) -> None:
    is_local = place.target.config.type == "local"
    path = name if is_local else f"{place.target.config.path}/{name}"
    with pytest.raises(ForbiddenError, match="replica"):
        place.outside.list(path)
    with pytest.raises(ForbiddenError, match="replica"):
        place.outside.file(path)
    with pytest.raises(ForbiddenError, match="replica"):
        place.outside.read(path, 0, 10)


def test_what_is_not_there_is_said_to_be_missing(place: Place) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.pst"):
        place.outside.file(f"{place.top}/nothing.pst")
    with pytest.raises(NotFoundError, match="no file"):
        place.outside.file(place.top)
    with pytest.raises(NotFoundError):
        place.outside.read(f"{place.top}/nothing.pst", 0, 10)
    if place.target.config.type != "s3":  # which has no folders, only names that look so
        with pytest.raises(NotFoundError, match="no folder"):
            place.outside.list("replica/nowhere")


@pytest.mark.parametrize("path", ["..", "mail/../../etc", "mail/\n", "mail/\0", "x" * 5000])
def test_no_path_leads_out_of_the_remote(place: Place, path: str) -> None:
    with pytest.raises(UsageError):
        place.outside.list(path)
    with pytest.raises(UsageError):
        place.outside.file(path)


def test_a_folder_of_this_machine_is_the_top_of_its_remote() -> None:
    assert whole(RemoteConfig("nas", "local", path="/mnt/nas/mailkeep")).path == "/mnt/nas/mailkeep"
    assert whole(RemoteConfig("nas", "sftp", path="/srv/mailkeep")).path == "/"
    assert whole(RemoteConfig("nas", "sftp", path="mailkeep")).path == ""
    assert clean("/a//b/./c/") == "a/b/c"


def test_of_a_large_folder_as_much_is_listed_as_can_be_looked_through(
    daemon: Rclone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (tmp_path / f"{number:03}.pst").touch()
    config = RemoteConfig("many", "local", path=str(tmp_path))
    remote = daemon.remote(config)
    monkeypatch.setattr(outside, "MOST_LISTED", 20)
    listing = Outside(remote, config).list("")
    assert (len(listing.entries), listing.unlisted) == (20, 30)
    monkeypatch.setattr(rclone, "_LARGEST_LISTING", 1000)
    with pytest.raises(UsageError, match="too many"):
        Outside(remote, config).list("")
    assert Outside(remote, msgspec.structs.replace(config, path="elsewhere")).file("001.pst").size == 0
    remote.close()


class _OneBucket:
    """Credentials for one bucket, which may not ask for others."""

    def entries(self, folder: str) -> list[RemoteEntry]:
        if not folder.startswith("mail"):
            raise RemoteDeniedError("AccessDenied")
        return [RemoteEntry("mail/old.pst", False, 5, 0)]

    def file(self, name: str) -> RemoteFile | None:
        raise NotImplementedError

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        raise NotImplementedError

    def store(self, name: str, data: bytes) -> bool:
        raise NotImplementedError


def test_a_key_for_one_bucket_shows_that_bucket() -> None:
    looking = Outside(_OneBucket(), RemoteConfig("cloud", "s3", path="mail/replica"))
    assert [one.path for one in looking.list("").entries] == ["mail"]
    assert [one.path for one in looking.list("mail").entries] == ["mail/old.pst"]
    with pytest.raises(RemoteDeniedError):
        looking.list("another")


def test_what_is_stored_is_there_whole_and_nothing_is_overwritten(place: Place) -> None:
    data = bytes(range(256)) * 4000
    is_local = place.target.config.type == "local"
    path = f"{place.top}/Neu/März #1.eml"
    if is_local:
        with pytest.raises(ForbiddenError):
            place.outside.store(path, data)
        return
    assert place.outside.store(path, data)
    assert (place.beside / "Neu" / "März #1.eml").read_bytes() == data
    time.sleep(SERVERS_MEMORY)
    assert not place.outside.store(path, data), "the same again is nothing"
    for other in (data[:-1] + b"x", b"short", b""):
        with pytest.raises(ConflictError, match="not overwritten"):
            place.outside.store(path, other)
    assert (place.beside / "Neu" / "März #1.eml").read_bytes() == data
    with pytest.raises(ForbiddenError, match="replica"):
        place.outside.store(f"{place.target.config.path.upper()}/x.eml", data)
