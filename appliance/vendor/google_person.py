"""Access tokens of Google for one person, who signs in once in a browser (OAuth 2.0 for installed applications).

    begun = begin(application, scope, user)
    # the person opens begun.address, signs in and allows; the browser goes to REDIRECT, and its address says the code
    refresh = finish(application, http, begun, "http://127.0.0.1:8765/?state=…&code=…", scope)
    token = PersonTokens(application, http, refresh).token

Where nothing listens at REDIRECT, the browser shows that the page cannot be reached, and the person copies its address.
RFC 6749, RFC 7636 (PKCE), RFC 8252; https://developers.google.com/identity/protocols/oauth2/native-app
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from appliance.errors import RemoteDeniedError, UnavailableError, UsageError
from appliance.language import later
from appliance.vendor.web import Http, told

SIGN_IN: Final = "https://accounts.google.com/o/oauth2/v2/auth"
TOKEN: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
REDIRECT: Final = "http://127.0.0.1:8765"
"""Where the browser goes afterwards: on the person's own machine, whatever listens there."""

_SPARE: Final = 60.0
"""Seconds before it expires that a token is not used any more."""
_LONGEST: Final = 4096


class Application(msgspec.Struct, frozen=True):
    """An OAuth client of the type desktop app. ``token_address`` is where tokens come from."""

    client: str
    secret: str
    token_address: str = TOKEN

    def __repr__(self) -> str:
        return f"Application({self.client})"


class SignInOverError(RemoteDeniedError):
    """What is left of the person's sign-in is not taken any more."""


class Begun(msgspec.Struct, frozen=True):
    """A sign-in under way: the ``address`` that the person opens, and what ``finish`` needs, which nobody is shown."""

    address: str
    state: str
    verifier: str

    def __repr__(self) -> str:
        return f"Begun({self.address}, …)"


class _Tokens(msgspec.Struct):
    access_token: str = ""
    expires_in: float = 0
    refresh_token: str = ""
    scope: str = ""


def begin(application: Application, scope: str, user: str) -> Begun:
    """Where ``user`` (an address) allows the application the scope. Nothing is asked of Google yet."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": application.client,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": scope,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": state,
        "login_hint": user,
        "access_type": "offline",  # a refresh token is wanted, and consent is asked for so that there is one
        "prompt": "consent",
    }
    return Begun(f"{SIGN_IN}?{urlencode(asked)}", state, verifier)


def finish(application: Application, http: Http, begun: Begun, answer: str, scope: str) -> str:
    """The refresh token, which is to be kept secretly. ``answer`` is the address that the browser shows at the end, or
    the code alone. Raises UsageError where it is neither, RemoteDeniedError, UnavailableError."""
    granted = _asked(
        application,
        http,
        grant_type="authorization_code",
        code=_code(begun, answer),
        code_verifier=begun.verifier,
        redirect_uri=REDIRECT,
    )
    if scope not in granted.scope.split():
        raise RemoteDeniedError(
            later("The person has signed in, but did not allow reading mail ({scope}). Sign in once more and tick it."),
            scope=scope,
        )
    if not granted.refresh_token:
        raise RemoteDeniedError(later("Google gave a token for an hour only. Sign in once more."))
    return granted.refresh_token


class PersonTokens:
    """The person's access tokens, kept until they expire. May be used by several threads."""

    def __init__(self, application: Application, http: Http, refresh: str) -> None:
        self._application = application
        self._http = http
        self._refresh = refresh
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def token(self) -> str:
        """A token for now. Raises SignInOverError, RemoteDeniedError, UnavailableError."""
        with self._lock:
            if time.monotonic() >= self._until:
                given = _asked(self._application, self._http, grant_type="refresh_token", refresh_token=self._refresh)
                self._token, self._until = given.access_token, time.monotonic() + given.expires_in - _SPARE
            return self._token


def _code(begun: Begun, answer: str) -> str:
    """The code that an answer says, if it is the answer to this sign-in (RFC 6749, section 10.12)."""
    answer = answer.strip()
    if "://" not in answer:
        if not answer or len(answer) > _LONGEST or not answer.isascii() or " " in answer:
            raise UsageError(later("That is no code. Copy the whole address that the browser shows at the end."))
        return answer
    said: Mapping[str, list[str]] = parse_qs(urlsplit(answer).query)
    if not hmac.compare_digest(said.get("state", [""])[0].encode(), begun.state.encode()):
        raise UsageError(
            later("That address belongs to another sign-in. Open the newest address, and copy what comes of it.")
        )
    if said.get("error") == ["access_denied"]:
        raise RemoteDeniedError(later("The person has declined. Nothing is fetched; begin once more to try again."))
    if not (code := said.get("code", [""])[0]):
        raise UsageError(later("That is no code. Copy the whole address that the browser shows at the end."))
    return code


def _asked(application: Application, http: Http, **form: str) -> _Tokens:
    all_of_it = {"client_id": application.client, "client_secret": application.secret, **form}
    answer = http.ask_for_token(http.request("POST", application.token_address, form=all_of_it))
    if not answer.well:
        reason, words = told(answer)
        raise _refused(application, reason, words)
    given = http.read(answer, _Tokens)
    if not given.access_token:
        raise UnavailableError(later("Google gave no token: {error}. Nothing was changed."), error="access_token")
    return given


def _refused(application: Application, reason: str, words: str) -> RemoteDeniedError:
    """RFC 6749, section 5.2; https://developers.google.com/identity/protocols/oauth2#expiration"""
    match reason:
        case "invalid_grant":
            text = later(
                "Google does not take the sign-in any more: it was withdrawn, the password was changed, it was not "
                "used for six months, or the OAuth client is still being tested, which ends each after seven days. "
                "Sign in once more. What was fetched until now is safe."
            )
            return SignInOverError(text)
        case "invalid_client" | "unauthorized_client":
            text = later(
                "Google does not know the OAuth client {client}, or its secret is another. In the Google Cloud "
                "console, under APIs & Services, Credentials, compare both."
            )
            return RemoteDeniedError(text, client=application.client)
    return RemoteDeniedError(later("Google gives no token: {said}"), said=words or reason or "no reason was given")
