"""What a POP3 mailbox's settings are, and a source made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from appliance.errors import UsageError
from appliance.fields import Field
from appliance.language import later
from appliance.mail.addresses import domain, normalise
from appliance.sources.base import Account, SourceKind
from appliance.sources.connecting import Security, server_of
from appliance.sources.pop3.source import Pop3Source

_PORTS: Final[Mapping[Security, int]] = {"tls": 995, "starttls": 110, "none": 110}

KIND: Final = SourceKind(
    "pop3",
    "POP3",
    "One mailbox of a server that has nothing better: the inbox only, without folders and flags. Prefer IMAP.",
    (
        Field("host", "Server", "Its name, as its certificate has it", required=True, place=True),
        Field("port", "Port", "995 for tls, 110 for starttls, if nothing is given", place=True),
        Field("security", "Encryption", "tls, starttls or none. Without it, passwords and mail can be read on the way",
              choices=get_args(Security), place=True),
        Field("ca", "CA certificate", "PEM, for a server whose certificate is from an authority of your own",
              multiline=True),
        Field("user", "User", "The name that the mailbox is opened with", required=True),
        Field("address", "Address", "The mailbox's mail address, where its user name is none"),
        Field("password", "Password", "", secret=True, required=True),
        Field("timeout", "Time-out", "Seconds that an answer may take; 180 if nothing is given"),
    ),
)  # fmt: skip


def open_source(options: Mapping[str, str]) -> Pop3Source:
    """The source; nothing is connected yet. Raises UsageError for options that make no sense."""
    given = {key: value if key == "password" else value.strip() for key, value in options.items()}
    user, password = given.get("user", ""), given.get("password", "")
    if not (user and password):
        raise UsageError(later("A POP3 mailbox needs a user and a password."))
    address = normalise(given.get("address") or user)
    account = Account(user, address if domain(address) else "", user)
    return Pop3Source(server_of(given, _PORTS), account, password)
