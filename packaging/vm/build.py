"""Builds the appliance: `python3 packaging/vm/build.py --deb PACKAGE [--out FOLDER] [--mirror URL]`.

PACKAGE is mailkeep's, and mailkeep-appliance of the same version lies beside it. Writes mailkeep-VERSION.qcow2 (KVM,
Proxmox), .vmdk and .ova (VMware, VirtualBox) and SHA256SUMS into the folder. Needs mmdebstrap, fakeroot, qemu-utils,
fdisk, e2fsprogs, dosfstools and mtools; no root where users may have namespaces of their own. The same packages, the
same mirrors in the same state (addresses of snapshot.debian.org) and the same SOURCE_DATE_EPOCH give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import disk
import ova

_HERE = Path(__file__).resolve().parent
_SUITE = "bookworm"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Builds the virtual machine of mailkeep.")
    parser.add_argument("--deb", type=Path, required=True, help="the package that goes in")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the folder for what is built")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="of Debian")
    parser.add_argument(
        "--security-mirror", default="http://security.debian.org/debian-security", help="of its security updates"
    )
    arguments = parser.parse_args()
    for made in build(arguments.deb.resolve(), arguments.out, arguments.mirror, arguments.security_mirror):
        print(f"{made.stat().st_size / 1e6:7.0f} MB  {made}")


def build(package: Path, out: Path, mirror: str, security_mirror: str) -> list[Path]:
    """Makes the images of `package` in `out` and returns them. Raises FileNotFoundError without the appliance's."""
    version = _output("dpkg-deb", "--field", str(package), "Version")
    appliance = package.with_name(f"mailkeep-appliance_{version}_all.deb")
    if not appliance.exists():
        raise FileNotFoundError(f"There is no {appliance.name} beside {package}: `make deb` builds both.")
    time = int(os.environ.get("SOURCE_DATE_EPOCH") or package.stat().st_mtime)
    out.mkdir(parents=True, exist_ok=True)
    qcow2, vmdk, ova_file = (out / f"mailkeep-{version}.{kind}" for kind in ("qcow2", "vmdk", "ova"))
    identity = disk.Identity(version)
    machine = ova.Machine(version)
    with tempfile.TemporaryDirectory(prefix="image-", dir=out) as scratch:
        system, raw = Path(scratch) / "system.tar", Path(scratch) / "disk.raw"
        _say("Debian and mailkeep")
        _bootstrap(system, (package, appliance), identity, mirror, security_mirror, time)
        _say("the disk")
        # Owners and devices in the tar are taken on without being root.
        _run("fakeroot", sys.executable, str(_HERE / "disk.py"), str(system), str(raw), version, str(time))
        _say(qcow2.name)
        _run("qemu-img", "convert", "-O", "qcow2", "-c", "-o", "compression_type=zstd", str(raw), str(qcow2))
        _say(vmdk.name)
        _run("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", str(raw), str(vmdk))
    _say(ova_file.name)
    ova.pack(ova_file, machine, vmdk, time=time)
    made = [qcow2, vmdk, ova_file]
    (out / "SHA256SUMS").write_text("".join(f"{_sha256(path)}  {path.name}\n" for path in made))
    return made


def _bootstrap(
    system: Path, install: tuple[Path, ...], identity: disk.Identity, mirror: str, security_mirror: str, time: int
) -> None:
    lines = (_HERE / "packages").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    customize = shlex.join([str(_HERE / "customize"), "ROOT", identity.uuid("root"), *map(str, install)])
    _run(
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        "--architectures=amd64",
        '--aptopt=Apt::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(packages)}",
        "--customize-hook=" + customize.replace("ROOT", '"$1"', 1),
        _SUITE,
        str(system),
        f"deb {mirror} {_SUITE} main",
        f"deb {mirror} {_SUITE}-updates main",
        f"deb {security_mirror} {_SUITE}-security main",
        env={"SOURCE_DATE_EPOCH": str(time), "DEBIAN_FRONTEND": "noninteractive"},
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say(step: str) -> None:
    print(f"… {step}", flush=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=os.environ | (env or {}))


if __name__ == "__main__":
    main()
