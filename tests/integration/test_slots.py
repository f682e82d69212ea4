"""The ways to the key, changed while the archive is served: nothing stops, no mail is rewritten, and the next start
takes what is there. (tests/unit/cli/test_slots.py has each way for itself, on a resting archive.)"""

from __future__ import annotations

import json
import smtplib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import KeyringError
from appliance.keys.keyring import Keyring
from appliance.services.paths import Paths
from tests.product import JOURNAL, Product
from tests.scratch import mail

pytestmark = pytest.mark.integration

FIRST, SECOND = "three words of four", "seven words of nine"


def test_slots_change_under_a_served_archive(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data", passphrase=FIRST)
    with product.serving():
        _send(product, "first")
        before, processes = _mail_on_disk(product), product.processes()
        _new_passphrase_for_old(product)
        _new_recovery_key(product)
        _new_appliance_key(product)
        assert product.total("zinc") == 1
        _send(product, "second")
        assert product.total("zinc") == 2
        for part in ("agent", "archiver", "projector"):
            assert product.pids(part) == processes[part]
        trail = product.run("slot", "list")
        assert [one["kind"] for one in trail] == ["passphrase", "recovery"]
    with product.serving():
        assert product.total("zinc") == 2
        assert not product.check().errors
        after = _mail_on_disk(product)
        assert {file: after[file][: len(content)] for file, content in before.items()} == before


def test_a_systemd_credential_unlocks_at_the_next_start_and_reaches_the_key_agent_only(tmp_path: Path) -> None:
    """systemd-creds is played by a program that writes its input: what it encrypts, systemd hands out decrypted."""
    program = tmp_path / "systemd-creds"
    program.write_text("#!/bin/sh\ncat\n")
    program.chmod(0o755)
    product = Product.create(tmp_path / "data", passphrase=FIRST)
    product.environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    credential = tmp_path / "credentials" / "mailkeep"
    assert product.run("slot", "add", "systemd", "--out", str(credential))["kind"] == "credential"
    product.passphrase = ""
    product.environment["CREDENTIALS_DIRECTORY"] = str(credential.parent)
    with product.serving():
        status = product.status()
        assert status.unlocked and status.unlocks_itself
        for part in ("archiver", "projector", "gateway", "web"):
            for pid in product.pids(part):
                assert b"CREDENTIALS_DIRECTORY" not in Path(f"/proc/{pid}/environ").read_bytes(), part


def _new_passphrase_for_old(product: Product) -> None:
    (first,) = (one["id"] for one in product.run("slot", "list") if one["kind"] == "passphrase")
    product.run("slot", "add", "passphrase", "--name", "Ben", "--new-passphrase-stdin", said=SECOND + "\n")
    assert _opens(product, lambda keyring: keyring.unlock_with_passphrase(SECOND))
    product.run("slot", "remove", first)
    assert not _opens(product, lambda keyring: keyring.unlock_with_passphrase(FIRST))
    product.passphrase = SECOND


def _new_recovery_key(product: Product) -> None:
    """As a script does it: read the key that is shown, type it back."""
    process = subprocess.Popen(
        product.command("slot", "add", "recovery", "--json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(product.passphrase + "\n")
    process.stdin.flush()
    shown = ""
    while not shown.endswith("}\n"):
        shown += process.stdout.readline()
    key: str = json.loads(shown)["recovery_key"]
    assert not _opens(product, lambda keyring: keyring.unlock_with_recovery_key(key))
    process.communicate(key.lower() + "\n", timeout=60)
    assert process.returncode == 0
    assert _opens(product, lambda keyring: keyring.unlock_with_recovery_key(key))
    assert not _opens(product, lambda keyring: keyring.unlock_with_recovery_key(product.recovery_key))


def _new_appliance_key(product: Product) -> None:
    said = product.run("slot", "rotate", "--new-key")
    assert _opens(product, lambda keyring: keyring.unlock_with_recovery_key(said["recovery_key"]))
    assert _opens(product, lambda keyring: keyring.unlock_with_passphrase(SECOND))


def _opens(product: Product, way: Callable[[Keyring], object]) -> bool:
    try:
        way(Keyring.load(Paths(product.data).keyring))
    except KeyringError:
        return False
    return True


def _send(product: Product, word: str) -> None:
    """A message about zinc, which can be found on return."""
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=60) as client:
        client.sendmail("anna@example.com", [JOURNAL], mail(f"About zinc, {word}"))
    product.run("wait-idle", "--timeout", "120")


def _mail_on_disk(product: Product) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in Paths(product.data).volumes.rglob("g*.mkv")}
