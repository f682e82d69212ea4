"""Errors as pages: the right HTTP status, what happened, what is safe, what to do next; never a trace."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException
from litestar.response import Redirect, Template
from litestar.types import ExceptionHandlersMap

from appliance import errors
from webadmin import cookies, csrf, security
from webadmin.page import page
from webadmin.session import NotSignedIn, TotpMissing

_log = logging.getLogger(__name__)

_STATUS = {
    errors.UsageError.code: 400,
    errors.QueryError.code: 400,
    errors.SignInError.code: 401,
    errors.ForbiddenError.code: 403,
    errors.NotFoundError.code: 404,
    errors.ConflictError.code: 409,
    errors.TooManyTriesError.code: 429,
    errors.LockedError.code: 503,
    errors.KeyringError.code: 503,
    errors.UnavailableError.code: 503,
    errors.StorageError.code: 507,
    errors.DiskFullError.code: 507,
    errors.RemoteDeniedError.code: 502,
    errors.RemoteFullError.code: 507,
}

_TITLES = {
    400: "That did not work",
    401: "Please sign in",
    403: "This is not open to you",
    404: "Nothing here",
    405: "That did not work",
    409: "That clashes with something",
    413: "That is too large",
    429: "Too many tries",
    502: "The remote does not allow it",
    503: "The archive is not answering just now",
    507: "No room to write",
}
_SOMETHING_BROKE = (
    "Something went wrong while this page was made. Mail is still received and nothing in the archive was "
    "changed. If it happens again, tell your administrator what you did and when."
)


def status_of(error: errors.MailkeepError) -> int:
    """The HTTP status of an error, by its code; 500 for those that are nobody's mistake."""
    return _STATUS.get(error.code, 500)


def handlers() -> ExceptionHandlersMap:
    """What the application answers to each kind of exception."""
    return {
        NotSignedIn: _to_sign_in,
        TotpMissing: _to_totp,
        errors.LockedError: _locked,
        errors.MailkeepError: _mailkeep_error,
        NotFoundException: _not_found,
        HTTPException: _http_error,
        Exception: _unexpected,
    }


def _to_sign_in(request: Request[Any, Any, Any], _: Exception) -> Response[Any]:
    target = "/sign-in"
    if request.method == "GET" and request.url.path != "/" and "hx-request" not in request.headers:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = f"/sign-in?next={quote(here, safe='')}"
    response = _go(request, target)
    jar = cookies.of_app(request)
    if jar.session in request.cookies:
        jar.forget(response, jar.session)
    return response


def _to_totp(request: Request[Any, Any, Any], _: Exception) -> Response[Any]:
    return _go(request, "/account/two-step")


def _locked(request: Request[Any, Any, Any], _: Exception) -> Response[Any]:
    """Whatever was asked for, the answer is the way to unlock the archive; where a piece of a page was, its page."""
    if "hx-request" in request.headers:
        return _go(request, "/unlock")
    csrf.ensure_token(request)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = here if request.method == "GET" else "/"
    answer = page(request, "auth/unlock.html", status_code=503, passphrase=True, by="", back=back, problem="")
    answer.headers["Retry-After"] = "60"
    return _guarded(request, answer)


def _go(request: Request[Any, Any, Any], target: str) -> Response[Any]:
    """Send the browser elsewhere; where htmx asked for a piece of a page, the whole page goes."""
    if "hx-request" in request.headers:
        return _guarded(request, Response("", status_code=204, headers={"HX-Redirect": target}))
    return _guarded(request, Redirect(target, status_code=303))


def _mailkeep_error(request: Request[Any, Any, Any], error: errors.MailkeepError) -> Response[Any]:
    status = status_of(error)
    if status >= 500:
        _log.warning("%s %s: %s (%s)", request.method, request.url.path, type(error).__name__, error.code)
    return _page(request, status, error.message)


def _not_found(request: Request[Any, Any, Any], _: Exception) -> Response[Any]:
    return _page(request, 404, "There is no such page, or it is not open to you. The address may be mistyped.")


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if error.status_code >= 500:
        return _unexpected(request, error)
    sentence = {
        405: "This address cannot be used that way.",
        413: "What you sent is larger than this page takes. Nothing was changed.",
    }.get(error.status_code, "The request could not be understood. Nothing was changed; go back and try again.")
    return _page(request, error.status_code, sentence)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _page(request, 500, _SOMETHING_BROKE)


def _page(request: Request[Any, Any, Any], status: int, sentence: str) -> Response[Any]:
    title = _TITLES.get(status, "Something went wrong")
    template = "parts/problem.html" if "hx-request" in request.headers else "problem.html"
    csrf.ensure_token(request)
    answer: Template = page(request, template, status_code=status, title=title, sentence=sentence, code=status)
    if status == 503:
        answer.headers["Retry-After"] = "10"
    return _guarded(request, answer)


def _guarded(request: Request[Any, Any, Any], response: Response[Any]) -> Response[Any]:
    """Errors do not pass the application's hook, so the headers are put on here."""
    return security.add_headers(secure=cookies.of_app(request).secure)(response)
