"""Plain HTTP off the box: the way to HTTPS, and what an authority asks for that is to give a certificate."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]{1,253})(:\d{1,5})?")
_HTTPS = 443
_CHALLENGE = re.compile(r"/\.well-known/acme-challenge/([A-Za-z0-9_-]{1,128})")  # RFC 8555 section 8.3
_LARGEST_ANSWER = 4096


def redirect_to_https(port: int, challenges: Path) -> Any:
    """An ASGI application that sends every request to the same place on ``port`` of the host that it was made to.

    But for what the files in ``challenges`` answer (HTTP-01, RFC 8555 section 8.3).
    """

    async def application(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if (content := _answer(challenges, scope)) is not None:
            await _send(send, 200, content, (b"content-type", b"application/octet-stream"))
            return
        host = _HOST.fullmatch(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        headers = []
        if host is not None:
            place = host[1] if port == _HTTPS else f"{host[1]}:{port}"
            query = b"?" + scope["query_string"] if scope["query_string"] else b""
            headers.append((b"location", f"https://{place}".encode() + scope["raw_path"] + query))
        # 308 keeps the method (RFC 9110 section 15.4.9).
        await _send(send, 308 if host else 400, b"", *headers)

    return application


def _answer(challenges: Path, scope: dict[str, Any]) -> bytes | None:
    found = _CHALLENGE.fullmatch(scope["path"])
    if found is None or scope["method"] not in ("GET", "HEAD"):
        return None
    try:
        with (challenges / found[1]).open("rb") as file:
            return file.read(_LARGEST_ANSWER)
    except OSError:
        return None


async def _send(send: Any, status: int, content: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(content)).encode())
    every = [length, (b"cache-control", b"no-store"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": content})
