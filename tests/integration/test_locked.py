"""The whole product while nobody has unlocked it, when somebody does, and when the keys are taken away again."""

from __future__ import annotations

import json
import os
import re
import signal
import smtplib
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import httpx
import pytest

from appliance.errors import KeyringError, LockedError, MailkeepError, SignInError, UnavailableError
from appliance.services import api
from appliance.services.paths import Paths
from tests.product import JOURNAL, Product
from tests.scratch import mail

pytestmark = pytest.mark.integration

PASSPHRASE = "three words of four"
WRONG = "seven words of nine"
PATIENCE = 60.0

_numbers = count(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """An archive that only its passphrase and its recovery key open."""
    return Product.create(tmp_path_factory.mktemp("locked") / "data", passphrase=PASSPHRASE)


@pytest.fixture(scope="module")
def served(made: Product) -> Iterator[Product]:
    """The same, served, and locked at first."""
    with made.serving(locked=True):
        yield made


@pytest.fixture
def product(served: Product) -> Product:
    """The served archive, locked."""
    if not is_locked(served):
        with suppress(UnavailableError):  # the archiver ends, perhaps before it has answered
            served.call("lock", api.LockState)
        assert eventually(lambda: is_locked(served))
    return served


def send(product: Product) -> str:
    """Hand a message in by SMTP; a word that finds it and no other. The 250 is what this returns after."""
    word = f"pangolin{next(_numbers)}x"
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=60) as client:
        client.sendmail("anna@example.com", [JOURNAL], mail(f"About {word}"))
    return word


def unlock(product: Product, *options: str, said: str) -> subprocess.CompletedProcess[bytes]:
    """``mailkeep unlock`` as somebody types it, without what the fixture knows."""
    return subprocess.run(
        [*Product(product.data).command("unlock"), *options], input=said.encode(), capture_output=True, timeout=120
    )


def open_up(product: Product) -> None:
    """Unlock it without a new interpreter for it."""
    assert product.call("unlock", api.LockState, passphrase=PASSPHRASE).unlocked


def found_soon(product: Product, word: str) -> bool:
    return eventually(lambda: product.total(word) == 1)


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold; while the archive opens, or a part is started again, it may be refused."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if holds():
                return True
        except (MailkeepError, httpx.TransportError):
            pass
        time.sleep(0.1)
    return False


def is_locked(product: Product) -> bool:
    return not product.call("lock_state", api.LockState).unlocked


def test_mail_is_received_while_locked_and_found_once_the_passphrase_is_given(product: Product) -> None:
    word = send(product)
    status = product.status()
    assert not status.unlocked
    assert status.backlog >= 1
    refused = product.attempt("search", word)
    assert refused.returncode == 1 and b"locked" in refused.stderr
    assert unlock(product, "--passphrase-stdin", said=PASSPHRASE + "\n").returncode == 0
    assert product.status().unlocked
    assert found_soon(product, word)


def test_mail_received_while_locked_outlives_the_processes(product: Product) -> None:
    word = send(product)
    for pid in product.pids("gateway"):
        os.kill(pid, signal.SIGKILL)
    open_up(product)
    assert found_soon(product, word)


def test_every_page_says_locked_and_the_page_unlocks(product: Product) -> None:
    word = send(product)
    with httpx.Client(base_url=product.web, timeout=60) as browser:
        for path in ("/sign-in", "/?q=roof", "/admin"):
            answer = browser.get(path, follow_redirects=True)
            assert answer.status_code == 503
            assert "The archive is locked" in answer.text
        assert httpx.get(f"{product.web}/static/css/base.css").status_code == 200
        wrong = _post_unlock(browser, passphrase=WRONG)
        assert wrong.status_code == 400 and "not right" in wrong.text and WRONG not in wrong.text
        right = _post_unlock(browser, passphrase=PASSPHRASE)
        assert right.status_code == 303
        assert browser.get("/sign-in", follow_redirects=True).status_code == 200
    assert found_soon(product, word)
    tries = product.call("audit", api.AuditPage, find="unlock")
    assert {"unlock", "unlock.failed"} <= {line.action for line in tries.lines}
    assert any("passphrase from 127.0.0.1" in line.what for line in tries.lines)


def test_the_recovery_key_unlocks_however_it_is_typed(product: Product) -> None:
    typed = product.recovery_key.lower().replace("-", " ")
    assert unlock(product, "--recovery-key-stdin", said=typed + "\n").returncode == 0
    assert product.status().unlocked


def test_locking_closes_everything_but_the_gateway(product: Product) -> None:
    open_up(product)
    assert found_soon(product, send(product))
    before = {part: product.pids(part) for part in ("archiver", "projector", "gateway", "web")}
    done = product.attempt("lock", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"unlocked": False})
    with pytest.raises(LockedError):
        product.total("*")
    assert httpx.get(f"{product.web}/?q=x", follow_redirects=True).status_code == 503
    assert eventually(lambda: not any(pid in product.pids("projector") for pid in before["projector"]))
    assert not set(before["archiver"]) & set(product.pids("archiver"))
    assert before["gateway"] == product.pids("gateway") and before["web"] == product.pids("web")
    assert eventually(lambda: not Paths(product.data).live.exists())
    word = send(product)
    open_up(product)
    assert found_soon(product, word)


def test_the_passphrase_reaches_the_key_agent_and_nobody_else(product: Product) -> None:
    assert product.stop() == 0
    product.start()
    assert product.status().unlocked
    assert product.pids("agent")
    for part in ("archiver", "projector", "gateway", "web"):
        for pid in product.pids(part):
            assert PASSPHRASE.encode() not in _memory(pid), part
    for pids in product.processes().values():
        for pid in pids:
            for file in ("cmdline", "environ"):
                assert PASSPHRASE.encode() not in Path(f"/proc/{pid}/{file}").read_bytes()


def test_the_death_of_the_key_agent_locks_a_box_that_has_a_passphrase(product: Product) -> None:
    open_up(product)
    os.kill(product.await_part("agent"), signal.SIGKILL)
    assert eventually(lambda: is_locked(product))
    word = send(product)
    assert httpx.get(f"{product.web}/", follow_redirects=True).status_code == 503
    open_up(product)
    assert found_soon(product, word)


def test_a_wrong_passphrase_is_slowed_down_and_written_nowhere(product: Product) -> None:
    first = unlock(product, "--passphrase-stdin", said=WRONG + "\n")
    assert first.returncode == 1 and b"not right" in first.stderr
    for _ in range(4):
        with pytest.raises(KeyringError):
            product.call("unlock", api.LockState, passphrase=WRONG)
    with pytest.raises(SignInError, match="Too many"):
        product.call("unlock", api.LockState, passphrase=PASSPHRASE)
    assert is_locked(product)
    for file in (product.log, *Paths(product.data).run.rglob("*")):
        if file.is_file():
            assert WRONG.encode() not in file.read_bytes(), file


def test_a_box_that_unlocks_itself_does_so_again_when_the_key_agent_dies(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data")
    with product.serving():
        assert found_soon(product, send(product))
        os.kill(product.await_part("agent"), signal.SIGKILL)
        word = send(product)
        assert found_soon(product, word)
        product.run("lock")
        assert is_locked(product)
        assert product.run("unlock")["unlocked"]
        assert found_soon(product, send(product))


def _post_unlock(browser: httpx.Client, **fields: str) -> httpx.Response:
    token = re.search(r'name="form_token" value="([0-9a-f]{64})"', browser.get("/unlock").text)
    assert token
    return browser.post("/unlock", data={"form_token": token[1], **fields})


def _memory(pid: int) -> bytes:
    """What a process has in memory that it can write to; only root may look."""
    if os.geteuid() != 0:
        pytest.skip("only root can look into another process's memory")
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(number, 16) for number in where.split("-"))
            try:
                memory.seek(start)
                found.append(memory.read(end - start))
            except (OSError, OverflowError):
                continue
    assert found
    return b"".join(found)


def test_a_support_bundle_can_be_made_for_who_helps_with_unlocking(product: Product, tmp_path: Path) -> None:
    place = tmp_path / "bundle.zip"
    product.run("support-bundle", "--out", str(place))
    with zipfile.ZipFile(place) as bundle:
        assert "The archive was locked" in bundle.read("README.txt").decode()
        assert json.loads(bundle.read("status.json"))["unlocked"] is False
        assert "keyring.json" in bundle.read("files.csv").decode()
    assert is_locked(product)
