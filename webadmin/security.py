"""What every answer says to the browser: content security policies and the headers beside them.

Pages allow no inline script and no inline style (CSP Level 3). Mail is never part of a page's document: its HTML
is a document of its own in a sandboxed frame, with a policy under which nothing can run and, until the reader asks
for it, nothing can be fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Response

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": PAGE_POLICY,
    "Cache-Control": "no-store",
}


def mail_policy(*, remote: bool) -> str:
    """The policy of a message's HTML: styles and embedded images; images from elsewhere only when ``remote``.

    ``sandbox`` makes the document an origin of its own, without scripts, forms and plug-ins; a link may open a new
    tab, which is an ordinary one (``allow-popups-to-escape-sandbox``).
    """
    images = "data: https:" if remote else "data:"
    return (
        f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
    )


def mail_headers(*, remote: bool) -> dict[str, str]:
    """Headers for a message's HTML; what they do not name is as for every answer."""
    return {
        "Content-Security-Policy": mail_policy(remote=remote),
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer",
    }


def add_headers(*, secure: bool) -> Callable[[Response[Any]], Response[Any]]:
    """A hook that gives every answer the common headers, where the handler has not set its own."""
    headers = dict(_COMMON)
    if secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"

    def after_request(response: Response[Any]) -> Response[Any]:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return after_request
