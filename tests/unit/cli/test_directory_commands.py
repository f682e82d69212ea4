"""``mailkeep directory`` on an archive on which nothing runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.services.paths import Paths
from appliance.services.setup import create

LIST = "primary,aliases,name\nanna@x.test,a@x.test,Anna\nbert@x.test,,Bert\nnobody,,Carl\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    create.create(Paths(folder), passphrase=None, keyfile=True, administrator=True, hostname="box.test")
    (tmp_path / "people.csv").write_text(LIST)
    return folder


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(data), *words])


def test_users_come_from_a_file(data: Path) -> None:
    assert "csv: CSV file" in run(data, "directory", "kinds").stdout
    content = f"content=@{data.parent / 'people.csv'}"
    made = json.loads(run(data, "directory", "add", "staff", "--kind", "csv", content, "--json").stdout)
    assert (made["name"], made["interval"], made["synchronised_at"]) == ("staff", 3600, None)
    tested = run(data, "directory", "test", "staff")
    assert tested.exit_code == 0 and "line 4: “nobody” is not a mail address." in tested.stdout
    would = run(data, "directory", "sync", "staff", "--dry-run")
    assert would.exit_code == 0 and "new       Anna <anna@x.test>" in would.stdout
    assert "Nothing was changed." in would.stdout
    counts = json.loads(run(data, "directory", "sync", "staff", "--json").stdout)["counts"]
    assert (counts["created"], counts["left_out"]) == (2, 1)
    assert "Anna" in run(data, "user", "list").stdout
    assert json.loads(run(data, "directory", "list", "--json").stdout)[0]["users"] == 2


def test_many_who_are_gone_need_a_word(data: Path) -> None:
    file = data.parent / "people.csv"
    file.write_text("primary\n" + "".join(f"p{number}@x.test\n" for number in range(9)))
    run(data, "directory", "add", "staff", "--kind", "csv", f"content=@{file}", "--interval", "0")
    assert run(data, "directory", "sync", "staff").exit_code == 0
    file.write_text("primary\np0@x.test\n")
    assert run(data, "directory", "change", "staff", f"content=@{file}").exit_code == 0
    waits = run(data, "directory", "sync", "staff")
    assert waits.exit_code == 1 and "8 of 9 users" in waits.stderr
    assert run(data, "directory", "sync", "staff", "--confirm").exit_code == 0
    removed = run(data, "directory", "remove", "staff")
    assert removed.exit_code == 0 and "Its users stay" in removed.stdout


def test_mistakes_are_sentences(data: Path) -> None:
    file = data.parent / "people.csv"
    for words, why in (
        (("add", "staff", "--kind", "csv", "content=@/nowhere"), "cannot be read"),
        (("add", "staff", "--kind", "csv"), "needs: List"),
        (("add", "staff", "--kind", "csv", f"content=@{file}", "--sign-in"), "cannot tell whether a password"),
        (("sync", "staff"), "no directory called “staff”"),
    ):
        done = run(data, "directory", *words)
        assert done.exit_code == 1 and why in done.stderr
