"""The unit files: understood by systemd, and locked down as far as was promised."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

UNITS = Path(__file__).parents[2] / "packaging" / "debian"
SERVICES = sorted(path.name for path in UNITS.glob("mailkeep-*.service"))
MOST_EXPOSED = {
    "mailkeep-gateway@.service": 1.0,
    "mailkeep-pop3@.service": 1.0,
    "mailkeep-web.service": 1.0,
    "mailkeep-redirect.service": 1.0,
    "mailkeep-agent.service": 1.0,
    "mailkeep-projector.service": 1.0,
    "mailkeep-archiver.service": 2.0,
    "mailkeep-replicator.service": 2.0,
    "mailkeep-collector.service": 2.0,
    "mailkeep-prepare.service": 2.5,
}
"""By systemd's own measure, 0 to 10. The console sets up the box as root: it is not measured."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


def settings(name: str) -> dict[str, list[str]]:
    """All values of each setting of a unit."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


@needs_systemd
@pytest.mark.parametrize("name", MOST_EXPOSED)
def test_a_service_is_exposed_no_more_than_was_promised(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"./{name}"],
        cwd=UNITS, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= MOST_EXPOSED[name]
    assert not done.stderr, "systemd does not understand a line of it"


def test_every_service_but_the_console_is_measured() -> None:
    assert set(SERVICES) == set(MOST_EXPOSED) | {"mailkeep-console@.service"}


@pytest.mark.parametrize("name", [*MOST_EXPOSED, *(path.name for path in UNITS.glob("mailkeep-*.socket"))])
def test_nothing_starts_without_an_archive_on_its_disk(name: str) -> None:
    unit = settings(name)
    assert unit["ConditionPathExists"] == ["/var/lib/mailkeep/archive/keyring.json"]
    assert unit["RequiresMountsFor"] == ["/var/lib/mailkeep/archive"]
    assert unit["PartOf"] == ["mailkeep.target"]


@pytest.mark.parametrize("name", [name for name in MOST_EXPOSED if name != "mailkeep-prepare.service"])
def test_every_process_is_watched_and_started_again_as_a_user_of_its_own(name: str) -> None:
    unit = settings(name)
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["always"]
    assert int(unit["WatchdogSec"][0]) > 0
    assert unit["User"][0].startswith("mailkeep")
    assert unit["StartLimitIntervalSec"] == ["0"]  # however often it fails, mail may come tomorrow
