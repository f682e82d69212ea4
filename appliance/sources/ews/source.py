"""Exchange, set up: who can be opened there, and one mailbox or the public folders opened."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Literal, Self

import httpx
import msgspec

from appliance.checks import Check
from appliance.errors import UnavailableError
from appliance.language import later
from appliance.mail.addresses import domain, normalise
from appliance.sources.base import Account, Failed, Fetched, Folder, Item, Page
from appliance.sources.breaks import Breaks
from appliance.sources.ews import bodies, changes, checking, deleting
from appliance.sources.ews.exchange import STATUSES, TITLE, Exchange, Whose
from appliance.sources.ews.folders import list_folders
from appliance.sources.ews.signing_in import ByNtlm, ByToken
from appliance.vendor.microsoft import SIGN_IN, Application, Tokens
from appliance.vendor.web import BRIEF, Http, Patience

PUBLIC: Final = Account("public", "", "Public folders")
"""The tree of public folders, as an account."""


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say. ``url`` is where EWS is; an ``application`` signs in where there is one, otherwise
    ``user``. ``anchor`` is the mailbox that public folders are in; ``verified`` whether certificates are."""

    url: str
    sign_in: Literal["basic", "ntlm", "oauth"]
    user: str
    password: str
    application: Application | None
    mailbox: str
    impersonate: bool
    public: bool
    anchor: str
    verified: bool
    tls: ssl.SSLContext
    patience: Patience

    def __repr__(self) -> str:
        return "Ways(…)"

    @property
    def host(self) -> str:
        """The server's name."""
        return httpx.URL(self.url).host

    def whose(self, account: Account) -> Whose:
        """How an account is opened."""
        if account.id == PUBLIC.id:
            as_whom = self.mailbox if self.impersonate else ""
            return Whose(PUBLIC.name, as_whom=as_whom, public=True, anchor=self.anchor)
        if self.impersonate:
            return Whose(account.id, as_whom=account.id)
        return Whose(account.id, mailbox="" if account.id == self.user else account.id)


class EwsSource:
    """A ``Source``. An account's id is a mailbox's primary address, or the name that its user signs in with."""

    def __init__(self, ways: Ways, *, sleep: Callable[[float], None] | None = None) -> None:
        """``sleep`` waits; by default it is woken where a session is closed."""
        self._ways = ways
        self._sleep = sleep
        self._breaks = Breaks()
        self._token = None
        if ways.application is not None:
            tokens = Tokens(ways.application, Http(SIGN_IN, tls=ways.tls, patience=ways.patience))
            self._token = tokens.of(str(httpx.URL(ways.url).join("/.default")))

    def accounts(self) -> Iterator[Account]:
        """The public folders, or the one mailbox; none where a directory names them."""
        ways = self._ways
        if ways.public:
            yield PUBLIC
        elif ways.mailbox:
            yield Account(ways.mailbox, ways.mailbox)
        elif not ways.impersonate:
            yield Account(ways.user, normalise(ways.user) if domain(normalise(ways.user)) else "", ways.user)

    def open(self, account: Account) -> EwsSession:
        """A session; the first question signs in."""
        return self._opened(account, self._ways.patience)

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Encryption, sign-in; then for each account the right to it, its folders, one message."""
        return checking.check(self._ways, accounts, lambda account: self._opened(account, BRIEF))

    def _opened(self, account: Account, patience: Patience) -> EwsSession:
        return EwsSession(self._ways, self._ways.whose(account), self._auth(), patience, self._breaks, self._sleep)

    def _auth(self) -> httpx.Auth:
        if self._token is not None:
            return ByToken(self._token)
        if self._ways.sign_in == "ntlm":
            return ByNtlm(self._ways.user, self._ways.password)
        return httpx.BasicAuth(self._ways.user, self._ways.password)


class EwsSession:
    """A ``Session``."""

    def __init__(
        self,
        ways: Ways,
        whose: Whose,
        auth: httpx.Auth,
        patience: Patience,
        breaks: Breaks,
        sleep: Callable[[float], None] | None,
    ) -> None:
        self._closed = threading.Event()
        self._breaks = breaks
        wait = sleep or self._wait
        self._http = Http(TITLE, tls=ways.tls, patience=patience, again=STATUSES, auth=auth, sleep=wait)
        self._exchange = Exchange(self._http, ways.url, whose, patience=patience, sleep=wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ask for nothing more, and let the connection go."""
        self._closed.set()
        self._http.close()

    def folders(self) -> Sequence[Folder]:
        """All folders."""
        return list_folders(self._exchange)

    def changes(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        """What has happened since, in no order; of public folders, all that is there."""
        return changes.changes(self._exchange, folder, cursor)

    def newest(self, folder: Folder) -> Item | None:
        """One of the folder's newest messages; None if there is none."""
        return changes.newest(self._exchange, folder)

    def fetch(self, folder: Folder, items: Sequence[Item]) -> Iterator[Fetched | Failed]:  # noqa: ARG002 - ids tell
        """The items in MIME, as Exchange makes them of what it has stored."""
        return bodies.fetch(self._exchange, items, self._breaks)

    def delete(self, folder: Folder, ids: Sequence[str]) -> frozenset[str]:  # noqa: ARG002 - ids tell
        """Delete these for good. An id is of a folder: what was moved meanwhile stays."""
        return deleting.delete(self._exchange, ids)

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise UnavailableError(later("The session was closed."))
