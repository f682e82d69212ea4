"""What an IMAP server's settings are, and a source made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from appliance.errors import UsageError
from appliance.fields import Field
from appliance.language import later
from appliance.mail.addresses import domain, normalise
from appliance.sources.base import Account, SourceKind
from appliance.sources.connecting import Security, server_of
from appliance.sources.imap.signing_in import Bearer, Credentials, MasterUser, Password, Proxy, TokenFor
from appliance.sources.imap.source import ImapSource

_PORTS: Final[Mapping[Security, int]] = {"tls": 993, "starttls": 143, "none": 143}
_WAYS: Final = ("password", "master", "proxy", "xoauth2", "oauthbearer")
_YES: Final = frozenset({"yes", "true", "1", "on"})
_NO: Final = frozenset({"", "no", "false", "0", "off"})

KIND: Final = SourceKind(
    "imap",
    "IMAP",
    "Any mail server that speaks IMAP: one account by its own password, or all accounts of a server whose "
    "administrator may open them.",
    (
        Field("host", "Server", "Its name, as its certificate has it", required=True, place=True),
        Field("port", "Port", "993 for tls, 143 for starttls, if nothing is given", rare=True, place=True),
        Field("security", "Encryption",
              "tls, starttls or none; tls if nothing is given. Without it, passwords and mail can be read on the way",
              choices=get_args(Security), closed=True, place=True),
        Field("ca", "CA certificate", "PEM, for a server whose certificate is from an authority of your own",
              multiline=True, rare=True, place=True),
        Field("sign_in", "Sign in by",
              "password: the account's own, as if nothing is given. master: as user*master with the master's password "
              "(Dovecot). proxy: as an administrator who acts as the user (SASL PLAIN; Cyrus, Dovecot). xoauth2, "
              "oauthbearer: by a token",
              choices=_WAYS, closed=True),
        Field("user", "User", "Of a single account; none where a directory names the accounts"),
        Field("address", "Address", "The account's mail address, where its user name is none"),
        Field("master", "Master user", "For master and proxy: whose password is given"),
        Field("separator", "Separator", "For master: what stands between user and master; * if nothing is given",
              rare=True),
        Field("password", "Password", "", secret=True),
        Field("foreign", "Others' folders", "yes: other users' and shared folders too, as far as an account sees them",
              rare=True),
        Field("timeout", "Time-out", "Seconds that an answer may take; 180 if nothing is given", rare=True),
    ),
)  # fmt: skip


def open_source(options: Mapping[str, str], token: TokenFor | None = None) -> ImapSource:
    """The source; nothing is connected yet. ``token`` gives tokens for ``xoauth2`` and ``oauthbearer``. Raises
    UsageError for options that make no sense."""
    given = {key: value.strip() if key != "password" else value for key, value in options.items()}
    user = given.get("user", "")
    address = normalise(given.get("address") or user)
    accounts = [Account(user, address if domain(address) else "", user)] if user else []
    return ImapSource(server_of(given, _PORTS), _credentials(given, token), accounts, foreign=_yes(given, "foreign"))


def _credentials(given: Mapping[str, str], token: TokenFor | None) -> Credentials:
    way, password, master = given.get("sign_in") or "password", given.get("password", ""), given.get("master", "")
    if way not in _WAYS:
        raise UsageError(later("“{way}” is no way to sign in. There are: {ways}."), way=way, ways=", ".join(_WAYS))
    if way in ("xoauth2", "oauthbearer"):
        if token is None:
            raise UsageError(later("Nothing gives tokens for this server: choose another way to sign in."))
        return Bearer(token, "XOAUTH2" if way == "xoauth2" else "OAUTHBEARER")
    if not password:
        raise UsageError(later("A password is missing."))
    if way == "password":
        return Password(password)
    if not master:
        raise UsageError(later("To sign in by “{way}” it takes a master user."), way=way)
    return Proxy(master, password) if way == "proxy" else MasterUser(master, password, given.get("separator") or "*")


def _yes(given: Mapping[str, str], key: str) -> bool:
    value = given.get(key, "").lower()
    if value not in _YES | _NO:
        raise UsageError(later("“{value}” is neither yes nor no ({key})."), value=value, key=key)
    return value in _YES
