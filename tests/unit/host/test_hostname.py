"""The machine's name: the whole one is told and set, in the places that Debian has for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.host import hostname
from tests.unit.host.double import machine


@pytest.mark.parametrize(
    ("system", "hosts", "name"),
    [
        ("keep\n", "127.0.0.1 localhost\n127.0.1.1 keep.example.com keep\n", "keep.example.com"),
        ("keep.example.com\n", "", "keep.example.com"),
        ("keep\n", "192.0.2.7\tKEEP.example.com keep # this one\n", "keep.example.com"),
        ("keep\n", "# 127.0.1.1 keep.example.com keep\n127.0.0.1 localhost\n", "keep"),
        ("keep\n", "127.0.1.1 keeper.example.com keeper\n", "keep"),
    ],
)
def test_the_whole_name_is_found(tmp_path: Path, system: str, hosts: str, name: str) -> None:
    box = machine(tmp_path)
    box.has("/etc/hostname", system)
    box.has("/etc/hosts", hosts)
    assert hostname.current(box) == hostname.HostName(name)


def test_a_change_keeps_the_other_lines_and_leads_from_the_short_name_to_the_whole(tmp_path: Path) -> None:
    box = machine(tmp_path, {"hostnamectl set-hostname": ""})
    box.has("/etc/hostname", "debian\n")
    others = "::1 localhost ip6-localhost\n192.0.2.9 nas\n"
    box.has("/etc/hosts", f"127.0.0.1\tlocalhost\n127.0.1.1\tdebian.local debian\n{others}")
    hostname.change("Archive.Example.com", box)
    assert box.read("/etc/hosts") == (f"127.0.0.1\tlocalhost\n127.0.1.1\tarchive.example.com archive\n{others}")
    assert box.asked == ["hostnamectl set-hostname archive"]
    assert box.path("/etc/hosts").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "name",
    [
        "",
        "archive",
        "a..b",
        "-a.example",
        "a_b.example.com",
        "192.0.2.1",
        "a." * 130 + "com",
        "x" * 64 + ".com",
        "a b.c",
    ],
)
def test_what_is_no_name_is_refused_and_nothing_is_touched(tmp_path: Path, name: str) -> None:
    box = machine(tmp_path)
    with pytest.raises(UsageError):
        hostname.change(name, box)
    assert box.asked == []
    assert not box.path("/etc/hosts").exists()


def test_a_machine_that_cannot_be_changed_says_why(tmp_path: Path) -> None:
    assert "systemd" in hostname.current(machine(tmp_path, systemd=False)).read_only
    someone = machine(tmp_path, root_user=False)
    assert "root" in hostname.current(someone).read_only
    with pytest.raises(UsageError, match="root"):
        hostname.change("archive.example.com", someone)
