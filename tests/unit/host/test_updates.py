"""Updates: read from what apt says it would do, installed by a unit that outlives who asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ConflictError, UsageError
from appliance.host import power, updates
from appliance.host.machine import Answer
from appliance.host.updates import Update
from tests.unit.host.double import Double, machine

# apt-get --simulate dist-upgrade of Debian 12.
SIMULATED = """NOTE: This is only a simulation!
Reading package lists...
Calculating upgrade...
The following NEW packages will be installed:
  linux-image-6.1.0-32-amd64
The following packages will be upgraded:
  base-files libc6 mailkeep
Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Conf base-files (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Inst libc6 [2.36-9+deb12u9] (2.36-9+deb12u10 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst linux-image-6.1.0-32-amd64 (6.1.129-1 Debian-Security:12/oldstable-security [amd64])
Inst mailkeep [0.1.0] (0.2.0 mailkeep:stable [amd64])
Conf libc6 (2.36-9+deb12u10 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])
"""


def box(folder: Path, **named: bool) -> Double:
    return machine(
        folder,
        {
            "apt-get --version": "apt 2.6.1 (amd64)\n", "apt-get --simulate": SIMULATED, "apt-get": "",
            "dpkg-query": "0.1.0", "apt-config": 'APT::Periodic::Unattended-Upgrade "1";\n', "systemd-run": "",
            "systemctl": "", "systemctl is-active": Answer(3, "inactive\n"),
        },
        **named,
    )  # fmt: skip


def test_what_there_is_to_install_is_told_with_what_is_for_security(tmp_path: Path) -> None:
    made = box(tmp_path)
    made.has("/usr/bin/unattended-upgrade", "")
    made.has("/run/reboot-required", "")
    now = updates.current(made)
    assert now.packages == (
        Update("base-files", "12.4+deb12u11", "12.4+deb12u15", False),
        Update("libc6", "2.36-9+deb12u9", "2.36-9+deb12u10", True),
        Update("linux-image-6.1.0-32-amd64", "", "6.1.129-1", True),
        Update("mailkeep", "0.1.0", "0.2.0", False),
    )
    assert (now.mailkeep, now.restart_needed, now.unattended, now.read_only) == ("0.1.0", True, True, "")


def test_the_switch_alone_installs_nothing(tmp_path: Path) -> None:
    made = box(tmp_path)
    assert not updates.current(made).unattended
    with pytest.raises(UsageError, match="unattended-upgrades"):
        updates.change_unattended(True, made)
    updates.change_unattended(False, made)
    assert 'APT::Periodic::Unattended-Upgrade "0";' in made.read("/etc/apt/apt.conf.d/20auto-upgrades")


def test_installing_is_left_to_a_unit_and_begun_once(tmp_path: Path) -> None:
    made = box(tmp_path)
    assert updates.install(("libc6",), made) == updates.UNIT
    begun = made.asked[-1]
    assert begun.startswith("systemd-run")
    assert begun.endswith("install --only-upgrade libc6")
    assert "--force-confold" in begun  # what an administrator changed stays
    made.replies["systemctl is-active"] = "active\n"
    del made.replies["systemctl"]
    with pytest.raises(ConflictError):
        updates.install((), made)


@pytest.mark.parametrize("package", ["", "-o", "--reinstall", "a b", "Libc6", "x;reboot"])
def test_what_is_no_package_is_not_handed_to_apt(tmp_path: Path, package: str) -> None:
    made = box(tmp_path)
    with pytest.raises(UsageError):
        updates.install((package,), made)
    assert not any(one.startswith("systemd-run") for one in made.asked)


def test_a_system_without_apt_or_rights_says_so(tmp_path: Path) -> None:
    assert "apt" in updates.current(machine(tmp_path)).read_only
    with pytest.raises(UsageError, match="root"):
        updates.refresh(box(tmp_path, root_user=False))


def test_the_machine_is_switched_off_and_started_anew_by_systemd_only(tmp_path: Path) -> None:
    made = box(tmp_path)
    power.power_off(made)
    power.restart(made)
    assert made.asked == ["systemctl --no-block poweroff", "systemctl --no-block reboot"]
    someone = box(tmp_path, root_user=False)
    assert "root" in power.read_only(someone)
    for act in (power.power_off, power.restart):
        with pytest.raises(UsageError):
            act(someone)
    assert someone.asked == []
