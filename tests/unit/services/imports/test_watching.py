"""The watched folder: what is put there is imported once nobody writes to it any more, and then put away."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ForbiddenError, UsageError
from appliance.imports.reading import Opened
from appliance.services import api, auditing
from appliance.services.collector.importing_ledger import Task
from appliance.services.imports import supplying, watching
from appliance.services.principal import Principal
from tests.importing import Imported, Item, ReaderDouble
from tests.scratch import BOX, ScratchArchive, mail

ANNA, BEN = "anna@example.com", "ben@example.com"
SECONDS = 60.0


class Watched(Imported):
    """An archive that watches a folder and has a clock of its own."""

    def __init__(self, box: ScratchArchive, folder: Path) -> None:
        super().__init__(box)
        self.folder = folder
        self.now = 1000.0
        self.read: dict[str, bytes] = {}
        self.broken: set[str] = set()

    def open(self, task: Task, opened: Opened) -> ReaderDouble:
        ends = [Item(given={"ends": "It is no such file."})] if task.name in self.broken else []
        self.items[task.name] = [Item(mail(task.name, "words")), *ends]
        reader = super().open(task, opened)
        self.read[task.name] = reader.content
        return reader

    def watch(self) -> api.ImportWatch:
        """As it begins, and once more a round later."""
        shown: api.ImportWatch = self.call("import_watch_set", folder=str(self.folder))
        return shown

    def round(self, seconds: float = 0.0) -> dict[str, tuple[str, str]]:
        """One look, so much later: what lies there, in which state, and why."""
        self.now += seconds
        watching_now = self.box.dispatcher.fetching.watching
        watching_now.round()
        shown: api.ImportWatch = self.call("import_watch")
        assert not shown.trouble, shown
        return {one.name: (one.state, one.words) for one in shown.entries}

    def await_put_away(self, *names: str) -> None:
        """Until none of these lies there any more."""
        deadline = time.monotonic() + SECONDS
        while set(names) & set(self.round()):
            assert time.monotonic() < deadline, self.call("imports")
            time.sleep(0.05)

    def tree(self) -> list[str]:
        """All files that are in the folder."""
        return sorted(str(one.relative_to(self.folder)) for one in self.folder.rglob("*") if one.is_file())


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(supplying, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(supplying, "PAUSES", (0.05,))
    box = ScratchArchive(tmp_path)
    box.user(ANNA)
    box.user(BEN)
    folder = tmp_path / "import"
    folder.mkdir()
    one = Watched(box, folder)
    begin(one)
    yield one
    box.close()


def begin(watched: Watched) -> None:
    """Files are fetched from now on; looks are only the test's."""
    fetching = watched.box.dispatcher.fetching
    fetching.watching.clock = lambda: watched.now
    fetching.supplying.start()


def put(path: Path, data: bytes = b"old mail") -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def test_a_file_is_imported_when_it_has_not_changed_for_a_minute_and_put_away_with_its_report(
    watched: Watched,
) -> None:
    data = put(watched.folder / ANNA / "anna.pst", os.urandom(2_000_000))
    watched.watch()
    with watched.collector():
        assert watched.round() == {f"{ANNA}/anna.pst": ("settling", "")}
        assert watched.round(59) == {f"{ANNA}/anna.pst": ("settling", "")}
        assert watched.round(1) == {f"{ANNA}/anna.pst": ("running", "")}
        watched.await_put_away(f"{ANNA}/anna.pst")
    assert watched.read == {"anna.pst": data}
    assert watched.tree() == [f"done/{ANNA}/anna.pst", f"done/{ANNA}/anna.pst.report.html"]
    assert (watched.folder / "done" / ANNA / "anna.pst").read_bytes() == data
    report = (watched.folder / "done" / ANNA / "anna.pst.report.html").read_text()
    (one,) = watched.call("imports")
    assert (one.title, one.archive, one.state) == (f"{ANNA}/anna.pst", ANNA, "done")
    assert watched.get(one.id).files[0].sha256 in report
    assert (watched.folder / ANNA).is_dir(), "the next file may come"


def test_what_somebody_still_writes_to_waits(watched: Watched) -> None:
    path = watched.folder / ANNA / "anna.pst"
    put(path, b"1")
    put(path.with_name("ben.pst.part"))
    put(path.with_name(".hidden"))
    watched.watch()
    for length in range(2, 6):
        watched.round(50)
        put(path, b"1" * length)
    assert watched.round(50) == {f"{ANNA}/anna.pst": ("settling", "")}
    put(path, b"")
    assert watched.round(100)[f"{ANNA}/anna.pst"][0] == "refused", "an empty file is one that has not come yet"
    assert not watched.call("imports")


def test_a_folder_comes_as_one_with_large_files_by_themselves_below_its_own_name(watched: Watched) -> None:
    old = watched.folder / ANNA / "Old mail"
    put(old / "2009" / "one.eml", b"Subject: one\r\n\r\n")
    put(old / "two.eml", b"Subject: two\r\n\r\n")
    put(old / "2010" / "anna.pst", b"!BDN")
    watched.watch()
    with watched.collector():
        watched.round()
        watched.round(60)
        watched.await_put_away(f"{ANNA}/Old mail")
    with tarfile.open(fileobj=io.BytesIO(watched.read["Old mail.tar"])) as tar:
        assert [one.name for one in tar] == ["2009/one.eml", "two.eml"]
    (one,) = watched.call("imports")
    files = {file.name: file.target for file in watched.get(one.id).files}
    assert files == {"Old mail.tar": ("Old mail",), "anna.pst": ("Old mail", "2010", "anna")}
    assert f"done/{ANNA}/Old mail/2010/anna.pst" in watched.tree()
    assert f"done/{ANNA}/Old mail.report.html" in watched.tree()


def test_what_cannot_be_read_goes_to_failed_and_what_was_archived_of_it_stays(watched: Watched) -> None:
    watched.broken.add("bad.pst")
    put(watched.folder / ANNA / "bad.pst")
    watched.watch()
    with watched.collector():
        watched.round()
        watched.round(60)
        watched.await_put_away(f"{ANNA}/bad.pst")
    assert watched.tree() == [f"failed/{ANNA}/bad.pst", f"failed/{ANNA}/bad.pst.report.html"]
    assert "It is no such file." in (watched.folder / "failed" / ANNA / "bad.pst.report.html").read_text()


def test_a_name_that_came_before_does_not_take_the_place_of_the_first(watched: Watched) -> None:
    watched.watch()
    with watched.collector():
        for text in (b"first", b"second"):
            put(watched.folder / ANNA / "anna.pst", text)
            watched.round()
            watched.round(60)
            watched.await_put_away(f"{ANNA}/anna.pst")
    done = watched.folder / "done" / ANNA
    assert (done / "anna.pst").read_bytes() == b"first"
    assert (done / "anna (2).pst").read_bytes() == b"second"
    assert (done / "anna (2).pst.report.html").exists()


def test_what_is_nobodys_is_left_alone_and_told(watched: Watched, tmp_path: Path) -> None:
    put(watched.folder / "nobody@example.com" / "x.pst")
    put(watched.folder / "Anna" / "x.pst")
    put(watched.folder / "loose.pst")
    put(tmp_path / "secret")
    (watched.folder / ANNA).mkdir()
    (watched.folder / ANNA / "link.pst").symlink_to(tmp_path / "secret")
    (watched.folder / BEN).symlink_to(tmp_path)
    watched.watch()
    watched.round()
    told = watched.round(100)
    assert {name: state for name, (state, _) in told.items()} == {
        "nobody@example.com/x.pst": "refused", "Anna": "refused", "loose.pst": "refused",
        f"{ANNA}/link.pst": "refused", BEN: "refused",
    }  # fmt: skip
    assert "No user has the address nobody@example.com" in told["nobody@example.com/x.pst"][1]
    assert not watched.call("imports")
    watched.box.user("nobody@example.com")
    watched.round()
    assert watched.round(60)["nobody@example.com/x.pst"][0] == "running", "once there is somebody, it is imported"


def test_an_archive_that_was_closed_meanwhile_goes_on_and_imports_nothing_twice(watched: Watched) -> None:
    data = put(watched.folder / ANNA / "anna.pst", os.urandom(3_000_000))
    watched.watch()
    watched.round()
    watched.round(60)
    watched.box.close()
    watched.box.open()
    begin(watched)
    with watched.collector():
        assert watched.round()[f"{ANNA}/anna.pst"][0] == "running"
        watched.await_put_away(f"{ANNA}/anna.pst")
    assert watched.read["anna.pst"] == data
    assert len(watched.call("imports")) == 1


def test_a_crash_between_moving_and_the_report_is_made_good(watched: Watched) -> None:
    put(watched.folder / ANNA / "anna.pst")
    watched.watch()
    watched.round()
    watched.round(60)
    with watched.collector():
        deadline = time.monotonic() + SECONDS
        while watched.call("imports")[0].ended is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    (watched.folder / "done" / ANNA).mkdir(parents=True)
    (watched.folder / ANNA / "anna.pst").rename(watched.folder / "done" / ANNA / "anna.pst")
    assert watched.round() == {}
    assert watched.tree() == [f"done/{ANNA}/anna.pst", f"done/{ANNA}/anna.pst.report.html"]


def test_only_so_much_is_imported_at_one_time(watched: Watched) -> None:
    for number in range(4):
        put(watched.folder / ANNA / f"{number}.pst")
    watched.watch()
    watched.round()
    states = sorted(state for state, _ in watched.round(60).values())
    assert states == ["running", "running", "waiting", "waiting"]
    with watched.collector():
        watched.await_put_away(*(f"{ANNA}/{number}.pst" for number in range(4)))
    assert len(watched.call("imports")) == 4


def test_what_was_imported_and_cannot_be_moved_is_told_and_not_imported_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(watched.folder / ANNA / "anna.pst")
    put(watched.folder / "done", b"a file is in the way")
    watched.watch()
    watched.round()
    watched.round(60)
    with watched.collector():
        deadline = time.monotonic() + SECONDS
        while watched.round()[f"{ANNA}/anna.pst"][0] != "moving":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for _ in range(3):
            assert watched.round(100)[f"{ANNA}/anna.pst"][0] == "moving"
        assert len(watched.call("imports")) == 1
        (watched.folder / "done").unlink()
        watched.await_put_away(f"{ANNA}/anna.pst")


@pytest.mark.parametrize(
    "folder",
    [
        lambda box: "relative", lambda box: "/nowhere/at/all", lambda box: str(box.paths.data),
        lambda box: str(box.paths.data / "volumes"), lambda box: str(box.paths.data.parent),
        lambda box: "/", lambda box: str(box.paths.keyring),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_watched_is_refused(watched: Watched, folder: Callable[[ScratchArchive], str]) -> None:
    with pytest.raises(UsageError):
        watched.call("import_watch_set", folder=folder(watched.box))
    assert watched.call("import_watch").folder == ""


def test_what_is_watched_is_written_down_and_survives_a_rebuild_of_the_settings(watched: Watched) -> None:
    assert watched.watch().folder == str(watched.folder)
    watched.watch()
    watched.box.close()
    for file in watched.box.paths.data.glob("settings.db*"):
        file.unlink()
    watched.box.open()
    assert watched.call("import_watch").folder == str(watched.folder)
    watched.call("import_watch_set", folder="")
    assert watched.call("import_watch").folder == ""
    lines = [one.what for one in auditing.audit(watched.box.archive, BOX, find="imports.watch").lines]
    assert lines == ["off", str(watched.folder)]


def test_a_watched_folder_that_has_gone_is_told(watched: Watched) -> None:
    watched.watch()
    watched.folder.rmdir()
    watched.box.dispatcher.fetching.watching.round()
    assert "There is no folder" in watched.call("import_watch").trouble
    watched.folder.mkdir()
    assert watched.round() == {}


def test_only_administrators_ask_for_it(watched: Watched) -> None:
    nobody = Principal(id="someone", roles=frozenset({"user", "auditor"}))
    services: Any = watched.box.dispatcher.fetching.watching
    with pytest.raises(ForbiddenError):
        services.get(nobody)
    with pytest.raises(ForbiddenError):
        services.set(nobody, folder=str(watched.folder))
    assert watching.SETTLE_SECONDS == 60
