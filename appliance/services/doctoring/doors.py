"""Doors: whether what should listen does, answers, and shows the right certificate; and who else holds a port."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import msgspec

from appliance import decoding
from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services.certificates import read
from appliance.services.doctoring.finding import Finding
from appliance.services.doctoring.memory import may
from appliance.services.doctoring.subject import Subject
from appliance.services.paths import Paths

SECONDS = 5.0
USUAL = {"smtp": 25, "http": 443, "pop3s": 995}
"""Where an installed appliance listens; looked at where nothing is served."""

_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_PROC = Path("/proc")
_LISTENING = "0A"  # proc_net_tcp(5)
_CAP_NET_BIND_SERVICE = 10
_NAMES = {"smtp": "SMTP", "http": "HTTPS", "pop3s": "POP3S", "pop3": "POP3", "redirect": "HTTP"}
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound


def ports(paths: Paths, proc: Path = _PROC) -> Iterator[Finding]:
    """Each place where the product listens, by connecting to it; where it does not, whether it could."""
    try:
        places = decoding.from_json(paths.listening.read_bytes(), dict[str, list[str]])
    except (OSError, msgspec.DecodeError):
        places = {}
    if not (places and paths.local_socket.exists()):
        yield from _not_served(proc)
        return
    for kind, served in places.items():
        for place in served:
            yield _door(kind, place, paths)


def _not_served(proc: Path) -> Iterator[Finding]:
    held = {port: who for port in USUAL.values() if (who := holder(port, proc)) is not None}
    for port, who in held.items():
        text = _("{who} listens on port {port}, so mailkeep cannot.").format(who=who or _("Another program"), port=port)
        mend = _("Stop it for good: `systemctl disable --now {who}`.").format(who=who or "…")
        yield Finding("ports", "problem", text, mend)
    if not held:
        yield _may_listen()


def _may_listen() -> Finding:
    try:
        first = int(_UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        first = 1024
    if os.geteuid() == 0 or first <= USUAL["smtp"] or may(_CAP_NET_BIND_SERVICE):
        return Finding("ports", "ok", _("Nothing is served now; ports 25, 443 and 995 are free."))
    return Finding(
        "ports", "warning",
        _("This user may listen from port {first} on.").format(first=first),
        _("For 25, 443 and 995 use the package's units, AmbientCapabilities=CAP_NET_BIND_SERVICE in your own, or run "
          "it as root."),
    )  # fmt: skip


def _door(kind: str, place: str, paths: Paths) -> Finding:
    what = f"port {place.rpartition(':')[2]}"
    host, _colon, port = place.rpartition(":")
    host = _ANYWHERE.get(host.strip("[]"), host.strip("[]"))
    name = _NAMES.get(kind, kind)
    try:
        with socket.create_connection((host, int(port)), timeout=SECONDS) as door:
            problem = _greeting(kind, door, paths)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or _("no answer in time")
        return Finding(
            what, "problem",
            _("{name} does not answer at {place} ({reason}).").format(name=name, place=place, reason=reason),
            _("`journalctl -u 'mailkeep*'` says why. Restart the service in the console, or with systemctl."),
        )  # fmt: skip
    if problem:
        return Finding(what, "problem", problem, _("Restart the service in the console, or with systemctl."))
    return Finding(what, "ok", _("{name} answers at {place}.").format(name=name, place=place))


def _greeting(kind: str, door: socket.socket, paths: Paths) -> str:
    """What is wrong with how the door answers; empty where nothing is."""
    if kind == "smtp":
        banner = door.recv(512).decode("ascii", "replace")
        return "" if banner.startswith("220") else _("It says “{banner}”.").format(banner=banner.strip()[:100])
    if kind in ("http", "pop3s"):
        return _shown(door, paths)
    return ""


def _shown(door: socket.socket, paths: Paths) -> str:
    try:
        expected = read(paths.tls, "localhost").fingerprint.replace(":", "").lower()
    except (MailkeepError, OSError):
        return ""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whose it is, is the certificate's own finding
    try:
        with context.wrap_socket(door) as secure:
            shown = hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
    except ssl.SSLError:
        return ""  # on a loopback the web speaks plain HTTP
    return "" if shown == expected else _("It shows another certificate than the one in use.")


def outside(subject: Subject) -> Iterator[Finding]:
    """Whether the machine is reached by its name, as mail servers do it (in the child that may ask the network)."""
    try:
        with socket.create_connection((subject.host_name, USUAL["smtp"]), timeout=SECONDS) as door:
            door.settimeout(SECONDS)
            greeted = door.recv(512).startswith(b"220")
    except OSError:
        greeted = False
    what = _("{name}, port 25").format(name=subject.host_name)
    if greeted:
        yield Finding(what, "ok", _("A mail server answers there."))
    else:
        yield Finding(
            what, "warning",
            _("From here no mail server answers at that name."),
            _("Forward port 25 of the router or firewall to this machine. Some routers do not lead back in what comes "
              "from inside: then look from elsewhere, with `swaks --server {name}:25 --quit-after HELO`.").format(
                  name=subject.host_name),
        )  # fmt: skip


def holder(port: int, proc: Path = _PROC) -> str | None:
    """The program that listens on a port: its name, or "" where only root may know; None where nobody does."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        fields = map(str.split, lines)
        inodes |= {one[9] for one in fields if one[3] == _LISTENING and int(one[1].rpartition(":")[2], 16) == port}
    if not inodes:
        return None
    for process in proc.glob("[0-9]*"):
        try:
            ends = {os.readlink(link) for link in (process / "fd").iterdir()}  # noqa: PTH115 - not a path of files
            if ends & {f"socket:[{inode}]" for inode in inodes}:
                return re.sub(r"[^\w.+-]", "", (process / "comm").read_text())
        except OSError:
            continue
    return ""
