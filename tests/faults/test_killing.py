"""Whatever process dies, and whenever: what was confirmed is found exactly once, and mail flows again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killing import kill_rounds
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data")
    with product.serving():
        kill_rounds(product, 3, seed=1, parts=("gateway 0", "projector", "supervisor"))
