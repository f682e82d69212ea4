"""DNS: whether the machine's name leads to it, and whether mail for its mailboxes does (in the child).

Sources: RFC 1035, RFC 5321 section 5.1 (how mail finds its way), RFC 2181 section 10.3 (no alias in an MX record),
RFC 1912 section 2.1 (PTR).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import dns.exception
import dns.resolver
import dns.reversename

from appliance.errors import UsageError
from appliance.language import _
from appliance.services.doctoring.finding import Finding
from appliance.services.doctoring.subject import Subject

SECONDS = 5.0
"""How long one question may take, with all its repetitions."""
MOST_DOMAINS = 50
SILENT = "DNS"
"""What the finding is about that no name server answers."""

_PORT = 53


class _Silent(Exception):  # noqa: N818 - no error of the product
    """No name server answered."""


class Names:
    """Questions to the system's name servers, or to one that is given."""

    def __init__(self, resolver: str = "") -> None:
        """``resolver`` is an address, or address:port ([address]:port for IPv6). Raises UsageError."""
        if not resolver:
            self._resolver = dns.resolver.Resolver()
            return
        self._resolver = dns.resolver.Resolver(configure=False)
        address, port = parse_resolver(resolver)
        self._resolver.nameservers = [address]
        self._resolver.port = port

    def ask(self, name: str, kind: str) -> tuple[str, ...]:
        """The records, as text; none where there are none. Raises _Silent where nobody answers."""
        try:
            answer = self._resolver.resolve(name, kind, search=False, lifetime=SECONDS)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.DNSException, OSError) as error:
            raise _Silent(str(error)) from error
        return tuple(record.to_text() for record in answer)

    def addresses(self, name: str) -> tuple[str, ...]:
        """IPv4 and IPv6 addresses."""
        return (*self.ask(name, "A"), *self.ask(name, "AAAA"))


def parse_resolver(text: str) -> tuple[str, int]:
    """Address and port of a name server. Raises UsageError."""
    address, port = text, str(_PORT)
    if text.startswith("[") and "]" in text:
        address, _bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        address, _colon, port = text.partition(":")
    try:
        ipaddress.ip_address(address)
        number = int(port)
        if not 0 < number < 65536:
            raise ValueError
    except ValueError:
        raise UsageError(_("“{text}” is not the address of a name server.").format(text=text)) from None
    return address, number


def examine(subject: Subject, own: tuple[str, ...]) -> Iterator[Finding]:
    """All about the subject's names; ``own`` are the machine's addresses."""
    if "." not in subject.host_name:
        yield Finding(
            "host name", "problem",
            _("“{name}” is only the first part of a name, so nobody outside finds this machine by it.").format(
                name=subject.host_name),
            _("Give it its whole name, as archive.example.com, in the console."),
        )  # fmt: skip
        return
    names = Names(subject.resolver)
    try:
        found = names.addresses(subject.host_name)
        yield _host(subject.host_name, found, own)
        yield from _reverse(names, subject.host_name, found)
        for domain in subject.domains[:MOST_DOMAINS]:
            yield _mail(names, domain, subject.host_name)
    except _Silent:
        yield Finding(
            SILENT, "problem",
            _("No name server answers this machine."),
            _("Look at the name servers in the network settings, and whether a firewall keeps port 53 shut."),
        )  # fmt: skip


def _host(name: str, found: tuple[str, ...], own: tuple[str, ...]) -> Finding:
    what = _("address of {name}").format(name=name)
    # IPv4 first: some senders have nothing else.
    here = sorted((one for one in own if not ipaddress.ip_address(one).is_loopback), key=lambda one: ":" in one)
    if not found:
        record = f"{name}. A {here[0]}" if here else f"{name}. A …"
        kind = "AAAA" if here and ":" in here[0] else "A"
        return Finding(
            what, "problem",
            _("{name} leads nowhere, so mail servers do not find this machine.").format(name=name),
            _("Make this record in the domain's DNS: {record}").format(record=record.replace(" A ", f" {kind} ")),
        )  # fmt: skip
    leads = ", ".join(found)
    if set(found) & set(own):
        return Finding(what, "ok", _("{name} leads here ({addresses}).").format(name=name, addresses=leads))
    if all(_is_loopback(one) for one in found):
        return Finding(
            what, "problem",
            _("{name} leads to {addresses}, which is every machine itself.").format(name=name, addresses=leads),
            _("Correct the record in the domain's DNS."),
        )  # fmt: skip
    if all(_is_behind_a_router(one, own) for one in found):
        text = _("{name} leads to {addresses}. This machine has {own}: a router has to lead ports 25 and 443 on to it.")
        return Finding(what, "ok", text.format(name=name, addresses=leads, own=", ".join(here)))
    return Finding(
        what, "warning",
        _("{name} leads to {addresses}, but this machine has {own}.").format(
            name=name, addresses=leads, own=", ".join(here) or "–"),
        _("Correct the record, unless something in between leads ports 25 and 443 on to this machine."),
    )  # fmt: skip


def _reverse(names: Names, name: str, found: tuple[str, ...]) -> Iterator[Finding]:
    """The way back from public addresses. Receiving works without; what the machine sends itself is judged by it."""
    for address in (one for one in found if not _is_private(one)):
        told = names.ask(str(dns.reversename.from_address(address)), "PTR")
        back = tuple(one.rstrip(".").lower() for one in told)
        what = _("name of {address}").format(address=address)
        if name in back:
            yield Finding(what, "ok", _("{address} leads back to {name}.").format(address=address, name=name))
        else:
            yield Finding(
                what, "warning",
                _("{address} leads back to {names}, not to {name}. Mail still comes in; what this machine sends may be "
                  "taken for spam.").format(address=address, names=", ".join(back) or _("nothing"), name=name),
                _("Ask whoever gave you the address for this record: {address} PTR {name}.").format(
                    address=address, name=name),
            )  # fmt: skip


def _mail(names: Names, domain: str, host: str) -> Finding:
    what = _("mail for {domain}").format(domain=domain)
    records = names.ask(domain, "MX")
    targets = tuple(one.split()[-1].rstrip(".").lower() for one in records)
    if not records or targets == ("",):
        if not records and (domain == host or set(names.addresses(domain)) & set(names.addresses(host))):
            # RFC 5321 section 5.1: without an MX record the address counts.
            return Finding(what, "ok", _("Comes to {host} by its address; there is no MX record.").format(host=host))
        return Finding(
            what, "problem",
            _("No MX record says where mail for {domain} goes.").format(domain=domain),
            _("Make this record in the domain's DNS: {record}").format(record=f"{domain}. MX 10 {host}."),
        )  # fmt: skip
    for target in targets:
        if names.ask(target, "CNAME"):
            return Finding(
                what, "problem",
                _("The MX record of {domain} names {target}, which is an alias: some servers refuse that.").format(
                    domain=domain, target=target),
                _("Let the MX record name the host itself: {record}").format(record=f"{domain}. MX 10 {host}."),
            )  # fmt: skip
    if host in targets:
        return Finding(what, "ok", _("Comes to {host}.").format(host=host))
    return Finding(
        what, "warning",
        _("Goes to {targets}, not to {host}.").format(targets=", ".join(targets), host=host),
        _("That is right only where the senders have a connector that leads to {host}. Else: {record}").format(
            host=host, record=f"{domain}. MX 10 {host}."),
    )  # fmt: skip


def _is_behind_a_router(address: str, own: tuple[str, ...]) -> bool:
    """Whether a public address can be this machine's to the outside: it has only private ones of that kind itself."""
    same = [one for one in own if (":" in one) == (":" in address) and not ipaddress.ip_address(one).is_link_local]
    return not _is_private(address) and bool(same) and all(map(_is_private, same))


def _is_private(address: str) -> bool:
    return not ipaddress.ip_address(address).is_global


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
