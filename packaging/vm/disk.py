"""A bootable disk from a root file system, made without root and without a loop device.

The disk has a GPT with three partitions: one for GRUB's second part (BIOS), an EFI system partition with Debian's
signed shim and GRUB (UEFI, Secure Boot), and the root file system, which is the last one so that it can grow.

What `grub-install` does for BIOS by looking at a block device is done here from GRUB's documented layout
(grub-core/boot/i386/pc/boot.S and diskboot.S): the boot sector holds at 0x5c the sector where `core.img` begins, and
the first sector of `core.img` ends with a list of where the rest of it lies.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

SECTOR = 512
MEBIBYTE = 1024 * 1024

_NAMES = UUID("6f0b6f0e-64a4-4d3c-9d7c-3c1d3f6a2f57")
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # Discoverable Partitions Specification

_KERNEL_SECTOR = 0x5C  # boot.S: where core.img begins, 64 bit
_DRIVE_CHECK = 0x66  # boot.S: a jump over "a disk, whatever the BIOS says"; grub-setup takes it out for hard disks
_BOOT_CODE = 440  # what a boot sector may hold before the partition table
_BLOCK_LIST = 0x1F4  # diskboot.S: {first sector: 64 bit, sectors: 16 bit, segment: 16 bit}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie on the disk; all in MiB."""

    size: int = 8192
    bios: int = 1
    efi: int = 2
    efi_size: int = 62
    root: int = 64

    @property
    def root_size(self) -> int:
        """Up to the last MiB, which holds the second copy of the GPT."""
        return self.size - self.root - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """The ids that a disk has: derived from the version, so that the same inputs give the same disk."""

    version: str

    def uuid(self, what: str) -> str:
        """The id of `what` ("disk", "root", …)."""
        return str(uuid5(_NAMES, f"{self.version} {what}"))


def make(image: Path, root: Path, identity: Identity, *, time: int, layout: Layout = Layout()) -> None:
    """Writes the raw disk `image` (sparse) from the files under `root`, each date in it at most `time` (Unix seconds).

    `root` must have been made with the same `Identity`: its fstab and boot loader name the file system by its id.
    Needs sfdisk, mke2fs, debugfs, mkfs.vfat and mtools, and as owners in the file system what `stat` says (fakeroot).
    """
    with image.open("wb") as file:
        file.truncate(layout.size * MEBIBYTE)
    _partition(image, identity, layout)
    _fill_root(image, root, identity, layout, time)
    _fill_efi(image, root, identity, layout, time)
    _install_bios_loader(image, root, layout)


def _partition(image: Path, identity: Identity, layout: Layout) -> None:
    def partition(what: str, start: int, size: int, kind: str) -> str:
        return f"start={start}MiB, size={size}MiB, type={kind}, name={what}, uuid={identity.uuid('partition ' + what)}"

    table = "\n".join(
        [
            "label: gpt",
            f"label-id: {identity.uuid('disk')}",
            partition("bios", layout.bios, 1, _BIOS_BOOT),
            partition("efi", layout.efi, layout.efi_size, _EFI_SYSTEM),
            partition("root", layout.root, layout.root_size, _ROOT_X86_64),
        ]
    )
    _run("sfdisk", "--quiet", image, give=table.encode())


def _fill_root(image: Path, root: Path, identity: Identity, layout: Layout, time: int) -> None:
    offset = layout.root * MEBIBYTE
    own = identity.uuid("root")
    faked = {"E2FSPROGS_FAKE_TIME": str(time)}
    options = f"offset={offset},hash_seed={own},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    size = f"{layout.root_size}M"
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", own, "-E", options, "-d", root, image, size, env=faked)
    # mke2fs takes over when a file was last touched on this machine, which says nothing and differs each time.
    inodes = {path.lstat().st_ino for path in [root, *root.rglob("*")]}
    first = 11
    lines = (
        f"set_inode_field <{inode}> {field} @{time}"
        for inode in (2, *range(first, first + len(inodes)))
        for field in ("ctime", "atime", "crtime", "ctime_extra", "atime_extra", "crtime_extra", "mtime_extra")
    )
    script = "\n".join(line.replace(f"_extra @{time}", "_extra 0") for line in lines)
    _run("debugfs", "-w", "-f", "-", f"{image}?offset={offset}", give=script.encode(), env=faked)


def _fill_efi(image: Path, root: Path, identity: Identity, layout: Layout, time: int) -> None:
    shim, grub = root / "usr/lib/shim/shimx64.efi.signed", root / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
    manager = root / "usr/lib/shim/mmx64.efi.signed"
    settings = (
        f"search.fs_uuid {identity.uuid('root')} root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
    )
    files = {
        "EFI/BOOT/BOOTX64.EFI": shim.read_bytes(),
        "EFI/BOOT/grubx64.efi": grub.read_bytes(),
        "EFI/BOOT/mmx64.efi": manager.read_bytes(),
        "EFI/debian/grub.cfg": settings.encode(),  # where Debian's signed GRUB looks
    }
    start = layout.efi * MEBIBYTE
    place = f"{image}@@{start}"
    # The FAT driver counts in local time, and dates begin in 1980.
    faked = {"SOURCE_DATE_EPOCH": str(time), "TZ": "UTC"}
    serial = identity.uuid("efi")[:8]
    blocks = str(layout.efi_size * 1024)
    where = str(start // SECTOR)
    _run(
        "mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-n", "EFI", "-i", serial, "--offset", where, image, blocks,
        env=faked,
    )  # fmt: skip
    for folder in ("EFI", "EFI/BOOT", "EFI/debian"):
        _run("mmd", "-i", place, f"::{folder}", env=faked)
    for name, content in files.items():
        _run("mcopy", "-i", place, "-", f"::{name}", give=content, env=faked)


def _install_bios_loader(image: Path, root: Path, layout: Layout) -> None:
    folder = root / "boot/grub/i386-pc"
    sector = layout.bios * MEBIBYTE // SECTOR
    boot, core = boot_code((folder / "boot.img").read_bytes(), (folder / "core.img").read_bytes(), sector)
    with image.open("r+b") as file:
        file.write(boot)
        file.seek(sector * SECTOR)
        file.write(core)


def boot_code(boot: bytes, core: bytes, sector: int) -> tuple[bytes, bytes]:
    """GRUB's `boot.img` and `core.img`, told that the second lies at `sector`: (first 440 bytes of the disk, core)."""
    if len(boot) != SECTOR or len(core) > MEBIBYTE:
        raise ValueError("not the boot.img and core.img of GRUB for BIOS")
    first = bytearray(boot)
    struct.pack_into("<Q", first, _KERNEL_SECTOR, sector)
    first[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    rest = bytearray(core)
    struct.pack_into("<Q", rest, _BLOCK_LIST, sector + 1)
    return bytes(first[:_BOOT_CODE]), bytes(rest)


def _run(*command: str | Path, give: bytes = b"", env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        [str(part) for part in command], input=give, capture_output=True, env=os.environ | (env or {}), check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")


def main() -> None:
    """`python3 disk.py SYSTEM.tar DISK VERSION TIME`: makes the disk of what is in the tar (under fakeroot)."""
    system, image, version, time = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="root-", dir=Path(image).parent) as root:
        # What is in /dev is made by the kernel at each start.
        _run("tar", "--extract", "--file", system, "--directory", root, "--exclude=./dev/*", "--numeric-owner")
        make(Path(image), Path(root), Identity(version), time=int(time))


if __name__ == "__main__":
    main()
