"""Updates of the system by apt: which there are, installing them, and whether the system installs those by itself.

Sources: apt-get(8) (``--simulate``), apt.conf(5), unattended-upgrades(8), Debian Policy 5.6.12 (versions).
"""

from __future__ import annotations

import re
from importlib import metadata

import msgspec

from appliance.errors import ConflictError, UsageError
from appliance.host.machine import MACHINE, Machine
from appliance.host.writing import write_system_file
from appliance.language import _

UNIT = "mailkeep-updates"
"""The unit that installs; journald keeps what it says."""
LOOK_SECONDS = 600.0

_PERIODIC = "/etc/apt/apt.conf.d/20auto-upgrades"  # the file that unattended-upgrades' own package asks about
_LISTS = ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists/lock", "/var/lib/apt/lists/partial")
_UNATTENDED_RAN = "/var/lib/apt/periodic/unattended-upgrades-stamp"
_RESTART = ("/run/reboot-required", "/var/run/reboot-required")
_INSTALL = re.compile(r"Inst (?P<package>\S+)(?: \[(?P<installed>[^\]]*)\])? \((?P<available>\S+) (?P<origins>[^)]*)\)")
_SWITCH = re.compile(r'APT::Periodic::Unattended-Upgrade "(\d+|always)[smhd]?";')
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?")


class Update(msgspec.Struct, frozen=True):
    """A package of which there is a newer version; ``installed`` is empty for one that is needed anew."""

    package: str
    installed: str
    available: str
    security: bool


class Updates(msgspec.Struct, frozen=True):
    """What there is to install, as far as is known since ``looked_at`` (seconds since 1970).

    ``mailkeep`` is its own version; ``unattended`` whether the system installs security updates by itself, which it
    last did at ``unattended_at``.
    """

    looked_at: float | None
    packages: tuple[Update, ...]
    mailkeep: str
    restart_needed: bool
    unattended: bool
    unattended_at: float | None
    read_only: str = ""


def current(machine: Machine = MACHINE) -> Updates:
    """What is known, without asking the network. Raises UnavailableError where apt does not answer."""
    looked = [at for place in _LISTS if (at := machine.modified(place)) is not None]
    return Updates(
        looked_at=looked[0] if looked else None,
        packages=_read(machine.run("apt-get", "--simulate", "--quiet", "dist-upgrade", seconds=60).out),
        mailkeep=_own_version(machine),
        restart_needed=any(machine.path(place).exists() for place in _RESTART),
        unattended=_unattended(machine),
        unattended_at=machine.modified(_UNATTENDED_RAN),
        read_only=_why_read_only(machine),
    )


def refresh(machine: Machine = MACHINE) -> None:
    """Ask the package servers. Raises UsageError, UnavailableError; it may take minutes."""
    _may_change(machine)
    machine.must_run("apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=60", "update", seconds=LOOK_SECONDS)


def install(packages: tuple[str, ...] = (), machine: Machine = MACHINE) -> str:
    """Begin to install these packages' updates, or all; the unit that does it, which outlives who asked.

    What was set by hand in the packages' files stays. Raises UsageError, ConflictError while it runs already.
    """
    _may_change(machine)
    if any(not _PACKAGE.fullmatch(package) for package in packages):
        raise UsageError(_("That is no name of a package."))
    if is_installing(machine):
        raise ConflictError(_("Updates are being installed already."))
    verb = ["install", "--only-upgrade", *packages] if packages else ["dist-upgrade"]
    machine.must_run(
        "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--setenv=DEBIAN_FRONTEND=noninteractive",
        "--description=Installs updates", "apt-get", "--yes", "-o", "DPkg::Lock::Timeout=300",
        "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", *verb,
    )  # fmt: skip
    return UNIT


def is_installing(machine: Machine = MACHINE) -> bool:
    """Whether what ``install`` began still runs."""
    return machine.run("systemctl", "is-active", f"{UNIT}.service").out.strip() in ("active", "activating")


def change_unattended(on: bool, machine: Machine = MACHINE) -> None:
    """Have security updates installed every day, or not. Raises UsageError, StorageError."""
    _may_change(machine)
    if on and not _has_unattended(machine):
        raise UsageError(_("Install the package unattended-upgrades first; it is what installs them."))
    lines = ('APT::Periodic::Update-Package-Lists "1";', f'APT::Periodic::Unattended-Upgrade "{int(on)}";')
    write_system_file(machine.path(_PERIODIC), "\n".join(lines) + "\n")


def _read(simulated: str) -> tuple[Update, ...]:
    found = map(_INSTALL.match, simulated.splitlines())
    return tuple(
        Update(one["package"], one["installed"] or "", one["available"], "security" in one["origins"].lower())
        for one in found
        if one
    )


def _own_version(machine: Machine) -> str:
    told = machine.run("dpkg-query", "--show", "--showformat=${Version}", "mailkeep")
    return told.out.strip() if told.ok and told.out.strip() else metadata.version("mailkeep")


def _has_unattended(machine: Machine) -> bool:
    return machine.path("/usr/bin/unattended-upgrade").exists()


def _unattended(machine: Machine) -> bool:
    found = _SWITCH.search(machine.run("apt-config", "dump", "APT::Periodic::Unattended-Upgrade").out)
    return bool(found and found[1] != "0") and _has_unattended(machine)


def _why_read_only(machine: Machine) -> str:
    if machine.run("apt-get", "--version").code != 0:
        return _("This system has no apt: it is updated by its own means, not from here.")
    return machine.why_read_only()


def _may_change(machine: Machine) -> None:
    if reason := _why_read_only(machine):
        raise UsageError(reason)
