"""Access tokens of Microsoft Entra ID for an application by itself (OAuth 2.0 client credentials).

    app = Application(tenant="contoso.com", client="…", secret="…")
    with Http(SIGN_IN) as http:
        token = Tokens(app, http).of("https://graph.microsoft.com/.default")
        token()

https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msal
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from appliance.errors import RemoteDeniedError, UnavailableError, UsageError
from appliance.language import later
from appliance.vendor.clouds import AUTHORITIES
from appliance.vendor.web import Answer, Http, Token, https, told

SIGN_IN: Final = "Microsoft Entra ID"
"""How the ``Http`` that tokens are fetched with is called in errors."""

_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


class Certificate(msgspec.Struct, frozen=True):
    """A certificate with its private key, both in PEM."""

    certificate: str
    private_key: str
    not_before: datetime
    not_after: datetime


class Application(msgspec.Struct, frozen=True):
    """An application that is registered in a tenant, with its secret or its certificate."""

    tenant: str
    client: str
    secret: str = ""
    certificate: Certificate | None = None
    authority: str = AUTHORITIES[0]


def application(
    tenant: str, client: str, *, secret: str = "", certificate: str = "", authority: str = ""
) -> Application:
    """An application of what an administrator gave; ``certificate`` is PEM with certificate and key. Raises UsageError
    where something cannot be right."""
    tenant, client = registered(tenant, client)
    secret = secret.strip()
    if bool(secret) == bool(certificate.strip()):
        raise UsageError(later("Give either a client secret or a certificate, not both and not neither."))
    if _GUID.fullmatch(secret):
        raise UsageError(
            later(
                "That is the secret's id. What is needed is its value, which is shown only once: when the secret is "
                "made."
            )
        )
    return Application(
        tenant,
        client,
        secret,
        _certificate(certificate) if certificate.strip() else None,
        https(authority or AUTHORITIES[0]),
    )


def registered(tenant: str, client: str) -> tuple[str, str]:
    """Both as they are written in requests. Raises UsageError where they can be neither."""
    tenant, client = tenant.strip(), client.strip()
    if not _TENANT.fullmatch(tenant):
        raise UsageError(later("The tenant is its id or one of its domains, such as contoso.onmicrosoft.com."))
    if not _GUID.fullmatch(client):
        raise UsageError(
            later(
                "The application (client) id has the form 00000000-0000-0000-0000-000000000000. It is on the overview "
                "page of the app registration."
            )
        )
    return tenant, client.lower()


class Tokens:
    """The application's tokens, kept until they expire. May be used by several threads."""

    def __init__(self, application: Application, http: Http) -> None:
        self._application = application
        self._http = http
        self._client: msal.ConfidentialClientApplication | None = None
        self._lock = threading.Lock()

    def of(self, scope: str) -> Token:
        """Where the tokens for a scope (``https://graph.microsoft.com/.default``) come from. Asking raises
        RemoteDeniedError where the application is not let in, and UnavailableError."""

        def token(refused: str = "") -> str:
            with self._lock:
                try:
                    return self._acquired(scope, refused)
                except ValueError as error:  # of msal, which takes the service's answers for right
                    raise UnavailableError(
                        later("{title} answered with something that makes no sense. Nothing was changed."),
                        title=self._http.title,
                    ) from error

        return token

    def _acquired(self, scope: str, refused: str) -> str:
        if self._client is None:
            self._client = self._opened()
        result: Mapping[str, Any] = self._client.acquire_token_for_client([scope])
        if refused and result.get("access_token") == refused:
            self._client.remove_tokens_for_client()
            result = self._client.acquire_token_for_client([scope])
        if "access_token" in result:
            return str(result["access_token"])
        raise self._refused(str(result.get("error", "")), str(result.get("error_description", "")))

    def _opened(self) -> msal.ConfidentialClientApplication:
        application = self._application
        credential: str | dict[str, str] = application.secret
        if application.certificate is not None:
            credential = {
                "private_key": application.certificate.private_key,
                "public_certificate": application.certificate.certificate,
            }
        return msal.ConfidentialClientApplication(
            application.client,
            client_credential=credential,
            authority=f"{application.authority}/{application.tenant}",
            # What is asked for otherwise, at the world's cloud: whether the authority is one of Microsoft's.
            instance_discovery=False,
            http_client=Transport(self._http, self._refused),
        )

    def _refused(self, error: str, description: str) -> RemoteDeniedError:
        return refused(self._application.client, self._application.tenant, error, description)


def refused(client: str, tenant: str, error: str, description: str) -> RemoteDeniedError:
    """In words why Entra ID gives no token. Microsoft says that its numbers may change; where none is known, its own
    sentence is given."""
    number = re.match(r"AADSTS(\d+)", description)
    text = _TEXTS.get(number[1] if number else "")
    if text is not None:
        return RemoteDeniedError(text, client=client, tenant=tenant)
    said = description.partition(" Trace ID:")[0].partition("\n")[0].strip() or error
    return RemoteDeniedError(
        later("Microsoft Entra ID does not let the application in: {said}"), said=said or "no reason was given"
    )


_NO_TENANT = later("There is no tenant “{tenant}” at this authority. Give the tenant's id or one of its domains.")
_TEXTS: Final = {
    "90002": _NO_TENANT,
    "900023": _NO_TENANT,
    "700016": later(
        "There is no application {client} in the tenant {tenant}. Compare both ids with the overview page of the app "
        "registration."
    ),
    "7000215": later(
        "The client secret is wrong. In the Microsoft Entra admin center, under App registrations, open the "
        "application, Certificates & secrets, New client secret, and copy its value (not its id)."
    ),
    "7000222": later(
        "The client secret has expired. In the Microsoft Entra admin center, under App registrations, open the "
        "application, Certificates & secrets, New client secret, and give its value here."
    ),
    "700027": later(
        "Microsoft Entra ID does not know the certificate. In the Microsoft Entra admin center, under App "
        "registrations, open the application, Certificates & secrets, Certificates, and upload it (without its key)."
    ),
    "1000502": later(
        "The certificate has expired. Make a new one, upload it to the app registration, and give it here."
    ),
    "700024": later(
        "Microsoft Entra ID finds that what was signed is not valid at this time. Set this machine's clock: it is "
        "wrong by minutes or more."
    ),
    "7000112": later(
        "The application {client} is disabled. In the Microsoft Entra admin center, under Enterprise applications, "
        "open it, Properties, and enable it for users to sign in."
    ),
    "7000229": later(
        "The application {client} was registered, but never consented to, in the tenant {tenant}. In the Microsoft "
        "Entra admin center, under App registrations, open it, API permissions, and grant admin consent."
    ),
    "65001": later(
        "Nobody has consented to what the application {client} asks for in the tenant {tenant}. In the Microsoft Entra "
        "admin center, under App registrations, open it, API permissions, and grant admin consent."
    ),
    "7000218": later(
        "The application {client} may not sign people in by a code. In the Microsoft Entra admin center, under App "
        "registrations, open it, Authentication, and allow public client flows."
    ),
    "53003": later(
        "A Conditional Access policy keeps the application out. Leave this application or this machine's address out "
        "of that policy."
    ),
}
"""https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes"""


class _Configuration(msgspec.Struct):
    """What has to be in an authority's description of itself."""

    authorization_endpoint: str
    token_endpoint: str


class _Response(msgspec.Struct):
    """An answer in the form that msal reads."""

    status_code: int
    text: str
    headers: Mapping[str, str]


class Transport:
    """msal's requests, over our client: the same time limits, patience and errors as everything else."""

    def __init__(self, http: Http, refused: Callable[[str, str], RemoteDeniedError]) -> None:
        self._http = http
        self._refused = refused

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, **_: object
    ) -> _Response:
        """The authority's description of itself, which names the address for tokens."""
        answer = self._http.ask_for_token(self._http.request("GET", url, params=params, headers=headers))
        if answer.status != HTTPStatus.OK:
            raise self._refused(*told(answer))
        self._http.read(answer, _Configuration)
        return _response(answer)

    def post(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str | bytes | None] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> _Response:
        """A token."""
        # msal gives what it signed as bytes, which would be sent as Python writes them, and None for nothing.
        given = {key: value for key, value in (data or {}).items() if value is not None}
        form = {key: value.decode() if isinstance(value, bytes) else value for key, value in given.items()}
        request = self._http.request("POST", https(url), params=params, headers=headers, form=form)
        return _response(self._http.ask_for_token(request))

    def close(self) -> None:
        """The client is its owner's to close."""


def _response(answer: Answer) -> _Response:
    return _Response(answer.status, answer.content.decode(), answer.headers)


def _certificate(pem: str) -> Certificate:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError as error:
        raise UsageError(later("The certificate's key is protected by a passphrase. Give it without one.")) from error
    except ValueError as error:
        raise UsageError(later("There is no private key (PEM) beside the certificate.")) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise UsageError(later("Microsoft Entra ID takes certificates with an RSA key only."))
    try:
        given = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise UsageError(later("There is no certificate (PEM) beside the private key.")) from error
    own = next((one for one in given if one.public_key() == key.public_key()), None)
    if own is None:
        raise UsageError(later("The private key does not belong to the certificate."))
    return Certificate(
        own.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        own.not_valid_before_utc.astimezone(UTC),
        own.not_valid_after_utc.astimezone(UTC),
    )
