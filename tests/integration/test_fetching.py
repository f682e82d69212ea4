"""Archiving profiles by the whole product: set up on the command line, fetched, found by those whose mail it is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services import api
from appliance.services.collector import asking
from appliance.services.paths import Paths
from tests.dovecot import MASTER, MASTER_PASSWORD, Dovecot, running
from tests.faults.proof import await_idle
from tests.product import Product
from tests.scratch import mail

pytestmark = pytest.mark.integration

ANNA, BEN, TEAM = "anna@example.com", "ben@example.com", "team@example.com"
SECONDS = 90.0


@pytest.fixture
def server() -> Iterator[Dovecot]:
    with running() as server:
        server.fill(ANNA, "INBOX", [letter("hers"), letter("both")])
        server.fill(ANNA, "Projects", [letter("plan"), letter("both")])
        server.fill(BEN, "INBOX", [letter("his"), letter("both")])
        yield server


def letter(name: str) -> bytes:
    """A message whose header names Ben and somebody else, wherever it lies."""
    return mail(name, f"Kugelschreibermine {name}", message_id=f"{name}@x", to=BEN, sender="x@elsewhere.example")


def with_people(product: Product) -> None:
    for address in (ANNA, BEN):
        product.call("user_create", api.UserInfo, name=address.split("@")[0], primary=address, aliases=())


def add(product: Product, server: Dovecot, *words: str) -> None:
    """A profile of all users' accounts, by the server's master user."""
    product.run(
        "profile", "add", "office", "--kind", "imap", "host=127.0.0.1", f"port={server.plain}", "security=none",
        "sign_in=master", f"master={MASTER}", "password=-", *words, said=f"{MASTER_PASSWORD}\n",
    )  # fmt: skip


def sums(run: dict[str, Any]) -> tuple[int, ...]:
    found = tuple(run[name] for name in ("seen", "new", "already", "filtered", "failed"))
    assert found[0] == sum(found[1:]), run
    return found


def total(product: Product, query: str, user: str) -> int:
    found = product.run("search", query, "--user", user)
    return int(found["total"])


def test_mail_of_all_users_is_fetched_and_each_finds_their_own(tmp_path: Path, server: Dovecot) -> None:
    product = Product.create(tmp_path / "data")
    with product.serving():
        with_people(product)
        add(product, server)
        assert product.attempt("profile", "test", "office").returncode == 0
        done = product.attempt("profile", "run", "office")
        assert done.returncode == 0, done.stdout + done.stderr
        [run] = product.run("profile", "history", "office")
        assert (run["state"], sums(run)) == ("done", (6, 4, 2, 0, 0))
        await_idle(product)
        assert (total(product, "Kugelschreibermine", ANNA), total(product, "Kugelschreibermine", BEN)) == (3, 2)
        assert total(product, "subject:plan", BEN) == 0, "a folder's owner owns, not whom a header names"
    with product.serving():
        assert product.attempt("profile", "run", "office").returncode == 0
        newest = product.run("profile", "history", "office")[0]
        assert sums(newest) == (0, 0, 0, 0, 0)
    for file in (product.data / "collecting").glob("ledger*"):
        file.unlink()
    with product.serving():
        assert product.attempt("profile", "run", "office").returncode == 0
        [again] = product.run("profile", "history", "office")
        assert sums(again) == (6, 0, 6, 0, 0), "what is archived is known without a ledger, too"
        code, _found = product.verify()
        assert code == 0


def test_a_locked_archive_goes_on_fetching_where_it_has_the_service_key(tmp_path: Path, server: Dovecot) -> None:
    product = Product.create(tmp_path / "data", passphrase="a passphrase for these tests")
    with product.serving():
        with_people(product)
        add(product, server)
        product.run("service-key", "write")
        assert product.attempt("profile", "run", "office").returncode == 0
        product.run("lock")
        server.save(BEN, "INBOX", letter("night"))
        volumes = product.data / "volumes" / IMPORTS_MAILBOX.hex()
        before = sum(file.stat().st_size for file in volumes.glob("*.mkv"))
        asking.ask(Paths(product.data), "begin", int, profile="office")  # as its schedule does
        deadline = time.monotonic() + SECONDS
        while sum(file.stat().st_size for file in volumes.glob("*.mkv")) == before:
            assert time.monotonic() < deadline, "nothing was fetched while the archive was locked"
            time.sleep(0.2)
        product.attempt("unlock", "--passphrase-stdin", said=f"{product.passphrase}\n")
        await_idle(product)
        assert total(product, "subject:night", BEN) == 1


def test_what_is_old_is_deleted_there_only_if_its_copy_can_be_read_back(tmp_path: Path, server: Dovecot) -> None:
    for path in (server.folder / "mail").rglob("cur/*"):
        os.utime(path, times=(time.time() - 60 * 86400,) * 2)
    product = Product.create(tmp_path / "data")
    with product.serving():
        with_people(product)
        add(product, server)
        assert product.attempt("profile", "run", "office").returncode == 0
        await_idle(product)
        product.run("profile", "change", "office", "--delete-after", "30")
        listed = product.run("profile", "deletions", "office")
        assert listed["count"] == 6
        product.call("profiles", tuple[api.ProfileInfo, ...])
        [volume] = (product.data / "volumes" / IMPORTS_MAILBOX.hex()).glob("s0-*.mkv")
        with volume.open("r+b") as file:  # the first message's bytes rot
            file.seek(1280 + 24 + 68 + 200)
            rotten = bytes(255 - octet for octet in file.read(8))
            file.seek(-8, os.SEEK_CUR)
            file.write(rotten)
        assert product.attempt("profile", "run", "office").returncode == 0
        run = product.run("profile", "history", "office")[0]
        left = [line for user in (ANNA, BEN) for line in _subjects(server, user)]
    assert 0 < run["deleted"] < 6
    assert len(left) == 6 - run["deleted"]
    assert len(set(left)) == 1, "what could not be read back is still there, everywhere, and nothing else"


def _subjects(server: Dovecot, user: str) -> list[str]:
    listed = server.admin("fetch", "-u", user, "hdr.subject", "all")
    return [line for line in listed.splitlines() if line.startswith("hdr.subject")]


def test_the_collector_killed_in_the_midst_is_started_again_and_goes_on(tmp_path: Path, server: Dovecot) -> None:
    server.fill(ANNA, "Many", [mail(f"number {n}", "x" * 5000) for n in range(300)])
    product = Product.create(tmp_path / "data")
    with product.serving():
        with_people(product)
        add(product, server, "--rate", "500K")
        product.run("profile", "run", "office", "--no-wait")
        deadline = time.monotonic() + SECONDS
        while not product.run("profile", "history", "office")[0]["new"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for pid in product.pids("collector"):
            os.kill(pid, signal.SIGKILL)
        product.run("profile", "change", "office", "--rate", "0")
        while any(run["ended"] is None for run in product.run("profile", "history", "office")) or (
            len(product.run("profile", "history", "office")) < 2
        ):
            assert time.monotonic() < deadline, product.run("profile", "history", "office")
            time.sleep(0.2)
        runs = product.run("profile", "history", "office")
        assert [run["state"] for run in runs] == ["done", "failed"]
        assert all(sums(run) for run in runs)
        await_idle(product)
        assert total(product, "subject:number", ANNA) == 300
        assert json.dumps(runs).count(MASTER_PASSWORD) == 0
