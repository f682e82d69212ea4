"""``mailkeep mailbox``: what scripts read, what people are told, and that a secret is never asked for twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.errors import SignInError
from appliance.keys.keyring import Keyring
from appliance.services.paths import Paths
from appliance.services.setup.create import create


class Box:
    """An archive on which nothing runs, and the command line."""

    def __init__(self, data: Path) -> None:
        self.paths = Paths(data)
        create(self.paths, passphrase=None, keyfile=True, administrator=True, hostname="box.test")

    def attempt(self, *words: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, ["--data", str(self.paths.data), *words], input=stdin)

    def run(self, *words: str, stdin: str = "") -> Any:
        done = self.attempt(*words, "--json", stdin=stdin)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if done.stdout.strip() else None

    def opens(self, id: str, secret: str) -> bool:
        keyring = Keyring.load(self.paths.keyring).unlock_with_keyfile(self.paths.keyfile)
        try:
            keyring.open_mailbox(bytes.fromhex(id), secret).close()
        except SignInError:
            return False
        return True


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "data")


def test_a_mailbox_is_created_with_all_that_can_be_said(box: Box) -> None:
    made = box.run(
        "mailbox", "create", "--name", "Council", "--address", "council@archive.test", "--sealed",
        "--alias", "c@archive.test", "--catch-all", "caught.test", "--description", "Works council",
        "--delete-after-pull", "--retention-days", "90",
    )  # fmt: skip
    assert {"id", "address", "password"} <= made.keys()
    assert (made["sealed"], made["aliases"], made["catch_all"]) == (True, ["c@archive.test"], ["caught.test"])
    assert (made["description"], made["delete_after_pull"], made["retention_days"]) == ("Works council", True, 90)
    assert box.opens(made["id"], made["password"])
    shown = box.run("mailbox", "show", "council@archive.test")
    assert "password" not in shown
    assert shown["tokens"] == []
    (listed,) = box.run("mailbox", "list")
    assert (listed["id"], listed["records"], listed["first_at"]) == (made["id"], 0, None)


def test_people_are_warned_of_what_a_password_means(box: Box) -> None:
    for words, warning in (((), "opens all mail of the mailbox"), (("--sealed",), "without it the mail is lost")):
        address = f"m{len(words)}@archive.test"
        done = box.attempt("mailbox", "create", "--name", "M", "--address", address, *words)
        assert done.exit_code == 0
        assert "Password:" in done.stdout and warning in done.stdout


def test_addresses_are_added_and_taken_away(box: Box) -> None:
    box.run("mailbox", "create", "--name", "M", "--address", "m@archive.test", "--alias", "a@archive.test")
    changed = box.run(
        "mailbox", "change", "m@archive.test", "--add-alias", "b@archive.test", "--remove-alias", "A@archive.test",
        "--add-catch-all", "caught.test", "--state", "disabled", "--address", "n@archive.test",
    )  # fmt: skip
    assert (changed["address"], changed["aliases"]) == ("n@archive.test", ["b@archive.test"])
    assert (changed["catch_all"], changed["state"]) == (["caught.test"], "disabled")
    emptied = box.run(
        "mailbox", "change", "n@archive.test", "--remove-alias", "b@archive.test", "--remove-catch-all", "caught.test"
    )
    assert (emptied["aliases"], emptied["catch_all"], emptied["state"]) == ([], [], "disabled")
    wrong = box.attempt("mailbox", "change", "n@archive.test", "--remove-alias", "z@archive.test")
    assert wrong.exit_code == 1
    assert "Nothing was changed" in wrong.stderr


def test_a_sealed_mailboxs_password_is_changed_with_the_present_one(box: Box) -> None:
    made = box.run("mailbox", "create", "--name", "C", "--address", "c@archive.test", "--sealed")
    refused = box.attempt("mailbox", "password", "c@archive.test", "--new-stdin", stdin="one thought of by hand\n")
    assert refused.exit_code == 1
    wrong = box.attempt(
        "mailbox", "password", "c@archive.test", "--old-stdin", "--new-stdin", stdin="wrong\none thought of by hand\n"
    )
    assert wrong.exit_code == 1
    assert box.opens(made["id"], made["password"])
    said = box.run(
        "mailbox", "password", "c@archive.test", "--old-stdin", "--new-stdin",
        stdin=f"{made['password']}\none thought of by hand\n",
    )  # fmt: skip
    assert "one thought of by hand" not in json.dumps(said)
    assert box.opens(made["id"], "one thought of by hand")
    assert not box.opens(made["id"], made["password"])
    generated = box.run("mailbox", "password", "c@archive.test", "--old-stdin", stdin="one thought of by hand\n")
    assert box.opens(made["id"], generated["password"])


def test_tokens_are_made_listed_and_removed(box: Box) -> None:
    made = box.run("mailbox", "create", "--name", "C", "--address", "c@archive.test", "--sealed")
    without = box.attempt("mailbox", "token", "add", "c@archive.test", "--name", "nightly")
    assert without.exit_code == 1
    token = box.run(
        "mailbox", "token", "add", "c@archive.test", "--name", "nightly", "--password-stdin",
        stdin=made["password"] + "\n",
    )  # fmt: skip
    assert box.opens(made["id"], token["token"])
    (listed,) = box.run("mailbox", "token", "list", "c@archive.test")
    assert listed == {key: token[key] for key in ("id", "name", "created_at")}
    box.run("mailbox", "token", "remove", "c@archive.test", token["id"])
    assert box.run("mailbox", "token", "list", "c@archive.test") == []
    assert not box.opens(made["id"], token["token"])
