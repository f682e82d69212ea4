"""Signing in to Exchange: basic, NTLM, or with an application's token."""

from __future__ import annotations

import base64
import re
from collections.abc import Generator
from http import HTTPStatus
from typing import Final

import httpx
import spnego
from spnego.exceptions import SpnegoError

from appliance.errors import RemoteDeniedError
from appliance.language import later
from appliance.vendor.web import Token

_CHALLENGE: Final = re.compile(r"\bNTLM\s+([A-Za-z0-9+/=]+)", re.IGNORECASE)
_OFFERED: Final = re.compile(r"\bNTLM\b", re.IGNORECASE)


class ByToken(httpx.Auth):
    """With a bearer token (RFC 6750); one that is not taken is asked for anew, once."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx has it. Raises RemoteDeniedError, UnavailableError."""
        token = self._token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {self._token(refused=token)}"
            yield request


class ByNtlm(httpx.Auth):
    """With NTLM over HTTP (MS-NTHT). It signs in a connection, not a request: a client that uses it asks one thing at a
    time, so that it has one connection."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx has it. Raises RemoteDeniedError for what is no NTLM."""
        response = yield request
        if response.status_code != HTTPStatus.UNAUTHORIZED or not _offered(response):
            return
        try:
            client = spnego.client(self._user, self._password, hostname=request.url.host, protocol="ntlm")
            request.headers["Authorization"] = _said(client.step())
            response = yield request
            challenge = _CHALLENGE.search(_asked(response))
            if challenge is None:
                return
            request.headers["Authorization"] = _said(client.step(base64.b64decode(challenge[1])))
        except (SpnegoError, ValueError) as error:
            raise RemoteDeniedError(
                later("Exchange does not speak NTLM as it is documented ({why}). Choose basic."), why=error
            ) from error
        yield request


def _asked(response: httpx.Response) -> str:
    return ", ".join(response.headers.get_list("www-authenticate"))


def _offered(response: httpx.Response) -> bool:
    return bool(_OFFERED.search(_asked(response)))


def _said(token: bytes | None) -> str:
    return f"NTLM {base64.b64encode(token or b'').decode()}"
