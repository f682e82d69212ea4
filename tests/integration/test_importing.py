"""Imports with the whole product: files of all kinds go in through the socket, are read by children, are found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import LockedError
from appliance.services import api
from appliance.services.paths import Paths
from tests.importing import Sender, figures, mbox
from tests.product import Product

pytestmark = pytest.mark.integration

ANNA = "anna@example.com"
PASSPHRASE = "three words of four"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.create(tmp_path_factory.mktemp("importing") / "data")
    product.start()
    product.call("user_create", api.UserInfo, name="Anna", primary=ANNA, aliases=())
    try:
        yield product
    finally:
        product.stop()


def test_an_mbox_goes_in_is_found_and_goes_in_once(product: Product, tmp_path: Path) -> None:
    sender, file = Sender(product), mbox(tmp_path / "Letters.mbox", 300, "plum")
    one = sender.run(ANNA, file)
    assert (one.state, figures(one.counts), one.files[0].format) == ("done", (300, 300, 0, 0, 0), "mbox")
    product.run("wait-idle")
    assert product.total("plum277") == 1
    assert figures(sender.run(ANNA, file).counts) == (300, 0, 300, 0, 0)


@pytest.mark.parametrize("kind", ["mbox", "msg", "tnef", "pst"])
def test_every_file_of_the_corpora_ends_in_a_report_that_adds_up(
    product: Product, corpora: Path, tmp_path: Path, kind: str
) -> None:
    files = sorted(path for path in (corpora / kind).rglob("*") if path.is_file())
    assert files
    sender = Sender(product)
    one = sender.run(ANNA, *files, folder=[kind], others=True, recovered=True)
    by_name = {file.name: file for file in one.files}
    assert len(one.files) == len(files)
    assert all(file.state in ("done", "failed") for file in one.files)
    assert all(file.words for file in one.files if file.state == "failed"), "whatever cannot be read says why"
    for problem in one.problems:
        assert problem.why and "inside mailkeep" not in problem.why, problem
    assert not [file for file in by_name.values() if "inside mailkeep" in file.words]
    again = sender.run(ANNA, *files, folder=[kind], others=True, recovered=True)
    assert again.counts.archived == 0, "nothing is archived twice, so the same file always gives the same bytes"
    assert again.counts.already == one.counts.archived + one.counts.already
    product.run("wait-idle")
    assert product.call("import_report", bytes, id=one.id, form="html").count(b"SHA-256") >= len(files)


def test_what_has_arrived_is_read_to_its_end_while_the_archive_is_locked(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data", passphrase=PASSPHRASE)
    with product.serving():
        product.call("user_create", api.UserInfo, name="Anna", primary=ANNA, aliases=())
        product.run("service-key", "write")
        sender = Sender(product)
        id = sender.begin(ANNA)
        sender.send(id, mbox(tmp_path / "Letters.mbox", 3000, "plum"))
        sender.await_some(id)
        product.run("lock")
        scratch, deadline = Paths(product.data).scratch, time.monotonic() + 120
        while list(scratch.iterdir()):
            assert time.monotonic() < deadline, "it is not read on while the archive is locked"
            time.sleep(0.1)
        with pytest.raises(LockedError):
            sender.begin(ANNA)
        assert product.call("unlock", api.LockState, passphrase=PASSPHRASE).unlocked
        one = sender.ended(id)
        assert (one.state, figures(one.counts)) == ("done", (3000, 3000, 0, 0, 0))
        product.run("wait-idle")
        assert product.total("subject:plum") == 3000
