"""NetworkManager: its connections, and a change that it takes back itself.

A checkpoint (org.freedesktop.NetworkManager, CheckpointCreate) remembers an interface and its connection; unless it is
destroyed in time, NetworkManager rolls back to it, whatever has become of who asked for it.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from appliance.errors import ConflictError, UnavailableError
from appliance.host.machine import Machine
from appliance.host.plans import Dhcp, Plan, Static, Trial
from appliance.language import _

_SERVICE = "org.freedesktop.NetworkManager"
_OBJECT = "/org/freedesktop/NetworkManager"
_UP_SECONDS = 45.0


def uses_dhcp(interface: str, machine: Machine) -> bool | None:
    """Whether its connection asks for an address; None where it has no connection."""
    connection = _asked("GENERAL.CON-UUID", "device", "show", interface, machine=machine)
    if not connection:
        return None
    return _asked("ipv4.method", "connection", "show", connection, machine=machine) == "auto"


def begin(plan: Plan, seconds: float, machine: Machine) -> Trial:
    """Set the interface as ``plan`` says, for ``seconds``. Raises ConflictError, UnavailableError."""
    device = _asked("GENERAL.DBUS-PATH", "device", "show", plan.interface, machine=machine)
    connection = _asked("GENERAL.CON-UUID", "device", "show", plan.interface, machine=machine)
    if not device or not connection:
        text = _("NetworkManager has no connection for {interface}. Plug it in, or make one with nmtui.")
        raise ConflictError(text.format(interface=plan.interface))
    checkpoint = _call(machine, "CheckpointCreate", "aouu", "1", device, str(math.ceil(seconds)), "0")
    trial = Trial(plan.interface, time.time() + seconds, str(checkpoint))
    try:
        machine.must_run("nmcli", "connection", "modify", connection, *_settings(plan))
        machine.must_run("nmcli", "--wait", "30", "connection", "up", connection, seconds=_UP_SECONDS)
    except BaseException:
        undo(trial, machine)
        raise
    return trial


def confirm(trial: Trial, machine: Machine) -> None:
    """Forget the way back. Raises ConflictError where it was gone already."""
    try:
        _call(machine, "CheckpointDestroy", "o", trial.checkpoint)
    except UnavailableError as error:
        if pending(machine) is None:
            text = _("Nobody confirmed the change in time, so it was taken back. Nothing was changed.")
            raise ConflictError(text) from error
        raise


def undo(trial: Trial, machine: Machine) -> None:
    """Go back now. Raises UnavailableError."""
    _call(machine, "CheckpointRollback", "o", trial.checkpoint, seconds=_UP_SECONDS)


def pending(machine: Machine) -> Trial | None:
    """The checkpoint that waits."""
    for checkpoint in _property(machine, _OBJECT, _SERVICE, "Checkpoints") or ():
        kind = f"{_SERVICE}.Checkpoint"
        created = _property(machine, checkpoint, kind, "Created")  # ms of CLOCK_BOOTTIME
        wait = _property(machine, checkpoint, kind, "RollbackTimeout")  # seconds
        devices = _property(machine, checkpoint, kind, "Devices")
        if created is None or not wait or not devices:
            continue
        name = _property(machine, devices[0], f"{_SERVICE}.Device", "Interface")
        left = created / 1000 + wait - time.clock_gettime(time.CLOCK_BOOTTIME)
        return Trial(str(name or ""), time.time() + left, str(checkpoint))
    return None


def _settings(plan: Plan) -> list[str]:
    """The plan as properties of a connection (nm-settings-nmcli(5))."""
    match plan:
        case Dhcp():
            names = ("addresses", "gateway", "dns", "dns-search")
            return [
                *("ipv4.method", "auto", "ipv6.method", "auto"),
                *(word for family in ("ipv4", "ipv6") for name in names for word in (f"{family}.{name}", "")),
            ]
        case Static():
            return [*_family(plan, 4, "disabled"), *_family(plan, 6, "auto")]


def _family(plan: Static, version: int, without: str) -> list[str]:
    def own(values: tuple[str, ...]) -> list[str]:
        return [one for one in values if (":" in one) == (version == 6)]

    addresses = own(plan.addresses)
    prefix = f"ipv{version}"
    return [
        *(f"{prefix}.addresses", ",".join(addresses), f"{prefix}.gateway", (own(plan.gateways) or [""])[0]),
        *(f"{prefix}.dns", ",".join(own(plan.dns)) if addresses else ""),
        *(f"{prefix}.dns-search", ",".join(plan.domains) if addresses else ""),
        *(f"{prefix}.method", "manual" if addresses else without),
    ]


def _asked(field: str, *words: str, machine: Machine) -> str:
    answer = machine.run("nmcli", "--escape", "no", "-g", field, *words)
    return answer.out.strip() if answer.ok else ""


def _call(machine: Machine, method: str, *words: str, seconds: float = 10.0) -> Any:
    out = machine.must_run(
        "busctl", "--json=short", "call", _SERVICE, _OBJECT, _SERVICE, method, *words, seconds=seconds
    )
    return _first(out)


def _property(machine: Machine, place: str, kind: str, name: str) -> Any:
    answer = machine.run("busctl", "--json=short", "get-property", _SERVICE, place, kind, name)
    if not answer.ok:
        return None
    try:
        return json.loads(answer.out)["data"]
    except (ValueError, KeyError, TypeError):
        return None


def _first(out: str) -> Any:
    try:
        return json.loads(out)["data"][0]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
