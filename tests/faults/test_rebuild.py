"""What is derived can be lost at any moment: the old state goes on answering, and the log brings all of it back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.services import api
from appliance.services.box import open_box
from appliance.services.paths import Paths
from tests.faults.conftest import Filled
from tests.faults.proof import await_generation, everything_holds
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture
def archive(filled: Filled, tmp_path: Path) -> Iterator[Filled]:
    """A copy of the filled archive, for one test."""
    product = filled.product.copy(tmp_path / "data")
    yield Filled(product, filled.ledger)
    product.kill()


def begin_rebuild(product: Product) -> subprocess.Popen[bytes]:
    """``mailkeep rebuild``, as soon as it is writing a new generation."""
    process = subprocess.Popen(product.command("rebuild"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (product.data / "projections" / "0002" / "catalogue.db").exists())
    return process


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """kill -9; its children go with it."""
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL, "the rebuild was over before it could be killed"


def test_a_rebuild_killed_while_serving_leaves_the_old_state_and_the_next_one_succeeds(archive: Filled) -> None:
    product, ledger = archive
    product.start()
    process = begin_rebuild(product)
    assert product.total("*") == len(ledger.confirmed)  # searching goes on meanwhile
    time.sleep(random.Random(1).random() * 0.3)
    kill_tree(process)
    assert (product.data / "projections" / "current").read_text().strip() == "0001"
    everything_holds(product, ledger, exports=False)

    product.run("rebuild")
    current = (product.data / "projections" / "current").read_text().strip()
    assert current != "0001"
    await_generation(product, current)
    everything_holds(product, ledger)
    wait_for(lambda: [one.name for one in (product.data / "projections").glob("0*")] == [current])


def test_a_rebuild_killed_with_nothing_running_leaves_the_old_state_and_the_next_one_succeeds(archive: Filled) -> None:
    product, ledger = archive
    kill_tree(begin_rebuild(product))
    assert product.run("search", "*", "--limit", "0")["total"] == len(ledger.confirmed)
    assert product.run("rebuild")["records"] == len(ledger.confirmed)
    with product.serving():
        everything_holds(product, ledger)


class Kept(NamedTuple):
    """What settings.db says, by the services."""

    users: tuple[api.UserInfo, ...]
    mailboxes: tuple[api.MailboxInfo, ...]
    audit: tuple[api.AuditLine, ...]  # oldest first


def kept(product: Product) -> Kept:
    """All of it, on a product that does not serve."""
    with open_box(Paths(product.data)) as box:
        lines: list[api.AuditLine] = []
        while (page := box.call("audit", api.AuditPage, offset=len(lines), limit=200)).lines:
            lines += page.lines
        return Kept(
            box.call("users", api.UserPage, limit=1000).users,
            box.call("mailboxes", tuple[api.MailboxInfo, ...]),
            tuple(reversed(lines)),
        )


def test_settings_that_are_lost_come_back_from_the_system_log(archive: Filled) -> None:
    product, ledger = archive
    before = kept(product)
    assert {role for user in before.users for role in user.roles} >= {"admin", "auditor"}
    assert len(before.audit) > 10
    for suffix in ("", "-wal", "-shm"):
        Paths(product.data).settings.with_name("settings.db" + suffix).unlink(missing_ok=True)

    product.run("rebuild")
    after = kept(product)
    assert after.users == before.users
    assert after.mailboxes == before.mailboxes
    assert after.audit[: len(before.audit)] == before.audit
    with product.serving():
        everything_holds(product, ledger, exports=False)
        assert product.total("from:anna@company.example") == len(ledger.confirmed)
