"""Mailboxes and public folders of Exchange, archived by the whole product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.services import api
from tests.doubles.ews import PASSWORD, PATH, USER, EwsDouble
from tests.doubles.https import serving
from tests.faults.proof import await_idle
from tests.product import Product
from tests.scratch import mail

pytestmark = pytest.mark.integration

ANNA, BEN, PUBLIC = "anna@example.com", "ben@example.com", "public@example.com"


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[EwsDouble]:
    """A server that found nothing to complain about."""
    double = EwsDouble(tmp_path / "exchange")
    with serving(double):
        yield double
    assert double.complaints == []


def letters(name: str, count: int) -> list[bytes]:
    return [mail(f"{name} {number}", "x" * 5000, message_id=f"{name}{number}@x") for number in range(count)]


def add(product: Product, exchange: EwsDouble, name: str, *words: str) -> None:
    product.run(
        "profile", "add", name, "--kind", "ews", f"server={exchange.url}{PATH}", f"user={USER}", "password=-",
        "sign_in=basic", f"ca=@{exchange.trusted}", *words, said=f"{PASSWORD}\n",
    )  # fmt: skip


def run(product: Product, name: str) -> dict[str, Any]:
    """The figures of one run, whose sum is right."""
    assert product.attempt("profile", "run", name).returncode == 0
    newest: dict[str, Any] = product.run("profile", "history", name)[0]
    assert newest["seen"] == sum(newest[one] for one in ("new", "already", "filtered", "failed")), newest
    return newest


def total(product: Product, query: str, user: str) -> int:
    return int(product.run("search", query, "--user", user)["total"])


def test_mailboxes_by_impersonation_and_public_folders(tmp_path: Path, exchange: EwsDouble) -> None:
    for address, name, count in ((ANNA, "hers", 7), (BEN, "his", 3)):
        box = exchange.box(address)
        for one in letters(name, count):
            box.put(one)
    exchange.may_impersonate = {ANNA, BEN}
    tree = exchange.public.folder("2026", exchange.public.folder("Sales"))
    for one in letters("posted", 5):
        exchange.public.put(one, tree)
    product = Product.create(tmp_path / "data")
    with product.serving():
        for address in (ANNA, BEN, PUBLIC):
            product.call("user_create", api.UserInfo, name=address.split("@")[0], primary=address, aliases=())
        add(product, exchange, "people", "impersonate=yes", "--users", "only", "--user", ANNA, "--user", BEN)
        add(product, exchange, "public", "public=yes", "--archive", PUBLIC)
        assert product.attempt("profile", "test", "people").returncode == 0
        assert run(product, "people")["new"] == 10
        assert run(product, "public")["new"] == 5
        assert run(product, "people")["seen"] == 0
        again = run(product, "public")
        assert (again["new"], again["already"]) == (0, 5)
        await_idle(product)
        assert (total(product, "subject:hers", ANNA), total(product, "subject:hers", BEN)) == (7, 0)
        assert total(product, "subject:his", BEN) == 3
        assert (total(product, "subject:posted", PUBLIC), total(product, "subject:posted", ANNA)) == (5, 0)
