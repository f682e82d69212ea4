"""An archive to break: made once, copied for each test."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.load import Ledger, Load
from tests.faults.proof import await_idle, everything_holds
from tests.product import Product

PEOPLE = """primary,aliases,name
anna@company.example,a.berg@company.example,Anna Berg
bert@company.example,,Bert Lund
"""


class Filled(NamedTuple):
    """An archive at rest with people, an auditor and some hundred messages in signed volumes."""

    product: Product
    ledger: Ledger


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """An archive with one mailbox, on which nothing runs."""
    return Product.create(tmp_path_factory.mktemp("template") / "data")


@pytest.fixture
def product(template: Product, tmp_path: Path) -> Iterator[Product]:
    """An archive of the test's own; whatever still runs on it afterwards is ended."""
    product = template.copy(tmp_path / "data")
    yield product
    product.kill()


@pytest.fixture(scope="session")
def filled(template: Product, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """Made once; whoever changes anything takes a copy."""
    folder = tmp_path_factory.mktemp("filled")
    product = template.copy(folder / "data")
    (folder / "people.csv").write_text(PEOPLE)
    load = Load(product.smtp, "kept", pause=0)
    with product.serving():
        product.run("user", "import", str(folder / "people.csv"))
        product.run("user", "grant", "anna@company.example", "auditor", "--reason", "first auditor")
        with load.sending():
            load.await_confirmed(300)
        await_idle(product)
    with product.serving():  # the volumes are closed now, so the archiver signs them
        deadline = time.monotonic() + 60
        while (status := product.status()).volumes_signed < status.volumes:
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        everything_holds(product, load.ledger())
    return Filled(product, load.ledger())


@pytest.fixture
def as_root() -> None:
    """Skip where a file system cannot be mounted."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("mounting a scratch file system takes root and e2fsprogs")
