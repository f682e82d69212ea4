"""A POP3 mailbox, set up: opening it, and trying everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.checks import Check
from appliance.errors import MailkeepError
from appliance.framing import in_words
from appliance.language import _, ngettext
from appliance.sources.base import Account, Failed
from appliance.sources.connecting import Server, encryption
from appliance.sources.pop3.session import Pop3Session
from appliance.sources.pop3.signing_in import connect, sign_in
from appliance.sources.pop3.wire import Wire


class Pop3Source:
    """A ``Source`` of one account, whose id is the name that its user signs in with."""

    def __init__(self, server: Server, account: Account, password: str) -> None:
        self._server = server
        self._account = account
        self._password = password

    def accounts(self) -> Iterator[Account]:
        """The one."""
        yield self._account

    def open(self, account: Account) -> Pop3Session:
        """Connect and sign in. Raises UnavailableError, RemoteDeniedError, UsageError."""
        return Pop3Session(lambda: self._signed_in(account.id))

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Connection, encryption; then for each account sign-in, the list by unique ids, one message."""
        host, port = self._server.host, self._server.port
        try:
            wire = connect(self._server)
            tls = encryption(wire.socket)
            wire.close()
        except MailkeepError as error:
            yield Check(_("connection"), "problem", in_words(error))
            return
        yield Check(_("connection"), "ok", _("{host}, port {port}, answers.").format(host=host, port=port))
        if tls:
            yield Check(_("encryption"), "ok", tls)
        else:
            text = _(
                "The connection to {host} is not encrypted: whoever is in between reads passwords and mail. Choose tls."
            )
            yield Check(_("encryption"), "warning", text.format(host=host))
        for account in accounts:
            yield from self._check_account(account)

    def _check_account(self, account: Account) -> Iterator[Check]:
        try:
            with self.open(account) as session:
                yield Check(_("sign-in"), "ok", _("“{user}” is let in.").format(user=account.id))
                [inbox] = session.folders()
                count = inbox.messages or 0
                text = ngettext(
                    "{count} message is there. POP3 shows the inbox only, without folders and flags.",
                    "{count} messages are there. POP3 shows the inbox only, without folders and flags.",
                    count,
                ).format(count=f"{count:,}")
                yield Check(_("folders"), "ok", text)
                yield _message(session)
        except MailkeepError as error:
            yield Check(account.id, "problem", in_words(error))

    def _signed_in(self, user: str) -> Wire:
        wire = connect(self._server)
        try:
            sign_in(wire, user, self._password)
        except BaseException:
            wire.close()
            raise
        return wire


def _message(session: Pop3Session) -> Check:
    [inbox], smallest = session.folders(), session.smallest()
    if smallest is None:
        return Check(_("message"), "warning", _("There is no message in any folder, so none could be read."))
    [one] = [one if isinstance(one, Failed) else sum(map(len, one.chunks)) for one in session.fetch(inbox, [smallest])]
    if isinstance(one, Failed):
        return Check(_("message"), "problem", one.why)
    text = _("A message of {size} was read from “{folder}”.").format(size=f"{one:,} B", folder="/".join(inbox.path))
    return Check(_("message"), "ok", text)
