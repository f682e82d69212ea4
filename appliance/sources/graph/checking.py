"""Trying what reading from Microsoft 365 takes, one thing after the other, each by its exact name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from appliance.checks import Check
from appliance.errors import MailkeepError, UnavailableError
from appliance.framing import in_words
from appliance.language import _, later, ngettext
from appliance.sources.base import Account, Failed, Folder, Memory
from appliance.sources.graph import deleting
from appliance.sources.graph.mailbox import READ, USERS, WRITE
from appliance.sources.graph.signing_in import Person, Ways, address_of
from appliance.vendor import findings
from appliance.vendor.microsoft_device import SignInOverError
from appliance.vendor.web import Http, Token

if TYPE_CHECKING:
    from appliance.sources.graph.source import GraphSession


def check(
    ways: Ways,
    http: Http,
    memory: Memory | None,
    accounts: Sequence[Account],
    opened: Callable[[Account, Token], GraphSession],
) -> Iterator[Check]:
    """What ``Source.check`` tells. ``http`` is what tokens are fetched with."""
    token = yield from signed_in(ways, http, memory)
    if token is None:
        return
    for number, account in enumerate(accounts):
        try:
            with opened(account, token) as session:
                yield from _mailbox(ways, session, account, first=number == 0)
        except MailkeepError as error:
            yield Check(account.address or account.id, "problem", in_words(error))
            if isinstance(error, UnavailableError):
                return
    if not accounts:
        yield Check(_("mailbox"), "warning", _("No mailbox was named, so none could be tried."))


def signed_in(ways: Ways, http: Http, memory: Memory | None) -> Generator[Check, None, Token | None]:
    """What there is to say of signing in; returns where tokens come from, None where there are none."""
    certificate = ways.application.certificate if ways.application is not None else None
    if certificate is not None:
        state, text = findings.certificate(certificate.not_before, certificate.not_after, datetime.now(UTC))
        yield Check(_("certificate"), state, text)
    try:
        token = ways.token(http, memory) if ways.registration is None else _of_person(ways.person(http, memory))
        token()
    except MailkeepError as error:
        yield Check(_("sign-in"), "problem", in_words(error))
        return None
    who = _("Microsoft Entra ID lets the application in.")
    if ways.registration is not None:
        who = _("“{user}” has signed in.").format(user=address_of(memory) or "?")
    yield Check(_("sign-in"), "ok", who)
    if text := findings.clock(http.skew, "Microsoft"):
        yield Check(_("clock"), "warning", text)
    return token


def _of_person(person: Person) -> Token:
    """Where the person's tokens come from. Where there are none any more, the error says how to sign in."""
    try:
        person.token(refused=person.token())  # what is kept may have been withdrawn
    except SignInOverError as error:
        code = person.code()
        raise SignInOverError(
            later(
                "{trouble} Open {address} in a browser, enter the code {code}, and sign in. Then test once more. The "
                "code is good until {until}."
            ),
            trouble=in_words(error),
            address=code.address,
            code=code.code,
            until=f"{datetime.fromtimestamp(code.until).astimezone():%H:%M %Z}",
        ) from error
    return person.token


def _mailbox(ways: Ways, session: GraphSession, account: Account, *, first: bool) -> Iterator[Check]:
    folders = session.folders()
    count = sum(one.holds_mail for one in folders)
    text = ngettext("“{user}” has {count} folder with mail.", "“{user}” has {count} folders with mail.", count)
    who = account.address or account.id
    yield Check(_("folders"), "ok" if count else "problem", text.format(user=who, count=count))
    yield from _message(session, folders)
    if first:
        yield _deleting(ways, session)
        if ways.application is not None:
            yield _looking_up(session)


def _message(session: GraphSession, folders: Sequence[Folder]) -> Iterator[Check]:
    """The newest message of the first folder that has one."""
    for folder in sorted((one for one in folders if one.holds_mail), key=lambda one: one.role != "inbox"):
        newest = session.newest(folder) if folder.messages != 0 else None
        if newest is None:
            continue
        for one in session.fetch(folder, [newest]):
            if isinstance(one, Failed):
                yield Check(READ, "problem", one.why)
            else:
                octets = sum(map(len, one.chunks))
                text = _("A message of {size} was read from “{folder}”.")
                yield Check(READ, "ok", text.format(size=f"{octets:,} B", folder="/".join(folder.path)))
        return
    yield Check(READ, "warning", _("There is no message in any folder, so none could be read."))


def _deleting(ways: Ways, session: GraphSession) -> Check:
    may = deleting.may_delete(session.mailbox)
    if may and ways.deleting:
        return Check(WRITE, "ok", _("Messages can be deleted."))
    if may:
        text = _(
            "The application may delete and change messages, which it needs only where a deletion rule is to work. "
            "The permission {enough} is enough to read."
        )
        return Check(WRITE, "ok", text.format(enough=READ))
    if ways.deleting:
        text = _(
            "Nothing can be deleted. In the Microsoft Entra admin center, under App registrations, open the "
            "application, API permissions, Add a permission, Microsoft Graph, {permission}; then Grant admin consent."
        )
        return Check(WRITE, "problem", text.format(permission=WRITE))
    return Check(WRITE, "ok", _("Not granted, and not needed as long as nothing is deleted there."))


def _looking_up(session: GraphSession) -> Check:
    if session.mailbox.may_look_up():
        return Check(USERS, "ok", _("Mailboxes are found by any of their addresses."))
    return Check(USERS, "ok", _("Not granted: mailboxes are found by their user names only."))
