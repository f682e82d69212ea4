"""Access tokens of Google for a service account that acts for somebody of its Workspace (domain-wide delegation).

https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport import Request, Response
from google.oauth2 import service_account

from appliance.decoding import from_json
from appliance.errors import RemoteDeniedError, UnavailableError, UsageError
from appliance.language import later
from appliance.mail.addresses import domain, local_part, normalise
from appliance.vendor.web import Http, Token, https

SIGN_IN: Final = "Google OAuth"
"""How the ``Http`` that tokens are fetched with is called in errors."""


class _Key(msgspec.Struct):
    type: str = ""
    client_email: str = ""
    client_id: str = ""
    private_key: str = ""
    private_key_id: str = ""
    token_uri: str = ""


class ServiceAccount(msgspec.Struct, frozen=True):
    """A service account's key, and for whom of the Workspace it acts. ``client`` is the number that delegation is given
    to in the admin console."""

    client: str
    subject: str
    key: Mapping[str, str]


def service(key: str, subject: str) -> ServiceAccount:
    """A service account of what an administrator gave: the key file's text, and an address. Raises UsageError."""
    try:
        read = from_json(key, _Key)
    except msgspec.DecodeError as error:
        raise UsageError(later("The service account's key is the whole JSON file that Google Cloud gave.")) from error
    if read.type != "service_account" or not (read.client_email and read.private_key):
        raise UsageError(
            later(
                "That is no service account's key. In the Google Cloud console, under IAM & Admin, Service Accounts, "
                "open the account, Keys, Add key, JSON."
            )
        )
    https(read.token_uri)
    subject = normalise(subject)
    if not (domain(subject) and local_part(subject)):
        raise UsageError(later("The administrator is given by a mail address of the Google Workspace."))
    account = ServiceAccount(read.client_id, subject, msgspec.structs.asdict(read))
    _credentials(account, ())
    return account


class Tokens:
    """The service account's tokens, kept until they expire. May be used by several threads."""

    def __init__(self, account: ServiceAccount, http: Http) -> None:
        self._account = account
        self._request = _Request(http)
        self._lock = threading.Lock()

    def of(self, scopes: Sequence[str]) -> Token:
        """Where the tokens for these scopes come from. Asking raises RemoteDeniedError where Google does not give one,
        and UnavailableError."""
        credentials = _credentials(self._account, scopes)

        def token(refused: str = "") -> str:
            with self._lock:
                if not credentials.valid or credentials.token == refused:
                    try:
                        credentials.refresh(self._request)  # type: ignore[no-untyped-call]
                    except RefreshError as error:
                        raise self._refused(error, scopes) from error
                    except GoogleAuthError as error:
                        raise UnavailableError(
                            later("Google gave no token: {error}. Nothing was changed."), error=error
                        ) from error
                return str(credentials.token)

        return token

    def _refused(self, error: RefreshError, scopes: Sequence[str]) -> RemoteDeniedError:
        said = str(error.args[0]) if error.args else str(error)
        for sign, text in _TEXTS:
            if sign in said:
                return RemoteDeniedError(
                    text,
                    client=self._account.client,
                    email=self._account.key["client_email"],
                    subject=self._account.subject,
                    scopes=", ".join(scopes),
                )
        return RemoteDeniedError(later("Google gives the service account no token: {said}"), said=said)


_DELEGATION = later(
    "The service account may not act for {subject} with {scopes}. In the Google Admin console, under Security, Access "
    "and data control, API controls, Domain-wide delegation, add the client id {client} with this scope. It can take "
    "up to a day until Google knows."
)
_KEY = later(
    "Google does not accept the service account's key: the key or the account was deleted. In the Google Cloud "
    "console, under IAM & Admin, Service Accounts, open {email}, Keys, and make a new one."
)
_NOBODY = later("There is no {subject} in the Google Workspace. Give the address of an administrator of it.")
_TEXTS: Final = (
    ("unauthorized_client", _DELEGATION),
    ("access_denied", _DELEGATION),
    (
        "Token must be a short-lived token",
        later(
            "Google finds that what was signed is not valid at this time. Set this machine's clock: it is wrong by "
            "minutes or more."
        ),
    ),
    ("Invalid JWT Signature", _KEY),
    ("account not found", _KEY),
    ("invalid_client", _KEY),
    ("deleted_client", _KEY),
    ("Invalid email or User ID", _NOBODY),
    ("Not a valid email", _NOBODY),
    (
        "disabled_client",
        later(
            "The service account {email} is disabled. In the Google Cloud console, under IAM & Admin, Service "
            "Accounts, enable it."
        ),
    ),
    (
        "admin_policy_enforced",
        later(
            "The Google Workspace's rules keep the service account out. In the Google Admin console, under Security, "
            "Access and data control, API controls, Manage app access, trust the client id {client}."
        ),
    ),
)
"""What the token service says; https://developers.google.com/identity/protocols/oauth2/service-account#jwt-error-codes"""


def _credentials(account: ServiceAccount, scopes: Sequence[str]) -> service_account.Credentials:
    try:
        credentials: service_account.Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            dict(account.key), scopes=list(scopes), subject=account.subject
        )
    except (ValueError, GoogleAuthError) as error:
        raise UsageError(
            later("The private key in the service account's file cannot be read. Make a new one.")
        ) from error
    return credentials


class _Response(Response):
    """An answer in the form that google-auth reads."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status, self._headers, self._data = status, headers, data

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def data(self) -> bytes:
        return self._data


class _Request(Request):
    """google-auth's requests, over our client: the same time limits, patience and errors as everything else."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the client has its own
        **_: Any,
    ) -> _Response:
        answer = self._http.ask_for_token(self._http.request(method, url, headers=headers, content=body))
        return _Response(answer.status, answer.headers, answer.content)
