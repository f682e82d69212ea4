"""The search index's memory and its sealed copy, under the whole product: mail comes first, and answers are right."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from appliance.services.paths import Paths
from tests.faults.disks import fill, tmpfs
from tests.faults.load import Load
from tests.faults.proof import await_idle, everything_holds
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def _await_alarm(product: Product, text: str) -> None:
    deadline = time.monotonic() + 60
    while not any(text in alarm.text for alarm in product.status().alarms):
        assert time.monotonic() < deadline, product.status().alarms
        time.sleep(0.2)


@pytest.mark.usefixtures("as_root")
def test_a_full_memory_raises_an_alarm_while_mail_is_received(template: Product, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "memory", 64) as memory:
        product = template.copy(tmp_path / "data", environment={"MAILKEEP_LIVE": str(memory)})
        product.start()
        try:
            load = Load(product.smtp, "memory", pause=0.2)
            with load.sending():
                load.await_confirmed(50)
                filler = fill(memory)
                load.await_confirmed(len(load.confirmed) + 50)
                _await_alarm(product, "memory for the search index")
                load.await_confirmed(len(load.confirmed) + 50)
                filler.unlink()
            await_idle(product)
            everything_holds(product, load.ledger())
            assert not any("memory for the search index" in alarm.text for alarm in product.status().alarms)
        finally:
            product.kill()


def test_a_damaged_copy_of_the_index_is_made_anew_and_all_is_found(product: Product) -> None:
    load = Load(product.smtp, "copy")
    with product.serving():
        with load.sending():
            load.await_confirmed(100)
        await_idle(product)
    packs = [path for path in (product.data / "projections").rglob("index/*/*") if path.is_file()]
    for path in packs:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    with product.serving():
        everything_holds(product, load.ledger())


def test_nothing_of_the_index_stays_in_memory_when_the_product_is_stopped_or_started_after_a_kill(
    product: Product,
) -> None:
    live = Paths(product.data).live
    load = Load(product.smtp, "memory")
    product.start()
    with load.sending():
        load.await_confirmed(30)
    await_idle(product)
    assert live.exists()
    product.kill()
    shutil.rmtree(live)  # as a power cut does
    with product.serving():
        everything_holds(product, load.ledger())
        assert live.exists()
    assert not live.exists()
