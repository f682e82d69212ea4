"""Clean Debian 12 roots, and the package in them.

``python -m tests.packaging.root DEB INTO`` leaves a root with the package installed at INTO.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BUILD = Path(__file__).resolve().parents[2] / "build"
BASE = BUILD / "debian-12.tar"
"""A clean root, kept from run to run (`make clean` removes it)."""
MIRROR = "http://deb.debian.org/debian"
SECURITY = "deb http://deb.debian.org/debian-security bookworm-security main"
PROGRAMS = ("mmdebstrap", "dpkg-deb")
_INSTALL = (
    "mount -t proc proc /proc && trap 'umount /proc' EXIT && apt-get install --quiet --yes --no-install-recommends "
)
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def why_not() -> str:
    """Why no root can be made here; empty where it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"there is no {missing[0]} here" if missing else ""


def clean(root: Path) -> None:
    """Lay a Debian 12 of essential packages, systemd and apt at ``root``."""
    if not BASE.exists():
        BUILD.mkdir(exist_ok=True)
        made = BASE.with_suffix(".new.tar")
        include = "--include=systemd-sysv,dbus,procps,iproute2,debconf-utils"
        _run(
            *("mmdebstrap", "--quiet", "--variant=minbase", include, "--skip=cleanup/apt/lists"),
            *("bookworm", str(made), MIRROR, SECURITY),
        )
        made.rename(BASE)
    root.mkdir(parents=True)
    _run("tar", "--extract", "--file", str(BASE), "--directory", str(root))
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")


def install(root: Path, package: Path) -> str:
    """What apt said when it installed a package, and from Debian what it depends on, in a root that is not booted."""
    inside = copy_in(root, package)
    return _run("chroot", str(root), "sh", "-c", _INSTALL + inside, environment=_ENVIRONMENT)


def copy_in(root: Path, package: Path) -> str:
    """The path under which a package can be installed in a root."""
    shutil.copyfile(package, root / "root" / package.name)
    return f"/root/{package.name}"


def with_version(package: Path, version: str, folder: Path) -> Path:
    """The same package under another version number."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _run("dpkg-deb", "--raw-extract", str(package), scratch)
        control = Path(scratch, "DEBIAN", "control")
        lines = control.read_text().splitlines()
        control.write_text(
            "".join(f"Version: {version}\n" if line.startswith("Version:") else f"{line}\n" for line in lines)
        )
        made = folder / f"mailkeep_{version}_{package.stem.rpartition('_')[2]}.deb"
        _run("dpkg-deb", "--root-owner-group", "-Znone", "--build", scratch, str(made))
    return made


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, env=environment, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
    return done.stdout


if __name__ == "__main__":
    clean(Path(sys.argv[2]))
    sys.stdout.write(install(Path(sys.argv[2]), Path(sys.argv[1])))
