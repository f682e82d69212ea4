"""The box is destroyed under load: the restored one has every message that a generation had, and receives again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.losing import lose_boxes
from tests.product import Product
from tests.remotes import s3_target

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_a_destroyed_box_takes_only_what_no_generation_had(product: Product, tmp_path: Path) -> None:
    with s3_target(tmp_path / "remote") as target:
        (loss,) = lose_boxes(tmp_path, product, target, 1, seed=1)
    assert len(loss.lost) < loss.confirmed
