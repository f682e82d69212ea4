"""``mailkeep folders`` and ``mailkeep search --folder``: what people and scripts are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from tests.fetched import Fetched
from tests.scratch import ScratchArchive, mail


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive on which nothing runs, with fetched mail."""
    box = ScratchArchive(tmp_path_factory.mktemp("box"))
    anna = box.user("anna@example.com")
    box.user("ben@example.com")
    fetched = Fetched(box)
    fetched.fetch(mail("Offer"), anna, "INBOX", role="inbox")
    fetched.fetch(mail("Plan"), anna, "Projects", "2026")
    fetched.close()
    box.project()
    box.close()
    return box.paths.data


def attempt(data: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(data), *words])


def subjects(data: Path, *words: str) -> list[str]:
    done = attempt(data, "search", "*", *words, "--json")
    assert done.exit_code == 0, done.output
    return [hit["subject"] for hit in json.loads(done.stdout)["hits"]]


def test_folders_are_listed_with_their_messages(data: Path) -> None:
    listed = json.loads(attempt(data, "folders", "anna@example.com", "--json").stdout)
    assert [("/".join(one["path"]), one["role"], one["messages"]) for one in listed] == [
        ("INBOX", "inbox", 1), ("Projects", "", 0), ("Projects/2026", "", 1),
    ]  # fmt: skip
    assert "1         Projects/2026" in attempt(data, "folders", "anna@example.com").output
    assert json.loads(attempt(data, "folders", "ben@example.com", "--json").stdout) == []


def test_a_search_is_kept_to_a_folder_by_its_path(data: Path) -> None:
    assert subjects(data, "--user", "anna@example.com", "--folder", "inbox") == ["Offer"]
    assert subjects(data, "--user", "anna@example.com", "--folder", "Projects") == []
    assert subjects(data, "--user", "anna@example.com", "--folder", "Projects", "--below") == ["Plan"]


def test_a_folder_needs_a_person_who_has_it(data: Path) -> None:
    for words, sentence in (
        (["--folder", "INBOX"], "give --user, too"),
        (["--user", "ben@example.com", "--folder", "INBOX"], "ben@example.com has no folder INBOX"),
    ):
        done = attempt(data, "search", "*", *words)
        assert done.exit_code != 0
        assert sentence in done.output
