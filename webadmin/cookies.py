"""The cookies of the web face and their attributes.

``session`` is the archiver's session token; ``form`` keys the form tokens (``csrf``); ``theme`` and ``zone`` are
how the reader likes to see things. Under TLS the first two carry the ``__Host-`` prefix, so that no neighbouring
host can set them (RFC 6265bis section 4.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Response
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

THEME = "mailkeep-theme"
ZONE = "mailkeep-zone"

_YEAR = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Cookies:
    """Names and attributes, depending on whether the site is served by TLS (``secure``)."""

    secure: bool

    @property
    def session(self) -> str:
        """Name of the cookie with the session token."""
        return "__Host-mailkeep" if self.secure else "mailkeep"

    @property
    def form(self) -> str:
        """Name of the cookie that keys the form tokens."""
        return "__Host-mailkeep-form" if self.secure else "mailkeep-form"

    def secret(self, name: str, value: str) -> Cookie:
        """A cookie that no script may read and that ends with the browser."""
        return Cookie(key=name, value=value, path="/", httponly=True, secure=self.secure, samesite="lax")

    def preference(self, name: str, value: str) -> Cookie:
        """A cookie for a year."""
        return Cookie(key=name, value=value, path="/", httponly=True, secure=self.secure, samesite="lax", max_age=_YEAR)

    def forget(self, response: Response[Any], name: str) -> None:
        """Have the browser drop a cookie."""
        response.set_cookie(
            Cookie(key=name, value="", path="/", httponly=True, secure=self.secure, samesite="lax", max_age=0)
        )


def of_app(connection: ASGIConnection[Any, Any, Any, Any]) -> Cookies:
    """The application's cookies, as ``create_app`` set them up."""
    cookies: Cookies = connection.app.state.cookies
    return cookies
