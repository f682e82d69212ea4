"""``verify``, ``proof`` and ``timestamp`` as people type them: served, locked and stopped."""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority, serving
from tests.product import JOURNAL, MAILKEEP, ROOT, Product
from tests.scratch import mail, report

pytestmark = pytest.mark.integration

PASSPHRASE = "three words of four"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A served archive that only its passphrase opens, with some journaled mail in it."""
    made = Product.create(tmp_path_factory.mktemp("proofs") / "data", passphrase=PASSPHRASE)
    with made.serving():
        with smtplib.SMTP("127.0.0.1", made.smtp, timeout=60) as client:
            for number in range(5):
                wrapped = report(mail(f"Number {number}", "word " * 500), "To: anna@example.com")
                client.sendmail("journal@example.com", [JOURNAL], wrapped)
        made.run("wait-idle")
        yield made


def _bare(product: Product, *words: str) -> subprocess.CompletedProcess[str]:
    """A subcommand of somebody who does not know the passphrase."""
    command = [str(MAILKEEP), "--data", str(product.data), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _proven(product: Product, folder: Path, id: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What the auditor's script says of a message's proof."""
    (folder / "message.eml").write_bytes(product.attempt("export", id).stdout)
    key = product.run("proof", "--public-key")["key"]
    command = [
        sys.executable,
        ROOT / "docs" / "verify_proof.py",
        folder / "proof",
        folder / "message.eml",
        "--key",
        key,
    ]
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=120, check=False)


def _first(product: Product) -> str:
    found: dict[str, Any] = product.run("search", "Number")
    return str(found["hits"][0]["id"])


def test_a_message_is_proven_as_soon_as_its_volume_is_sealed(product: Product, tmp_path: Path) -> None:
    id = _first(product)
    early = product.attempt("proof", id)
    assert early.returncode == 1 and early.stdout == b"" and b"still being written" in early.stderr
    with (tmp_path / "proof").open("wb") as file:
        waiting = subprocess.Popen(product.command("proof", id, "--wait"), stdin=subprocess.PIPE, stdout=file)
        try:
            assert waiting.stdin is not None
            waiting.stdin.write(f"{PASSPHRASE}\n".encode())
            waiting.stdin.close()
            for worker in product.pids("gateway"):
                os.kill(worker, signal.SIGKILL)  # what it wrote will not grow any more, and is signed as it is
            assert waiting.wait(60) == 0
        finally:
            waiting.kill()
    done = _proven(product, tmp_path, id)
    assert done.returncode == 0 and done.stdout.startswith("PROVEN"), done.stdout + done.stderr
    assert "enclosed in a journal report" in done.stdout
    assert "NOT" not in done.stdout


def test_a_timestamp_is_had_from_the_command_line_and_is_in_the_next_proof(product: Product, tmp_path: Path) -> None:
    assert product.attempt("timestamp", "now").returncode == 1
    with serving(Authority(tmp_path / "authority")) as authority:
        product.run("timestamp", "set", authority.url)
        made = product.run("timestamp", "now")
        assert product.run("timestamp", "list") == [made]
        id = _first(product)
        (tmp_path / "proof").write_bytes(product.attempt("proof", id).stdout)
        done = _proven(product, tmp_path, id, "--tsa-ca", str(authority.certificates))
        assert done.returncode == 0 and "the message was archived before that" in done.stdout, done.stdout
        assert len(authority.asked) == 1
    product.run("timestamp", "set", "none")
    assert product.attempt("timestamp", "now").returncode == 1


def test_verify_works_served_locked_and_stopped(product: Product) -> None:
    code, deep = product.verify()
    assert code == 0 and deep["deep"] and deep["records"] > 5 and deep["errors"] == []
    shallow = _bare(product, "verify")
    assert shallow.returncode == 0 and "Everything is whole." in shallow.stdout and "locked" not in shallow.stdout
    product.run("lock")
    locked = _bare(product, "verify")
    assert locked.returncode == 0 and "the audit trail was not checked" in locked.stdout, locked.stderr
    refused = _bare(product, "verify", "--deep")
    assert refused.returncode == 1 and "locked" in refused.stderr
    product.attempt("unlock", "--passphrase-stdin", said=f"{PASSPHRASE}\n")
    product.run("wait-idle")
    assert product.stop() == 0
    try:
        stopped = _bare(product, "verify")
        assert stopped.returncode == 0 and "the audit trail was not checked" in stopped.stdout
        assert product.verify()[0] == 0
        volume = max((product.data / "volumes").glob("*/g*.mkv"), key=lambda file: file.stat().st_size)
        whole = volume.read_bytes()
        volume.write_bytes(whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:])
        damaged = _bare(product, "verify")
        assert damaged.returncode == 1 and volume.name in damaged.stderr
        volume.write_bytes(whole)
    finally:
        product.start()
