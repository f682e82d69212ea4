"""What Microsoft 365's settings are, and a source made of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from appliance.errors import UsageError
from appliance.fields import Field
from appliance.language import later
from appliance.mail.addresses import domain, normalise
from appliance.sources.base import Account, Memory, Source, SourceKind
from appliance.vendor.clouds import MAIL_SERVERS
from appliance.vendor.microsoft_options import (
    AUTHORITY,
    CERTIFICATE,
    CLIENT,
    GRAPH,
    SECRET,
    TENANT,
    application_of,
    graph_of,
)

if TYPE_CHECKING:
    from appliance.sources.graph.signing_in import Ways
    from appliance.vendor.web import Patience

ME: Final = "me"
"""The id of the account of a person who has signed in, as Graph writes it."""
_LONGEST_TIMEOUT: Final = 3600
_LONGEST_WAITING: Final = 30.0
"""Seconds between the tries of one request; who is asked for more patience tells the caller, who can be stopped."""

KIND: Final = SourceKind(
    "graph",
    "Microsoft 365",
    "Mailboxes of Exchange Online: all that a directory names, shared ones too, by an application that an "
    "administrator has consented to; or the mailbox of one person who signs in by a code. In the Microsoft Entra admin "
    "center, under App registrations, make an application. For all mailboxes: under API permissions give it Microsoft "
    "Graph's application permission Mail.Read (Mail.ReadWrite where messages are to be deleted there) and grant admin "
    "consent; under Certificates & secrets make a client secret or upload a certificate. For one person: under "
    "Authentication allow public client flows, under API permissions give it the delegated permission Mail.Read.",
    (
        TENANT,
        CLIENT,
        msgspec.structs.replace(SECRET, help="Its value, not its id. None where a person signs in."),
        CERTIFICATE,
        Field(
            "sign_in",
            "Sign in by",
            "app: the application by itself, for all mailboxes. device: one person, who enters a code once. "
            "Default: app.",
            choices=("app", "device"),
            closed=True,
        ),
        Field(
            "user",
            "Mailbox",
            "The user name or address of a single mailbox; none where a directory names them. Where a person signs in: "
            "a shared mailbox that the person may open; none for the person's own.",
        ),
        Field(
            "by",
            "Read by",
            "graph: Microsoft Graph. imap: IMAP, where an application may not use Graph; it needs other permissions. "
            "Default: graph.",
            choices=("graph", "imap"),
            closed=True,
        ),
        Field(
            "deleting",
            "May delete",
            "yes: a person who signs in is asked for Mail.ReadWrite too, and a test finds it missing. Needed where a "
            "deletion rule is to work; default: no.",
            choices=("yes", "no"),
            closed=True,
        ),
        Field("timeout", "Time-out", "Seconds that an answer may take; 60 if nothing is given", rare=True),
        AUTHORITY,
        GRAPH,
    ),
)


def open_source(
    options: Mapping[str, str],
    memory: Memory | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    sleep: Callable[[float], None] | None = None,
) -> Source:
    """The source; nothing is connected yet. ``tls`` is what certificates are checked against, by default what the
    system trusts; ``sleep`` waits, by default so that closing a session ends it. Raises UsageError for options that
    make no sense."""
    # Here, not above: what talks to Microsoft takes a second to load, which only who asks it shall wait for.
    from appliance.sources.graph.by_imap import ImapByToken
    from appliance.sources.graph.source import GraphSource

    ways = ways_of(options, tls=tls)
    accounts = _accounts(ways, options)
    if _one_of(options, "by", "graph") == "imap":
        return ImapByToken(ways, memory, accounts)
    return GraphSource(ways, memory, accounts, sleep=sleep)


def ways_of(options: Mapping[str, str], *, tls: ssl.SSLContext | None = None) -> Ways:
    """How the options sign in, and where. Raises UsageError for options that make no sense."""
    from appliance.sources.graph.signing_in import Ways
    from appliance.vendor.microsoft_device import registration

    root = graph_of(options)
    by_imap = _one_of(options, "by", "graph") == "imap"
    if by_imap and root not in MAIL_SERVERS:
        raise UsageError(later("It is not known where the IMAP server of this cloud is. Read by Microsoft Graph."))
    device = _one_of(options, "sign_in", "app") == "device"
    if device and (options.get("secret") or options.get("certificate")):
        raise UsageError(
            later("Where a person signs in, the application has neither a secret nor a certificate. Take them away.")
        )
    return Ways(
        root=root,
        application=None if device else application_of(options),
        registration=registration(
            options.get("tenant", ""), options.get("client", ""), authority=options.get("authority", "")
        )
        if device
        else None,
        by_imap=by_imap,
        shared=bool(options.get("user", "").strip()),
        deleting=_one_of(options, "deleting", "no") == "yes",
        patience=_patience(options),
        tls=tls,
    )


def user_name(account: str) -> str:
    """An account's id as Microsoft 365 writes it: domains in ASCII (RFC 5890)."""
    local, at, host = account.rpartition("@")
    try:
        return account if host.isascii() else f"{local}{at}{host.encode('idna').decode()}"
    except UnicodeError:
        return account


def _accounts(ways: Ways, options: Mapping[str, str]) -> tuple[Account, ...]:
    user = options.get("user", "").strip()
    if user:
        address = normalise(user)
        return (Account(user, address if domain(address) else "", user),)
    return () if ways.registration is None else (Account(ME, ""),)


def _one_of(options: Mapping[str, str], key: str, otherwise: str) -> str:
    field = next(one for one in KIND.fields if one.key == key)
    value = options.get(key, "").strip().lower() or otherwise
    if value not in field.choices:
        raise UsageError(
            later("“{key}” is one of {choices}, not “{value}”."),
            key=key,
            choices=", ".join(field.choices),
            value=value,
        )
    return value


def _patience(options: Mapping[str, str]) -> Patience:
    from appliance.vendor.web import Patience

    given = options.get("timeout", "").strip()
    if not given:
        return Patience(waiting=_LONGEST_WAITING)
    if not given.isdecimal() or not 0 < int(given) <= _LONGEST_TIMEOUT:
        raise UsageError(
            later("“{value}” is no time-out: it is a number of seconds up to {most}."),
            value=given,
            most=_LONGEST_TIMEOUT,
        )
    return Patience(silence=float(given), waiting=_LONGEST_WAITING)
