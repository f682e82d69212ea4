"""Imports from a remote with the whole product: processes die in the midst of it, and the file comes in whole."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import MailkeepError
from appliance.services import api
from tests.importing import figures, mbox
from tests.product import Product
from tests.remotes import Target, webdav_target

pytestmark = pytest.mark.integration

ANNA = "anna@example.com"
SECONDS = 120.0


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with webdav_target(tmp_path_factory.mktemp("far"), faults=True) as target:
        yield target


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, target: Target) -> Iterator[Product]:
    product = Product.create(tmp_path_factory.mktemp("importing") / "data")
    product.start()
    product.call("user_create", api.UserInfo, name="Anna", primary=ANNA, aliases=())
    product.call(
        "remote_add", api.RemoteInfo, name="nas", type="webdav", options=dict(target.config.options),
        path=target.config.path, paused=True,
    )  # fmt: skip
    try:
        yield product
    finally:
        product.stop()


def looked(product: Product, id: int, until: Callable[[api.ImportInfo], object]) -> api.ImportInfo:
    """The import, as soon as something is true of it; processes may be away meanwhile."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            one = product.call("import_get", api.ImportInfo, id=id)
            if until(one):
                return one
        except (MailkeepError, OSError):
            pass
        assert time.monotonic() < deadline, product.log_end()
        time.sleep(0.05)


def test_archiver_and_replicator_die_while_a_file_is_fetched_and_it_comes_in_once(
    product: Product, target: Target, tmp_path: Path
) -> None:
    beside = target.folder.parent / "old"
    beside.mkdir(parents=True)
    file = mbox(beside / "Letters.mbox", 300, "plum")
    with file.open("ab") as more:  # so large that it comes in several pieces
        more.write(b"\nFrom x@example.com Mon Jan  1 00:00:00 2024\nSubject: large\n\n" + b"quince " * 6_000_000)
    assert target.proxy is not None
    target.proxy.rate = 12_000_000
    made = product.call("import_begin", api.ImportInfo, title="from afar", archive=ANNA)
    product.call(
        "import_from_remote", api.ImportInfo, id=made.id, remote="nas", paths=["replica/old/Letters.mbox"], last=True
    )
    for part in ("replicator", "archiver"):
        before = looked(product, made.id, lambda one: one.files and one.files[0].arrived)
        assert before.files[0].state == "arriving"
        (pid,) = product.pids(part)
        os.kill(pid, signal.SIGKILL)
        product.await_part(part)
        arrived = before.files[0].arrived
        looked(product, made.id, lambda one, arrived=arrived: one.files[0].arrived > arrived)  # type: ignore[misc]
    target.proxy.rate = 0.0
    one = looked(product, made.id, lambda one: one.ended is not None)
    assert (one.state, len(one.files), figures(one.counts)) == ("done", 1, (301, 301, 0, 0, 0))
    product.run("wait-idle")
    assert product.total("plum277") == 1 and product.total("subject:large") == 1


def test_the_command_imports_from_a_remote_what_it_lists_there(product: Product, target: Target) -> None:
    mbox(target.folder.parent / "old" / "Notes.mbox", 5, "damson")
    listed = product.run("remote", "files", "nas", "replica/old")
    assert "replica/old/Notes.mbox" in [one["path"] for one in listed["entries"]]
    done = product.run("import", "nas:replica/old/Notes.mbox", "--archive", ANNA, "--folder", "Old")
    assert done["sum"] == {"found": 5, "archived": 5, "already": 0, "skipped": 0, "failed": 0}
    assert [one["file"] for one in done["files"]] == ["nas:replica/old/Notes.mbox"], json.dumps(done)
