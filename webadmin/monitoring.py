"""For machines that watch: whether the product lives and is ready, and its metrics (docs/monitoring.md).

No cookie is looked at. Health is for everybody and says no more than the sign-in page shows. Metrics are for who has
their token, or, as long as there is none, for who asks on the box itself.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, Router, get

from appliance.errors import MailkeepError, SignInError
from appliance.services import api
from webadmin.csrf import WITHOUT_FORM
from webadmin.session import address_of, archive_of

_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_RETRY = {"Retry-After": "10"}


@get("/health/live")
async def live() -> Response[bytes]:
    """This process answers; it asks nobody else."""
    return Response(b'{"live":true}', media_type=MediaType.JSON, headers={"Cache-Control": "no-store"})


@get("/health/ready")
async def ready(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Whether mail is taken in and can be read: 200, or 503 with the reasons."""
    try:
        found = await archive_of(request).health()
    except MailkeepError as error:
        found = api.Health(False, ("archiver",), (error.message,))
    headers = {"Cache-Control": "no-store", **({} if found.ready else _RETRY)}
    return Response(
        msgspec.json.encode(found), status_code=200 if found.ready else 503, media_type=MediaType.JSON, headers=headers
    )


@get("/metrics")
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The metrics in Prometheus' text format."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    secret = token.strip() if scheme.lower() == "bearer" else ""
    try:
        found = await archive_of(request).metrics(secret=secret, on_the_box=_on_the_box(request))
    except SignInError as error:
        return _plain(error.message, 401, {"WWW-Authenticate": "Bearer"})
    except MailkeepError as error:
        return _plain(error.message, 503, _RETRY)
    return Response(found, headers={"Content-Type": _METRICS, "Cache-Control": "no-store"})


def _on_the_box(request: Request[Any, Any, Any]) -> bool:
    """Whether the request is from this box and was meant for it: not handed on by a proxy here, nor by a browser that
    was told that some name is this box's own address."""
    named = request.headers.get("host", "").rpartition(":")
    host = (named[0] if named[2].isdigit() else named[2]).strip("[]")
    return (
        _is_loopback(address_of(request))
        and _is_loopback(host)
        and not any(name in request.headers for name in _FORWARDED)
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _plain(sentence: str, status: int, headers: dict[str, str]) -> Response[bytes]:
    return Response(f"{sentence}\n".encode(), status_code=status, media_type=MediaType.TEXT, headers=headers)


def routers() -> list[Router]:
    """The routes of this part."""
    return [Router("/", route_handlers=[live, ready, metrics], opt={WITHOUT_FORM: True})]
