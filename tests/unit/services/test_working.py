"""Which processes are up, as the archiver sees them: by systemd's units, or by the list of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import UnavailableError
from appliance.host.units import Unit, Units
from appliance.services.paths import Paths
from appliance.services.working import processes


class FakeUnits(Units):
    """Units that are as they are said to be."""

    def __init__(self, *units: Unit) -> None:
        super().__init__()
        self._told = units

    def states(self) -> tuple[Unit, ...]:
        if not self._told:
            raise UnavailableError("systemd does not answer.")
        return self._told


def unit(part: str, number: str = "", state: str = "running", pid: int = 1) -> Unit:
    return Unit(f"mailkeep-{part}{number}.service", part, part, state, pid=pid)  # type: ignore[arg-type]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A data folder in which nothing runs, made to be served with POP3 and the web."""
    found = Paths(tmp_path / "data")
    found.listening.parent.mkdir(parents=True)
    doors = {"smtp": ["[::]:25"], "http": ["[::]:443"], "pop3s": ["[::]:995"], "pop3": [], "redirect": []}
    found.listening.write_text(json.dumps(doors))
    return found


@contextmanager
def process_of(module: str, data: Path) -> Iterator[None]:
    """Something whose command line is that of a process of the archive."""
    words = [sys.executable, "-c", "import time; time.sleep(60)", "-m", module, "--data", str(data)]
    with subprocess.Popen(words, cwd="/") as started:
        try:
            while str(data) not in Path(f"/proc/{started.pid}/cmdline").read_text():
                time.sleep(0.01)  # it is a copy of this process for a moment
            yield
        finally:
            started.kill()


def up(paths: Paths, units: Units | None = None) -> dict[str, bool]:
    return {name: value for name, value in processes(paths, (), 0.0, units) if name in ("pop3", "web", "redirect")}


def test_what_serve_runs_is_found_in_the_list_of_processes(paths: Paths) -> None:
    assert up(paths) == {"pop3": False, "web": False}, "nothing was to send browsers to HTTPS"
    with process_of("webadmin", paths.data):
        assert up(paths) == {"pop3": False, "web": True}
        with process_of("gateway.pop3", paths.data):
            assert up(paths) == {"pop3": True, "web": True}
    assert up(paths) == {"pop3": False, "web": False}
    with process_of("webadmin", paths.data.with_name("another")):
        assert up(paths) == {"pop3": False, "web": False}


def test_what_systemd_runs_is_up_when_all_of_its_units_are(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    own = unit("archiver", pid=os.getpid())
    assert up(paths, FakeUnits(own, unit("web"), unit("pop3", "@0"), unit("pop3", "@1"))) == {"web": True, "pop3": True}
    failed = FakeUnits(own, unit("web", state="failed"), unit("pop3", "@0"), unit("pop3", "@1", "starting"))
    assert up(paths, failed) == {"web": False, "pop3": False}
    assert up(paths, FakeUnits()) == {}, "of what nobody can tell nothing is told"


def test_units_of_another_archive_say_nothing_of_this_one(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    other = FakeUnits(unit("archiver"), unit("web"), unit("pop3", "@0"))
    assert up(paths, other) == {"pop3": False, "web": False}
