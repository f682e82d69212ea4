"""``mailkeep user open``, ``close`` and ``access`` on an archive on which nothing runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.services.paths import Paths
from appliance.services.setup import create


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    create.create(Paths(folder), passphrase=None, keyfile=True, administrator=True, hostname="box.test")
    (tmp_path / "users.csv").write_text("primary,aliases,name\nanna@x.test,a@x.test,Anna\nsales@x.test,,Sales\n")
    assert run(folder, "user", "import", str(tmp_path / "users.csv")).exit_code == 0
    return folder


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(data), *words])


def test_an_archive_is_opened_listed_and_closed(data: Path) -> None:
    opened = run(data, "user", "open", "a@x.test", "--archive", "sales@x.test", "--reason", "on leave")
    assert opened.exit_code == 0
    assert "anna@x.test may read the archive of sales@x.test." in opened.stdout
    (listed,) = json.loads(run(data, "user", "access", "--json").stdout)
    assert (listed["user_name"], listed["archive_address"], listed["reason"]) == ("Anna", "sales@x.test", "on leave")
    for address in ("anna@x.test", "sales@x.test"):
        found = run(data, "user", "access", address).stdout.splitlines()
        assert len(found) == 2
        assert found[1].split()[:2] == ["anna@x.test", "sales@x.test"]
    closed = run(data, "user", "close", "anna@x.test", "--archive", "sales@x.test")
    assert closed.exit_code == 0 and "may not read" in closed.stdout
    assert json.loads(run(data, "user", "access", "--json").stdout) == []


def test_what_goes_wrong_is_a_sentence(data: Path) -> None:
    to_sales = ("--archive", "sales@x.test")
    assert run(data, "user", "open", "anna@x.test", *to_sales).exit_code == 2, "there is no reason"
    for words, why in (
        (("open", "anna@x.test", *to_sales, "--reason", " "), "Give a reason"),
        (("open", "anna@x.test", "--archive", "a@x.test", "--reason", "why"), "own archive"),
        (("open", "nobody@x.test", *to_sales, "--reason", "why"), "No user has the address nobody@x.test"),
        (("close", "anna@x.test", *to_sales), "not open to that user"),
        (("access", "nobody@x.test"), "No user has the address"),
    ):
        done = run(data, "user", *words)
        assert done.exit_code == 1 and why in done.stderr, words
