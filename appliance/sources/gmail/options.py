"""What Gmail's settings are, for one mailbox and for all of a Google Workspace, and sources made of them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from appliance.errors import UsageError
from appliance.fields import Field
from appliance.language import later
from appliance.mail.addresses import domain, local_part, normalise
from appliance.sources.base import Account, Memory, SourceKind
from appliance.sources.connecting import Security, Server, server_of

if TYPE_CHECKING:
    from appliance.sources.gmail.source import GmailSource

HOST: Final = "imap.gmail.com"
_PORTS: Final[Mapping[Security, int]] = {"tls": 993, "starttls": 143}
_IMAP: Final = (
    Field("timeout", "Time-out", "Seconds that an answer may take; 180 if nothing is given", rare=True),
    Field("host", "Server", "If not imap.gmail.com: a proxy of your own", rare=True, place=True),
    Field("port", "Port", "993 if nothing is given", rare=True, place=True),
    Field("ca", "CA certificate", "PEM, for a proxy with a certificate of your own", rare=True, multiline=True),
)

GMAIL: Final = SourceKind(
    "gmail",
    "Gmail, one mailbox",
    "The mailbox of one person, who allows it in a browser. In the Google Cloud console, under APIs & Services, enable "
    "the Gmail API, set up the consent screen (type Internal in a Workspace; else publish it, since sign-ins to a "
    "client that is being tested end after seven days), and under Credentials make an OAuth client of the type "
    "desktop app. Then test the profile: it shows the address to open.",
    (
        Field("user", "Mailbox", "Its mail address", required=True),
        Field("client", "Client ID", "Of the OAuth client", required=True),
        Field("secret", "Client secret", "Of the OAuth client", secret=True, required=True),
        Field("code", "Code", "The address that the browser shows after signing in, or the code in it", secret=True),
        *_IMAP,
        Field("token_address", "Token address", "If not Google's: a proxy of your own", rare=True, place=True),
    ),
)

GOOGLE: Final = SourceKind(
    "google",
    "Google Workspace, all mailboxes",
    "Mailboxes of a Workspace, which a directory names. In the Google Cloud console, enable the Gmail API, make a "
    "service account and a key (JSON) for it; in the Google Admin console, under Security, Access and data control, "
    "API controls, Domain-wide delegation, add the service account's client id with the scope https://mail.google.com/ "
    "and under Apps, Google Workspace, Gmail, End User Access allow IMAP.",
    (
        Field(
            "key",
            "Service account's key",
            "The whole JSON file. On the command line: key=@key.json",
            secret=True,
            required=True,
            multiline=True,
        ),
        Field("user", "Mailbox", "The address of a single mailbox; none where a directory names them"),
        *_IMAP,
    ),
)


def open_gmail(
    options: Mapping[str, str], memory: Memory | None = None, *, tls: ssl.SSLContext | None = None
) -> GmailSource:
    """One person's mailbox; nothing is connected yet. ``tls`` is what Google's certificates are checked against, by
    default what the system trusts. Raises UsageError for options that make no sense."""
    # Here, not above: what talks to Google takes a second to load, which only who asks it shall wait for.
    from appliance.sources.gmail.signing_in import Person
    from appliance.sources.gmail.source import GmailSource
    from appliance.vendor.google_person import TOKEN, Application
    from appliance.vendor.web import https

    given = {key: value.strip() for key, value in options.items()}
    account = _account(given.get("user", ""))
    if not (given.get("client") and given.get("secret")):
        raise UsageError(later("Gmail needs the OAuth client's id and secret."))
    application = Application(given["client"], given["secret"], https(given.get("token_address") or TOKEN))
    person = Person(application, account.id, given.get("code", ""), memory, tls=tls)
    return GmailSource(_server(given), person, [account])


def open_google(options: Mapping[str, str], *, tls: ssl.SSLContext | None = None) -> GmailSource:
    """All mailboxes of a Workspace; nothing is connected yet. Raises UsageError for options that make no sense."""
    from appliance.sources.gmail.signing_in import Delegated
    from appliance.sources.gmail.source import GmailSource

    given = {key: value.strip() for key, value in options.items()}
    accounts = [_account(given["user"])] if given.get("user") else []
    return GmailSource(_server(given), Delegated(given.get("key", ""), tls=tls), accounts)


def _server(given: Mapping[str, str]) -> Server:
    return server_of({**given, "host": given.get("host") or HOST}, _PORTS)


def _account(address: str) -> Account:
    address = normalise(address)
    if not (domain(address) and local_part(address)):
        raise UsageError(later("A Gmail mailbox is given by its mail address."))
    return Account(address, address)
