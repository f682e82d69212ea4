"""The product is started by what runs the box, once, and what kept it from starting is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import UnavailableError
from appliance.host import accounts, units
from appliance.services.paths import PACKAGED_DATA, Paths
from appliance.services.setup import runtime
from appliance.services.setup.progress import Listen
from appliance.services.setup.runtime import Detached, Systemd, runtime_of


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path / "data")
    found.run.mkdir(parents=True)
    return found


@pytest.mark.parametrize(
    ("systemd", "package", "data", "kind"),
    [
        (True, True, PACKAGED_DATA, Systemd),
        (True, True, Path("/srv/other"), Detached),
        (True, False, PACKAGED_DATA, Detached),
        (False, True, PACKAGED_DATA, Detached),
    ],
)
def test_units_serve_the_package_s_own_folder(
    monkeypatch: pytest.MonkeyPatch, systemd: bool, package: bool, data: Path, kind: type
) -> None:
    monkeypatch.setattr(units, "available", lambda: systemd)
    monkeypatch.setattr(accounts, "installed", lambda: package)
    assert isinstance(runtime_of(Paths(data), Listen()), kind)


def test_files_get_their_owners_before_units_start(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    running = iter([False, False, True])
    monkeypatch.setattr(accounts, "settle", lambda _data: done.append("settle"))
    monkeypatch.setattr(units, "start", lambda: done.append("start"))
    monkeypatch.setattr(runtime, "answers", lambda _paths: next(running))
    monkeypatch.setattr(runtime, "PAUSE", 0.01)
    Systemd(paths).start()
    assert done == ["settle", "start"]


def test_what_runs_is_not_started_again(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_given: Any) -> None:
        raise AssertionError("started twice")

    monkeypatch.setattr(runtime, "answers", lambda _paths: True)
    monkeypatch.setattr(units, "start", never)
    monkeypatch.setattr(subprocess, "Popen", never)
    Systemd(paths).start()
    Detached(paths, Listen()).start()


def test_what_kept_it_from_starting_is_said(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [sys.executable, "-c", "import sys; sys.exit('0.0.0.0:25 cannot be listened on.')"]
    monkeypatch.setattr(Detached, "_command", lambda _self: words)
    with pytest.raises(UnavailableError, match="cannot be listened on"):
        Detached(paths, Listen()).start()


def test_serve_is_told_where_to_listen(paths: Paths) -> None:
    listen = Listen(("0.0.0.0:2525",), ("0.0.0.0:8443",), (), ("0.0.0.0:9955",), allow_plain_swap=True)
    command = Detached(paths, listen)._command()
    assert command[command.index("serve") :] == [
        *("serve", "--smtp", "0.0.0.0:2525", "--http", "0.0.0.0:8443", "--pop3s", "0.0.0.0:9955"), "--allow-plain-swap",
    ]  # fmt: skip
