"""Set-up from a file refuses before it does anything, and takes back what would cut the box off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.errors import UnavailableError, UsageError
from appliance.host import network
from appliance.services.paths import Paths
from appliance.services.setup import checks
from appliance.services.setup.answers import parse
from appliance.services.setup.checks import Finding
from appliance.services.setup.progress import load
from appliance.services.setup.runtime import Detached
from appliance.services.setup.unattended import Unattended

ARCHIVE = "archive: {passphrase: a few unrelated words}\n"


def run_of(folder: Path, text: str) -> Unattended:
    paths = Paths(folder / "data")
    return Unattended(paths, parse(text, "setup.yaml"), lambda listen: Detached(paths, listen))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("archive: {passphrase: short}\n", "at least 12"),
        (ARCHIVE + "language: xx\n", "no language"),
        (ARCHIVE + "hostname: not a name\n", "host name"),
        (ARCHIVE + "administrator: {address: a@example.com, password: short}\n", "at least 12"),
        (ARCHIVE + "network: {interface: ens3, addresses: [192.0.2.300/24]}\n", "192.0.2.300"),
        (ARCHIVE + "certificate: {source: own, files: [/nowhere/chain.pem]}\n", "/nowhere/chain.pem"),
        ("archive: {passphrase: {file: /nowhere/secret}}\n", "/nowhere/secret"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_done(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run_of(tmp_path, text).require_possible()
    assert list(tmp_path.iterdir()) == []


def test_another_archive_s_recovery_key_is_not_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "recovery-key"
    place.write_text("another archive's\n")
    text = f"archive: {{passphrase: a few unrelated words, recovery_key: {place}}}\n"
    with pytest.raises(UsageError, match="is there already"):
        run_of(tmp_path, text).require_possible()
    assert place.read_text() == "another archive's\n"


def test_a_network_that_is_out_of_reach_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def begin(_plan: network.Plan) -> network.Trial:
        done.append("begin")
        return network.Trial("ens3", 0.0)

    def note(name: str) -> Any:
        return lambda _trial: done.append(name)

    card = network.Interface("ens3", "", True, ("192.0.2.7/24",), ("192.0.2.1",))
    monkeypatch.setattr(network, "current", lambda: network.Network("networkd", (card,)))
    monkeypatch.setattr(network, "begin", begin)
    monkeypatch.setattr(network, "confirm", note("confirm"))
    monkeypatch.setattr(network, "undo", note("undo"))
    monkeypatch.setattr(checks, "reached_network", lambda: [Finding("problem", "No interface has an address.")])
    run = run_of(tmp_path, ARCHIVE + "network: {interface: ens3, addresses: [198.51.100.7/24]}\n")
    with pytest.raises(UnavailableError, match="undone"):
        list(run.run())
    assert done == ["begin", "undo"]
    assert load(Paths(tmp_path / "data")).done == ()
