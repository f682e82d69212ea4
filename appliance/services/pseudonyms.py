"""Pseudonyms: a text without the addresses, host names and people in it, in which equal ones still look equal.

The same name gets the same pseudonym in every bundle of one archive, and another in that of another archive: it is
made of a keyed hash. What is known by name (the archive's own addresses, hosts, people) is replaced wherever it stands;
beside that, whatever looks like an address, a host name or an IP address.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable

SHORTEST_NAME = 3
"""Characters of a person's name from which on it is looked for: shorter ones are parts of words."""

_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@(?:[\w-]+\.)*[\w-]+", re.UNICODE)
_UNIT = re.compile(r"mailkeep-[a-z0-9]+@[a-z0-9]+(?:\.service)?")  # an instance of a unit, systemd.unit(5)
_HOST = re.compile(r"\b(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)+(?P<last>[a-z][a-z0-9-]{1,62})\b", re.IGNORECASE)
_IPV4 = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)

_NO_HOSTS = frozenset({
    "py", "pyc", "so", "json", "db", "service", "socket", "target", "timer", "path", "log", "conf", "pem", "mkv", "mka",
    "seal", "sock", "new", "key", "csv", "txt", "tsr", "eml", "zip", "html", "css", "js", "keyfile", "servicekey",
    "slice", "scope", "mount", "d", "gz", "whl", "toml", "deb", "setup", "auth",
})  # fmt: skip
"""Last parts of names that are files and units, not hosts."""
_NO_HOST_BEGINS = ("appliance.", "gateway.", "webadmin.", "tui.", "mailkeep.", "python", "uvicorn.", "litestar.")


class Pseudonyms:
    """Replaces names in texts. ``key`` is secret and stays the same for an archive."""

    def __init__(
        self, key: bytes, *, addresses: Iterable[str] = (), hosts: Iterable[str] = (), people: Iterable[str] = ()
    ) -> None:
        self._key = key
        known = {address.lower(): self.address(address) for address in addresses if address}
        known |= {host.lower(): self.host(host) for host in hosts if host}
        known |= {name.lower(): self.person(name) for name in people if len(name) >= SHORTEST_NAME}
        self._known = known
        longest_first = sorted(map(re.escape, known), key=len, reverse=True)
        self._pattern = (
            re.compile(r"(?<![\w@])(?:" + "|".join(longest_first) + r")(?!\w)", re.IGNORECASE) if known else None
        )

    def redact(self, text: str) -> str:
        """``text`` with pseudonyms."""
        text = _ADDRESS.sub(self._if_address, text)
        if self._pattern is not None:
            text = self._pattern.sub(lambda found: self._known.get(found.group().lower(), "…"), text)
        text = _HOST.sub(self._if_host, text)
        text = _IPV4.sub(self._if_number, text)
        return _IPV6.sub(self._if_number, text)

    def address(self, address: str) -> str:
        """For an address: its domain can be recognised among others, too."""
        domain = address.rpartition("@")[2]
        return f"address-{self._mark(address)}@{self.host(domain)}"

    def host(self, host: str) -> str:
        """For a host name or a domain."""
        return f"host-{self._mark(host)}"

    def person(self, name: str) -> str:
        """For a name."""
        return f"person-{self._mark(name)}"

    def _if_address(self, found: re.Match[str]) -> str:
        return found.group() if _UNIT.fullmatch(found.group()) else self.address(found.group())

    def _if_host(self, found: re.Match[str]) -> str:
        name = found.group()
        if found["last"].lower() in _NO_HOSTS or name.lower().startswith(_NO_HOST_BEGINS):
            return name
        return self.host(name)

    def _if_number(self, found: re.Match[str]) -> str:
        try:
            number = ipaddress.ip_address(found.group())
        except ValueError:
            return found.group()
        return found.group() if number.is_loopback or number.is_unspecified else f"ip-{self._mark(str(number))}"

    def _mark(self, name: str) -> str:
        return hmac.new(self._key, name.lower().encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:8]
