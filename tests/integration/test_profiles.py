"""An archiving profile from the command line to the search, with a real mail server: figures are the server's."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.dovecot import MASTER, MASTER_PASSWORD, PASSWORD, running
from tests.faults.proof import await_idle
from tests.product import Product
from tests.scratch import mail

pytestmark = pytest.mark.integration

PASSPHRASE = "three words of four"
ANNA, BEN = "anna@x.test", "ben@x.test"


def messages(word: str, count: int) -> list[bytes]:
    return [mail(f"{word} {number}", f"about {word}", message_id=f"{word}-{number}@x") for number in range(count)]


def figures(run: dict[str, int]) -> tuple[int, ...]:
    return tuple(run[name] for name in ("seen", "new", "already", "filtered", "failed"))


def test_mail_is_fetched_into_the_archives_it_belongs_to(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data", passphrase=PASSPHRASE)
    (secret := tmp_path / "password").write_text(f"{PASSWORD}\n")
    people = tmp_path / "people.csv"
    (master := tmp_path / "master").write_text(f"{MASTER_PASSWORD}\n")
    with running() as server, product.serving():
        people.write_text(f"primary,name\n{ANNA},Anna\n")
        product.run("user", "import", str(people))
        server.fill(ANNA, "INBOX", messages("inbox", 5))
        server.fill(ANNA, "Trash", messages("rubbish", 3))
        server.fill(ANNA, "Projects", messages("project", 2))
        server.fill(BEN, "INBOX", messages("bens", 4))
        where = ("host=127.0.0.1", f"port={server.plain}", "security=none")
        product.run(
            "profile", "add", "one", "--kind", "imap", *where, f"user={ANNA}", f"password=@{secret}", "--archive", ANNA
        )
        # Encryption is off, of which the test warns; all else is well.
        assert {one["state"] for one in product.run("profile", "test", "one")} == {"ok", "warning"}
        first = product.run("profile", "run", "one")
        assert (first["state"], figures(first)) == ("done", (7, 7, 0, 0, 0)), "not what is in the trash"
        assert figures(product.run("profile", "run", "one")) == (0, 0, 0, 0, 0), "nothing has changed"

        people.write_text(f"primary,name\n{ANNA},Anna\n{BEN},Ben\n")
        product.run("directory", "add", "staff", "--kind", "csv", f"content=@{people}", "--interval", "0")
        product.run(
            "profile", "add", "all", "--kind", "imap", *where, "sign_in=master", f"master={MASTER}",
            f"password=@{master}", "--directory", "staff",
        )  # fmt: skip
        everybody = product.run("profile", "run", "all")
        assert (everybody["state"], figures(everybody)) == ("done", (11, 4, 7, 0, 0)), "Ben has come, Anna's is known"
        assert {(one["account"], one["archive"], one["new"]) for one in everybody["accounts"]} == {
            (ANNA, ANNA, 0), (BEN, BEN, 4)
        }  # fmt: skip
        history = product.run("profile", "history", "all")
        assert [figures(one) for one in history] == [(11, 4, 7, 0, 0)]
        await_idle(product)
        assert product.run("status")["records"] == 11
        for who, count in ((ANNA, 7), (BEN, 4)):
            assert product.run("search", "*", "--user", who)["total"] == count
        folders = {("/".join(one["path"]), one["messages"]) for one in product.run("folders", ANNA)}
        assert folders == {("INBOX", 5), ("Projects", 2)}
        hits = product.run("search", "*", "--user", ANNA, "--folder", "Projects")["hits"]
        assert {hit["subject"] for hit in hits} == {"project 0", "project 1"}

        wrong = product.attempt("profile", "change", "one", "host=localhost")
        assert wrong.returncode == 1 and b"give password anew" in wrong.stderr
        secret.write_text("not-it\n")
        product.run("profile", "change", "one", f"password=@{secret}")
        failed = product.attempt("profile", "run", "one", "--json")
        assert failed.returncode == 1 and json.loads(failed.stdout)["state"] == "failed"
        assert product.attempt("profile", "test", "one").returncode == 1

        product.run("profile", "change", "all", "--cron", "0 3 * * *")
        deadline = time.monotonic() + 60
        while not (next_at := product.run("profile", "list")[0]["next_at"]):
            assert time.monotonic() < deadline, "the collector plans it"
            time.sleep(0.2)
        assert time.localtime(next_at)[3:5] == (3, 0)
        product.run("lock")
        locked = product.attempt("profile", "list")
        assert locked.returncode == 1 and b"locked" in locked.stderr
