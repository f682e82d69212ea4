"""systemd-networkd: its files, and a change that the machine itself takes back.

A trial is a file below /run that comes before all others of its interface (systemd.network(5): the first that matches,
by file name, counts). Taking it back is removing that file, which a timer of systemd does, and so does a restart;
confirming is writing the same below /etc.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path

import msgspec

from appliance.errors import ConflictError, StorageError, UsageError
from appliance.host.machine import Machine
from appliance.host.plans import Dhcp, Plan, Static, Trial
from appliance.host.writing import write_system_file
from appliance.language import _

_LINKS = "/run/systemd/netif/links"
_TRIALS = "/run/systemd/network"
_KEPT = "/etc/systemd/network"
_TRIAL_PREFIX, _KEPT_PREFIX = "01-mailkeep-trial-", "02-mailkeep-"
_SUFFIX = ".network"
_UNTIL = "# Taken back unless confirmed until "
_TIMER = "mailkeep-network-undo"
_RESOLVED = "/run/systemd/resolve"
_STACKED = ("Bond=", "Bridge=", "VLAN=", "VRF=", "MACVLAN=", "MACVTAP=", "IPVLAN=", "VXLAN=", "Tunnel=")


class Seen(msgspec.Struct, frozen=True):
    """What systemd-networkd tells of an interface."""

    dhcp: bool
    dns: tuple[str, ...]


def manages(machine: Machine) -> bool:
    """Whether it has set up any interface."""
    return any(_state(file).get("NETWORK_FILE") for file in machine.path(_LINKS).glob("*"))


def seen(index: int, machine: Machine) -> Seen | None:
    """What it tells of the interface with that index; None where it leaves it alone."""
    state = _state(machine.path(f"{_LINKS}/{index}"))
    if not state.get("NETWORK_FILE"):
        return None
    lines = [line.replace(" ", "") for line in machine.read(state["NETWORK_FILE"]).splitlines()]
    asked = next((line.partition("=")[2] for line in lines if line.startswith("DHCP=")), "no")
    return Seen(asked.lower() in ("yes", "true", "1", "on", "ipv4", "both", "v4"), tuple(state.get("DNS", "").split()))


def sets_name_servers(machine: Machine) -> bool:
    """Whether systemd-resolved takes name servers from it: nobody else does."""
    with contextlib.suppress(OSError):
        target = str(machine.path("/etc/resolv.conf").readlink())
        return _RESOLVED.lstrip("/") in target
    return False


def begin(plan: Plan, seconds: float, machine: Machine) -> Trial:
    """Set the interface as ``plan`` says, for ``seconds``. Raises ConflictError, StorageError, UnavailableError."""
    _must_be_plain(plan.interface, machine)
    trial = Trial(plan.interface, time.time() + seconds)
    file = _trial_file(trial.interface, machine)
    # The way back first: from here on nothing that happens to this process leaves the machine out of reach.
    name = shlex.quote(trial.interface)
    undoing = f"rm -f {_TRIALS}/{_TRIAL_PREFIX}{name}{_SUFFIX}; networkctl reload; networkctl reconfigure {name}"
    machine.must_run(
        "systemd-run", "--quiet", "--collect", f"--unit={_timer(trial.interface)}", f"--on-active={seconds:.0f}s",
        "--timer-property=AccuracySec=1s", "--description=Takes back a change of the network", "/bin/sh", "-c", undoing,
    )  # fmt: skip
    try:
        write_system_file(file, f"{_UNTIL}{trial.until:.0f}\n{_file_of(plan)}")
        _apply(trial.interface, machine)
    except BaseException:
        undo(trial, machine)
        raise
    return trial


def confirm(trial: Trial, machine: Machine) -> None:
    """Write what is tried below /etc. Raises ConflictError where it was taken back meanwhile, StorageError."""
    file = _trial_file(trial.interface, machine)
    _until, newline, text = machine.read(f"{_TRIALS}/{file.name}").partition("\n")
    if not newline:
        raise ConflictError(_("Nobody confirmed the change in time, so it was taken back. Nothing was changed."))
    write_system_file(machine.path(f"{_KEPT}/{_KEPT_PREFIX}{trial.interface}{_SUFFIX}"), text)
    machine.run("systemctl", "stop", f"{_timer(trial.interface)}.timer")
    _remove(file)
    machine.must_run("networkctl", "reload")


def undo(trial: Trial, machine: Machine) -> None:
    """Set the interface as it was. Raises StorageError, UnavailableError: the timer does it then."""
    _remove(_trial_file(trial.interface, machine))
    _apply(trial.interface, machine)
    machine.run("systemctl", "stop", f"{_timer(trial.interface)}.timer")


def pending(machine: Machine) -> Trial | None:
    """The trial that waits."""
    for file in sorted(machine.path(_TRIALS).glob(f"{_TRIAL_PREFIX}*{_SUFFIX}")):
        first = machine.read(f"{_TRIALS}/{file.name}").partition("\n")[0]
        with contextlib.suppress(ValueError):
            return Trial(file.name.removeprefix(_TRIAL_PREFIX).removesuffix(_SUFFIX), float(first.removeprefix(_UNTIL)))
    return None


def _file_of(plan: Plan) -> str:
    """A file of systemd.network(5) for the plan."""
    lines = ["[Match]", f"Name={plan.interface}", "", "[Network]"]
    match plan:
        case Dhcp():
            lines += ["DHCP=yes", "IPv6AcceptRA=yes"]
        case Static():
            lines += [f"Address={one}" for one in plan.addresses]
            lines += [f"Gateway={one}" for one in plan.gateways]
            lines += [f"DNS={one}" for one in plan.dns]
            lines += [f"Domains={' '.join(plan.domains)}"] if plan.domains else []
            lines += ["DHCP=no", f"IPv6AcceptRA={'no' if any(':' in one for one in plan.addresses) else 'yes'}"]
    return "\n".join(lines) + "\n"


def _must_be_plain(interface: str, machine: Machine) -> None:
    """An interface that others are built on has settings that a plan does not know of."""
    index = machine.read(f"/sys/class/net/{interface}/ifindex").strip()
    file = _state(machine.path(f"{_LINKS}/{index}")).get("NETWORK_FILE", "")
    if any(line.replace(" ", "").startswith(_STACKED) for line in machine.read(file).splitlines()):
        text = _("{interface} is part of a bridge, bond or VLAN. Change it in {file}; here it is only shown.")
        raise UsageError(text.format(interface=interface, file=file))


def _apply(interface: str, machine: Machine) -> None:
    machine.must_run("networkctl", "reload")
    machine.must_run("networkctl", "reconfigure", interface)


def _state(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        text = _("{path} could not be removed ({reason}). A restart takes the change back.")
        raise StorageError(text.format(path=file, reason=error.strerror)) from error


def _trial_file(interface: str, machine: Machine) -> Path:
    return machine.path(f"{_TRIALS}/{_TRIAL_PREFIX}{interface}{_SUFFIX}")


def _timer(interface: str) -> str:
    return f"{_TIMER}-{interface}"
