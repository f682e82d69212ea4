"""``mailkeep unpack`` and ``remote files``: what is asked for, what is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.cli.state import State
from appliance.errors import NotFoundError
from appliance.services import api

JOB = api.JobInfo(
    id="1", kind="unpack", title="Unpacking", state="done", done=2, total=2,
    message="2 messages: 4 files were written.", started_at=1, finished_at=2,
)  # fmt: skip
TREE = api.FolderTree("u-1", "Anna", (api.FolderInfo("f00d", ("Old mail",), "", 2, ()),))
LISTING = api.RemoteListing(
    "nas", "old", (api.RemoteEntry("old/2009", True, -1, 0), api.RemoteEntry("old/a.pst", False, 2_000_000, 0)), 3
)

Calls = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What was asked of the archive."""
    made: Calls = []
    answers: dict[str, Callable[..., Any]] = {
        "unpack_begin": lambda **_: JOB, "local_folders": lambda **_: (TREE,), "remote_files": _files,
    }  # fmt: skip

    class Box:
        def call(self, method: str, _kind: Any, /, **params: Any) -> Any:
            made.append((method, params))
            return answers[method](**params)

    @contextmanager
    def box(_state: State) -> Iterator[Box]:
        yield Box()

    monkeypatch.setattr(State, "box", box)
    return made


def _files(*, name: str, folder: str) -> api.RemoteListing:
    if name != "nas":
        raise NotFoundError(f"There is no remote called “{name}”.")
    return LISTING


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["--data", "/nonexistent", *words])
    assert done.exit_code == code, (done.stdout, done.stderr)
    return done


def test_mail_of_a_folder_is_unpacked_where_it_is_said(calls: Calls) -> None:
    done = run("unpack", "nas:/Shared/Mail", "--user", "anna@x.test", "--folder", "old mail", "--reason", "Because.")
    assert done.stdout == "2 messages: 4 files were written.\n"
    method, asked = calls[-1]
    assert method == "unpack_begin"
    assert (asked["remote"], asked["path"], asked["user"]) == ("nas", "Shared/Mail", "anna@x.test")
    assert (asked["folder"], asked["query"], asked["reason"]) == ("f00d", "*", "Because.")
    told = run("unpack", "nas:Mail", "--user", "anna@x.test", "--template", "{year}/{id}", "--json")
    assert json.loads(told.stdout) == {"messages": 2, "words": JOB.message}
    assert (calls[-1][1]["folder"], calls[-1][1]["template"]) == ("", "{year}/{id}")


def test_a_target_that_is_none_is_refused_and_the_help_warns(calls: Calls) -> None:
    assert "a colon" in run("unpack", "Mail", "--user", "anna@x.test", code=2).stderr
    assert "--user" in run("unpack", "nas:Mail", code=2).stderr
    assert not calls
    told = " ".join(run("unpack", "--help").stdout.split())
    assert "not encrypted by mailkeep" in told and "{subject}" in told


def test_what_lies_on_a_remote_is_listed(calls: Calls) -> None:
    done = run("remote", "files", "nas", "old")
    assert "old/2009/" in done.stdout and "old/a.pst" in done.stdout
    assert "3 more are not listed" in done.stderr
    assert calls[-1] == ("remote_files", {"name": "nas", "folder": "old"})
    found = json.loads(run("remote", "files", "nas", "--json").stdout)
    assert found["entries"][1] == {"path": "old/a.pst", "folder": False, "size": 2_000_000, "modified": 0}
    assert "no remote called" in run("remote", "files", "cellar", code=1).stderr
