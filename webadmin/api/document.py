"""The API described for programs: OpenAPI 3.1, its schemas made from the very types that the routes use."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import MediaType, Response, get

from webadmin.api.paths import ACKNOWLEDGE, DOCUMENT, MESSAGES, ROOT
from webadmin.api.values import MOST_LISTED, Acknowledged, Acknowledgement, Page, Problem

_PROBLEMS = {
    "400": "A parameter or the body makes no sense.",
    "401": "There is no token, or it opens no mailbox.",
    "403": "The mailbox is disabled.",
    "404": "There is no such message in the mailbox, or it was erased.",
    "409": "A legal hold keeps one of the messages; all others that were named are erased.",
    "429": "Too many wrong tokens from this address; `Retry-After` says when to try again.",
    "503": "The archive is locked or does not answer just now; `Retry-After` says when to try again.",
    "507": "The disk does not take what has to be written.",
}


def describe() -> dict[str, Any]:
    """The document."""
    (page, given, done, _), schemas = msgspec.json.schema_components(
        [Page, Acknowledgement, Acknowledged, Problem], ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailkeep pull API",
            "version": "1",
            "description": "A mailbox's messages for programs: list, fetch, acknowledge. A token opens one mailbox.",
        },
        "servers": [{"url": ROOT}],
        "security": [{"token": []}],
        "paths": {
            MESSAGES: {"get": _operation("list", "Messages behind a cursor", _json("A page.", page), _LIST, "400")},
            "/messages/{id}": {
                "get": _operation(
                    "fetch", "One message, bit for bit",
                    {
                        "description": "The message as it was received.",
                        "headers": {"Content-Length": {"schema": {"type": "integer"}}},
                        "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
                    },
                    [_parameter("id", "path", {"type": "string", "pattern": "^[0-9a-f]{32}$"})], "404",
                ),
            },
            ACKNOWLEDGE: {
                "post": {
                    **_operation(
                        "acknowledge", "Say what was stored safely", _json("Durable.", done), [],
                        "400", "404", "409", "507",
                    ),
                    "requestBody": {"required": True, "content": {"application/json": {"schema": given}}},
                }
            },
            DOCUMENT: {
                "get": {
                    "operationId": "describe", "summary": "This document", "security": [],
                    "responses": {"200": _json("OpenAPI 3.1.", {"type": "object"})},
                }
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "mkp_…"}},
        },
    }  # fmt: skip


def _operation(
    name: str, summary: str, answer: dict[str, Any], parameters: list[dict[str, Any]], *problems: str
) -> dict[str, Any]:
    statuses = sorted({"401", "403", "429", "503", *problems})
    refused = {status: _json(_PROBLEMS[status], {"$ref": "#/components/schemas/Problem"}) for status in statuses}
    return {"operationId": name, "summary": summary, "parameters": parameters, "responses": {"200": answer, **refused}}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


_LIST = [
    _parameter("cursor", "query", {"type": "string"}),
    _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": 100}),
]


@get(DOCUMENT)
async def document() -> Response[bytes]:
    """The document; open to everybody."""
    return Response(msgspec.json.encode(describe()), media_type=MediaType.JSON)


HANDLERS = [document]
