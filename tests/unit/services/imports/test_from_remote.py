"""Imports of files that lie on remotes: fetched, gone on with after trouble, given up in words. Servers are real."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.cloud.outside import LARGEST_PIECE
from appliance.cloud.rclone import Patience, Rclone
from appliance.cloud.remote import RemoteFile
from appliance.errors import ConflictError, ForbiddenError, MailkeepError, NotFoundError, UnavailableError, UsageError
from appliance.imports.reading import Opened
from appliance.services import api, auditing
from appliance.services.collector.importing_ledger import Task
from appliance.services.imports import supplying
from appliance.services.principal import Principal
from appliance.services.replicas import Replicas
from appliance.services.replicator import connections
from tests.importing import Imported, Item, ReaderDouble, figures
from tests.remotes import Target, local_target, s3_target, sftp_target, webdav_target
from tests.scratch import BOX, ScratchArchive, mail

ANNA, BEN = "anna@example.com", "ben@example.com"
SECONDS = 60.0


class Reads(Imported):
    """Keeps what the collector was given to read."""

    def __init__(self, box: ScratchArchive) -> None:
        super().__init__(box)
        self.read: dict[str, bytes] = {}

    def open(self, task: Task, opened: Opened) -> ReaderDouble:
        self.items.setdefault(task.name, [Item(mail(task.name, "words"))])
        reader = super().open(task, opened)
        self.read[task.name] = reader.content
        return reader

    def fetch(self, id: int, *paths: str, last: bool = True, **settings: Any) -> api.ImportInfo:
        made: api.ImportInfo = self.call(
            "import_from_remote", id=id, remote="there", paths=paths, last=last, **settings
        )  # fmt: skip
        return made

    def await_(self, id: int, until: Callable[[api.ImportInfo], object]) -> api.ImportInfo:
        """The import, as soon as something is true of it."""
        deadline = time.monotonic() + SECONDS
        while not until(one := self.get(id)):
            assert time.monotonic() < deadline, one
            time.sleep(0.02)
        return one

    def over(self, id: int) -> api.ImportInfo:
        """The import, when it has ended by itself."""
        return self.await_(id, lambda one: one.ended is not None)


class Slow:
    """Stands in for the replicator's reading of a remote: as real, until a test wants otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offsets: list[int] = []
        self.error: MailkeepError | None = None
        self.fails_from = 0
        self.known: Callable[[RemoteFile], RemoteFile] = lambda known: known
        piece, file = Replicas.piece, Replicas.file

        def slowly(replicas: Replicas, name: str, path: str, offset: int, size: int) -> bytes:
            if self.error is not None and offset >= self.fails_from:
                raise self.error
            self.offsets.append(offset)
            return piece(replicas, name, path, offset, size)

        monkeypatch.setattr(Replicas, "piece", slowly)
        monkeypatch.setattr(Replicas, "file", lambda replicas, name, path: self.known(file(replicas, name, path)))


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    monkeypatch.setattr(supplying, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(supplying, "PAUSES", (0.05,))
    monkeypatch.setattr(connections, "Rclone", lambda run: Rclone(run, patience=Patience(1, (0.05,))))
    box = ScratchArchive(tmp_path)
    box.user(ANNA)
    box.user(BEN)
    box.dispatcher.fetching.start()
    yield Reads(box)
    box.close()


@pytest.fixture
def there(reads: Reads, tmp_path: Path) -> Path:
    """A folder beside a replica's, on a remote called “there” that is a folder of this machine."""
    with local_target(tmp_path) as target:
        target.folder.mkdir(parents=True)
        add(reads, target)
        return target.folder


def add(reads: Reads, target: Target) -> None:
    config = target.config
    reads.call("remote_add", name="there", type=config.type, options=dict(config.options), path=config.path)


def written(path: Path, size: int) -> bytes:
    data = os.urandom(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("start", [s3_target, webdav_target, sftp_target])
def test_files_beside_a_replica_come_in_whole(
    reads: Reads, start: Callable[[Path], AbstractContextManager[Target]], tmp_path: Path
) -> None:
    with start(tmp_path / "far") as target, reads.collector():
        anna = written(target.folder.parent / "old mail" / "anna #1.pst", LARGEST_PIECE * 2 + 777)
        ben = written(target.folder.parent / "old mail" / "ben.pst", 5)
        add(reads, target)
        listed = reads.call("remote_files", name="there", folder="replica/old mail")
        assert [(one.path, one.size) for one in listed.entries] == [
            ("replica/old mail/anna #1.pst", len(anna)), ("replica/old mail/ben.pst", 5),
        ]  # fmt: skip
        id = reads.begin(ANNA, folder=["From the cloud"])
        reads.fetch(id, "replica/old mail/anna #1.pst", "replica/old mail/ben.pst")
        one = reads.over(id)
        assert (one.state, one.words, one.awaited) == ("done", "", 0)
        assert [(file.name, file.size, file.arrived, file.state) for file in one.files] == [
            ("anna #1.pst", len(anna), len(anna), "done"), ("ben.pst", 5, 5, "done"),
        ]  # fmt: skip
        assert reads.read == {"anna #1.pst": anna, "ben.pst": ben}
        assert figures(one.counts) == (2, 2, 0, 0, 0)
        reads.box.archive.paths.scratch.mkdir(exist_ok=True)
        assert not list(reads.box.paths.scratch.iterdir()), "nothing stays of what was fetched"


def test_more_files_than_are_kept_at_a_time_come_one_after_the_other_in_order(reads: Reads, there: Path) -> None:
    names = [f"{number}.pst" for number in range(7)]
    for name in names:
        written(there / name, 100)
    id = reads.begin()
    for name in names[:-1]:
        reads.fetch(id, name, archive=ANNA, last=False)
    reads.fetch(id, names[-1], archive=BEN, folder=["Ben's"], last=True)
    waiting = reads.await_(id, lambda one: len(one.files) == 2)
    assert waiting.ended is None and waiting.awaited == 5
    with reads.collector():
        one = reads.over(id)
    assert [file.name for file in one.files] == names
    assert [file.archive for file in one.files] == [ANNA] * 6 + [BEN]
    assert one.files[-1].target == ("Ben's",)
    assert one.counts.archived == 7


def test_an_import_of_which_all_is_said_ends_after_what_is_still_fetched(
    reads: Reads, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    slow.error = UnavailableError("Not now.")
    written(there / "anna.pst", 9)
    id = reads.begin(ANNA)
    reads.fetch(id, "anna.pst", last=False)
    assert reads.call("import_complete", id=id).ended is None
    assert reads.call("import_complete", id=id).ended is None, "who asks twice is told the same"
    with pytest.raises(ConflictError, match="no more files"):
        reads.fetch(id, "anna.pst", archive=BEN)
    slow.error = None
    with reads.collector():
        assert reads.over(id).files[0].state == "done"


def test_a_cut_network_is_waited_for_and_what_has_arrived_is_not_fetched_again(
    reads: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    slow.error, slow.fails_from = UnavailableError("The line is dead."), 2 * LARGEST_PIECE
    with webdav_target(tmp_path / "far", faults=True) as target, reads.collector():
        data = written(target.folder.parent / "anna.pst", 3 * LARGEST_PIECE + 1)
        add(reads, target)
        id = reads.begin(ANNA)
        reads.fetch(id, "replica/anna.pst")
        stuck = reads.await_(id, lambda one: one.files and one.files[0].words)
        assert (stuck.files[0].arrived, stuck.files[0].state) == (2 * LARGEST_PIECE, "arriving")
        assert "The line is dead" in stuck.files[0].words and "The line is dead" in stuck.words
        assert target.proxy is not None
        target.proxy.fault = "cut"
        slow.error = None
        again = reads.await_(id, lambda one: "The line is dead" not in one.files[0].words and one.files[0].words)
        assert again.files[0].arrived == 2 * LARGEST_PIECE
        target.proxy.fault = "none"
        one = reads.over(id)
    assert (one.state, one.files[0].words) == ("done", "")
    assert reads.read["anna.pst"] == data
    assert sorted(set(slow.offsets)) == [0, LARGEST_PIECE, 2 * LARGEST_PIECE, 3 * LARGEST_PIECE]
    assert slow.offsets.count(0) == slow.offsets.count(LARGEST_PIECE) == 1, "what arrived was fetched once"


def test_an_archiver_that_begins_anew_goes_on_where_the_file_was(
    reads: Reads, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    slow.error, slow.fails_from = UnavailableError("Not now."), LARGEST_PIECE
    data = written(there / "anna.pst", LARGEST_PIECE + 99)
    written(there / "later.pst", 10)
    id = reads.begin(ANNA)
    reads.fetch(id, "anna.pst", "later.pst")
    reads.await_(id, lambda one: one.files and one.files[0].words)
    reads.box.close()
    slow.error = None
    reads.box.open()
    reads.box.dispatcher.fetching.start()
    with reads.collector():
        one = reads.over(id)
    assert [file.name for file in one.files] == ["anna.pst", "later.pst"], "no file comes twice"
    assert reads.read["anna.pst"] == data
    assert slow.offsets.count(0) == 2, "once for each file"


def test_a_file_that_was_taken_when_the_archiver_died_is_not_taken_twice(
    reads: Reads, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(there / "anna.pst", 99)
    reads.box.close()
    reads.box.open()  # nothing is fetched yet
    id = reads.begin(ANNA)
    reads.fetch(id, "anna.pst")
    reads.call("import_file", id=id, name="anna.pst", size=99)  # … and the process died before it wrote down which
    reads.box.dispatcher.fetching.start()
    with reads.collector():
        one = reads.over(id)
    assert [file.state for file in one.files] == ["done"]


def test_a_file_that_changes_on_the_way_has_failed_and_says_so(
    reads: Reads, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    slow.error, slow.fails_from = UnavailableError("Not now."), LARGEST_PIECE
    written(there / "anna.pst", LARGEST_PIECE + 99)
    id = reads.begin(ANNA)
    reads.fetch(id, "anna.pst")
    reads.await_(id, lambda one: one.files and one.files[0].words)
    written(there / "anna.pst", LARGEST_PIECE + 100)
    slow.error = None
    one = reads.over(id)
    assert (one.state, one.files[0].state) == ("failed", "failed")
    assert "was changed while it was fetched" in one.files[0].words
    assert figures(one.counts) == (0, 0, 0, 0, 0)


def test_a_file_that_has_gone_meanwhile_has_failed_and_the_others_come(reads: Reads, there: Path) -> None:
    for name in ("one.pst", "two.pst", "three.pst"):
        written(there / name, 9)
    reads.box.dispatcher.fetching.close()
    reads.box.close()
    reads.box.open()
    id = reads.begin(ANNA)
    reads.fetch(id, "one.pst", "two.pst", "three.pst")
    (there / "two.pst").unlink()
    reads.box.dispatcher.fetching.start()
    with reads.collector():
        one = reads.over(id)
    assert [(file.name, file.state) for file in one.files] == [
        ("one.pst", "done"), ("two.pst", "failed"), ("three.pst", "done"),
    ]  # fmt: skip
    assert "no file “two.pst”" in one.files[1].words


def test_what_arrives_as_another_file_than_the_service_says_is_fetched_again_and_given_up(
    reads: Reads, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    data = written(there / "anna.pst", 70_000)
    told = {"kind": "md5", "hash": "0" * 32}
    slow.known = lambda known: msgspec.structs.replace(known, hash_kind=told["kind"], hash=told["hash"])
    id = reads.begin(ANNA)
    reads.fetch(id, "anna.pst")
    one = reads.over(id)
    assert (one.files[0].state, slow.offsets) == ("failed", [0] * supplying.TRIES)
    assert "its MD5 is another" in one.files[0].words
    told.update(kind="sha256")
    id = reads.begin(ANNA)
    reads.fetch(id, "anna.pst")
    assert "SHA-256" in reads.over(id).files[0].words
    assert data


def test_a_stopped_import_fetches_nothing_more(reads: Reads, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    slow.error, slow.fails_from = UnavailableError("Not now."), LARGEST_PIECE
    written(there / "anna.pst", 2 * LARGEST_PIECE)
    written(there / "ben.pst", 9)
    id = reads.begin(ANNA)
    reads.fetch(id, "anna.pst", "ben.pst")
    reads.await_(id, lambda one: one.files and one.files[0].words)
    reads.call("import_stop", id=id)
    slow.error = None
    one = reads.over(id)
    assert (one.state, one.awaited) == ("stopped", 0)
    asked = len(slow.offsets)
    time.sleep(0.3)
    assert len(slow.offsets) == asked and len(reads.get(id).files) == 1
    with pytest.raises(ConflictError, match="no more files"):
        reads.fetch(id, "ben.pst")


def test_what_cannot_be_fetched_is_refused_before_anything_begins(reads: Reads, there: Path) -> None:
    written(there / "anna.pst", 9)
    written(there / "objects" / "ab" / "abc", 9)
    id = reads.begin(ANNA)
    for path, error in (
        ("nothing.pst", NotFoundError), ("objects/ab/abc", ForbiddenError), ("../etc/passwd", UsageError),
        ("", NotFoundError),
    ):  # fmt: skip
        with pytest.raises(error):
            reads.fetch(id, "anna.pst", path)
    with pytest.raises(NotFoundError, match="no remote"):
        reads.call("import_from_remote", id=id, remote="nowhere", paths=["anna.pst"])
    with pytest.raises(NotFoundError):
        reads.fetch(id + 1, "anna.pst")
    with pytest.raises(UsageError, match="which archive"):
        reads.fetch(reads.begin(), "anna.pst")
    assert reads.get(id).awaited == 0 and not reads.get(id).files


def test_only_administrators_look_into_remotes_and_fetch_from_them_and_both_is_written_down(
    reads: Reads, there: Path
) -> None:
    written(there / "anna.pst", 9)
    id = reads.begin(ANNA)
    nobody = Principal(id="someone", roles=frozenset({"user", "auditor"}))
    with pytest.raises(ForbiddenError):
        reads.box.dispatcher.replicas.files(nobody, name="there")
    with pytest.raises(ForbiddenError):
        reads.box.dispatcher.fetching.from_remote(nobody, id=id, remote="there", paths=["anna.pst"])
    reads.call("remote_files", name="there", folder="/")
    reads.fetch(id, "anna.pst")
    lines = [(one.action, one.what) for one in auditing.audit(reads.box.archive, BOX).lines]
    assert ("remote.look", "there:") in lines
    assert ("import.fetch", f"import {id}: there:anna.pst") in lines
