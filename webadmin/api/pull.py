"""List, fetch, acknowledge: the three things that a program does which pulls a mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Stream as StreamingResponse

from appliance import decoding
from appliance.errors import SignInError, UsageError
from appliance.services.client import Stream
from webadmin.api.paths import ACKNOWLEDGE, MESSAGE, MESSAGES
from webadmin.api.values import MOST_LISTED, Acknowledged, Acknowledgement, page_of
from webadmin.session import address_of, archive_of

_DEFAULT_LIMIT = 100


@get(MESSAGES)
async def messages(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A page of messages behind the cursor, or behind the position that was acknowledged last."""
    found = await archive_of(request).pull_list(
        secret=_token(request),
        client=address_of(request),
        cursor=request.query_params.get("cursor", ""),
        limit=_limit(request.query_params.get("limit", str(_DEFAULT_LIMIT))),
    )
    return _json(page_of(found))


@get(MESSAGE)
async def message(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[Any]:
    """One message, bit for bit as it was received."""
    stream = await archive_of(request).pull_fetch(secret=_token(request), client=address_of(request), id=id)
    headers = {
        "Content-Length": str(stream.head.size),
        "Content-Disposition": f'attachment; filename="{stream.head.name}"',
        "Content-Security-Policy": "sandbox",
        "ETag": f'"{id}"',
    }
    return StreamingResponse(_chunks(stream), media_type="message/rfc822", headers=headers)


@post(ACKNOWLEDGE, status_code=200)
async def acknowledge(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Say what was stored safely; durable when it is answered."""
    token = _token(request)
    try:
        given = decoding.from_json(await request.body(), Acknowledgement)
    except msgspec.DecodeError as error:
        raise UsageError(f"That acknowledgement cannot be understood: {str(error)[:200]}.") from error
    done = await archive_of(request).pull_acknowledge(
        secret=token, client=address_of(request), ids=given.ids, cursor=given.cursor
    )
    return _json(Acknowledged(done.erased, done.kept))


def _token(request: Request[Any, Any, Any]) -> str:
    """The bearer token (RFC 6750 section 2.1). Raises SignInError."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise SignInError("Give the mailbox's token: Authorization: Bearer mkp_…")
    return token.strip()


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_LISTED):
        raise UsageError(f"The limit is a number from 1 to {MOST_LISTED}.")
    return int(text)


def _json(value: msgspec.Struct) -> Response[bytes]:
    return Response(msgspec.json.encode(value), media_type=MediaType.JSON)


async def _chunks(stream: Stream) -> AsyncIterator[bytes]:
    async for chunk in stream:
        yield chunk


HANDLERS = [messages, message, acknowledge]
