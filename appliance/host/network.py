"""The machine's network: what is set, and changing it with a way back.

A change is tried first: unless somebody who still reaches the machine confirms it, the machine itself takes it back,
whatever has become of the process that began it. Two managers of networks are known, systemd-networkd (``networkd``)
and NetworkManager (``networkmanager``); where neither runs the network, it can only be looked at.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any, Literal

import msgspec

from appliance.errors import ConflictError, NotFoundError, UsageError
from appliance.host import networkd, networkmanager
from appliance.host.machine import MACHINE, Machine
from appliance.host.plans import Dhcp, Plan, Static, Trial
from appliance.language import _

__all__ = [
    "Dhcp", "Interface", "Manager", "Network", "Plan", "Static", "Trial", "begin", "check", "confirm", "current",
    "pending", "undo",
]  # fmt: skip

TRIAL_SECONDS = 60.0
"""How long a change waits to be confirmed."""

Manager = Literal["networkd", "networkmanager", "ifupdown", "none"]


class Interface(msgspec.Struct, frozen=True):
    """One network card (no loopback, no bridge of containers).

    ``addresses`` have their prefix length (192.0.2.7/24), without link-local ones; ``dhcp`` is None where nobody tells.
    """

    name: str
    mac: str
    up: bool
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dhcp: bool | None = None


class Network(msgspec.Struct, frozen=True):
    """The network as it is; ``read_only`` says why it cannot be changed from here, if so."""

    manager: Manager
    interfaces: tuple[Interface, ...]
    read_only: str = ""


def current(machine: Machine = MACHINE) -> Network:
    """What is set. Raises UnavailableError where the system's tools do not answer."""
    manager = _manager(machine)
    return Network(manager, _interfaces(machine, manager), _why_read_only(machine, manager))


def check(plan: Plan) -> Plan:
    """``plan`` if it makes sense, addresses in their usual form. Raises UsageError in words."""
    if isinstance(plan, Dhcp):
        return plan
    own = tuple(map(_with_prefix, plan.addresses))
    if not own:
        raise UsageError(_("Give at least one address with its prefix length, as 192.0.2.10/24."))
    gateways = tuple(_address(gateway, _("the gateway")) for gateway in plan.gateways)
    for gateway in gateways:
        if not any(gateway in one.network or gateway.is_link_local for one in own if one.version == gateway.version):
            text = _("The gateway {gateway} is in none of the networks of {addresses}, so it cannot be reached.")
            raise UsageError(text.format(gateway=gateway, addresses=", ".join(map(str, own))))
        if any(gateway == one.ip for one in own):
            raise UsageError(_("{address} cannot be this machine's address and the gateway's.").format(address=gateway))
    servers = tuple(_address(server, _("a name server")) for server in plan.dns)
    for domain in plan.domains:
        if not domain or set(domain) & set(" \t\r\n;,="):
            raise UsageError(_("“{domain}” is no domain.").format(domain=domain))
    return Static(
        plan.interface, tuple(map(str, own)), tuple(map(str, gateways)), tuple(map(str, servers)), plan.domains
    )


def begin(plan: Plan, seconds: float = TRIAL_SECONDS, machine: Machine = MACHINE) -> Trial:
    """Apply ``plan`` now; the machine takes it back after ``seconds`` unless it is confirmed.

    Raises UsageError where it makes no sense or may not be changed from here, NotFoundError for an unknown interface,
    ConflictError while another change waits, UnavailableError where the system refuses (what was set before stays).
    """
    plan = check(plan)
    network = current(machine)
    if network.read_only:
        raise UsageError(network.read_only)
    interface = next((one for one in network.interfaces if one.name == plan.interface), None)
    if interface is None:
        raise NotFoundError(_("This machine has no network interface {name}.").format(name=plan.interface))
    if pending(machine) is not None:
        raise ConflictError(_("Another change of the network waits to be confirmed. Confirm it or take it back first."))
    if network.manager == "networkmanager":
        return networkmanager.begin(plan, seconds, machine)
    if isinstance(plan, Static) and not networkd.sets_name_servers(machine) and set(plan.dns) - set(interface.dns):
        text = _(
            "Name servers are set in /etc/resolv.conf here, which systemd-networkd does not write. Leave them as they "
            "are ({servers}), or install systemd-resolved."
        )
        raise UsageError(text.format(servers=", ".join(interface.dns) or "–"))
    return networkd.begin(plan, seconds, machine)


def confirm(trial: Trial, machine: Machine = MACHINE) -> None:
    """Keep the change. Raises ConflictError where it was taken back already, StorageError, UnavailableError."""
    (networkmanager if trial.checkpoint else networkd).confirm(trial, machine)


def undo(trial: Trial, machine: Machine = MACHINE) -> None:
    """Take the change back now. Raises UnavailableError; the machine still does it by itself then."""
    (networkmanager if trial.checkpoint else networkd).undo(trial, machine)


def pending(machine: Machine = MACHINE) -> Trial | None:
    """The change that waits to be confirmed, whoever began it."""
    manager = _manager(machine)
    if manager == "networkmanager":
        return networkmanager.pending(machine)
    return networkd.pending(machine) if manager == "networkd" else None


def _manager(machine: Machine) -> Manager:
    if machine.has_systemd:
        if machine.run("systemctl", "is-active", "NetworkManager.service").ok:
            return "networkmanager"
        if machine.run("systemctl", "is-active", "systemd-networkd.service").ok and networkd.manages(machine):
            return "networkd"
    files = [machine.path("/etc/network/interfaces"), *sorted(machine.path("/etc/network/interfaces.d").glob("*"))]
    return "ifupdown" if any(map(_has_interface, files)) else "none"


def _has_interface(file: Path) -> bool:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(words[:1] == ["iface"] and words[1:2] != ["lo"] for words in map(str.split, lines))


def _why_read_only(machine: Machine, manager: Manager) -> str:
    if manager == "ifupdown":
        return _("This system keeps its network in /etc/network/interfaces. Change it there; here it is only shown.")
    if manager == "none":
        return _("Neither systemd-networkd nor NetworkManager runs this network, so it is only shown here.")
    return machine.why_read_only()


def _interfaces(machine: Machine, manager: Manager) -> tuple[Interface, ...]:
    links = _ip(machine, "address")
    routes = [*_ip(machine, "route", "show", "default"), *_ip(machine, "-6", "route", "show", "default")]
    common = _name_servers(machine)
    found = []
    for link in links:
        name = link["ifname"]
        gateways = tuple(one["gateway"] for one in routes if one.get("dev") == name and "gateway" in one)
        told = networkd.seen(link["ifindex"], machine) if manager == "networkd" else None
        # In a container no card is behind what leads outside.
        is_card = told is not None or gateways or machine.path(f"/sys/class/net/{name}/device").exists()
        if link.get("link_type") != "ether" or not is_card:
            continue
        dhcp = told.dhcp if told else None
        addresses = [f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"]
        found.append(
            Interface(
                name, link.get("address", ""), "LOWER_UP" in link.get("flags", ()), tuple(addresses), gateways,
                (told.dns if told else ()) or common,
                networkmanager.uses_dhcp(name, machine) if manager == "networkmanager" else dhcp,
            )
        )  # fmt: skip
    return tuple(found)


def _ip(machine: Machine, *words: str) -> list[dict[str, Any]]:
    answer = machine.run("ip", "-json", *words)
    try:
        found: list[dict[str, Any]] = json.loads(answer.out or "[]") if answer.ok else []
    except ValueError:
        found = []
    return [one for one in found if one]  # older versions of ip(8) print {} for what they leave out


def _name_servers(machine: Machine) -> tuple[str, ...]:
    text = machine.read("/run/systemd/resolve/resolv.conf") or machine.read("/etc/resolv.conf")
    return tuple(words[1] for words in map(str.split, text.splitlines()) if words[:1] == ["nameserver"] and words[1:])


def _with_prefix(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        if "/" not in text:
            raise ValueError
        found = ipaddress.ip_interface(text.strip())
    except ValueError:
        message = _("“{text}” is no address with its prefix length, as 192.0.2.10/24.")
        raise UsageError(message.format(text=text)) from None
    whole_network = found.network.num_addresses > 2 and found.ip in (
        found.network.network_address,
        found.network.broadcast_address if found.version == 4 else found.network.network_address,
    )
    if whole_network or found.is_loopback or found.is_multicast or found.is_unspecified:
        raise UsageError(_("{text} cannot be the address of a machine.").format(text=text))
    return found


def _address(text: str, what: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        raise UsageError(_("“{text}” is no address for {what}.").format(text=text, what=what)) from None
