"""Microsoft 365, set up: who can be opened there, and one mailbox opened, by Microsoft Graph."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from appliance.checks import Check
from appliance.errors import UnavailableError, UsageError
from appliance.language import later
from appliance.sources.base import Account, Failed, Fetched, Folder, Item, Memory, Page
from appliance.sources.breaks import Breaks
from appliance.sources.graph import checking, deleting
from appliance.sources.graph.bodies import Bodies
from appliance.sources.graph.changes import Changes
from appliance.sources.graph.folders import list_folders
from appliance.sources.graph.mailbox import LASTING, Mailbox
from appliance.sources.graph.options import ME
from appliance.sources.graph.signing_in import Ways, address_of
from appliance.vendor.clouds import GRAPHS
from appliance.vendor.graph import TITLE
from appliance.vendor.web import BRIEF, Http, Patience, Token

_DELETES_NOT: Final = GRAPHS[1:]
"""Where Graph deletes nothing for good (https://learn.microsoft.com/en-us/graph/api/message-permanentdelete)."""


class GraphSource:
    """A ``Source``. An account's id is a user's id, name or address; ``ME`` is who has signed in."""

    def __init__(
        self,
        ways: Ways,
        memory: Memory | None,
        accounts: Sequence[Account] = (),
        *,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """``accounts`` are those that are known without a directory. ``sleep`` waits; by default it is woken where a
        session is closed."""
        self._ways = msgspec.structs.replace(ways, tls=ways.tls or ssl.create_default_context())
        self._memory = memory
        self._accounts = tuple(accounts)
        self._sleep = sleep
        self._breaks = Breaks()
        self._token = self._ways.token(self._ways.sign_in(), memory)

    def accounts(self) -> Iterator[Account]:
        """Those that it was given; of who has signed in, the address that Microsoft told."""
        for one in self._accounts:
            yield msgspec.structs.replace(one, address=address_of(self._memory)) if one.id == ME else one

    def open(self, account: Account) -> GraphSession:
        """Sign in, and find the mailbox. Raises UnavailableError, RemoteDeniedError, UsageError."""
        return self._opened(account, self._token, self._ways.patience)

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Certificate, sign-in, clock; then for each account the permissions, folders, one message."""
        with self._ways.sign_in(BRIEF) as http:
            yield from checking.check(
                self._ways, http, self._memory, accounts, lambda account, token: self._opened(account, token, BRIEF)
            )

    def _opened(self, account: Account, token: Token, patience: Patience) -> GraphSession:
        session = GraphSession(account, token, self._ways, patience=patience, breaks=self._breaks, sleep=self._sleep)
        try:
            session.mailbox.find()
        except BaseException:
            session.close()
            raise
        return session


class GraphSession:
    """A ``Session``."""

    def __init__(
        self,
        account: Account,
        token: Token,
        ways: Ways,
        *,
        patience: Patience,
        breaks: Breaks,
        sleep: Callable[[float], None] | None,
    ) -> None:
        self._root = ways.root
        self._closed = threading.Event()
        wait = sleep or self._wait
        self._http = Http(TITLE, tls=ways.tls, patience=patience, lasting=LASTING, sleep=wait)
        self.mailbox = Mailbox(self._http, ways.root, token, account.id, patience=patience, sleep=wait)
        self._changes = Changes(self.mailbox)
        self._bodies = Bodies(self.mailbox, breaks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ask for nothing more, and let the connections go."""
        self._closed.set()
        self._bodies.close()
        self._http.close()

    def folders(self) -> Sequence[Folder]:
        """All folders, hidden ones too."""
        with self.mailbox.refusing():
            return list_folders(self.mailbox)

    def changes(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        """What has happened since, in no order: Graph keeps none."""
        with self.mailbox.refusing():
            yield from self._changes.since(folder, cursor)

    def newest(self, folder: Folder) -> Item | None:
        """One of the folder's newest messages; None if it is empty."""
        with self.mailbox.refusing():
            return self._changes.newest(folder)

    def fetch(self, folder: Folder, items: Sequence[Item]) -> Iterator[Fetched | Failed]:  # noqa: ARG002 - ids tell
        """The items in MIME, as Exchange makes them of what it has stored."""
        yield from self._bodies.fetch(items)

    def delete(self, folder: Folder, ids: Sequence[str]) -> frozenset[str]:
        """Delete these for good. Drafts stay, and so does what somebody has moved to another folder; neither is said to
        be gone."""
        if self._root in _DELETES_NOT:
            raise UsageError(
                later(
                    "In this cloud Microsoft Graph deletes nothing for good. Nothing was deleted. Choose to keep "
                    "messages there, or read by IMAP."
                )
            )
        return deleting.delete(self.mailbox, folder, ids)

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise UnavailableError(later("The session was closed."))
