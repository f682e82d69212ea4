"""An archive that only a passphrase opens."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.product import MAILKEEP

pytestmark = pytest.mark.integration

PASSPHRASE = "three words of four"


def _mailkeep(data: Path, *words: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
    options = ["--passphrase-stdin"] if said is not None else []
    command = [MAILKEEP, "--data", data, *options, *words]
    return subprocess.run(command, input=said or "", capture_output=True, text=True, timeout=120, check=False)


def test_without_the_passphrase_nothing_opens_and_with_it_everything_does(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert "Recovery key" in _mailkeep(data, "init", said=PASSPHRASE + "\n").stdout
    assert not data.with_name("data.keyfile").exists()
    locked = _mailkeep(data, "status")
    assert (locked.returncode, "locked" in locked.stderr) == (1, True)
    wrong = _mailkeep(data, "status", said="three words of five\n")
    assert (wrong.returncode, "not right" in wrong.stderr) == (1, True)
    right = _mailkeep(data, "status", said=PASSPHRASE + "\n")
    assert right.returncode == 0
    assert "by passphrase" in right.stdout


def test_serve_ends_at_a_wrong_passphrase_and_says_so_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert _mailkeep(data, "init", said=PASSPHRASE + "\n").returncode == 0
    ports = ("--smtp", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{free_port()}")
    done = _mailkeep(data, "serve", *ports, "--allow-plain-swap", said="three words of five\n")
    assert done.returncode == 1
    assert "mailkeep: The passphrase is not right" in done.stderr
    assert "words of five" not in done.stderr + done.stdout
    assert "ready" not in done.stdout


def test_a_second_init_leaves_the_first_archive_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert _mailkeep(data, "init", "--unattended").returncode == 0
    before = (data / "keyring.json").read_bytes()
    again = _mailkeep(data, "init", "--unattended")
    assert again.returncode == 1
    assert "left as it is" in again.stderr
    assert (data / "keyring.json").read_bytes() == before
