"""``mailkeep import`` with the whole product: folders and files go in once, over restarts, with figures that add up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.services import api
from tests.importing import mbox
from tests.product import COMMAND_SECONDS, Product

pytestmark = pytest.mark.integration

ANNA = "anna@example.com"
MANY = 2000


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.create(tmp_path_factory.mktemp("importing") / "data")
    product.start()
    for address in (ANNA, "ben@example.com"):
        product.call("user_create", api.UserInfo, name="", primary=address, aliases=())
    try:
        yield product
    finally:
        product.stop()


def eml(path: Path, word: str, to: str = ANNA) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        f"From: jo@example.net\r\nTo: {to}\r\nSubject: {word}\r\nMessage-ID: <{word}@example.net>\r\n"
        f"Date: Fri, 2 Jan 2015 10:00:00 +0000\r\n\r\nAbout {word}.\r\n".encode()
    )


def sums(one: dict[str, Any]) -> tuple[int, ...]:
    for part in (one["sum"], *one["files"]):
        assert part["found"] == part["archived"] + part["already"] + part["skipped"] + part["failed"]
    figures = one["sum"]
    return tuple(figures[name] for name in ("found", "archived", "already", "skipped", "failed"))


def test_a_folder_goes_in_once_with_its_folders(product: Product, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    for name in ("Work/apricot.eml", "Work/Bills/bilberry.eml", "Box/cur/cherry:2,S", "no mail.txt"):
        eml(folder / name, Path(name).name.partition(".")[0].partition(":")[0])
    (folder / "no mail.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    mbox(folder / "Letters.mbox", 20, "damson")
    report = tmp_path / "report.html"
    done = product.run("import", str(folder), "--archive", ANNA, "--folder", "Imported", "--report", str(report))
    assert sums(done) == (24, 23, 0, 1, 0) and done["files"][0]["file"] == str(folder)
    assert b"SHA-256" in report.read_bytes() and done["files"][0]["sha256"].encode() in report.read_bytes()
    again = product.run("import", str(folder), "--archive", ANNA, "--folder", "Imported")
    assert sums(again) == (24, 0, 23, 1, 0)
    assert again["files"][0]["sha256"] == done["files"][0]["sha256"], "the same folder gives the same bytes"
    product.run("wait-idle")
    found = {"/".join(one["path"]): one["messages"] for one in product.run("folders", ANNA)}
    assert found["Imported/Work"] == found["Imported/Work/Bills"] == found["Imported/Box"] == 1
    assert found["Imported/Letters"] == 20
    listed = product.run("imports")
    assert [one["id"] for one in listed[:2]] == [again["import"], done["import"]]


def test_a_dry_run_archives_nothing(product: Product, tmp_path: Path) -> None:
    eml(tmp_path / "elderberry.eml", "elderberry")
    done = product.run("import", str(tmp_path / "elderberry.eml"), "--archive", ANNA, "--dry-run")
    assert sums(done) == (1, 1, 0, 0, 0) and done["dry_run"]
    product.run("wait-idle")
    assert product.total("elderberry") == 0


def test_a_map_and_addresses_say_whose_it_is(product: Product, tmp_path: Path) -> None:
    for word, to in (("fig", ANNA), ("grape", "ben@example.com"), ("hazel", "ben@example.com")):
        eml(tmp_path / f"{word}.eml", word, to)
    (tmp_path / "list.csv").write_text(f"file,archive,folder\nfig.eml,{ANNA},Fruit\ngrape.eml,ben@example.com,\n")
    assert sums(product.run("import", "--map", str(tmp_path / "list.csv"))) == (2, 2, 0, 0, 0)
    assert sums(product.run("import", str(tmp_path / "hazel.eml"), "--by-address")) == (1, 1, 0, 0, 0)
    product.run("wait-idle")
    for word, owner, other in (("fig", ANNA, "ben@example.com"), ("hazel", "ben@example.com", ANNA)):
        assert product.run("search", word, "--user", owner)["total"] == 1
        assert product.run("search", word, "--user", other)["total"] == 0


def test_what_is_no_mail_is_a_failure_with_a_reason(product: Product, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5000))
    done = product.attempt("import", str(tmp_path / "picture.png"), "--archive", ANNA, "--json")
    assert done.returncode == 1
    [file] = json.loads(done.stdout)["files"]
    assert file["state"] == "failed" and file["failures"][0]["reason"]


def begun(product: Product, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        product.command("import", *words, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def at_work(product: Product) -> int:
    """The number of the newest import, once it has dealt with some items."""
    deadline = time.monotonic() + 60
    while True:
        newest = product.call("imports", tuple[api.ImportInfo, ...], limit=1)
        if newest and newest[0].ended is None and newest[0].counts.found:
            return newest[0].id
        assert time.monotonic() < deadline, newest
        time.sleep(0.01)


def test_an_archiver_killed_in_the_middle_loses_and_doubles_nothing(product: Product, tmp_path: Path) -> None:
    files = [mbox(tmp_path / f"{word}.mbox", MANY, word) for word in ("imbe", "jujube", "kiwi")]
    running = begun(product, *map(str, files), "--archive", ANNA)
    at_work(product)
    os.kill(product.await_part("archiver"), signal.SIGKILL)
    said, complaint = running.communicate(timeout=COMMAND_SECONDS)
    assert running.returncode == 0, (complaint.decode(), said.decode()[:3000])
    assert sums(json.loads(said)) == (3 * MANY, 3 * MANY, 0, 0, 0)
    product.run("wait-idle", "--timeout", "120")
    assert product.total("kiwi1999") == 1


def test_ctrl_c_stops_it_and_the_same_command_goes_on(product: Product, tmp_path: Path) -> None:
    file = mbox(tmp_path / "loquat.mbox", 3 * MANY, "loquat")
    running = begun(product, str(file), "--archive", ANNA)
    at_work(product)
    running.send_signal(signal.SIGINT)
    said, complaint = running.communicate(timeout=COMMAND_SECONDS)
    assert running.returncode == 1 and b"nothing is imported twice" in complaint
    stopped = json.loads(said)
    assert stopped["state"] == "stopped" and 0 < sums(stopped)[1] < 3 * MANY
    found, archived, already, *_ = sums(product.run("import", str(file), "--archive", ANNA))
    assert (found, archived + already) == (3 * MANY, 3 * MANY) and already >= sums(stopped)[1]
