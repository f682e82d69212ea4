"""Mailboxes of Microsoft 365, archived by the whole product: by an application, and by one person who signs in."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.services import api
from tests.doubles.graph import CLIENT, SECRET, TENANT
from tests.doubles.graph_mail import MailDouble
from tests.doubles.https import serving
from tests.faults.proof import await_idle
from tests.product import Product
from tests.scratch import mail

pytestmark = pytest.mark.integration

ANNA, BEN = "anna@example.com", "ben@example.com"
SECONDS = 90.0


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailDouble]:
    """A tenant that this machine trusts."""
    double = MailDouble(tmp_path / "graph")
    monkeypatch.setenv("SSL_CERT_FILE", str(double.trusted))
    with serving(double):
        yield double
    assert double.complaints == []


def letters(name: str, count: int) -> list[bytes]:
    return [mail(f"{name} {number}", "x" * 5000, message_id=f"{name}{number}@x") for number in range(count)]


def with_people(product: Product) -> None:
    for address in (ANNA, BEN):
        product.call("user_create", api.UserInfo, name=address.split("@")[0], primary=address, aliases=())


def add(product: Product, graph: MailDouble, *words: str, said: str = "") -> None:
    product.run(
        "profile", "add", "m365", "--kind", "graph", f"tenant={TENANT}", f"client={CLIENT}", f"authority={graph.url}",
        f"graph={graph.url}", *words, said=said,
    )  # fmt: skip


def history(product: Product) -> list[dict[str, Any]]:
    """Runs, newest first, whose sums are right."""
    runs: list[dict[str, Any]] = product.run("profile", "history", "m365")
    for run in runs:
        assert run["seen"] == sum(run[name] for name in ("new", "already", "filtered", "failed")), run
    return runs


def total(product: Product, query: str, user: str) -> int:
    return int(product.run("search", query, "--user", user)["total"])


@pytest.mark.faults
def test_killed_in_the_midst_it_goes_on_without_duplicates_or_gaps(tmp_path: Path, graph: MailDouble) -> None:
    hers, his = graph.box(ANNA), graph.box(BEN)
    for one in letters("hers", 120):
        hers.add(one)
    for one in letters("his", 3):
        his.add(one)
    graph.page = 40
    product = Product.create(tmp_path / "data")
    with product.serving():
        with_people(product)
        add(product, graph, "secret=-", "--rate", "40K", said=f"{SECRET}\n")
        product.run("profile", "run", "m365", "--no-wait")
        deadline = time.monotonic() + SECONDS
        while not history(product)[0]["new"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for pid in product.pids("collector"):
            os.kill(pid, signal.SIGKILL)
        graph.expire()
        product.run("profile", "change", "m365", "--rate", "0")
        while len(runs := history(product)) < 2 or any(run["ended"] is None for run in runs):
            assert time.monotonic() < deadline, runs
            time.sleep(0.2)
        assert [run["state"] for run in runs] == ["done", "failed"]
        assert product.attempt("profile", "run", "m365").returncode == 0
        assert history(product)[0]["seen"] == 0
        await_idle(product)
        assert (total(product, "subject:hers", ANNA), total(product, "subject:hers", BEN)) == (120, 0)
        assert total(product, "subject:his", BEN) == 3


def test_one_person_signs_in_by_the_code_that_the_test_shows(tmp_path: Path, graph: MailDouble) -> None:
    box = graph.box(ANNA)
    for one in letters("hers", 2):
        box.add(one)
    product = Product.create(tmp_path / "data")
    with product.serving():
        with_people(product)
        add(product, graph, "sign_in=device", "--archive", ANNA)
        tried = product.attempt("profile", "test", "m365")
        assert tried.returncode != 0
        shown = re.search(r"enter the code ([0-9A-F]{8})", tried.stdout.decode())
        assert shown is not None, tried.stdout
        graph.sign_in(shown[1], ANNA)
        assert product.attempt("profile", "test", "m365").returncode == 0
        assert product.attempt("profile", "run", "m365").returncode == 0
        assert (history(product)[0]["state"], history(product)[0]["new"]) == ("done", 2)
    for file in product.data.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for token in (*graph.granted, *graph.refresh_tokens, ANNA):
                assert token.encode() not in content, file
