"""Mailboxes of Microsoft 365 by IMAP, with tokens of the same application or person.

https://learn.microsoft.com/en-us/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-
application-by-using-oauth
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from appliance.checks import Check
from appliance.language import _
from appliance.sources.base import Account, Memory
from appliance.sources.graph.checking import signed_in
from appliance.sources.graph.options import ME, user_name
from appliance.sources.graph.signing_in import Ways, address_of
from appliance.sources.imap.connecting import Server
from appliance.sources.imap.session import ImapSession
from appliance.sources.imap.signing_in import Bearer
from appliance.sources.imap.source import ImapSource
from appliance.vendor.clouds import MAIL_SERVERS
from appliance.vendor.web import BRIEF

_PORT: Final = 993


class ImapByToken:
    """A ``Source``. An account's id is its address; ``ME`` is who has signed in."""

    def __init__(
        self, ways: Ways, memory: Memory | None, accounts: Sequence[Account] = (), *, server: Server | None = None
    ) -> None:
        """``accounts`` are those that are known without a directory. ``server`` is Exchange Online's, unless given."""
        self._ways = ways
        self._memory = memory
        self._accounts = tuple(accounts)
        self._server = server or Server(MAIL_SERVERS[ways.root], _PORT, timeout=max(180.0, ways.patience.silence))
        self._token = ways.token(ways.sign_in(), memory)

    def accounts(self) -> Iterator[Account]:
        """Those that it was given; of who has signed in, the address that Microsoft told."""
        for one in self._accounts:
            yield msgspec.structs.replace(one, address=address_of(self._memory)) if one.id == ME else one

    def open(self, account: Account) -> ImapSession:
        """Connect and sign in. Raises UnavailableError, RemoteDeniedError, UsageError."""
        return self._imap().open(self._named(account))

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Certificate, sign-in, clock; then what IMAP takes."""
        with self._ways.sign_in(BRIEF) as http:
            if (yield from signed_in(self._ways, http, self._memory)) is None:
                return
        trouble = False
        for one in self._imap().check([self._named(account) for account in accounts]):
            trouble = trouble or one.state == "problem"
            yield one
        if trouble and self._ways.application is not None:
            yield Check("IMAP.AccessAsApp", "warning", _access())

    def _imap(self) -> ImapSource:
        return ImapSource(self._server, Bearer(lambda _user: self._token(), "XOAUTH2"))

    def _named(self, account: Account) -> Account:
        """As IMAP knows it: by its user name."""
        user = address_of(self._memory) if account.id == ME else account.id
        return msgspec.structs.replace(account, id=user_name(user))


def _access() -> str:
    return _(
        "Where the mailbox does not let the application in: under API permissions it needs Office 365 Exchange "
        "Online's application permission IMAP.AccessAsApp with admin consent; in Exchange Online PowerShell it is made "
        "known by New-ServicePrincipal, with the object id of the enterprise application, and gets FullAccess to each "
        "mailbox by Add-MailboxPermission. IMAP has to be allowed for the mailbox."
    )
