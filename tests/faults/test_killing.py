"""Whatever process dies, and whenever: what was confirmed is found exactly once, and mail flows again."""

from __future__ import annotations

import pytest

from tests.dovecot import running
from tests.faults.arriving import Arriving
from tests.faults.killing import kill_rounds
from tests.faults.proof import commands_hold
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_kill_9_loses_and_doubles_nothing(product: Product) -> None:
    product.start()
    ledgers = kill_rounds(product, 3, seed=1, parts=("gateway 0", "projector", "supervisor"))
    commands_hold(product, *ledgers)


def test_what_is_fetched_meanwhile_is_archived_once(product: Product) -> None:
    with running() as server:
        product.start()
        arriving = Arriving(product, server, seed=2)
        kill_rounds(product, 1, seed=2, parts=("collector",), arriving=arriving)
