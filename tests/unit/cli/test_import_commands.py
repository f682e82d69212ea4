"""``mailkeep import`` and ``imports``: what is sent, that it goes on after trouble, what is said of it, how it ends."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from appliance.cli import import_sending, importing
from appliance.cli.main import main
from appliance.cli.state import State
from appliance.errors import DiskFullError, UnavailableError
from appliance.imports import packing
from appliance.services import api
from tests.imports_double import ImportsDouble, Outcome


class Box:
    """A connection to the double: what goes through it is what the wire would bring."""

    def __init__(self, double: ImportsDouble) -> None:
        self.double = double

    def call(self, method: str, kind: Any, /, **params: Any) -> Any:
        answer = self.double.ask(method, **params)
        return msgspec.convert(msgspec.to_builtins(answer, builtin_types=(bytes,)), kind)

    def close(self) -> None:
        pass


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> ImportsDouble:
    """An archive that takes imports; time does not pass while it is waited for."""
    double = ImportsDouble()

    @contextmanager
    def box(_state: State) -> Iterator[Box]:
        yield Box(double)

    monkeypatch.setattr(State, "box", box)
    monkeypatch.setattr(importing, "running_box", lambda _paths: Box(double))
    monkeypatch.setattr(import_sending, "PAUSE", 0.0)
    return double


def run(*words: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["--data", "/nonexistent", *map(str, words)])
    assert done.exit_code == code, (done.stdout, done.stderr)
    return done


def told(*words: str | Path, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """A folder of mail with a PST, and files that no two systems list in one order."""
    folder = tmp_path / "old"
    for name in ("b.eml", "a.eml", "cur/1:2,S", "Größe/ä.eml", "sub/x.pst", "Archives.sbd/2019/deep.zip"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"{name}\n".encode())
    return folder


# -- what is sent ---------------------------------------------------------------------------------------------


def test_a_file_arrives_as_it_is_and_its_figures_add_up(archive: ImportsDouble, tmp_path: Path) -> None:
    pst = tmp_path / "anna.pst"
    pst.write_bytes(b"one\n!two\n-three\n" + b"4\n" * (3 * 1024 * 1024 // 2))
    done = told("import", pst, "--archive", "anna@x.test", code=1)
    assert bytes(archive.bytes[1, 1]) == pst.read_bytes()
    [file] = done["files"]
    assert file["file"] == str(pst) and file["failures"] == [
        {"item": "two", "reason": "It is damaged.", "folder": "Inbox"}
    ]
    for one in (file, done["sum"]):
        assert one["found"] == one["archived"] + one["already"] + one["skipped"] + one["failed"] == 3 + 1_572_864
    assert (file["skipped"], file["failed"]) == (1, 1)
    assert done.keys() >= {"files", "sum"} and done["sum"].keys() == {
        "found", "archived", "already", "skipped", "failed"
    }  # fmt: skip
    assert all(len(one["data"]) <= api.IMPORT_CHUNK for one in archive.asked("import_write"))


def test_what_was_asked_for_is_what_the_archive_is_told(archive: ImportsDouble, tmp_path: Path) -> None:
    pst, secret = tmp_path / "a.pst", tmp_path / "secret"
    pst.write_bytes(b"one\n")
    secret.write_text("open sesame\nmore\n")
    run(
        "import", pst, "--archive", "anna@x.test", "--folder", "Old mail/ 2010", "--dry-run", "--recovered",
        "--all-items", "--password-file", secret, "--code-page", "cp1252",
    )  # fmt: skip
    assert archive.asked("import_begin") == [
        {
            "title": "a.pst", "archive": "anna@x.test", "owners": "archive", "folder": ("Old mail", "2010"),
            "dry_run": True, "recovered": True, "others": True, "code_page": "cp1252",
        }
    ]  # fmt: skip
    assert archive.asked("import_file")[0]["password"] == "open sesame"
    run("import", pst, "--by-address")
    assert archive.asked("import_begin")[1]["owners"] == "addresses"
    assert archive.asked("import_begin")[1]["archive"] == ""


def test_a_folder_is_one_archive_and_what_goes_by_itself(archive: ImportsDouble, mail: Path) -> None:
    (mail / "link.eml").symlink_to("/etc/hostname")
    done = run("import", mail, "--archive", "anna@x.test", "--folder", "Old")
    assert "1 symbolic links" in done.stderr
    files = {one["name"]: one for one in archive.asked("import_file")}
    assert set(files) == {"old.tar", "x.pst", "deep.zip"}
    assert files["old.tar"]["folder"] == () and files["x.pst"]["folder"] == ("Old", "sub", "x")
    assert files["deep.zip"]["folder"] == ("Old", "Archives", "2019", "deep")
    with tarfile.open(fileobj=io.BytesIO(archive.bytes[1, 1])) as sent:
        names = sent.getnames()
        assert names == ["Größe/ä.eml", "a.eml", "b.eml", "cur/1:2,S"]
        for name in names:
            member = sent.extractfile(name)
            assert member is not None and member.read() == f"{name}\n".encode()
    assert len(archive.bytes[1, 1]) == files["old.tar"]["size"]


def test_a_folder_gives_the_same_bytes_whoever_copied_it(archive: ImportsDouble, mail: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for path in sorted(mail.rglob("*"), reverse=True):
        if path.is_file():
            twin = copy / "old" / path.relative_to(mail)
            twin.parent.mkdir(parents=True, exist_ok=True)
            twin.write_bytes(path.read_bytes())
            os.utime(twin, (5, path.stat().st_mtime))
            twin.chmod(0o600)
    run("import", mail, "--archive", "anna@x.test")
    run("import", copy / "old", "--archive", "anna@x.test")
    assert archive.bytes[1, 1] == archive.bytes[2, 1]


def test_names_that_are_no_text_and_long_ones_arrive(archive: ImportsDouble, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    odd, long = os.fsdecode(b"caf\xe9.eml"), "x" * 200 + ".eml"
    for name in (odd, long):
        (folder / name).write_bytes(b"one\n")
    run("import", folder, "--archive", "anna@x.test")
    with tarfile.open(fileobj=io.BytesIO(archive.bytes[1, 1])) as sent:
        assert sorted(map(os.fsencode, sent.getnames())) == sorted(map(os.fsencode, (odd, long)))


def test_large_mbox_files_go_by_themselves(
    archive: ImportsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LARGE_MBOX", 100)
    (tmp_path / "Takeout").mkdir()
    (tmp_path / "Takeout" / "All mail.mbox").write_bytes(b"From x\n" + b"a\n" * 100)
    (tmp_path / "Takeout" / "video.mp4").write_bytes(b"a\n" * 100)
    run("import", tmp_path / "Takeout", "--archive", "anna@x.test")
    assert [one["name"] for one in archive.asked("import_file")] == ["Takeout.tar", "All mail.mbox"]


def test_a_map_says_whose_each_file_is(archive: ImportsDouble, tmp_path: Path) -> None:
    (tmp_path / "a.pst").write_bytes(b"one\n")
    (tmp_path / "b.pst").write_bytes(b"one\ntwo\n")
    list_ = tmp_path / "list.csv"
    list_.write_bytes(b"\xef\xbb\xbfFile;Archive;Folder\r\na.pst;anna@x.test;Old/2010\r\n\r\nb.pst;ben@x.test;\r\n")
    done = told("import", "--map", list_)
    assert [(one["archive"], one["folder"]) for one in done["files"]] == [
        ("anna@x.test", ["Old", "2010"]), ("ben@x.test", []),
    ]  # fmt: skip
    assert done["sum"]["found"] == 3
    assert archive.asked("import_begin")[0]["title"] == "list.csv"
    assert archive.asked("import_begin")[0]["archive"] == "", "each file has its own"
    for text, why in (
        ("who,archive\na.pst,x\n", "has to be file,archive"),
        ("file,archive\nnone.pst,anna@x.test\n", "line 2: there is no"),
        ("file,archive\na.pst,\n", "line 2: file and archive are both needed"),
        ("file,archive\n", "names no files"),
    ):
        list_.write_text(text)
        assert why in run("import", "--map", list_, code=1).stderr
    assert len(archive.known) == 1


# -- trouble on the way ----------------------------------------------------------------------------------------


def test_it_waits_until_the_archive_takes_another_file(
    archive: ImportsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.reading = False
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) % 3 == 0:
            archive.read(1)

    monkeypatch.setattr("appliance.cli.import_sending.time.sleep", wait)
    paths = [tmp_path / f"{number}.pst" for number in range(5)]
    for path in paths:
        path.write_bytes(b"one\n")
    done = told("import", *paths, "--archive", "anna@x.test")
    assert done["sum"]["archived"] == 5 and len(done["files"]) == 5 and waited
    most = [one for one in archive.calls if one[0] == "import_file"]
    assert len(most) > 5, "it was told to wait"


@pytest.mark.parametrize("method", ["import_file", "import_write", "import_arrived", "import_complete", "import_get"])
def test_a_lost_answer_loses_and_doubles_nothing(archive: ImportsDouble, tmp_path: Path, method: str) -> None:
    paths = [tmp_path / f"{number}.pst" for number in range(2)]
    for path in paths:
        path.write_bytes(b"one\n" * 600_000)
    archive.breaking[method] = 3
    done = told("import", *paths, "--archive", "anna@x.test")
    assert [bytes(one) for one in archive.bytes.values()] == [path.read_bytes() for path in paths]
    assert done["state"] == "done" and done["sum"]["found"] == 1_200_000
    assert archive.breaking[method] < 3


def test_a_file_that_does_not_arrive_as_it_is_is_sent_again(archive: ImportsDouble, tmp_path: Path) -> None:
    pst = tmp_path / "a.pst"
    pst.write_bytes(b"one\n" * 600_000)
    real, spoilt = archive.import_write, []

    def spoils(*, id: int, file: int, offset: int, data: bytes) -> int:
        if not spoilt:
            spoilt.append(True)
            data = b"?" + data[1:]
        return real(id=id, file=file, offset=offset, data=data)

    archive.import_write = spoils  # type: ignore[method-assign]
    assert told("import", pst, "--archive", "anna@x.test")["state"] == "done"
    assert bytes(archive.bytes[1, 1]) == pst.read_bytes()


def test_no_answer_for_too_long_is_an_error(
    archive: ImportsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pst = tmp_path / "a.pst"
    pst.write_bytes(b"one\n")
    monkeypatch.setattr(import_sending, "PATIENCE", 0.0)
    archive.trouble["import_write"] = UnavailableError("The archive has stopped.")
    failed = run("import", pst, "--archive", "anna@x.test", code=1)
    assert "The archive has stopped." in failed.stderr and "the same command goes on" in failed.stderr
    assert archive.known[1].state == "stopped"


def test_no_room_is_waited_for_only_as_long_as_some_may_come(archive: ImportsDouble, tmp_path: Path) -> None:
    pst = tmp_path / "a.pst"
    pst.write_bytes(b"one\n")
    archive.trouble["import_file"] = DiskFullError("There is no room for it.")
    assert "There is no room for it." in run("import", pst, "--archive", "anna@x.test", code=1).stderr
    assert archive.known[1].state == "stopped"


def test_ctrl_c_stops_the_import_and_says_how_to_go_on(
    archive: ImportsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.reading = False
    pst = tmp_path / "a.pst"
    pst.write_bytes(b"one\n")

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.cli.import_sending.time.sleep", interrupted)
    stopped = run("import", pst, "--archive", "anna@x.test", code=1)
    assert archive.known[1].state == "stopped"
    assert "nothing is imported twice" in stopped.stderr and "was stopped" in stopped.stdout


def test_a_file_that_changes_while_it_is_sent_is_no_success(archive: ImportsDouble, mail: Path, tmp_path: Path) -> None:
    real = archive.import_begin

    def changes(**given: Any) -> api.ImportInfo:
        (mail / "b.eml").unlink()
        (mail / "cur" / "1:2,S").write_bytes(b"longer than it was\n")
        return real(**given)

    archive.import_begin = changes  # type: ignore[method-assign]
    done = run("import", mail, "--archive", "anna@x.test", code=1)
    assert done.stderr.count("was gone or had changed") == 2 and "b.eml" in done.stderr
    with tarfile.open(fileobj=io.BytesIO(archive.bytes[1, 1])) as sent:
        assert [one.name for one in sent if one.isfile()] == ["Größe/ä.eml", "a.eml"]
        assert [one.name for one in sent if one.type == packing.CHANGED] == ["b.eml", "cur/1:2,S"]
    pst = tmp_path / "a.pst"
    pst.write_bytes(b"one\n")

    def grows(**given: Any) -> api.ImportInfo:
        pst.write_bytes(b"one\ntwo\n")
        return real(**given)

    archive.import_begin = grows  # type: ignore[method-assign]
    assert "was changed while it was read" in run("import", pst, "--archive", "anna@x.test", code=1).stderr
    assert archive.known[2].counts.found == 0


# -- before anything begins -------------------------------------------------------------------------------------


def test_mistakes_are_told_before_anything_begins(archive: ImportsDouble, tmp_path: Path) -> None:
    pst, empty, nothing = tmp_path / "a.pst", tmp_path / "empty", tmp_path / "0.pst"
    pst.write_bytes(b"one\n")
    nothing.touch()
    empty.mkdir()
    for words, code, why in (
        ((pst,), 2, "Say whose it becomes"),
        ((pst, "--archive", "anna@x.test", "--by-address"), 2, "Say whose it becomes"),
        (("--archive", "anna@x.test"), 2, "Name the files"),
        ((pst, "--map", pst), 2, "--map names the files"),
        ((tmp_path / "none.pst", "--archive", "anna@x.test"), 2, "does not exist"),
        ((pst, "--archive", "anna@x.test", "--report", tmp_path / "r.pdf"), 2, "FILE.csv or FILE.html"),
        ((empty, "--archive", "anna@x.test"), 1, "There is no file in"),
        ((nothing, "--archive", "anna@x.test"), 1, "is empty"),
        ((pst, "--archive", "nobody@x.test"), 1, "No user has the address"),
        ((pst, "--archive", "anna@x.test", "--code-page", "nonsense"), 1, "no code page"),
    ):
        assert why in run("import", *words, code=code).stderr, words
    assert not archive.known


def test_what_cannot_be_read_is_named(archive: ImportsDouble, mail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("b.eml") and real(path, mode))
    failed = run("import", mail, "--archive", "anna@x.test", code=1)
    assert "1 of what is in" in failed.stderr and "b.eml" in failed.stderr and not archive.known


# -- what is said afterwards ------------------------------------------------------------------------------------


def test_figures_and_failures_are_told(archive: ImportsDouble, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.mbox", tmp_path / "bad.bin"
    good.write_bytes(b"one\n" + b"".join(b"!%d\n" % number for number in range(25)))
    bad.write_bytes(b"one\n")
    archive.reads = lambda file, content: (
        Outcome(api.ImportCounts(), words="This is no file of mail.") if file.name == "bad.bin"
        else Outcome(api.ImportCounts(30, 2, 2, 1, 25, 7), tuple(("In", str(n), "failed", "Why.") for n in range(25)))
    )  # fmt: skip
    done = run("import", good, bad, "--archive", "anna@x.test", code=1)
    assert "30" in done.stdout and "Sum" in done.stdout and "Import 1 is done: 7 bytes archived." in done.stdout
    assert done.stderr.count("Why.") == 20 and "And 5 more" in done.stderr
    assert f"{bad}: This is no file of mail." in done.stderr
    again = told("import", bad, "--archive", "anna@x.test", code=1)
    assert again["files"][0]["failures"] == [{"item": "", "reason": "This is no file of mail.", "folder": ""}]
    good.write_bytes(b"one\n")
    dry = run("import", good, "--archive", "anna@x.test", "--dry-run", code=1)
    assert "WOULD BE ARCHIVED" in dry.stdout


def test_a_report_is_written_where_it_is_wanted(archive: ImportsDouble, tmp_path: Path) -> None:
    pst, out = tmp_path / "a.pst", tmp_path / "r.html"
    pst.write_bytes(b"one\n")
    run("import", pst, "--archive", "anna@x.test", "--report", out)
    assert out.read_bytes().startswith(b"html of import 1")
    assert told("imports", "report", "1", "--out", tmp_path / "r.csv")["import"] == 1
    assert (tmp_path / "r.csv").read_bytes().startswith(b"csv of import 1")
    assert "cannot be written" in run("imports", "report", "1", "--out", tmp_path / "no" / "r.csv", code=1).stderr
    assert run("imports", "report", "1", "--out", tmp_path / "r.txt", code=2).stderr


def test_imports_are_listed_shown_and_stopped(archive: ImportsDouble, tmp_path: Path) -> None:
    pst = tmp_path / "anna.pst"
    pst.write_bytes(b"one\n!two\n")
    run("import", pst, "--archive", "anna@x.test", code=1)
    archive.import_begin(title="waiting", archive="ben@x.test")
    listed = told("imports")
    assert [(one["id"], one["state"]) for one in listed] == [(2, "arriving"), (1, "done")]
    assert (listed[1]["found"], listed[1]["archived"], listed[1]["failed"]) == (2, 1, 1)
    assert "anna.pst" in run("imports").stdout
    shown = run("imports", "show", "1").stdout
    assert "anna.pst" in shown and "FAILED   anna.pst, Inbox, two: It is damaged." in shown
    assert archive.known[1].files[0].sha256 in shown
    pst.write_bytes(b"-meeting\n-birthday\n")
    run("import", pst, "--archive", "anna@x.test")
    assert "SKIPPED  anna.pst, 2 times: It is an appointment." in run("imports", "show", "3").stdout
    assert told("imports", "show", "1")["files"][0]["found"] == 2
    assert "asked to stop" in run("imports", "stop", "2").stdout and archive.known[2].state == "stopped"
    assert "no such import" in run("imports", "show", "9", code=1).stderr


def test_an_archive_that_does_not_run_is_told(
    archive: ImportsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pst = tmp_path / "a.pst"
    pst.write_bytes(b"one\n")
    monkeypatch.setattr(importing, "running_box", lambda _paths: None)
    assert "Start it with `mailkeep serve`" in run("import", pst, "--archive", "anna@x.test", code=1).stderr


# -- files on remotes -----------------------------------------------------------------------------------------------


def test_a_file_on_a_remote_is_named_by_it_and_comes_after_those_of_this_machine(
    archive: ImportsDouble, tmp_path: Path
) -> None:
    (tmp_path / "here.mbox").write_text("one\n")
    archive.remotes = {"nas": {"old mail/anna.pst": b"two\nthree\n", "ben.pst": b"four\n"}}
    done = run(
        "import", tmp_path / "here.mbox", "nas:/old mail/anna.pst", "nas:ben.pst", "--archive", "anna@x.test", "--json"
    )
    found = json.loads(done.stdout)
    assert [(one["file"], one["archived"]) for one in found["files"]] == [
        (str(tmp_path / "here.mbox"), 1), ("nas:old mail/anna.pst", 2), ("nas:ben.pst", 1),
    ]  # fmt: skip
    assert not archive.asked("import_complete"), "the archive ends it, when it has fetched the last"


def test_a_file_that_is_not_on_the_remote_is_told_and_the_import_stopped(archive: ImportsDouble) -> None:
    archive.remotes = {"nas": {}}
    done = run("import", "nas:nothing.pst", "--archive", "anna@x.test", code=1)
    assert "nothing.pst" in done.stderr
    assert archive.asked("import_stop")


def test_a_file_of_this_machine_counts_before_a_remote_and_what_is_neither_is_no_argument(
    archive: ImportsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nas:anna.pst").write_text("one\n")
    run("import", "nas:anna.pst", "--archive", "anna@x.test")
    assert archive.asked("import_file") and not archive.asked("import_from_remote")
    run("import", "NAS:anna.pst", "--archive", "anna@x.test", code=2)
    run("import", "nas:", "--archive", "anna@x.test", code=2)


# -- the watched folder ---------------------------------------------------------------------------------------------


def test_a_folder_is_watched_shown_and_not_watched_any_more(
    archive: ImportsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No folder" in run("imports", "watch").stdout
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "old") in run("imports", "watch", "old").stdout, "as seen from where the command is run"
    archive.watched_entries = (
        api.ImportWatchEntry("anna@x.test/a.pst", "running", "", 3),
        api.ImportWatchEntry("loose.pst", "refused", "It lies beside the folders."),
    )
    shown = run("imports", "watch").stdout
    assert "anna@x.test/a.pst" in shown and "It lies beside the folders." in shown
    found = json.loads(run("imports", "watch", "--json").stdout)
    assert [one["state"] for one in found["entries"]] == ["running", "refused"]
    assert "No folder" in run("imports", "watch", "off").stdout
