"""Plain HTTP off the box: nothing but the way to HTTPS."""

from __future__ import annotations

import re
from typing import Any

_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]{1,253})(:\d{1,5})?")
_HTTPS = 443


def redirect_to_https(port: int) -> Any:
    """An ASGI application that sends every request to the same place on ``port`` of the host that it was made to."""

    async def application(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        host = _HOST.fullmatch(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        headers = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
        if host is not None:
            place = host[1] if port == _HTTPS else f"{host[1]}:{port}"
            query = b"?" + scope["query_string"] if scope["query_string"] else b""
            headers.append((b"location", f"https://{place}".encode() + scope["raw_path"] + query))
        # 308 keeps the method (RFC 9110 section 15.4.9).
        await send({"type": "http.response.start", "status": 308 if host else 400, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return application
