"""Errors for programs: the same statuses as the pages', a code and a sentence in JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from appliance.errors import MailkeepError
from webadmin.api.paths import ROOT
from webadmin.api.values import Problem

_RETRY_SECONDS = {429: "60", 503: "30"}
_CODES = {400: "usage", 404: "not-found", 405: "method", 413: "too-large"}
_SENTENCES = {
    400: "The request could not be understood. Nothing was changed.",
    404: f"There is nothing at this address. {ROOT}/openapi.json describes what there is.",
    405: "This address cannot be used with that method.",
    413: "The request is larger than it may be. Nothing was changed.",
}


def for_programs(pages: ExceptionHandlersMap) -> ExceptionHandlersMap:
    """Handlers that answer the API's requests in JSON and leave all others to ``pages``."""
    return {kind: _either(handler) for kind, handler in pages.items()}


def _either(page: Any) -> Any:
    def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        answer: Response[Any] = page(request, error)
        if request.url.path != ROOT and not request.url.path.startswith(f"{ROOT}/"):
            return answer
        return _in_json(answer, error)

    return handle


def _in_json(page: Response[Any], error: Exception) -> Response[Any]:
    """The page's status and headers with another content."""
    status = page.status_code or 500
    problem = _problem(status, error)
    headers = {**page.headers, **({"WWW-Authenticate": "Bearer"} if status == 401 else {})}
    if status in _RETRY_SECONDS:
        headers["Retry-After"] = _RETRY_SECONDS[status]
    return Response(msgspec.json.encode(problem), status_code=status, media_type=MediaType.JSON, headers=headers)


def _problem(status: int, error: Exception) -> Problem:
    if isinstance(error, MailkeepError):
        return Problem(error.code, error.message)
    if isinstance(error, HTTPException) and status in _CODES:
        return Problem(_CODES[status], _SENTENCES[status])
    return Problem("error", "Something went wrong inside mailkeep. Nothing was lost; try again later.")
