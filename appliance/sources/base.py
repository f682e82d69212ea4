"""One protocol for every place that mail is fetched from: accounts, their folders, what is new, the bytes.

    source = …
    for account in source.accounts():
        with source.open(account) as session:
            for folder in session.folders():
                for page in session.changes(folder, cursor):
                    for fetched in session.fetch(folder, wanted(page.items)):
                        …
                    cursor = page.cursor

A source only talks to the other side: what is archived already, what is filtered out and what may be deleted there is
decided by its caller. Errors are UnavailableError (the other side does not answer; ``ThrottledError`` where it asks for
patience), RemoteDeniedError (credentials or a right), CursorLostError, and UsageError (options that make no sense).
After an error a session is closed and opened anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

import msgspec

from appliance.checks import Check
from appliance.errors import MailkeepError
from appliance.fields import Field
from appliance.mail.folders import Role

CHUNK = 256 * 1024
"""Bytes of a message that a source hands over at a time, about."""


class CursorLostError(MailkeepError):
    """The other side no longer knows what the cursor means (UIDVALIDITY changed, a delta token expired): the folder is
    read again from its beginning, and what is archived already is recognised."""

    code = "cursor-lost"


class Account(msgspec.Struct, frozen=True):
    """One mailbox at the source. ``id`` never changes there; ``address`` is normalised, "" where none is known."""

    id: str
    address: str
    name: str = ""


class Folder(msgspec.Struct, frozen=True):
    """A folder of an account. ``id`` is how the source knows it; ``path`` its decoded names from the top."""

    id: str
    path: tuple[str, ...]
    role: Role = ""
    holds_mail: bool = True
    """False for folders that have only folders in them, calendars, contacts, tasks, notes."""
    messages: int | None = None
    """How many are in it, where the listing said so anyway."""
    by_labels: bool = False
    """Its messages are chosen by their ``labels``, one by one: the folders of that name hold no mail of their own."""


class Item(msgspec.Struct, frozen=True):
    """A message in a folder, without its bytes. ``id`` is the folder's, never another message's."""

    id: str
    size: int | None = None  # bytes, as the source reckons
    received: int | None = None  # microseconds: when the source got it
    flags: tuple[str, ...] = ()  # of: seen, answered, flagged, deleted, draft, forwarded
    labels: tuple[tuple[str, ...], ...] = ()
    """Further folders that the message is in, by path (Gmail's labels)."""
    same: str = ""
    """Equal for one and the same message in several folders of the account (X-GM-MSGID, EMAILID), where it is known."""


class Page(msgspec.Struct, frozen=True):
    """Some of what has changed in a folder.

    ``cursor`` is to be kept once everything in ``items`` has been dealt with: the changes after it begin right behind.
    ``gone`` are ids that the folder no longer has. ``changed`` are items seen before whose flags or labels changed.
    """

    items: tuple[Item, ...]
    cursor: bytes
    changed: tuple[Item, ...] = ()
    gone: tuple[str, ...] = ()


class Fetched(msgspec.Struct, frozen=True):
    """A message's bytes, in pieces of about ``CHUNK``, to be read before the next message is asked for.

    ``exact`` says whether they are the bytes that the source once received (IMAP), or made anew by it (Graph, EWS).
    """

    item: Item
    chunks: Iterable[bytes]
    size: int | None = None
    exact: bool = True


class Failed(msgspec.Struct, frozen=True):
    """A message that the source could not give, and why, in a sentence; the others are not touched by it."""

    item: Item
    why: str
    gone: bool = False
    """It is no longer there: somebody deleted or moved it meanwhile."""


class SourceKind(msgspec.Struct, frozen=True):
    """A kind of source, and what it asks for."""

    kind: str
    title: str
    help: str
    fields: tuple[Field, ...]


class Memory(Protocol):
    """What a source keeps from one run to the next, sealed, beside what the administrator gave: refreshed tokens."""

    def get(self, key: str) -> str:
        """What was put there last, "" for nothing."""
        ...

    def put(self, key: str, value: str) -> None:
        """Keep it, durably."""
        ...


class Session(Protocol):
    """One account, opened. Used by one thread at a time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def folders(self) -> Sequence[Folder]:
        """All folders, those that hold no mail too."""
        ...

    def changes(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        """What has come, changed and gone since ``cursor``; everything, oldest first, for an empty one. The last page
        may be empty, and its cursor counts too. Raises CursorLostError."""
        ...

    def fetch(self, folder: Folder, items: Sequence[Item]) -> Iterator[Fetched | Failed]:
        """The bytes of the items, each answered once, in any order; of an item from an earlier run its id is enough.
        Does not mark anything as read. Who stops before the end cannot use the session any more."""
        ...

    def delete(self, folder: Folder, ids: Sequence[str]) -> frozenset[str]:
        """Delete messages for good, none but these; the ids that are gone now. Raises UsageError where the source can
        delete nothing without deleting other things too."""
        ...


class Source(Protocol):
    """A source, set up."""

    def accounts(self) -> Iterator[Account]:
        """The accounts that it can open by itself; none where somebody else has to name them (a directory)."""
        ...

    def open(self, account: Account) -> Session:
        """Connect and sign in."""
        ...

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Try everything that fetching needs, with these accounts, changing nothing. Never raises."""
        ...
