"""An IMAP server, set up: who can be opened there, opening, and trying it all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from appliance.checks import Check
from appliance.errors import MailkeepError
from appliance.framing import in_words
from appliance.language import _, ngettext
from appliance.sources.base import Account, Failed, Folder
from appliance.sources.imap.answers import RefusedError
from appliance.sources.imap.connecting import Server, connect
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.session import ImapSession
from appliance.sources.imap.signing_in import Credentials, sign_in


class ImapSource:
    """A ``Source``. An account's id is the name that its user signs in with."""

    def __init__(
        self,
        server: Server,
        credentials: Credentials,
        accounts: Sequence[Account] = (),
        *,
        foreign: bool = False,
        session: type[ImapSession] = ImapSession,
    ) -> None:
        """``accounts`` are those that are known without a directory; ``foreign``: other users' folders and shared ones
        too, as far as an account may see them; ``session`` is what an opened account is."""
        self._server = server
        self._credentials = credentials
        self._accounts = tuple(accounts)
        self._foreign = foreign
        self._kind = session

    def accounts(self) -> Iterator[Account]:
        """Those that it was given."""
        yield from self._accounts

    def open(self, account: Account) -> ImapSession:
        """Connect and sign in. Raises UnavailableError, RemoteDeniedError, UsageError."""
        conversation = connect(self._server).conversation
        try:
            sign_in(conversation, account.id, self._credentials)
            return self._session(conversation)
        except BaseException:
            conversation.hang_up()
            raise

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Connection, encryption, capabilities; then for each account sign-in, folders, one message."""
        try:
            connection = connect(self._server)
        except MailkeepError as error:
            yield Check(_("connection"), "problem", in_words(error))
            return
        host, port = self._server.host, self._server.port
        yield Check(_("connection"), "ok", _("{host}, port {port}, answers.").format(host=host, port=port))
        yield _encryption(host, connection.tls)
        connection.conversation.close()
        for number, account in enumerate(accounts):
            yield from self._check_account(account, first=number == 0)

    def _check_account(self, account: Account, *, first: bool) -> Iterator[Check]:
        try:
            with self.open(account) as session:
                yield Check(_("sign-in"), "ok", _("“{user}” is let in.").format(user=account.id))
                if first:
                    yield _capabilities(session.conversation)
                folders = session.folders()
                yield _folders(account, sum(folder.holds_mail for folder in folders))
                yield from _check_message(session, folders)
        except MailkeepError as error:
            yield Check(account.id, "problem", in_words(error))

    def _session(self, conversation: Conversation) -> ImapSession:
        conversation.enable("QRESYNC", "UTF8=ACCEPT")
        if not conversation.wire.near and conversation.can("COMPRESS=DEFLATE"):
            with contextlib.suppress(RefusedError):  # where TLS compresses already (RFC 4978, section 3)
                conversation.compress()
        return self._kind(conversation, foreign=self._foreign)


def _encryption(host: str, tls: str) -> Check:
    if tls:
        return Check(_("encryption"), "ok", tls)
    text = _("The connection to {host} is not encrypted: whoever is in between reads passwords and mail. Choose tls.")
    return Check(_("encryption"), "warning", text.format(host=host))


def _folders(account: Account, count: int) -> Check:
    text = ngettext("“{user}” has {count} folder with mail.", "“{user}” has {count} folders with mail.", count)
    return Check(_("folders"), "ok" if count else "problem", text.format(user=account.id, count=count))


def _capabilities(conversation: Conversation) -> Check:
    if conversation.can("QRESYNC"):
        how = _("The server tells what has changed (QRESYNC).")
    elif conversation.can("CONDSTORE"):
        how = _("The server tells which flags have changed (CONDSTORE); what is gone is found by comparing.")
    else:
        how = _("The server does not tell what has changed; every run compares all folders.")
    if conversation.can("UIDPLUS", "IMAP4REV2"):
        return Check(_("capabilities"), "ok", how + " " + _("Single messages can be deleted there (UIDPLUS)."))
    deleting = _("It cannot delete single messages (UIDPLUS): a deletion rule has no effect.")
    return Check(_("capabilities"), "warning", how + " " + deleting)


def _check_message(session: ImapSession, folders: Sequence[Folder]) -> Iterator[Check]:
    """The newest message of the first folder that has one."""
    for folder in sorted((one for one in folders if one.holds_mail), key=lambda one: one.role != "inbox"):
        newest = session.newest(folder)
        if newest is None:
            continue
        for one in session.fetch(folder, [newest]):
            if isinstance(one, Failed):
                yield Check(_("message"), "problem", one.why)
            else:
                text = _("A message of {size} was read from “{folder}”.")
                octets = sum(map(len, one.chunks))
                yield Check(_("message"), "ok", text.format(size=f"{octets:,} B", folder="/".join(folder.path)))
        return
    yield Check(_("message"), "warning", _("There is no message in any folder, so none could be read."))
