"""The clock: whether something keeps it right, and how far off it is (in the child, which may ask a time server)."""

from __future__ import annotations

import ipaddress

from appliance.errors import UnavailableError
from appliance.host import clock
from appliance.language import _
from appliance.services.doctoring.finding import Finding

SERVERS = ("0.debian.pool.ntp.org", "time.cloudflare.com")
"""Asked where the system has none of its own."""
FINE, TOO_FAR = 1.0, 60.0
"""Seconds off up to which nobody notices, and from which codes of the second factor and signatures fail."""


def examine(now: clock.Clock, *, by_name: bool = True) -> Finding:
    """How the clock is; without ``by_name`` only time servers that are given by their address are asked."""
    servers = now.servers[:2] or SERVERS
    off = _offset(servers if by_name else tuple(filter(_is_address, servers)))
    mend = _("Switch time servers on: `timedatectl set-ntp true`, or in the console. They need UDP port 123.")
    if off is None:
        if now.synchronised:
            return Finding("clock", "ok", _("Time servers keep it; none answers just now."))
        return Finding("clock", "warning", _("Nothing keeps it, and no time server answers."), mend)
    words = _("It is {seconds:.2f} seconds off.").format(seconds=abs(off))
    if abs(off) > TOO_FAR:
        return Finding("clock", "problem", words, mend)
    if now.synchronised or now.ntp:
        kept = f"{_('Time servers keep it.')} {words}"
        return Finding("clock", "ok", kept) if abs(off) <= FINE else Finding("clock", "warning", kept, mend)
    if abs(off) <= FINE:
        # In a container or a virtual machine the host may keep it, which nobody here is told of.
        return Finding("clock", "ok", f"{words} {_('Nothing on this machine keeps it: its host may.')}")
    return Finding("clock", "warning", f"{words} {_('Nothing on this machine keeps it.')}", mend)


def _is_address(server: str) -> bool:
    try:
        ipaddress.ip_address(server)
    except ValueError:
        return False
    return True


def _offset(servers: tuple[str, ...]) -> float | None:
    for server in servers:
        try:
            return clock.offset(server)
        except UnavailableError:
            continue
    return None
