"""The clock: time zone, and whether servers keep it right (timedatectl(1), systemd-timesyncd(8), adjtimex(2))."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from datetime import UTC, datetime

import msgspec

from appliance.errors import UnavailableError, UsageError
from appliance.host.machine import MACHINE, Machine
from appliance.host.writing import write_system_file
from appliance.language import _

_ZONES = "/usr/share/zoneinfo"
_ZONE_LIST = f"{_ZONES}/tzdata.zi"
_SERVERS = "/etc/systemd/timesyncd.conf.d/50-mailkeep.conf"
_TIME_ERROR = 5  # adjtimex(2): nothing keeps the clock
_TIMEX_BYTES = 512  # more than struct timex of any architecture; all zero asks and changes nothing

_NTP_PORT = 123
_SINCE_1900 = 2_208_988_800  # seconds from 1900 to 1970
_CLIENT_V4 = 0x23  # RFC 4330 section 4: leap 0, version 4, mode 3 (client)
_SERVER_MODE = 4
_SYNCHRONISED_STRATA = range(1, 16)


class Clock(msgspec.Struct, frozen=True):
    """The clock as it is: ``now`` in seconds since 1970; ``ntp``: servers are to keep it; ``synchronised``: they do."""

    now: float
    zone: str
    ntp: bool
    synchronised: bool
    servers: tuple[str, ...] = ()
    read_only: str = ""


def current(machine: Machine = MACHINE) -> Clock:
    """How the clock is set."""
    told = _told(machine.run("timedatectl", "show").out) if machine.has_systemd else {}
    return Clock(
        now=time.time(),
        zone=told.get("Timezone") or _zone_of(machine),
        ntp=told.get("NTP") == "yes",
        synchronised=told["NTPSynchronized"] == "yes" if "NTPSynchronized" in told else _kernel_is_synchronised(),
        servers=_servers(machine) if told else (),
        read_only=machine.why_read_only(),
    )


def zones(machine: Machine = MACHINE) -> tuple[str, ...]:
    """The time zones that can be chosen, sorted."""
    lines = (line.split() for line in machine.read(_ZONE_LIST).splitlines())
    named = {words[1] if words[0] == "Z" else words[2] for words in lines if len(words) > 2 and words[0] in ("Z", "L")}
    return tuple(sorted({"UTC"} | {name for name in named if "/" in name and not name.startswith("Etc/")}))


def change_zone(zone: str, machine: Machine = MACHINE) -> None:
    """Set the time zone. Raises UsageError for one that there is not, UnavailableError."""
    _may_change(machine)
    if zone not in zones(machine):
        raise UsageError(_("There is no time zone “{zone}”. They are called as Europe/Berlin.").format(zone=zone))
    machine.must_run("timedatectl", "set-timezone", zone)


def change_ntp(on: bool, machine: Machine = MACHINE) -> None:
    """Have time servers keep the clock, or not. Raises UsageError, UnavailableError where there is no such service."""
    _may_change(machine)
    machine.must_run("timedatectl", "set-ntp", "true" if on else "false")


def change_servers(servers: tuple[str, ...], machine: Machine = MACHINE) -> None:
    """Ask these time servers; none means those that the system came with. Raises UsageError, StorageError."""
    _may_change(machine)
    if any(not server or set(server) & set(" \t\r\n#;=[") for server in servers):
        raise UsageError(_("A time server is given by its name or address."))
    write_system_file(machine.path(_SERVERS), f"[Time]\nNTP={' '.join(servers)}\n")
    machine.must_run("systemctl", "try-restart", "systemd-timesyncd.service", seconds=30)


def set_time(seconds: float, machine: Machine = MACHINE) -> None:
    """Set the clock, in seconds since 1970. Raises UsageError where time servers keep it, UnavailableError."""
    _may_change(machine)
    if current(machine).ntp:
        raise UsageError(_("Time servers keep this clock. Switch that off first to set it by hand."))
    machine.must_run("timedatectl", "set-time", f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC")


def offset(server: str, seconds: float = 3.0) -> float:
    """Seconds by which this clock is behind a time server's (negative: ahead), by one question (SNTP, RFC 4330).

    Raises UnavailableError where the server does not answer, or does not know the time itself.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(server, _NTP_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as door:
            door.settimeout(seconds)
            door.connect(address)
            asked = time.time()
            door.send(struct.pack("!B39xQ", _CLIENT_V4, _to_ntp(asked)))
            answer = door.recv(512)
            came = time.time()
    except OSError as error:
        raise UnavailableError(_("The time server {server} does not answer.").format(server=server)) from error
    return _offset(answer, asked, came, server)


def _offset(answer: bytes, asked: float, came: float, server: str) -> float:
    """RFC 4330 section 5: half of what is left when both ways are taken as equally long."""
    if len(answer) < 48:
        raise UnavailableError(_("The time server {server} gave no answer that can be read.").format(server=server))
    flags, stratum, originate, received, sent = struct.unpack("!BB22xQQQ", answer[:48])
    fits = flags & 7 == _SERVER_MODE and stratum in _SYNCHRONISED_STRATA and originate == _to_ntp(asked) and sent
    if not fits:
        raise UnavailableError(_("The time server {server} does not know the time itself.").format(server=server))
    return ((_from_ntp(received) - asked) + (_from_ntp(sent) - came)) / 2


def _to_ntp(seconds: float) -> int:
    return int((seconds + _SINCE_1900) * 2**32) & (2**64 - 1)


def _from_ntp(stamp: int) -> float:
    seconds = stamp / 2**32
    # RFC 4330 section 3: with the first bit clear the time is after 2036-02-07.
    return seconds - _SINCE_1900 + (0 if stamp >> 63 else 2**32)


def _may_change(machine: Machine) -> None:
    if reason := machine.why_read_only():
        raise UsageError(reason)


def _told(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _servers(machine: Machine) -> tuple[str, ...]:
    if not machine.run("systemctl", "is-active", "systemd-timesyncd.service").ok:  # it would be waited for
        return ()
    told = _told(machine.run("timedatectl", "show-timesync").out)
    for key in ("SystemNTPServers", "LinkNTPServers", "RuntimeNTPServers", "FallbackNTPServers"):
        if told.get(key):
            return tuple(told[key].split())
    return ()


def _zone_of(machine: Machine) -> str:
    place = machine.path("/etc/localtime")
    if place.is_symlink():
        _before, found, zone = str(place.readlink()).partition("zoneinfo/")
        if found:
            return zone
    return machine.read("/etc/timezone").strip() or "UTC"


def _kernel_is_synchronised() -> bool:
    try:
        state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return 0 <= state < _TIME_ERROR
