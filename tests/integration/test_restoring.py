"""The box is gone: ``mailkeep restore`` on an empty machine, from real targets, with nothing but the recovery key."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import remotes
from tests.product import JOURNAL, Product
from tests.remotes import Target
from tests.scratch import mail

pytestmark = pytest.mark.integration

MAILS = 30
WAIT_SECONDS = 60.0


class Gone:
    """A product that was replicated to a target, and whose data folder is no more."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.target = target
        self.folder = folder
        product = Product.create(folder / "old" / "data")
        words = [f"{key}={value}" for key, value in target.config.options.items()]
        self.place = ["--type", target.config.type, *words, f"path={target.config.path}"]
        product.run("remote", "add", "cellar", *self.place)
        product.start()
        self.send(product, range(MAILS))
        product.run("wait-idle")
        self.replicated = product.run("replicate", "--now")
        self.recovery_key = product.recovery_key
        product.kill()
        product.data.rename(folder / "burnt")  # kept for whoever looks at a failed test

    def send(self, product: Product, numbers: range) -> None:
        """Mail that is acknowledged."""
        with smtplib.SMTP("127.0.0.1", product.smtp, timeout=30) as client:
            for number in numbers:
                client.sendmail(
                    "anna@example.com", [JOURNAL], mail(f"Number {number}", message_id=f"{number}@example.com")
                )

    def restored(self, *words: str, name: str = "new") -> Product:
        """A product on an empty machine."""
        product = Product(self.folder / name / "data")
        done = product.attempt("restore", *self.place, "--recovery-key-stdin", *words, said=f"{self.recovery_key}\n")
        assert done.returncode == 0, done.stderr.decode()
        return product


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gone]:
    folder = tmp_path_factory.mktemp("gone")
    with remotes.s3_target(folder) as target:
        yield Gone(folder, target)


def test_everything_comes_back_and_is_found(gone: Gone) -> None:
    product = gone.restored(name="all")
    assert product.run("restore", "status")["state"] == "complete"
    product.run("wait-idle")  # what came in since the last copy of the index
    assert product.run("search", "subject:Number")["total"] == MAILS
    code, found = product.verify()
    assert code == 0 and found["errors"] == []
    assert product.run("status")["agrees"]


def test_mail_is_received_searched_and_read_before_the_old_mail_is_there(gone: Gone) -> None:
    product = gone.restored("--no-wait", name="early")
    assert product.run("restore", "status")["state"] == "filling"
    try:
        product.start()
        gone.send(product, range(1000, 1003))
        product.run("wait-idle")
        hits = product.run("search", "subject:Number")
        assert hits["total"] == MAILS + 3
        for hit in (hits["hits"][0], hits["hits"][-1]):
            assert product.attempt("export", hit["id"]).returncode == 0  # fetched if need be
        deadline = time.monotonic() + WAIT_SECONDS
        while product.run("restore", "status")["state"] != "complete":
            assert time.monotonic() < deadline, product.log_end()
            time.sleep(0.5)
        product.run("replicate", "--now")  # the restored box goes on with the replica
        assert product.stop() == 0
    finally:
        product.kill()
