"""What opens a mailbox's mail from outside: its password (POP3), and tokens (the pull API).

Whoever has one of them reads the mail without anybody else's leave. An administrator sees no mail by that role alone:
making a new password or token without the present password is for auditors. Each is in the audit trail before it is
in force; passwords and tokens themselves are nowhere but in the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from appliance.errors import ForbiddenError, MailkeepError, UsageError
from appliance.keys.mailbox_keys import new_password
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.mailboxes import find_mailbox
from appliance.services.principal import Principal
from appliance.settings import events

T = TypeVar("T")

LONGEST_NAME = 200


def mailbox_proposed_password(_archive: Archive, principal: Principal) -> str:
    """A strong password for ``mailbox_password``: to be written down before it is in force."""
    principal.require("admin")
    return new_password()


def mailbox_password(archive: Archive, principal: Principal, *, id: str, new: str, old: str = "") -> None:
    """Give a mailbox the password ``new``; the one before opens it no more.

    ``old`` is the present one: needed for a sealed mailbox, whose mail nothing else opens, and from who is no
    auditor. It takes the new one from its caller because what is made here and lost on the way back would, for a
    sealed mailbox, lose its mail. Tokens stay.
    """
    put = _openable(archive, principal, id, old)
    if not new:
        raise UsageError("Give the new password.")
    _audited(
        archive, principal, "mailbox.password", put.address,
        lambda: archive.keyring.set_mailbox_password(put.mailbox, old=old, new=new),
    )  # fmt: skip


def mailbox_tokens(archive: Archive, principal: Principal, *, id: str) -> tuple[api.TokenInfo, ...]:
    """The tokens of a mailbox, without what opens it."""
    principal.require("admin")
    found = archive.keyring.mailbox_tokens(find_mailbox(archive, id).mailbox)
    return tuple(api.TokenInfo(one.id, one.name, one.created // 1_000_000) for one in found)


def mailbox_token_add(
    archive: Archive, principal: Principal, *, id: str, name: str, password: str = ""
) -> api.TokenCreated:
    """A new token, shown this once. It needs the mailbox's password where the mailbox is sealed or the caller is no
    auditor."""
    put = _openable(archive, principal, id, password)
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME:
        raise UsageError("Give the token a name that tells what it is for.")
    made = _audited(
        archive, principal, "mailbox.token.add", f"{put.address} {name}",
        lambda: archive.keyring.add_mailbox_token(put.mailbox, name, password=password),
    )  # fmt: skip
    info = next(one for one in mailbox_tokens(archive, principal, id=id) if one.id == made.id)
    return api.TokenCreated(info, made.token)


def mailbox_token_remove(archive: Archive, principal: Principal, *, id: str, which: str) -> None:
    """Take the token with the id ``which`` away. Raises NotFoundError."""
    principal.require("admin")
    put = find_mailbox(archive, id)
    _audited(
        archive, principal, "mailbox.token.remove", f"{put.address} {which}",
        lambda: archive.keyring.remove_mailbox_token(put.mailbox, which),
    )  # fmt: skip


def _openable(archive: Archive, principal: Principal, id: str, password: str) -> events.MailboxPut:
    """The mailbox, if the caller may make what opens its mail."""
    principal.require("admin")
    put = find_mailbox(archive, id)
    if put.sealed and not password:
        raise UsageError(f"{put.address} is sealed: this takes its present password, which nobody but its holder has.")
    if not password and not principal.is_auditor:
        raise ForbiddenError(
            "This would open all mail of the mailbox. Give its present password, or ask an auditor to do it."
        )
    return put


def _audited(archive: Archive, principal: Principal, action: str, what: str, work: Callable[[], T]) -> T:
    """``work``, with its audit line durable before it, and another one where it fails."""
    archive.note(principal, action, what)
    try:
        return work()
    except MailkeepError as error:
        archive.note(principal, f"{action}.failed", f"{what}: {error.code}")
        raise
