"""Who reads the mail: an application by itself, or a person who has signed in to it by a code; and for what.

A person is asked to sign in by the test of a source, which shows a code; the next test, or the next run, takes what
came of it. All of that is in the source's memory, so it does not matter which process does which.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.decoding import from_json
from appliance.errors import RemoteDeniedError
from appliance.mail.addresses import domain, normalise
from appliance.sources.base import Memory
from appliance.vendor import microsoft_device
from appliance.vendor.clouds import GRAPHS, MAIL_SERVERS
from appliance.vendor.microsoft import SIGN_IN, Application, Tokens
from appliance.vendor.microsoft_device import Code, PersonTokens, Registration, SignInOverError
from appliance.vendor.web import Http, Patience, Token

_TOKENS: Final = "tokens"
_NAME: Final = "name"
_CODE: Final = "code"
"""In the source's memory: what is left of a person's sign-in, as whom that was, and the code that they are to enter."""
_SHORTEST: Final = 60.0
"""Seconds that a code has to be good for yet, to be shown to anybody."""


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say. Either an ``application`` reads the mail, or a person who signs in to a ``registration``.

    ``root`` is the address of Microsoft Graph; ``shared``: the person opens a mailbox other than their own;
    ``deleting``: messages are to be deleted. ``tls`` is what certificates are checked against.
    """

    root: str
    application: Application | None
    registration: Registration | None
    by_imap: bool
    shared: bool
    deleting: bool
    patience: Patience
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return "Ways(…)"

    def scopes(self) -> tuple[str, ...]:
        """What a token is asked for.

        An application gets what was consented to. A person consents to what is asked for; IMAP's scopes are those of
        https://learn.microsoft.com/en-us/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-
        smtp-application-by-using-oauth
        """
        if self.by_imap:
            host = f"https://{MAIL_SERVERS[self.root]}"
            if self.application is not None:
                return (f"{host}/.default",)
            if self.root == GRAPHS[0]:
                host = "https://outlook.office.com"
            return (f"{host}/IMAP.AccessAsUser.All",)
        if self.application is not None:
            return (f"{self.root}/.default",)
        rights = ["Mail.ReadWrite" if self.deleting else "Mail.Read"]
        if self.shared:
            rights.append(f"{rights[0]}.Shared")
        return tuple(f"{self.root}/{one}" for one in rights)

    def token(self, http: Http, memory: Memory | None) -> Token:
        """Where access tokens come from. Asking raises RemoteDeniedError (SignInOverError where a person has to sign
        in) and UnavailableError."""
        if self.application is not None:
            return Tokens(self.application, http).of(self.scopes()[0])
        return self.person(http, memory).token

    def person(self, http: Http, memory: Memory | None) -> Person:
        """Who signs in to the registration."""
        if self.registration is None:
            raise ValueError("an application signs nobody in")
        return Person(self.registration, self.scopes(), http, memory or _Forgetful())

    def sign_in(self, patience: Patience | None = None) -> Http:
        """A connection to where tokens come from."""
        return Http(SIGN_IN, tls=self.tls, patience=patience or self.patience)


class Person:
    """Somebody who signs in by a code. Threads may share it."""

    def __init__(self, registration: Registration, scopes: Sequence[str], http: Http, memory: Memory) -> None:
        """Raises UsageError where what was kept cannot be read."""
        self._registration = registration
        self._scopes = scopes
        self._http = http
        self._memory = memory
        self._lock = threading.Lock()
        self._kept = ""
        self._tokens = self._opened()

    def token(self, refused: str = "") -> str:
        """A ``Token``. Where the person has to sign in, it is looked whether they have done so by now."""
        tokens = self._tokens
        try:
            return tokens(refused)
        except SignInOverError:
            with self._lock:
                if self._tokens is tokens and not (self._found() or self._finished()):
                    raise
        return self._tokens()

    def code(self) -> Code:
        """What the person has to enter, the same until they have or it expires. Raises RemoteDeniedError and
        UnavailableError."""
        with self._lock:
            code = self._begun()
            if code is None or code.until < time.time() + _SHORTEST:
                code = microsoft_device.begin(self._registration, self._http, self._scopes)
                self._memory.put(_CODE, msgspec.json.encode(code).decode())
            return code

    def _found(self) -> bool:
        """Whether another source has signed the person in meanwhile."""
        if self._memory.get(_TOKENS) == self._kept:
            return False
        self._tokens = self._opened()
        return True

    def _finished(self) -> bool:
        code = self._begun()
        if code is None:
            return False
        try:
            signed_in = microsoft_device.finish(self._registration, self._http, code)
        except RemoteDeniedError:
            self._memory.put(_CODE, "")
            raise
        if signed_in is None:
            return False
        self._memory.put(_TOKENS, signed_in.kept)
        self._memory.put(_NAME, signed_in.name)
        self._memory.put(_CODE, "")
        self._tokens = self._opened()
        return True

    def _opened(self) -> Token:
        def keep(text: str) -> None:
            self._kept = text
            self._memory.put(_TOKENS, text)

        self._kept = self._memory.get(_TOKENS)
        return PersonTokens(self._registration, self._http, self._kept, keep).of(self._scopes)

    def _begun(self) -> Code | None:
        try:
            return from_json(self._memory.get(_CODE), Code)
        except msgspec.DecodeError:
            return None


class _Forgetful:
    """A memory where there is none."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def get(self, key: str) -> str:
        return self._kept.get(key, "")

    def put(self, key: str, value: str) -> None:
        self._kept[key] = value


def address_of(memory: Memory | None) -> str:
    """The address of the person who has signed in; "" where none is known."""
    address = normalise(memory.get(_NAME) if memory is not None else "")
    return address if domain(address) else ""
