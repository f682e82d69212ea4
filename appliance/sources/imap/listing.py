"""The folders of an account: names, roles, and where the server says it along, how many messages are in each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from appliance.mail.folders import Role, role_by_name
from appliance.sources.base import Folder
from appliance.sources.imap.answers import RefusedError
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.grammar import Response, Value, number, pairs, quoted, string, strings
from appliance.sources.imap.names import INBOX, from_wire, sayable, shown, to_wire

_ROLES: Final[Mapping[bytes, Role]] = {
    rb"\ALL": "all", rb"\ARCHIVE": "archive", rb"\DRAFTS": "drafts", rb"\FLAGGED": "flagged", rb"\JUNK": "junk",
    rb"\SENT": "sent", rb"\TRASH": "trash",  # RFC 6154
    rb"\IMPORTANT": "important",  # RFC 8457
    rb"\ALLMAIL": "all", rb"\SPAM": "junk", rb"\STARRED": "flagged", rb"\INBOX": "inbox",  # XLIST
}  # fmt: skip
_NO_MAIL: Final = frozenset({rb"\NOSELECT", rb"\NONEXISTENT"})
_STATUS: Final = b"MESSAGES UIDNEXT UIDVALIDITY"
_AHEAD: Final = 50
"""Commands sent at once, so that the server's answers and ours cannot wait for each other."""


class Status(msgspec.Struct, frozen=True):
    """A folder's state at one moment. ``modseq`` is HIGHESTMODSEQ (RFC 7162), 0 where the server keeps none."""

    validity: int
    next: int
    messages: int
    modseq: int = 0


class Listing(msgspec.Struct, frozen=True):
    """All folders, and the state of those of which the server told it."""

    folders: tuple[Folder, ...]
    status: Mapping[str, Status]


class _Space(msgspec.Struct, frozen=True):
    """A namespace (RFC 2342): a prefix, as the server says it."""

    prefix: bytes
    personal: bool


def list_folders(conversation: Conversation, *, foreign: bool) -> Listing:
    """Ask for all folders; ``foreign`` for those of other users and shared ones too. Raises RefusedError."""
    utf8 = conversation.utf8
    spaces = _spaces(conversation)
    found: dict[str, Folder] = {}
    status: dict[str, Status] = {}
    marked: set[Role] = set()
    for answer in _listed(conversation, spaces, foreign=foreign):
        try:
            if answer.name == b"STATUS":
                status |= [_told(conversation, answer)]
            elif answer.name in (b"LIST", b"XLIST"):
                flags, delimiter, name = answer.values()[:3]
                space = _space_of(string(name), spaces)
                if space is None or space.personal or foreign:
                    folder = _folder(strings(flags), delimiter, string(name), space, utf8=utf8)
                    found.setdefault(folder.id, folder)
                    marked.add(folder.role)
        except ValueError as error:  # GrammarError is one
            raise conversation.wire.garbage() from error
    missing = [id for id, folder in found.items() if folder.holds_mail and id not in status and sayable(id)]
    if missing and conversation.can("CONDSTORE", "QRESYNC"):
        status |= _asked(conversation, missing, utf8=utf8)
    return Listing(
        tuple(_finished(folder, marked, status.get(folder.id)) for folder in found.values()),
        status,
    )


def _listed(conversation: Conversation, spaces: Sequence[_Space], *, foreign: bool) -> Iterable[Response]:
    command = b'LIST "" %b'
    if conversation.can("LIST-STATUS", "IMAP4REV2"):  # RFC 5819; with RFC 6154 it may ask for the uses too
        use = b"SPECIAL-USE " if conversation.can("SPECIAL-USE", "IMAP4REV2") else b""
        command += b" RETURN (" + use + b"STATUS (" + _status_items(conversation) + b"))"
    elif conversation.can("SPECIAL-USE") and conversation.can("LIST-EXTENDED"):
        command += b" RETURN (SPECIAL-USE)"
    elif conversation.can("XLIST") and not conversation.can("SPECIAL-USE"):
        command = b'XLIST "" %b'
    try:
        yield from conversation.ask(command % b'"*"')
    except RefusedError:  # of what it says that it can
        yield from conversation.ask(b'LIST "" "*"')
    for space in spaces if foreign else ():
        if not space.personal:  # some servers name these only to who asks for them
            yield from conversation.ask(command % quoted(space.prefix + b"*"))


def _status_items(conversation: Conversation) -> bytes:
    return _STATUS + (b" HIGHESTMODSEQ" if conversation.can("CONDSTORE", "QRESYNC") else b"")


def _asked(conversation: Conversation, folders: Sequence[str], *, utf8: bool) -> dict[str, Status]:
    """The state of folders, asked for one by one but sent together; not of those that the server refuses."""
    found: dict[str, Status] = {}
    items = _status_items(conversation)
    for begin in range(0, len(folders), _AHEAD):
        names = [quoted(to_wire(folder, utf8=utf8)) for folder in folders[begin : begin + _AHEAD]]
        _, answers = conversation.ask_together([b"STATUS %b (%b)" % (name, items) for name in names])
        found |= dict(_told(conversation, answer) for answer in answers if answer.name == b"STATUS")
    return found


def _told(conversation: Conversation, answer: Response) -> tuple[str, Status]:
    """The folder and its state, of a STATUS response."""
    try:
        name, value = answer.values()
        told = pairs(value)
        validity, following, messages = (number(told.get(item)) for item in (b"UIDVALIDITY", b"UIDNEXT", b"MESSAGES"))
        modseq = number(told.get(b"HIGHESTMODSEQ", b"0"))
        return from_wire(string(name), utf8=conversation.utf8), Status(validity, following, messages, modseq)
    except ValueError as error:
        raise conversation.wire.garbage() from error


def _spaces(conversation: Conversation) -> list[_Space]:
    if not conversation.can("NAMESPACE", "IMAP4REV2"):
        return []
    try:
        for answer in conversation.ask(b"NAMESPACE"):
            if answer.name == b"NAMESPACE":
                personal, *others = answer.values()
                return [
                    _Space(string(one[0]), kind is personal)
                    for kind in (personal, *others)
                    if isinstance(kind, list)
                    for one in kind
                    if isinstance(one, list) and one
                ]
    except RefusedError:
        return []
    except ValueError as error:  # GrammarError is one
        raise conversation.wire.garbage() from error
    return []


def _space_of(name: bytes, spaces: Iterable[_Space]) -> _Space | None:
    """The namespace with the longest prefix that the name begins with."""
    fitting = [space for space in spaces if name.startswith(space.prefix) or name == space.prefix[:-1]]
    return max(fitting, key=lambda space: len(space.prefix), default=None)


def _folder(flags: list[bytes], delimiter: Value, name: bytes, space: _Space | None, *, utf8: bool) -> Folder:
    attributes = {flag.upper() for flag in flags}
    id = from_wire(name, utf8=utf8)
    role: Role = next((role for attribute, role in _ROLES.items() if attribute in attributes), "")
    prefix = space.prefix if space is not None and space.personal else b""
    below = name[len(prefix) :] if prefix and name.startswith(prefix) and name != prefix else name
    text = shown(from_wire(below, utf8=utf8))
    between = shown(delimiter.decode("latin-1")) if isinstance(delimiter, bytes) else ""
    path = tuple(one for one in text.split(between) if one) if between else (text,)
    path = path or (text,)
    return Folder(
        id=id,
        path=(INBOX, *path[1:]) if path[0].upper() == INBOX else path,
        role="inbox" if id == INBOX else role,
        holds_mail=not attributes & _NO_MAIL,
    )


def _finished(folder: Folder, marked: set[Role], status: Status | None) -> Folder:
    """With what only all answers together tell: how many messages, and a role by name where no folder was marked so.

    A name tells a role at the top, and one below it (INBOX/Sent, [Gmail]/Sent Mail)."""
    role = folder.role
    if not role and len(folder.path) <= 2 and (named := role_by_name(folder.path[-1])) not in marked:
        role = named
    return msgspec.structs.replace(folder, role=role, messages=status.messages if status is not None else None)
