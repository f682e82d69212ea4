"""Forms from elsewhere are refused: a token in every form, bound to the session, and the browser's own word.

What a script of the page sends without a form has the token in a header, which no other site can set.

The token is HMAC-SHA256 over the session token, keyed with a random cookie. It needs no state on the server, so a
form stays good over a restart; it changes at sign-in; and somebody who could plant the cookie still does not know
the session token. ``Sec-Fetch-Site`` is asked first (W3C Fetch Metadata).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any

from litestar import Request
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from appliance.errors import ForbiddenError
from webadmin import cookies

FIELD = "form_token"
HEADER = "x-form-token"
WITHOUT_FORM = "without_form"
"""Key of a route's ``opt`` where no cookie is looked at: nothing is done in anybody's name by his browser's sending."""
_STATE = "form_token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY = re.compile(r"[0-9a-f]{64}")
_REFUSED = (
    "This form was opened too long ago or came from another site, so nothing was changed. "
    "Go back, reload the page and try again."
)


def form_token(request: Request[Any, Any, Any]) -> str:
    """The token that forms on the page now being made must carry."""
    return str(request.scope["state"][_STATE])


def token_for(key: str, session: str) -> str:
    """The form token for a form cookie and a session token (empty before sign-in), as 64 hex digits."""
    return hmac.new(bytes.fromhex(key), session.encode(), hashlib.sha256).hexdigest()


def ensure_token(request: Request[Any, Any, Any]) -> None:
    """Give the request a form token that fits nothing, where it failed before it was given a true one."""
    request.scope["state"].setdefault(_STATE, "")


class FormTokens(ASGIMiddleware):
    """Hands out the form cookie and refuses unsafe requests without the matching token."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = WITHOUT_FORM

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Check the request, then go on; raises ForbiddenError for a form that is not ours."""
        request: Request[Any, Any, Any] = Request(scope, receive=receive, send=send)
        jar = cookies.of_app(request)
        key = request.cookies.get(jar.form, "")
        fresh = not _KEY.fullmatch(key)
        if fresh:
            key = secrets.token_hex(32)
        expected = token_for(key, request.cookies.get(jar.session, ""))
        scope["state"][_STATE] = expected
        if request.method not in _SAFE:
            await _check(request, expected)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                headers.add("set-cookie", jar.secret(jar.form, key).to_header(header=""))
            await send(message)

        await next_app(scope, receive, send_with_cookie if fresh else send)


async def _check(request: Request[Any, Any, Any], expected: str) -> None:
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError(_REFUSED)
    given = request.headers.get(HEADER) or (await request.form()).get(FIELD)
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), expected.encode()):
        raise ForbiddenError(_REFUSED)
