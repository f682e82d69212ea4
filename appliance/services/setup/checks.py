"""The test of each step: it uses what was set up, over the network where that is how others will use it.

None raises for what it finds: each answers with findings in words, and with what to do about them. Whether to go on
with a warning is the administrator's decision, since some of it (DNS, a firewall) takes others to mend.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import dns.exception
import dns.rdatatype
import dns.resolver
import msgspec

from appliance.errors import MailkeepError
from appliance.framing import words_of
from appliance.host import clock, network
from appliance.language import _
from appliance.mail.addresses import domain
from appliance.services import api
from appliance.services.client import ArchiveClient
from appliance.services.paths import Paths

State = Literal["ok", "warning", "problem"]

SECONDS = 10.0
DNS_SECONDS = 5.0
NTP_SECONDS = 3.0
MOST_OFFSET = 2.0
"""Seconds that a clock may be off."""
NTP_SERVER = "pool.ntp.org"
"""Asked where the host names no time server."""

SMTP_PORT, HTTPS_PORT = 25, 443

Lookup = Callable[[str, str], tuple[str, ...]]
"""Name and record type to the records' texts; none where there are none. Raises OSError where nobody answers."""


class Finding(msgspec.Struct, frozen=True):
    """What a test found, and what to do about it."""

    state: State
    text: str
    mend: str = ""


def worst(findings: Sequence[Finding]) -> State:
    """The worst of them; ``ok`` of none."""
    states = {one.state for one in findings}
    return "problem" if "problem" in states else "warning" if "warning" in states else "ok"


def lookup(name: str, kind: str) -> tuple[str, ...]:
    """Ask the name servers of this box. Raises OSError where none answers."""
    try:
        answer = dns.resolver.Resolver().resolve(name, kind, lifetime=DNS_SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        raise OSError(str(error)) from error
    if kind == "MX":
        return tuple(str(one.exchange).rstrip(".").lower() for one in sorted(answer, key=lambda one: one.preference))
    return tuple(str(one).rstrip(".") for one in answer)


# -- the host ---------------------------------------------------------------------------------------------------------


def host(name: str, own: Sequence[str] = (), *, ask: Lookup = lookup) -> list[Finding]:
    """Whether the name leads here. ``own`` are the box's addresses."""
    here = [one for one in own if not ipaddress.ip_address(one).is_link_local]
    target = here[0] if here else _("the address of this box")
    try:
        found = (*ask(name, "A"), *ask(name, "AAAA"))
    except OSError:
        return [_no_dns(name)]
    if not found:
        return [
            Finding(
                "warning",
                _("There is no address for {name} in the DNS yet.").format(name=name),
                _("Make an A record: {name} → {address}.").format(name=name, address=target),
            )
        ]
    if here and not set(found) & set(here):
        return [
            Finding(
                "warning",
                _("{name} leads to {found}, and this box has {own}.").format(
                    name=name, found=", ".join(found), own=", ".join(here)
                ),
                _("That is right behind a router that forwards ports 25 and 443 to this box. Else correct the record."),
            )
        ]
    return [Finding("ok", _("{name} leads to {found}.").format(name=name, found=", ".join(found)))]


def reached_network(*, ask: Lookup = lookup, current: Callable[[], network.Network] = network.current) -> list[Finding]:
    """Whether there is an address, a way out, and a name server that answers."""
    return list(_network(ask, current))


def _network(ask: Lookup, current: Callable[[], network.Network]) -> Iterator[Finding]:
    interfaces = [one for one in current().interfaces if one.name != "lo" and one.addresses]
    if not interfaces:
        yield Finding("problem", _("No interface has an address."), _("Look at the cable, or give it an address here."))
    for one in interfaces:
        yield Finding(
            "ok" if one.up else "warning",
            _("{interface} has {addresses}.").format(interface=one.name, addresses=", ".join(one.addresses)),
        )
    if interfaces and not any(one.gateways for one in interfaces):
        yield Finding("warning", _("No router is known: this box reaches its own network only."), _("Give a gateway."))
    try:
        ask(".", "NS")
        yield Finding("ok", _("A name server answers."))
    except OSError:
        yield _no_dns(".")


def time_kept(
    *, current: Callable[[], clock.Clock] = clock.current, offset: Callable[[str, float], float] = clock.offset
) -> list[Finding]:
    """Whether the clock is right, by asking a time server."""
    now = current()
    server = now.servers[0] if now.servers else NTP_SERVER
    try:
        off = offset(server, NTP_SECONDS)
    except MailkeepError:
        return [
            Finding(
                "warning",
                _("The time server {server} does not answer, so nobody knows whether the clock is right.").format(
                    server=server
                ),
                _("Let UDP port 123 out, or name a time server in your own network."),
            )
        ]
    if abs(off) > MOST_OFFSET:
        return [
            Finding(
                "problem",
                _("The clock is {seconds} seconds off, says {server}.").format(seconds=round(off), server=server),
                _("Switch on time from the network; it is corrected within minutes."),
            )
        ]
    return [Finding("ok", _("The clock is right, says {server}.").format(server=server))]


# -- the archive ------------------------------------------------------------------------------------------------------


def listens(paths: Paths) -> list[Finding]:
    """Whether each port that the product should listen on answers, asked over the network."""
    found = []
    for name, (address, port) in (("SMTP", smtp_place(paths)), ("HTTPS", https_place(paths))):
        try:
            socket.create_connection((address, port), timeout=SECONDS).close()
            found.append(Finding("ok", _("{name} answers at port {port}.").format(name=name, port=port)))
        except OSError as error:
            found.append(
                Finding(
                    "problem",
                    _("{name} does not answer at port {port} ({reason}).").format(
                        name=name, port=port, reason=_why(error)
                    ),
                    _("Look at the services' logs, and whether something else uses the port."),
                )
            )
    return found


def signs_in(paths: Paths, *, address: str, password: str) -> list[Finding]:
    """Sign in as the web page does, and out again."""

    async def try_it() -> api.SignedIn:
        client = ArchiveClient(paths.web_socket)
        try:
            signed = await client.sign_in(address=address, password=password, totp="", client="set-up")
            await client.sign_out(signed.token)
            return signed
        finally:
            await client.close()

    try:
        asyncio.run(try_it())
    except MailkeepError as error:
        return [Finding("problem", error.message)]
    return [Finding("ok", _("Signed in as {address}, and out again.").format(address=address))]


def encrypts(paths: Paths, name: str) -> list[Finding]:
    """TLS as a browser and a mail server begin it, and whether both would trust the certificate for this name."""
    return [
        *_handshake(_("Browsers"), name, lambda: _https(paths)),
        *_handshake(_("Mail servers"), name, lambda: _smtp(paths)),
    ]


def takes_mail(paths: Paths, address: str) -> list[Finding]:
    """Ask the mail port whether it takes mail for the address, without sending any (RFC 5321 section 3.3)."""
    place, port = smtp_place(paths)
    try:
        with smtplib.SMTP(place, port, timeout=SECONDS) as server:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=_unverified())
                server.ehlo()
            server.mail("")
            code, words = server.rcpt(address)
    except (OSError, smtplib.SMTPException) as error:
        return [Finding("problem", _("The mail port does not answer ({reason}).").format(reason=_why(error)))]
    if code != 250:
        said = words.decode("utf-8", "replace")
        return [
            Finding(
                "problem", _("The mail port does not take {address}: {answer}").format(address=address, answer=said)
            )
        ]
    return [Finding("ok", _("The mail port takes mail for {address}.").format(address=address))]


def routed_here(address: str, name: str, *, ask: Lookup = lookup) -> list[Finding]:
    """Whether mail for the address finds the way to this host: its domain's MX records (RFC 5321 section 5.1)."""
    where = domain(address)
    try:
        found = ask(where, "MX")
    except OSError:
        return [_no_dns(where)]
    mend = _("Make an MX record: {domain} → {name}. Exchange can also be told to send to {name} directly.").format(
        domain=where, name=name
    )
    if not found:
        return [Finding("warning", _("{domain} has no MX record yet.").format(domain=where), mend)]
    if name.lower() not in found:
        return [
            Finding(
                "warning", _("Mail for {domain} goes to {found}.").format(domain=where, found=", ".join(found)), mend
            )
        ]
    return [Finding("ok", _("Mail for {domain} goes to {name}.").format(domain=where, name=name))]


def remote(tested: api.RemoteTested) -> list[Finding]:
    """What the probe of a remote showed."""
    if not tested.passed:
        return [Finding("problem", words_of(tested.words, tested.failure))]
    return [
        Finding(
            "ok",
            _("A probe was written, read back and deleted: {up} MB/s up, {down} MB/s down.").format(
                up=round(tested.up / 1e6, 1), down=round(tested.down / 1e6, 1)
            ),
        )
    ]


# -- where the product listens ----------------------------------------------------------------------------------------


def smtp_place(paths: Paths) -> tuple[str, int]:
    """Where mail servers reach the product from here."""
    return _listening(paths, "smtp", SMTP_PORT)


def https_place(paths: Paths) -> tuple[str, int]:
    """Where browsers do."""
    return _listening(paths, "http", HTTPS_PORT)


def _listening(paths: Paths, name: str, usual: int) -> tuple[str, int]:
    try:
        host_name, _colon, port = json.loads(paths.listening.read_text())[name][0].rpartition(":")
    except (OSError, ValueError, KeyError, IndexError):
        return "127.0.0.1", usual
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host_name, host_name.strip("[]")), int(port)  # noqa: S104 - compared, not bound


def _https(paths: Paths) -> socket.socket:
    return socket.create_connection(https_place(paths), timeout=SECONDS)


def _smtp(paths: Paths) -> socket.socket:
    """A connection on which STARTTLS was answered (RFC 3207)."""
    place, port = smtp_place(paths)
    server = smtplib.SMTP(place, port, timeout=SECONDS)
    server.ehlo()
    code, words = server.docmd("STARTTLS")
    if code != 220 or server.sock is None:
        server.close()
        raise OSError(words.decode("utf-8", "replace"))
    connection = server.sock.dup()
    connection.settimeout(SECONDS)
    server.close()
    return connection


def _handshake(who: str, name: str, connect: Callable[[], socket.socket]) -> list[Finding]:
    try:
        with connect() as plain, _unverified().wrap_socket(plain, server_hostname=name) as secure:
            version, certificate = secure.version(), secure.getpeercert(binary_form=True) or b""
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return [Finding("warning", _("{who}: this port speaks without TLS.").format(who=who))]
        return [Finding("problem", _("{who}: TLS does not begin ({reason}).").format(who=who, reason=_why(error)))]
    except (OSError, smtplib.SMTPException) as error:
        return [Finding("problem", _("{who}: TLS does not begin ({reason}).").format(who=who, reason=_why(error)))]
    print_ = hashlib.sha256(certificate).hexdigest()[:16]
    try:
        with connect() as plain, ssl.create_default_context().wrap_socket(plain, server_hostname=name):
            pass
    except (OSError, smtplib.SMTPException):
        return [
            Finding(
                "warning",
                _("{who} reach this box with {version}, and do not know who signed the certificate ({print}…).").format(
                    who=who, version=version, print=print_
                ),
                _("Encryption works all the same. With a trusted certificate browsers do not warn."),
            )
        ]
    return [
        Finding(
            "ok", _("{who} reach this box with {version} and trust the certificate.").format(who=who, version=version)
        )
    ]


def _unverified() -> ssl.SSLContext:
    """For a test of our own port: who answers is compared by other means."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _no_dns(name: str) -> Finding:
    return Finding(
        "warning",
        _("No name server answers, so nothing is known about {name}.").format(name=name),
        _("Look at the network step: name servers, and whether the router lets this box out."),
    )


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
