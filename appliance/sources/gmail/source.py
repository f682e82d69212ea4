"""Gmail, set up: mailboxes by Google's tokens over IMAP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.checks import Check
from appliance.sources.base import Account
from appliance.sources.connecting import Server
from appliance.sources.gmail.session import GmailSession
from appliance.sources.gmail.signing_in import Signer
from appliance.sources.imap.session import ImapSession
from appliance.sources.imap.signing_in import Bearer
from appliance.sources.imap.source import ImapSource


class GmailSource:
    """A ``Source``. An account's id is its mail address."""

    def __init__(self, server: Server, signer: Signer, accounts: Sequence[Account] = ()) -> None:
        """``accounts`` are those that are known without a directory."""
        self._signer = signer
        self._imap = ImapSource(server, Bearer(signer.token, "XOAUTH2"), accounts, session=GmailSession)

    def accounts(self) -> Iterator[Account]:
        """Those that it was given."""
        yield from self._imap.accounts()

    def open(self, account: Account) -> ImapSession:
        """Connect and sign in. Raises UnavailableError, RemoteDeniedError, UsageError."""
        return self._imap.open(account)

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Google's tokens; then, where there are, what IMAP takes."""
        usable = True
        for one in self._signer.check(accounts):
            usable = usable and one.state != "problem"
            yield one
        if usable:
            yield from self._imap.check(accounts)
