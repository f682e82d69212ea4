"""Who opens a Gmail mailbox: one person who has allowed it in a browser, or a service account for a whole Workspace."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from appliance import decoding
from appliance.checks import Check
from appliance.errors import MailkeepError, UsageError
from appliance.framing import in_words
from appliance.language import _, later
from appliance.sources.base import Account, Memory
from appliance.vendor import google_person
from appliance.vendor.google import SIGN_IN, Tokens, service
from appliance.vendor.google_person import Application, Begun, PersonTokens, SignInOverError
from appliance.vendor.web import BRIEF, Http, Token

SCOPE: Final = "https://mail.google.com/"
"""The one scope with which Google takes IMAP (https://developers.google.com/workspace/gmail/imap/xoauth2-protocol)."""

_ANYBODY: Final = "anybody@example.com"
"""For whom a service account acts until somebody is named."""
_BEGUN: Final = "begun"
_REFRESH: Final = "refresh"


class Signer(Protocol):
    """Gives access tokens."""

    def token(self, user: str) -> str:
        """For the mailbox of that address. Raises RemoteDeniedError, UnavailableError."""
        ...

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """Whether there are tokens for these, and what to do where there are not."""
        ...


class Delegated:
    """A service account with domain-wide delegation: it acts for everybody of the Workspace. Threads may share it."""

    def __init__(self, key: str, *, tls: ssl.SSLContext | None = None) -> None:
        """``key`` is the service account's JSON. Raises UsageError where it is none."""
        self._account = service(key, _ANYBODY)
        self._key = key
        self._http = Http(SIGN_IN, tls=tls)
        self._lock = threading.Lock()
        self._tokens: dict[str, Token] = {}

    def token(self, user: str) -> str:
        """For the mailbox of that address."""
        with self._lock:
            token = self._tokens.get(user)
            if token is None:
                token = self._tokens[user] = Tokens(service(self._key, user), self._http).of((SCOPE,))
        return token()

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:
        """The key, and the delegation with the very scope and client that Google's console asks for."""
        if not accounts:
            text = _(
                "Nobody is chosen to try it with. In the Google Admin console, under Security, Access and data "
                "control, API controls, Domain-wide delegation, there has to be the client id {client} with the scope "
                "{scope}."
            )
            yield Check("Google", "warning", text.format(client=self._account.client, scope=SCOPE))
            return
        for account in accounts:
            try:
                self.token(account.id)
            except MailkeepError as error:
                yield Check("Google", "problem", in_words(error))
            else:
                text = _("The service account acts for {user} with {scope}.")
                yield Check("Google", "ok", text.format(user=account.id, scope=SCOPE))


class Person:
    """One person, who signs in in a browser once; what is left of that is in the ``Memory``. Threads may share it."""

    def __init__(
        self,
        application: Application,
        user: str,
        answer: str,
        memory: Memory | None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``answer`` is what the browser showed at the end of the sign-in that was begun last, "" for nothing yet."""
        self._application = application
        self._user = user
        self._answer = answer
        self._memory = memory
        self._http = Http(SIGN_IN, tls=tls)
        self._brief = Http(SIGN_IN, tls=tls, patience=BRIEF)
        self._lock = threading.Lock()
        self._tokens: PersonTokens | None = None

    def begin(self) -> str:
        """The address that the person opens in a browser: the same until they have signed in. Raises UsageError."""
        begun = self._begun()
        if begun is None:
            begun = google_person.begin(self._application, SCOPE, self._user)
            self._remember(_BEGUN, msgspec.json.encode(begun).decode())
        return begun.address

    def finish(self, answer: str) -> None:
        """The person has signed in: ``answer`` is the address that the browser shows then, or the code in it. Raises
        UsageError, RemoteDeniedError, UnavailableError."""
        begun = self._begun()
        if begun is None:
            raise UsageError(later("No sign-in was begun: open the address that the test shows first."))
        refresh = google_person.finish(self._application, self._brief, begun, answer, SCOPE)
        self._remember(_REFRESH, refresh)
        self._remember(_BEGUN, "")  # a code is taken once
        self._tokens = None

    def token(self, user: str) -> str:  # noqa: ARG002 - there is one
        """For the person's own mailbox. Raises SignInOverError where they have to sign in (once more)."""
        with self._lock:
            try:
                return self._person().token()
            except SignInOverError:
                if not self._answer or self._begun() is None:
                    raise
            self.finish(self._answer)
            return self._person().token()

    def check(self, accounts: Sequence[Account]) -> Iterator[Check]:  # noqa: ARG002 - there is one
        """Whether the person has signed in; if not, the address to do it at."""
        try:
            self.token(self._user)
        except (SignInOverError, UsageError) as error:
            yield Check("Google", "problem", self._what_to_do(error))
        except MailkeepError as error:
            yield Check("Google", "problem", in_words(error))
        else:
            yield Check("Google", "ok", _("“{user}” has allowed reading the mailbox.").format(user=self._user))

    def _what_to_do(self, error: MailkeepError) -> str:
        text = _(
            "{trouble} Open {address} in a browser, sign in as {user}, and allow what is asked. Then the browser goes "
            "to a page that cannot be reached: copy its address from the address bar into the profile's setting "
            "“code”, and test once more."
        )
        try:
            return text.format(trouble=in_words(error), address=self.begin(), user=self._user)
        except UsageError as other:
            return in_words(other)

    def _person(self) -> PersonTokens:
        if self._tokens is None:
            refresh = self._recalled(_REFRESH)
            if not refresh:
                raise SignInOverError(later("{user} has not signed in yet."), user=self._user)
            self._tokens = PersonTokens(self._application, self._http, refresh)
        return self._tokens

    def _begun(self) -> Begun | None:
        kept = self._recalled(_BEGUN)
        try:
            return decoding.from_json(kept, Begun) if kept else None
        except msgspec.DecodeError:
            return None

    def _recalled(self, key: str) -> str:
        return self._memory.get(self._place(key)) if self._memory is not None else ""

    def _remember(self, key: str, value: str) -> None:
        if self._memory is None:
            raise UsageError(later("The sign-in could not be kept. Save the profile first."))
        self._memory.put(self._place(key), value)

    def _place(self, key: str) -> str:
        """Another client's or another person's sign-in is not this one's."""
        whose = sha256(f"{self._application.client}\0{self._user}".encode()).hexdigest()[:16]
        return f"{key} {whose}"
