"""What the image is put together from: the parts that need no machine to be looked at."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
VM = PACKAGING / "vm"
APPLIANCE = PACKAGING / "debian" / "appliance"
PROGRAMS = APPLIANCE / "usr/lib/mailkeep-appliance"
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"


def part(name: str) -> ModuleType:
    """A module of packaging/vm, which is no package (its name is taken)."""
    spec = importlib.util.spec_from_file_location(f"vm_{name}", VM / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


disk = part("disk")
ova = part("ova")
font = part("font")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """An OVA around something that stands for a disk."""
    content = tmp_path / "disk.vmdk"
    content.write_bytes(b"KDMV" + bytes(100_000))
    out = tmp_path / "mailkeep-1.2.ova"
    ova.pack(out, ova.Machine("1.2"), content, time=1_700_000_000)
    return out


def test_an_ova_begins_with_its_descriptor_and_its_manifest_is_right(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        names = archive.getnames()
        contents = {name: archive.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    assert names == ["mailkeep-1.2.ovf", "mailkeep-1.2.mf", "mailkeep-1.2-disk1.vmdk"]
    said = dict(re.findall(r"SHA256\((.+)\)= ([0-9a-f]{64})\n", contents.pop("mailkeep-1.2.mf").decode()))
    assert said == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def test_the_descriptor_names_the_disk_that_is_there_and_an_empty_one(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        envelope = ElementTree.fromstring(archive.extractfile("mailkeep-1.2.ovf").read())  # type: ignore[union-attr]
        [file] = envelope.iter(f"{OVF}File")
        assert archive.getmember(file.get(f"{OVF}href", "")).size == int(file.get(f"{OVF}size", ""))
    disks = {entry.get(f"{OVF}diskId"): entry.get(f"{OVF}fileRef") for entry in envelope.iter(f"{OVF}Disk")}
    assert disks == {"system": file.get(f"{OVF}id"), "data": None}
    used = [element.text for element in envelope.iter() if element.tag.endswith("HostResource")]
    assert used == ["ovf:/disk/system", "ovf:/disk/data"]


def test_the_same_disk_gives_the_same_ova(packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again" / packed.name
    again.parent.mkdir()
    ova.pack(again, ova.Machine("1.2"), tmp_path / "disk.vmdk", time=1_700_000_000)
    assert again.read_bytes() == packed.read_bytes()


def test_grub_is_told_where_its_second_part_lies() -> None:
    boot, core = disk.boot_code(bytes(range(256)) * 2, bytes(2048), 2048)
    assert struct.unpack_from("<Q", boot, 0x5C) == (2048,)
    assert struct.unpack_from("<Q", core, 0x1F4) == (2049,)
    assert len(boot) == 440, "the rest of the first sector is the partition table"
    with pytest.raises(ValueError, match="GRUB"):
        disk.boot_code(bytes(100), bytes(2048), 2048)


def test_the_screens_font_has_what_was_added_and_all_that_it_had() -> None:
    glyphs = [bytes([number % 256] * 14) for number in range(512)]
    table = [chr(0x100 + number) if number < 495 else "" for number in range(512)]
    plain = b"\x36\x04\x03\x0e" + b"".join(glyphs) + b"".join(c.encode("utf-16-le") + b"\xff\xff" for c in table)
    made = font.extended(plain, font.ADDED)
    assert made[: 4 + 495 * 14] == plain[: 4 + 495 * 14]
    entries = made[4 + 512 * 14 :].split(b"\xff\xff")
    characters = [entry.decode("utf-16-le") for entry in entries]
    assert characters[:495] == table[:495]
    for character, glyph in font.ADDED.items():
        number = characters.index(character)
        assert made[4 + number * 14 : 4 + (number + 1) * 14] == glyph
    assert len(made) == len(plain) + 2 * len(font.ADDED)
    with pytest.raises(ValueError, match="room"):
        font.extended(plain, {chr(0x2000 + number): bytes(14) for number in range(18)})
    with pytest.raises(ValueError, match="8 by 14"):
        font.extended(b"\x36\x04\x03\x10" + plain[4:], font.ADDED)


def test_ids_depend_on_the_version_alone() -> None:
    first, again, next_one = disk.Identity("1.0"), disk.Identity("1.0"), disk.Identity("1.1")
    assert first.uuid("root") == again.uuid("root")
    assert len({first.uuid("root"), first.uuid("disk"), next_one.uuid("root")}) == 3


@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("sfdisk", "mke2fs", "debugfs", "mkfs.vfat", "mcopy")),
    reason="sfdisk, e2fsprogs, dosfstools and mtools make the disk",
)
def test_the_same_files_give_the_same_disk(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        root = tmp_path / f"root{number}"
        for name, size in {
            "usr/lib/shim/shimx64.efi.signed": 9000,
            "usr/lib/shim/mmx64.efi.signed": 9000,
            "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": 90_000,
            "boot/grub/i386-pc/boot.img": 512,
            "boot/grub/i386-pc/core.img": 30_000,
        }.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * size)
        for path in [root, *root.rglob("*")]:
            os.utime(path, (1_600_000_000 + number, 1_600_000_000))
        image = tmp_path / f"disk{number}.raw"
        layout = disk.Layout(size=128)
        disk.make(image, root, disk.Identity("1.0"), time=1_700_000_000, layout=layout)
        made.append(hashlib.sha256(image.read_bytes()).hexdigest())
        offset = f"{image}?offset={layout.root * disk.MEBIBYTE}"
        assert subprocess.run(["e2fsck", "-fn", offset], capture_output=True, check=False).returncode == 0
    assert made[0] == made[1]


def test_scripts_can_be_read_by_the_shell() -> None:
    for script in (VM / "customize", PROGRAMS / "answers", PROGRAMS / "data-disk"):
        subprocess.run(["sh", "-n", str(script)], check=True)
        assert script.stat().st_mode & 0o111, f"{script} cannot be run"


def test_only_the_ports_of_the_product_are_open() -> None:
    rules = (PROGRAMS / "nftables.conf").read_text()
    assert re.search(r"elements = \{ ([0-9, ]+) \}", rules).group(1) == "25, 80, 443, 995"  # type: ignore[union-attr]
    assert re.findall(r"policy (\w+);", rules) == ["drop", "drop"]


@pytest.mark.parametrize(
    ("outcomes", "code", "kept"),
    [
        pytest.param([0], 0, False, id="done"),
        pytest.param([3], 0, False, id="done with findings"),
        pytest.param([1, 1, 0], 0, False, id="done at last"),
        pytest.param([1, 1, 1], 1, True, id="a step always fails"),
        pytest.param([2], 2, True, id="answers that cannot be used"),
    ],
)
def test_answers_are_deleted_when_they_were_used_and_tried_again_when_they_may_work_later(
    tmp_path: Path, outcomes: list[int], code: int, kept: bool
) -> None:
    answers, tries, programs = tmp_path / "answers.yaml", tmp_path / "tries", tmp_path / "bin"
    answers.touch()
    programs.mkdir()
    setup = ['echo "$*" >>' + str(tries), f"set -- {' '.join(map(str, outcomes))}", f"shift $(($(wc -l <{tries}) - 1))"]
    for name, does in {"mailkeep": "\n".join([*setup, "exit $1"]), "sleep": "exit 0"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [PROGRAMS / "answers", answers], env={"PATH": f"{programs}:/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert done.returncode == code
    assert answers.exists() == kept
    assert tries.read_text().splitlines() == [f"setup --answers {answers}"] * len(outcomes)


def test_units_start_only_what_is_in_the_package() -> None:
    units = [path for path in (APPLIANCE / "lib/systemd/system").rglob("*") if path.is_file()]
    named = {name for unit in units for name in re.findall(r"/usr/lib/mailkeep-appliance/\S+", unit.read_text())}
    assert named == {f"/usr/lib/mailkeep-appliance/{path.name}" for path in PROGRAMS.iterdir()}


def test_what_only_etc_may_hold_is_all_that_lies_there() -> None:
    """Everything else is replaced by an upgrade without a question, and overruled by files of the same name in /etc."""
    held = {str(path.relative_to(APPLIANCE)) for path in (APPLIANCE / "etc").rglob("*") if path.is_file()}
    assert held == {
        "etc/apt/apt.conf.d/52mailkeep",
        "etc/cloud/cloud.cfg.d/90_mailkeep.cfg",
        "etc/default/grub.d/mailkeep.cfg",
        "etc/nftables.d/README",
        "etc/ssh/sshd_config.d/10-mailkeep.conf",
    }
