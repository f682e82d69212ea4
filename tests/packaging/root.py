"""Clean Debian 12 roots, and the package in them.

``python -m tests.packaging.root DEB INTO`` leaves a root with the package installed at INTO.
"""

from __future__ import annotations

import re
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
PROGRAMS = ("mmdebstrap", "dpkg-deb", "unshare")
APT = (
    *("apt-get", "--quiet", "--yes", "--no-install-recommends"),
    *("-o", "Dpkg::Options::=--force-confdef"),
    *("-o", "Dpkg::Options::=--force-unsafe-io"),  # a root that the power cuts is made anew
)
"""Installs, removes, purges; without questions."""
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
_INSIDE = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
_NOT_FETCHED = re.compile(r"^[EW]: (?:Failed|Unable) to fetch .*", re.MULTILINE)


class NotHereError(Exception):
    """Debian's mirror does not answer, or this machine cannot make roots: nothing that the package could help."""


def why_not() -> str:
    """Why no root can be made and entered here; empty where it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]} here"
    tried = _done("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "chroot", "/", "true")
    return f"no root can be entered here: {_why(tried.stdout)}" if tried.returncode != 0 else ""


def clean(root: Path) -> None:
    """Lay a Debian 12 of essential packages, systemd and apt at ``root``. Raises NotHereError."""
    if not BASE.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
            made = Path(scratch, BASE.name)
            include = "--include=systemd-sysv,dbus,procps,iproute2,debconf-utils"
            done = _done(
                *("mmdebstrap", "--quiet", "--variant=minbase", include, "--skip=cleanup/apt/lists"),
                *("bookworm", str(made), MIRROR, SECURITY),
            )
            if done.returncode != 0:
                raise NotHereError(f"mmdebstrap made no Debian: {_why(done.stdout)}")
            made.rename(BASE)
    root.mkdir(parents=True)
    _run("tar", "--extract", "--file", str(BASE), "--directory", str(root))
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")  # as the installer leaves it


def install(root: Path, what: Path | str) -> str:
    """What apt said when it installed a package, and from Debian what it depends on, in a root that is not booted.

    A file is a package of ours, a name one of Debian's. Raises NotHereError where Debian's mirror does not give what is
    needed, AssertionError where the package cannot be installed.
    """
    wanted = what if isinstance(what, str) else copy_in(root, what)
    inside = ("unshare", "--mount", "sh", "-c", _INSIDE, str(root))
    # The lists in a kept root may be old; where there are no newer ones, they may do.
    updated = _done(*inside, *APT, "-o", "APT::Update::Error-Mode=any", "update", environment=_ENVIRONMENT)
    fetched = _done(*inside, *APT, "install", "--download-only", wanted, environment=_ENVIRONMENT)
    if fetched.returncode != 0 and (said := _NOT_FETCHED.search(updated.stdout + fetched.stdout)):
        raise NotHereError(f"Debian's mirror does not give everything: {said[0]}")
    return _run(*inside, *APT, "install", wanted, environment=_ENVIRONMENT)


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
    done = _done(*command, environment=environment)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def _done(*command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, env=environment, check=False
    )


def _why(said: str) -> str:
    """The line of a failed command that tells most."""
    lines = said.strip().splitlines() or ["it does not say why"]
    return next((line for line in lines if line.startswith("E: ")), lines[-1])


if __name__ == "__main__":
    clean(Path(sys.argv[2]))
    sys.stdout.write(install(Path(sys.argv[2]), Path(sys.argv[1])))
