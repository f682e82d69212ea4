"""What Exchange's settings are, and a source made of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from appliance.errors import UsageError
from appliance.fields import Field
from appliance.language import later
from appliance.mail.addresses import domain, normalise
from appliance.sources.base import Memory, SourceKind
from appliance.sources.connecting import tls_context
from appliance.vendor.microsoft_options import AUTHORITY, CERTIFICATE, CLIENT, SECRET, TENANT, application_of

if TYPE_CHECKING:
    from appliance.sources.ews.source import EwsSource

_PATH: Final = "/EWS/Exchange.asmx"
_LONGEST_TIMEOUT: Final = 3600
_YES: Final = ("yes", "no")

KIND: Final = SourceKind(
    "ews",
    "Exchange",
    "Mailboxes and public folders of an Exchange server of your own (2010 SP2 or later), by Exchange Web Services. "
    "For all mailboxes that a directory names, the user needs the role ApplicationImpersonation, which the test tells "
    "how to give. Exchange Online blocks Exchange Web Services since 1 October 2026, unless a tenant allows an "
    "application, and ends them for good on 1 April 2027: read its mailboxes as Microsoft 365; this here is left for "
    "its public folders, as long as it is allowed.",
    (
        Field(
            "server",
            "Server",
            "Its name, as its certificate has it, or the address of EWS if it is not https://SERVER/EWS/Exchange.asmx",
            required=True,
            place=True,
        ),
        Field(
            "sign_in",
            "Sign in by",
            "ntlm: what Exchange allows from the start. basic: where it is allowed. oauth: an application, for "
            "Exchange Online. Default: ntlm.",
            choices=("ntlm", "basic", "oauth"),
            closed=True,
        ),
        Field("user", "User", r"name@example.com or DOMAIN\name; not for oauth"),
        Field("password", "Password", "Not for oauth", secret=True),
        Field(
            "mailbox",
            "Mailbox",
            "The address of a single mailbox that is not the user's own, such as a shared one; for public folders by "
            "oauth, of somebody who may read them",
        ),
        Field(
            "impersonate",
            "Impersonate",
            "yes: mailboxes are opened by the role ApplicationImpersonation, all that a directory names if none is "
            "given above. no: by the user's own rights. Default: no, and always yes for oauth.",
            choices=_YES,
            closed=True,
        ),
        Field(
            "public",
            "Public folders",
            "yes: the public folders that the user may read, in place of mailboxes. Default: no.",
            choices=_YES,
            closed=True,
        ),
        Field(
            "public_mailbox",
            "Public folder mailbox",
            "The address of the mailbox that holds the public folders, where Exchange does not find it by itself",
            rare=True,
        ),
        msgspec.structs.replace(TENANT, required=False, help=f"For oauth. {TENANT.help}"),
        msgspec.structs.replace(CLIENT, required=False, help=f"For oauth. {CLIENT.help}"),
        msgspec.structs.replace(SECRET, help=f"For oauth. {SECRET.help}"),
        msgspec.structs.replace(CERTIFICATE, help=f"For oauth. {CERTIFICATE.help}"),
        msgspec.structs.replace(AUTHORITY, help=f"For oauth. {AUTHORITY.help}"),
        Field(
            "ca",
            "CA certificate",
            "PEM, for a server whose certificate is from an authority of your own",
            multiline=True,
        ),
        Field(
            "ignore_tls",
            "Ignore certificates",
            "yes: takes any certificate. Whoever is in between can read password and mail: give the CA's certificate "
            "in its place. Default: no.",
            choices=_YES,
            closed=True,
            rare=True,
            place=True,
        ),
        Field("timeout", "Time-out", "Seconds that an answer may take; 180 if nothing is given", rare=True),
    ),
)


def open_source(
    options: Mapping[str, str], memory: Memory | None = None, *, sleep: Callable[[float], None] | None = None
) -> EwsSource:
    """The source; nothing is connected yet. ``sleep`` waits, by default so that closing a session ends it. Raises
    UsageError for options that make no sense."""
    # Here, not above: what talks to Exchange takes a while to load, which only who asks it shall wait for.
    from appliance.sources.ews.source import EwsSource, Ways
    from appliance.vendor.web import Patience, https

    del memory  # nothing is remembered: an application's tokens are asked for anew
    given = {key: value if key == "password" else value.strip() for key, value in options.items()}
    sign_in = _sign_in(given)
    oauth = sign_in == "oauth"
    if not oauth and not (given.get("user") and given.get("password")):
        raise UsageError(later("Exchange needs a user and a password, or an application (oauth)."))
    impersonate = oauth or _yes(given, "impersonate")
    public = _yes(given, "public")
    mailbox = normalise(given.get("mailbox", ""))
    if mailbox and not domain(mailbox):
        raise UsageError(later("“{mailbox}” is no mail address."), mailbox=mailbox)
    if public and impersonate and not mailbox:
        raise UsageError(later("Public folders by impersonation need a mailbox: that of somebody who may read them."))
    if public and mailbox and not impersonate:
        raise UsageError(later("Public folders are read with the user's own rights: give no mailbox, or impersonate."))
    verified = not _yes(given, "ignore_tls")
    return EwsSource(
        Ways(
            url=https(_url(given.get("server", ""))),
            sign_in=sign_in,
            user=given.get("user", ""),
            password=given.get("password", ""),
            application=application_of(given) if oauth else None,
            mailbox=mailbox,
            impersonate=impersonate,
            public=public,
            anchor=given.get("public_mailbox", "") if public else "",
            verified=verified,
            tls=_tls(given.get("ca", ""), verified=verified or oauth),
            patience=Patience(silence=_timeout(given)),
        ),
        sleep=sleep,
    )


def _sign_in(given: Mapping[str, str]) -> Literal["basic", "ntlm", "oauth"]:
    chosen = given.get("sign_in") or "ntlm"
    if chosen not in ("basic", "ntlm", "oauth"):
        raise UsageError(later("Sign in by ntlm, basic or oauth, not by “{sign_in}”."), sign_in=chosen)
    return cast(Literal["basic", "ntlm", "oauth"], chosen)


def _url(server: str) -> str:
    if not server:
        raise UsageError(later("It needs a server."))
    if "://" in server:
        return server
    return f"https://{server.rstrip('/')}" if "/" in server.rstrip("/") else f"https://{server.rstrip('/')}{_PATH}"


def _tls(ca: str, *, verified: bool) -> ssl.SSLContext:
    context = tls_context(ca)
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _yes(given: Mapping[str, str], key: str) -> bool:
    value = given.get(key) or "no"
    if value not in _YES:
        raise UsageError(later("“{key}” is yes or no, not “{value}”."), key=key, value=value)
    return value == "yes"


def _timeout(given: Mapping[str, str]) -> float:
    value = given.get("timeout") or "180"
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= _LONGEST_TIMEOUT):
        raise UsageError(
            later("“{value}” is no time-out: it is a number of seconds up to {most}."),
            value=value,
            most=_LONGEST_TIMEOUT,
        )
    return float(value)
