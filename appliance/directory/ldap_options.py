"""An LDAP directory's settings: what was given, completed by what Active Directory and OpenLDAP call things."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec
from sansldap import LDAPFilter

from appliance.errors import UsageError
from appliance.language import later
from appliance.mail.addresses import normalise

Encryption = Literal["tls", "starttls", "none"]

PORTS: Final = {"ldaps": 636, "ldap": 389}


class Server(msgspec.Struct, frozen=True):
    """Where an LDAP server listens, and how the way there is protected."""

    host: str
    port: int
    encryption: Encryption

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Options(msgspec.Struct, frozen=True):
    """An LDAP directory's settings, each of them sensible."""

    servers: tuple[Server, ...]
    base: str
    account: str
    password: str
    ca: str
    people: LDAPFilter
    shared: LDAPFilter | None
    group_filter: LDAPFilter | None
    groups: tuple[str, ...]
    in_chain: bool
    """Whether the server finds members of nested groups by itself (Active Directory's LDAP_MATCHING_RULE_IN_CHAIN)."""
    domains: frozenset[str]
    id: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    login: str
    ignore_referrals: bool

    def context(self) -> ssl.SSLContext:
        """What a server's certificate has to satisfy: the given authority alone where there is one, and its name."""
        context = ssl.create_default_context(cadata=self.ca or None)
        if self.ca:
            # Companies hand out the authority below their root as often as the root: it is trust enough by itself.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


_PRESETS: Final[Mapping[str, Mapping[str, str]]] = {
    "ad": {
        # SAM_USER_OBJECT: users, and neither computers nor trusts; indexed on every domain controller.
        "filter": "(sAMAccountType=805306368)",
        "id": "objectGUID",
        "name": "displayName cn",
        "addresses": "proxyAddresses mail",
        "login": "userPrincipalName",
    },
    "openldap": {
        "filter": "(objectClass=inetOrgPerson)",
        "id": "entryUUID",
        "name": "displayName cn",
        "addresses": "mail mailAlternateAddress mailLocalAddress",
        "login": "uid",
    },
    "custom": {"filter": "", "id": "", "name": "displayName cn", "addresses": "", "login": ""},
}
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+")  # RFC 4512 section 2.5, without options


def read(options: Mapping[str, str]) -> Options:
    """The settings of what the administrator gave. Raises UsageError, which says what to change."""
    given = {key: value.strip() for key, value in options.items()}
    preset = _PRESETS.get(given.get("preset", ""))
    if preset is None:
        raise UsageError(later("The kind of server is ad (Active Directory), openldap or custom."))
    names = {key: given.get(key) or value for key, value in preset.items()}
    if missing := [key for key in ("filter", "id", "addresses") if not names[key]]:
        raise UsageError(later("A custom server needs to be told: {options}."), options=", ".join(missing))
    account, password = given.get("bind_dn", ""), options.get("bind_password", "")
    if bool(account) != bool(password):
        raise UsageError(later("Give both the account and its password, or neither of them to read anonymously."))
    if given.get("referrals", "") not in ("", "ignore"):
        raise UsageError(later("“referrals” is empty or “ignore”."))
    groups = given.get("groups", "")
    by_filter = groups.startswith("(")
    read = Options(
        servers=_servers(given.get("url", ""), given.get("security", "")),
        base=given.get("base", ""),
        account=account,
        password=password,
        ca=given.get("ca", ""),
        people=_filter(names["filter"]),
        shared=_filter(given["shared"]) if given.get("shared") else None,
        group_filter=_filter(groups) if by_filter else None,
        groups=() if by_filter else tuple(filter(None, map(str.strip, groups.splitlines()))),
        in_chain=given["preset"] == "ad",
        domains=frozenset(_domain(one) for one in re.split(r"[\s,;]+", given.get("domains", "")) if one),
        id=_attribute(names["id"]),
        names=tuple(map(_attribute, names["name"].split())),
        addresses=tuple(map(_attribute, names["addresses"].split())),
        login=_attribute(names["login"]) if names["login"] else "",
        ignore_referrals=given.get("referrals") == "ignore",
    )
    try:
        if read.ca:
            read.context()
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            later(
                "What was given as the certificate authority is not a certificate in PEM (-----BEGIN CERTIFICATE-----)."
            )
        ) from error
    return read


def _servers(urls: str, security: str) -> tuple[Server, ...]:
    if security not in ("", "starttls", "none"):
        raise UsageError(later("Encryption is starttls or none; ldaps:// is always encrypted."))
    servers = tuple(_server(url, security) for url in re.split(r"[\s,]+", urls) if url)
    if not servers:
        raise UsageError(later("Name the server, for example ldaps://dc1.example.com."))
    return servers


def _server(url: str, security: str) -> Server:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme not in PORTS or not host or parts.path.strip("/") or parts.query or parts.username is not None:
        shown = re.sub(r"//.*@", "//…@", url)  # somebody may have put a password there
        raise UsageError(
            later("“{url}” is not the address of an LDAP server. It looks like ldaps://dc1.example.com."), url=shown
        )
    if parts.scheme == "ldaps" and security:
        raise UsageError(later("ldaps:// is always encrypted: leave the encryption empty, or use ldap://."))
    encryption: Encryption = "tls" if parts.scheme == "ldaps" else "none" if security == "none" else "starttls"
    return Server(host, port or PORTS[parts.scheme], encryption)


def _filter(text: str) -> LDAPFilter:
    if not text.startswith("("):
        raise UsageError(
            later("“{text}” is not a filter: it stands in brackets, for example (objectClass=inetOrgPerson)."),
            text=text,
        )
    try:
        return LDAPFilter.from_string(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            later("“{text}” is not a filter as RFC 4515 writes it: {reason}."), text=text, reason=error
        ) from error


def _attribute(name: str) -> str:
    if not _ATTRIBUTE.fullmatch(name):
        raise UsageError(later("“{name}” is not the name of an attribute."), name=name)
    return name.lower()


def _domain(text: str) -> str:
    return normalise(f"x@{text.removeprefix('@')}").partition("@")[2]
