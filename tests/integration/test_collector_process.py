"""The collector as a process: it has its one key from an unlocked archive, or from the box while that is locked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.confine import landlock_version
from appliance.errors import MailkeepError, NotFoundError, UsageError
from appliance.services import api
from appliance.services.collector.asking import ask
from appliance.services.paths import Paths
from tests.product import Product

pytestmark = pytest.mark.integration

PASSPHRASE = "three words of four"
PATIENCE = 60.0


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something comes to hold; while parts are started again, they may be refused."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except (MailkeepError, OSError):
            pass
        time.sleep(0.1)
    pytest.fail(f"{what} did not come about")


def works(product: Product) -> bool:
    """Whether the collector answers what it is asked."""
    try:
        ask(Paths(product.data), "begin", int, profile="nobody has this name")
    except (NotFoundError, UsageError):
        return True
    return False


def locked(product: Product, *, wanted: bool) -> None:
    eventually(lambda: product.call("lock_state", api.LockState).unlocked != wanted, f"locked: {wanted}")


def unlock(product: Product) -> None:
    assert product.call("unlock", api.LockState, passphrase=PASSPHRASE).unlocked


def test_it_works_while_the_archive_is_open_and_with_the_service_key_while_it_is_locked_too(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data", passphrase=PASSPHRASE)
    with product.serving(locked=True):
        assert product.await_part("collector")
        assert not Paths(product.data).collector_socket.exists(), "nobody has given it a key"
        unlock(product)
        eventually(lambda: works(product), "it works once the archive is open")
        product.run("service-key", "write")
        product.run("lock")
        locked(product, wanted=True)
        eventually(lambda: works(product), "it works with the key on the box")
        os.kill(before := product.await_part("collector"), signal.SIGKILL)
        eventually(lambda: product.pids("collector") not in ([], [before]), "another one is started")
        eventually(lambda: works(product), "it works though nobody has unlocked anything")
        before = product.await_part("collector")
        unlock(product)
        eventually(lambda: product.pids("collector") not in ([], [before]), "it begins anew with the agent's key")
        eventually(lambda: works(product), "it works with the agent's key")


def test_it_has_given_up_what_it_does_not_need_before_it_answers(tmp_path: Path) -> None:
    if not landlock_version():
        pytest.skip("this kernel has no Landlock")
    product = Product.create(tmp_path / "data")
    with product.serving():
        eventually(lambda: works(product), "it works")
        for task in Path(f"/proc/{product.await_part('collector')}/task").iterdir():
            assert "NoNewPrivs:\t1" in (task / "status").read_text(), "a thread that began before the others"
        assert Paths(product.data).ledger.stat().st_mode & 0o007 == 0
