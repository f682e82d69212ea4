"""The live index never reaches a disk in clear without somebody having said that it may."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.cli.supervise import Supervisor
from appliance.errors import UsageError
from appliance.services import status
from appliance.services.paths import Paths
from appliance.services.setup.create import create
from appliance.services.swap import Mount, System, require_memory_stays
from tests.scratch import BOX, ScratchArchive

HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class Box:
    """A made-up /proc and /sys round real files that stand for swap areas."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system = System(proc=folder / "proc", sys=folder / "sys")
        self.live = folder / "shm" / "mailkeep"
        self.live.parent.mkdir()
        (self.system.proc / "self").mkdir(parents=True)
        self.mount("tmpfs", "rw,size=1024k")
        self.swaps()

    def mount(self, kind: str, options: str) -> None:
        lines = [
            "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
            f"30 22 0:26 / {self.live.parent} rw,nosuid - {kind} {kind} {options}",
        ]
        (self.system.proc / "self" / "mountinfo").write_text("\n".join(lines) + "\n")

    def swaps(self, *areas: str) -> None:
        lines = "".join(f"{area}    file    1000  0  -2\n" for area in areas)
        (self.system.proc / "swaps").write_text(HEAD + lines)

    def swap_file(self, name: str = "swapfile") -> Path:
        """A swap file on the disk that the test runs on; the device is described by ``device``."""
        file = self.folder / name
        file.touch()
        return file

    @property
    def device(self) -> Path:
        number = os.stat(self.folder).st_dev
        folder = self.system.sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def refuses(self, *, allow_plain_swap: bool = False) -> str:
        try:
            require_memory_stays(self.live, allow_plain_swap=allow_plain_swap, system=self.system)
        except UsageError as error:
            return error.message
        return ""


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_without_swap_it_starts(box: Box) -> None:
    assert not box.refuses()


def test_plain_swap_is_refused_with_the_ways_out_until_it_is_allowed(box: Box) -> None:
    file = box.swap_file()
    box.swaps(str(file))
    said = box.refuses()
    assert str(file) in said
    assert all(way in said for way in ("swapoff", "crypttab", "--allow-plain-swap"))
    assert not box.refuses(allow_plain_swap=True)


def test_swap_on_an_encrypted_disk_is_taken(box: Box) -> None:
    box.swaps(str(box.swap_file()))
    (box.device / "dm").mkdir()
    (box.device / "dm" / "uuid").write_text("CRYPT-LUKS2-0123456789abcdef-swap\n")
    assert not box.refuses()


def test_a_logical_volume_is_as_safe_as_every_disk_under_it(box: Box) -> None:
    box.swaps(str(box.swap_file()))
    (box.device / "dm").mkdir()
    (box.device / "dm" / "uuid").write_text("LVM-abc\n")
    for name, uuid in (("dm-0", "CRYPT-LUKS2-x"), ("dm-1", "CRYPT-PLAIN-y")):
        below = box.device / "slaves" / name / "dm"
        below.mkdir(parents=True)
        (below / "uuid").write_text(uuid)
    assert not box.refuses()
    (box.device / "slaves" / "sdb1").mkdir()
    assert box.refuses()


def test_compressed_memory_is_taken_unless_it_writes_to_a_disk(box: Box) -> None:
    box.swaps(str(box.swap_file()))
    (box.device / "backing_dev").write_text("none\n")
    assert not box.refuses()
    (box.device / "backing_dev").write_text("/dev/no-such-disk\n")
    assert box.refuses()


def test_one_plain_area_beside_an_encrypted_one_is_refused_and_named(box: Box) -> None:
    box.swaps(str(box.swap_file()), r"/no\040such")
    (box.device / "backing_dev").write_text("none\n")
    said = box.refuses()
    assert "/no such" in said and "swapfile" not in said


def test_memory_that_is_never_swapped_needs_no_encryption(box: Box) -> None:
    box.swaps(str(box.swap_file()))
    box.mount("tmpfs", "rw,noswap")
    assert not box.refuses()
    box.mount("ramfs", "rw")
    assert not box.refuses()


def test_a_disk_is_refused_even_where_swap_is_allowed(box: Box) -> None:
    box.mount("ext4", "rw")
    assert "MAILKEEP_LIVE" in box.refuses(allow_plain_swap=True)


@pytest.mark.parametrize(
    ("group", "limits", "safe"),
    [
        ("/mailkeep.slice/mailkeep-archiver.service", {"mailkeep.slice": "0"}, True),
        ("/mailkeep.slice/mailkeep-archiver.service", {"mailkeep.slice/mailkeep-archiver.service": "0"}, True),
        ("/", {"": "0"}, True),
        ("/mailkeep.slice/mailkeep-archiver.service", {"mailkeep.slice": "max"}, False),
        ("/mailkeep.slice/mailkeep-archiver.service", {"mailkeep.slice": "1048576"}, False),
        ("/mailkeep.slice/mailkeep-archiver.service", {"user.slice": "0"}, False),
        ("/../outside", {"outside": "0"}, False),
    ],
)
def test_a_control_group_that_does_not_swap_makes_plain_swap_safe(
    box: Box, group: str, limits: dict[str, str], safe: bool
) -> None:
    box.swaps(str(box.swap_file()))
    groups = box.system.sys / "fs" / "cgroup"
    for place, limit in limits.items():
        (groups / place).mkdir(parents=True, exist_ok=True)
        (groups / place / "memory.swap.max").write_text(f"{limit}\n")
    (box.system.proc / "self" / "cgroup").write_text(f"0::{group}\n")
    assert bool(box.refuses()) is not safe


def test_under_the_older_control_groups_plain_swap_is_refused(box: Box) -> None:
    box.swaps(str(box.swap_file()))
    (box.system.proc / "self" / "cgroup").write_text("4:memory:/mailkeep.slice\n1:name=systemd:/mailkeep.slice\n")
    assert box.refuses()


def test_serve_does_not_start_on_plain_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    create(Paths(data), passphrase=None, keyfile=True, administrator=False, hostname="box.test")
    monkeypatch.setattr(System, "mount_of", lambda _system, _folder: Mount("tmpfs", frozenset()))
    monkeypatch.setattr(System, "plain_swaps", lambda _system: ("/dev/sda2",))
    monkeypatch.setattr(Supervisor, "start", lambda _supervisor: pytest.fail("something was started"))
    done = CliRunner().invoke(main, ["--data", str(data), "serve", "--smtp", "127.0.0.1:2525", "--http", "127.0.0.1:1"])
    assert done.exit_code == 1
    assert "/dev/sda2" in done.stderr and "--allow-plain-swap" in done.stderr


def test_the_status_keeps_a_warning_where_plain_swap_was_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = ScratchArchive(tmp_path)
    try:
        monkeypatch.setattr(System, "mount_of", lambda _system, _folder: Mount("tmpfs", frozenset()))
        monkeypatch.setattr(System, "plain_swaps", lambda _system: ("/dev/sda2",))
        alarms = status.status(archive.archive, BOX).alarms
        assert [one.level for one in alarms if "/dev/sda2" in one.text] == ["warning"]
    finally:
        archive.close()
