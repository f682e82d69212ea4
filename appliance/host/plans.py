"""What an interface of the network is to be set to, and a change that waits to be confirmed."""

from __future__ import annotations

import msgspec


class Dhcp(msgspec.Struct, frozen=True, tag=True):
    """Everything comes from the network (DHCP, router advertisements)."""

    interface: str


class Static(msgspec.Struct, frozen=True, tag=True):
    """Everything is given: addresses with their prefix length, gateways and name servers as plain addresses."""

    interface: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


Plan = Dhcp | Static


class Trial(msgspec.Struct, frozen=True):
    """A change in force that the machine takes back at ``until`` (seconds since 1970) unless it is confirmed.

    ``checkpoint`` is NetworkManager's name for the state before; empty for systemd-networkd.
    """

    interface: str
    until: float
    checkpoint: str = ""
