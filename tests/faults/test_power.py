"""A power cut takes nothing that was confirmed, and the test for it notices a product that forgets to sync."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.power import LARGE, lost_by_gateway, power_cuts
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("as_root"), pytest.mark.timeout(900)]

PATCHES = Path(__file__).parent / "patches"


def test_after_a_power_cut_every_confirmed_message_is_there(tmp_path: Path) -> None:
    power_cuts(tmp_path, 3, seed=1)


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_message_is_on_the_disk_when_its_250_comes(template: Product, tmp_path: Path, size: int) -> None:
    assert not lost_by_gateway(template, tmp_path, size=size, environment={})


@pytest.mark.parametrize(("patch", "size"), [("no_data_sync", 1000), ("no_directory_sync", LARGE)])
def test_the_power_cut_shows_a_sync_that_is_left_out(template: Product, tmp_path: Path, patch: str, size: int) -> None:
    assert lost_by_gateway(template, tmp_path, size=size, environment={"PYTHONPATH": str(PATCHES / patch)})
