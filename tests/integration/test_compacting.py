"""``mailkeep compact`` on the running product, where a process of its own does the work, and on a stopped one."""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from tests.archive_volumes import office_mail
from tests.product import JOURNAL, Product
from tests.scratch import report

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """An archive with sealed volumes: the gateway closes them when it stops."""
    made = Product.create(tmp_path_factory.mktemp("compacting") / "data")
    for seed in range(1, 3):
        with made.serving():
            with smtplib.SMTP("127.0.0.1", made.smtp, timeout=60) as client:
                for number, mail in enumerate(office_mail(20, seed=seed)):
                    wrapped = report(mail, f"To: user{number % 3}@example.com")
                    client.sendmail("exchange@example.com", [JOURNAL], wrapped)
            made.run("wait-idle")
    return made


@pytest.fixture
def product(template: Product, tmp_path: Path) -> Product:
    return template.copy(tmp_path / "data")


def suffixes(product: Product) -> set[str]:
    """The kinds of files in the folders of mailboxes."""
    folders = [one for one in (product.data / "volumes").iterdir() if set(one.name) != {"0"}]
    return {path.suffix for folder in folders for path in folder.iterdir()}


def exported(product: Product, out: Path) -> dict[str, bytes]:
    """Every original by its name in the export."""
    product.export("*", out)
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.endswith(".eml")}


def test_the_running_archive_is_compacted_and_serves_the_same_mail(product: Product, tmp_path: Path) -> None:
    with product.serving():
        before = exported(product, tmp_path / "before.zip")
        assert len(before) > 20
        done = product.run("compact")
        assert done["volumes"] >= 2
        assert done["after"] < done["before"]
        assert done["left"] == []
        assert suffixes(product) == {".mka", ".seal"}
        assert exported(product, tmp_path / "after.zip") == before
        code, checked = product.verify()
        assert (code, checked["errors"]) == (0, [])
        assert not product.check().errors
        assert product.run("compact")["volumes"] == 0
        with smtplib.SMTP("127.0.0.1", product.smtp, timeout=60) as client:
            client.sendmail("exchange@example.com", [JOURNAL], office_mail(1, seed=9)[0])
        product.run("wait-idle")
        assert product.status().agrees
    assert product.verify()[0] == 0


def test_the_stopped_archive_is_compacted_by_the_command_itself(product: Product) -> None:
    assert product.run("compact", "--mailbox", JOURNAL, "--older-than", "0")["volumes"] >= 2
    assert suffixes(product) == {".mka", ".seal"}
    assert product.verify()[0] == 0
    assert product.run("search", "*")["total"] > 20


def test_killing_the_archiver_in_the_middle_loses_nothing(product: Product, tmp_path: Path) -> None:
    with product.serving():
        before = exported(product, tmp_path / "before.zip")
        for pause in (0.0, 0.3, 0.8):
            command = subprocess.Popen(product.command("compact", "--json"), stdout=subprocess.DEVNULL)
            time.sleep(0.5 + pause)
            os.kill(product.await_part("archiver"), signal.SIGKILL)
            command.wait(timeout=120)
            product.run("wait-idle")
            assert not product.check().errors
        product.run("compact")
        assert suffixes(product) == {".mka", ".seal"}
        assert exported(product, tmp_path / "after.zip") == before
        assert not product.check().errors
