"""An archive to break: made once, copied for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import Product


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


@pytest.fixture
def as_root() -> None:
    """Skip where a file system cannot be mounted."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("mounting a scratch file system takes root and e2fsprogs")
