"""Plain HTTP off the box leads to HTTPS on the same host, and nowhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from webadmin.redirect import redirect_to_https


def _answer(host: bytes, path: bytes = b"/m/x", query: bytes = b"", port: int = 443) -> tuple[int, dict[bytes, bytes]]:
    sent: list[dict] = []  # type: ignore[type-arg]

    async def send(message: dict) -> None:  # type: ignore[type-arg]
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "headers": [(b"host", host)], "path": path.decode(), "raw_path": path,
        "query_string": query,
    }  # fmt: skip
    asyncio.run(redirect_to_https(port, Path("/nonexistent"))(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("host", "port", "location"),
    [
        (b"mail.example.com", 443, b"https://mail.example.com/m/x?a=1"),
        (b"mail.example.com:80", 443, b"https://mail.example.com/m/x?a=1"),
        (b"mail.example.com:8080", 8443, b"https://mail.example.com:8443/m/x?a=1"),
        (b"[2001:db8::1]:80", 443, b"https://[2001:db8::1]/m/x?a=1"),
    ],
)
def test_a_request_is_sent_to_the_same_place_by_https(host: bytes, port: int, location: bytes) -> None:
    status, headers = _answer(host, query=b"a=1", port=port)
    assert (status, headers[b"location"]) == (308, location)


@pytest.mark.parametrize("host", [b"", b"a b", b"x@evil.example", b"evil.example/", b"a\r\nSet-Cookie: x"])
def test_a_host_that_is_none_leads_nowhere(host: bytes) -> None:
    status, headers = _answer(host)
    assert status == 400
    assert b"location" not in headers
