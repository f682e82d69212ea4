"""Access tokens of Microsoft Entra ID for a person who signs in once, anywhere, by a code (device authorization).

    registration = Registration(tenant="contoso.com", client="…")
    with Http(SIGN_IN) as http:
        code = begin(registration, http, ["https://graph.microsoft.com/Mail.Read"])
        # the person opens code.address and enters code.code; meanwhile, every code.interval seconds:
        signed_in = finish(registration, http, code)
        token = PersonTokens(registration, http, signed_in.kept, keep).of(["https://graph.microsoft.com/Mail.Read"])

RFC 8628; https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-device-code
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msal
import msgspec

from appliance.decoding import from_json
from appliance.errors import RemoteDeniedError, UnavailableError, UsageError
from appliance.language import later
from appliance.vendor.clouds import AUTHORITIES
from appliance.vendor.microsoft import Transport, refused, registered
from appliance.vendor.web import Http, Token, https

_WAITING: Final = frozenset({"authorization_pending", "slow_down"})
_OVER: Final = frozenset({"expired_token", "code_expired", "bad_verification_code"})
_DECLINED: Final = frozenset({"authorization_declined", "access_denied"})
_ANEW: Final = frozenset({"invalid_grant", "interaction_required", "login_required", "consent_required"})


class SignInOverError(RemoteDeniedError):
    """Nobody has signed in, or the person has to do so once more."""


class Registration(msgspec.Struct, frozen=True):
    """An application that people sign in to, by itself without a secret (a public client)."""

    tenant: str
    client: str
    authority: str = AUTHORITIES[0]


class Code(msgspec.Struct, frozen=True):
    """What a person has to do: open ``address`` and enter ``code``, before ``until`` (seconds of the epoch).

    ``flow`` is what ``finish`` goes on with, not before ``interval`` seconds; whoever has it gets the tokens, so it is
    shown to nobody.
    """

    code: str
    address: str
    until: float
    interval: int
    flow: str

    def __repr__(self) -> str:
        return f"Code({self.code}, {self.address}, …)"


class SignedIn(msgspec.Struct, frozen=True):
    """Who has signed in, as Microsoft names the account, and what is to be kept, secretly, for ``PersonTokens``."""

    name: str
    kept: str

    def __repr__(self) -> str:
        return f"SignedIn({self.name}, …)"


class _Flow(msgspec.Struct, frozen=True):
    """What has to be in an answer to the first request (RFC 8628 section 3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_at: float
    interval: int


def registration(tenant: str, client: str, *, authority: str = "") -> Registration:
    """An application of what an administrator gave. Raises UsageError where something cannot be right."""
    return Registration(*registered(tenant, client), https(authority or AUTHORITIES[0]))


def begin(registration: Registration, http: Http, scopes: Sequence[str]) -> Code:
    """Ask for a code. Raises RemoteDeniedError and UnavailableError."""
    with _sense(http):
        flow = _client(registration, http, msal.SerializableTokenCache()).initiate_device_flow(list(scopes))
    if "user_code" not in flow:
        raise _refused(registration, flow)
    try:
        told = from_json(json.dumps(flow), _Flow)
    except msgspec.DecodeError as error:
        raise _nonsense(http) from error
    return Code(told.user_code, told.verification_uri, told.expires_at, told.interval, json.dumps(flow))


def finish(registration: Registration, http: Http, code: Code) -> SignedIn | None:
    """Whether the person has signed in by now: None if not yet. Raises RemoteDeniedError where that will not come
    about any more (SignInOverError: begin once more), and UnavailableError."""
    cache = msal.SerializableTokenCache()
    with _sense(http):
        result: Mapping[str, Any] = _client(registration, http, cache).acquire_token_by_device_flow(
            json.loads(code.flow), exit_condition=lambda _flow: True
        )
    error = str(result.get("error", ""))
    if error in _WAITING and time.time() < code.until:
        return None
    if error in _WAITING | _OVER:
        raise SignInOverError(later("The code has expired before anybody signed in with it."))
    if error in _DECLINED:
        raise SignInOverError(later("The person has declined. Nothing is fetched."))
    if "access_token" not in result:
        raise _refused(registration, result)
    claims: Mapping[str, Any] = result.get("id_token_claims") or {}
    return SignedIn(str(claims.get("preferred_username", "")), cache.serialize())


class PersonTokens:
    """The tokens of the person who has signed in, kept until they expire. May be used by several threads.

    ``kept`` is what is left of the sign-in, "" for none; ``keep`` is given what takes its place when tokens were
    renewed.
    """

    def __init__(self, registration: Registration, http: Http, kept: str, keep: Callable[[str], None]) -> None:
        self._registration = registration
        self._http = http
        self._keep = keep
        self._lock = threading.Lock()
        self._cache = msal.SerializableTokenCache()
        try:
            self._cache.deserialize(kept or None)
        except ValueError as error:
            raise UsageError(later("What was kept of the sign-in cannot be read. Sign in once more.")) from error
        self._client: msal.PublicClientApplication | None = None

    def of(self, scopes: Sequence[str]) -> Token:
        """Where the tokens for these scopes come from. Asking raises SignInOverError, RemoteDeniedError and
        UnavailableError."""

        def token(refused: str = "") -> str:
            with self._lock, _sense(self._http):
                result = self._asked(scopes, force=False)
                if refused and result.get("access_token") == refused:
                    result = self._asked(scopes, force=True)
            if "access_token" in result:
                return str(result["access_token"])
            if result.get("error") in _ANEW:
                raise SignInOverError(
                    later("Microsoft wants the person to sign in once more: {why} What was fetched until now is safe."),
                    why=_refused(self._registration, result).message,
                )
            raise _refused(self._registration, result)

        return token

    def _asked(self, scopes: Sequence[str], *, force: bool) -> Mapping[str, Any]:
        if self._client is None:
            self._client = _client(self._registration, self._http, self._cache)
        accounts = self._client.get_accounts()
        result: Mapping[str, Any] | None = None
        if accounts:
            result = self._client.acquire_token_silent_with_error(list(scopes), accounts[0], force_refresh=force)
        if self._cache.has_state_changed:
            self._keep(self._cache.serialize())
        if result is None:
            raise SignInOverError(later("Nobody has signed in to the mailbox yet."))
        return result


def _client(registration: Registration, http: Http, cache: msal.SerializableTokenCache) -> msal.PublicClientApplication:
    return msal.PublicClientApplication(
        registration.client,
        authority=f"{registration.authority}/{registration.tenant}",
        instance_discovery=False,  # as for ``Tokens``
        http_client=Transport(http, lambda error, said: refused(registration.client, registration.tenant, error, said)),
        token_cache=cache,
    )


def _refused(registration: Registration, result: Mapping[str, Any]) -> RemoteDeniedError:
    error, said = str(result.get("error", "")), str(result.get("error_description", ""))
    return refused(registration.client, registration.tenant, error, said)


@contextmanager
def _sense(http: Http) -> Iterator[None]:
    """msal takes the service's answers for right; where they make no sense, that is said in words."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise _nonsense(http) from error


def _nonsense(http: Http) -> UnavailableError:
    return UnavailableError(
        later("{title} answered with something that makes no sense. Nothing was changed."), title=http.title
    )
