"""The machine's own name, whole: ``archive.example.com``.

Debian's way (hostname(1), Debian Reference 5.1.1): the first label is the system's host name, and a line of /etc/hosts
leads from it to the whole name.
"""

from __future__ import annotations

import re

import msgspec

from appliance.errors import UsageError
from appliance.host.machine import MACHINE, Machine
from appliance.host.writing import write_system_file
from appliance.language import _

LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123 section 2.1
_OWN_ADDRESS = "127.0.1.1"


class HostName(msgspec.Struct, frozen=True):
    """The whole name, or what there is of it; ``read_only`` says why it cannot be changed from here, if so."""

    name: str
    read_only: str = ""


def current(machine: Machine = MACHINE) -> HostName:
    """The name that is set."""
    system = machine.read("/etc/hostname").strip() or machine.read("/proc/sys/kernel/hostname").strip()
    return HostName(_whole(system.lower(), machine.read("/etc/hosts")), machine.why_read_only())


def check(name: str) -> str:
    """``name`` in lower case, if mail servers can be told of it. Raises UsageError."""
    lower = name.strip().rstrip(".").lower()
    labels = lower.split(".")
    if len(lower) > LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise UsageError(
            _(
                "“{name}” is no host name: letters, digits and hyphens in parts of at most 63, with dots between."
            ).format(name=name)
        )
    if len(labels) < 2:
        raise UsageError(
            _("“{name}” is only the first part. Give the whole name, as archive.example.com.").format(name=name)
        )
    if labels[-1].isdigit():  # RFC 1123 section 2.1: an address of four numbers is not a name
        raise UsageError(_("“{name}” looks like an address. Give a name, as archive.example.com.").format(name=name))
    return lower


def change(name: str, machine: Machine = MACHINE) -> None:
    """Give the machine a name. Raises UsageError for one that cannot be, UnavailableError and StorageError."""
    whole = check(name)
    if reason := machine.why_read_only():
        raise UsageError(reason)
    before = machine.read("/etc/hostname").strip().lower()
    short = whole.partition(".")[0]
    # The line first: a name without one makes programs wait for an answer of the network.
    write_system_file(machine.path("/etc/hosts"), _with_line(machine.read("/etc/hosts"), whole, short, before))
    machine.must_run("hostnamectl", "set-hostname", short)


def _whole(system: str, hosts: str) -> str:
    if "." in system:
        return system
    for line in hosts.splitlines():
        _address, *names = line.partition("#")[0].lower().split() or [""]
        if system in names:
            return next((name for name in names if name.startswith(f"{system}.")), system)
    return system


def _with_line(hosts: str, whole: str, short: str, before: str) -> str:
    """The hosts file with the one line for this machine, and without those that named it as it was called before."""
    line = f"{_OWN_ADDRESS}\t{whole} {short}"
    own = {short, whole, before, before.partition(".")[0]} - {"", "localhost"}
    kept = []
    for one in hosts.splitlines():
        address, *names = one.partition("#")[0].lower().split() or [""]
        if address == _OWN_ADDRESS or (
            address.startswith("127.") and own.intersection(names) and "localhost" not in names
        ):
            continue
        kept.append(one)
    place = next((number + 1 for number, one in enumerate(kept) if one.split()[:1] == ["127.0.0.1"]), 0)
    return "\n".join([*kept[:place], line, *kept[place:]]) + "\n"
