"""Trying what reading from Exchange takes, one thing after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from appliance.checks import Check
from appliance.errors import MailkeepError, UnavailableError
from appliance.framing import in_words
from appliance.language import _, ngettext
from appliance.sources.base import Account, Failed, Folder
from appliance.sources.ews.exchange import GRANT, ONLINE

if TYPE_CHECKING:
    from appliance.sources.ews.source import EwsSession, Ways


def check(ways: Ways, accounts: Sequence[Account], opened: Callable[[Account], EwsSession]) -> Iterator[Check]:
    """What ``Source.check`` tells."""
    if ways.host in ONLINE or ways.application is not None:
        yield Check("Exchange Online", "warning", _online())
    if not ways.verified:
        yield Check(_("encryption"), "warning", _unverified().format(host=ways.host))
    for account in accounts:
        try:
            with opened(account) as session:
                yield from _account(ways, session, account)
        except MailkeepError as error:
            yield Check(account.address or account.name or account.id, "problem", in_words(error))
            if isinstance(error, UnavailableError):
                return
    if ways.impersonate and ways.application is None:
        yield Check("ApplicationImpersonation", "ok", _narrowly().format(command=_command(ways)))
    if not accounts:
        yield Check(_("mailbox"), "warning", _("No mailbox was named, so none could be tried."))


def _account(ways: Ways, session: EwsSession, account: Account) -> Iterator[Check]:
    folders = session.folders()
    who = account.address or account.name or account.id
    if ways.impersonate:
        text = _("“{user}” is opened by impersonation.").format(user=ways.whose(account).as_whom)
    elif ways.whose(account).mailbox:
        text = _("“{user}” is let in, and may read {mailbox}.").format(user=ways.user, mailbox=who)
    else:
        text = _("“{user}” is let in.").format(user=ways.user)
    yield Check(_("sign-in"), "ok", text)
    count = sum(one.holds_mail for one in folders)
    found = ngettext("“{user}” has {count} folder with mail.", "“{user}” has {count} folders with mail.", count)
    yield Check(_("folders"), "ok" if count else "problem", found.format(user=who, count=count))
    yield _message(session, folders)


def _message(session: EwsSession, folders: Sequence[Folder]) -> Check:
    """The newest message of the first folder that has one."""
    for folder in sorted((one for one in folders if one.holds_mail), key=lambda one: one.role != "inbox"):
        newest = session.newest(folder) if folder.messages != 0 else None
        if newest is None:
            continue
        fetched = session.fetch(folder, [newest])
        [one] = [one if isinstance(one, Failed) else sum(map(len, one.chunks)) for one in fetched]
        if isinstance(one, Failed):
            return Check(_("message"), "problem", one.why)
        text = _("A message of {size} was read from “{folder}”.")
        return Check(_("message"), "ok", text.format(size=f"{one:,} B", folder="/".join(folder.path)))
    return Check(_("message"), "warning", _("There is no message in any folder, so none could be read."))


def _command(ways: Ways) -> str:
    return GRANT.format(user=f"'{ways.user}'", scope="SCOPE")


def _online() -> str:
    return _(
        "Exchange Online blocks Exchange Web Services since 1 October 2026, unless the tenant allows this "
        "application, and ends them for good on 1 April 2027. Read its mailboxes as Microsoft 365 (graph); its public "
        "folders can be read here as long as it is allowed, and no other way."
    )


def _unverified() -> str:
    return _(
        "The certificate of {host} is not verified: whoever is in between can pretend to be it, and read password and "
        "mail. Give the certificate of the authority that made it (ca), and no longer ignore certificates."
    )


def _narrowly() -> str:
    return _(
        "The user needs this role for the mailboxes that are archived, and for no others. In the Exchange Management "
        "Shell: New-ManagementScope -Name SCOPE -RecipientRestrictionFilter …, then {command}."
    )
