"""A browser without a screen: follows forms as a person would, with their tokens."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
from litestar.testing import TestClient

from tests.unit.web.double import PASSWORD, ArchiveDouble
from webadmin.app import create_app

AUDITOR = "anna.berg@example.org"
ADMIN = "jonas.mueller@example.org"
USER = "priya.raman@example.org"

_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


class Browser:
    """One person's browser over an application with a double behind it."""

    def __init__(self, archive: ArchiveDouble | None = None, *, secure: bool = False) -> None:
        self.archive = archive or ArchiveDouble()
        scheme = "https" if secure else "http"
        self.client = TestClient(
            create_app(self.archive, secure=secure),
            base_url=f"{scheme}://archive.example.org",
            raise_server_exceptions=False,
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page, without following redirects."""
        return self.client.get(path, headers=headers, follow_redirects=False)

    def text(self, path: str) -> str:
        """What a page says, without markup; the page must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text[:300]
        return visible(answer)

    def post(self, page: str, action: str, fields: dict[str, Any] | None = None, **kwargs: Any) -> httpx.Response:
        """Open ``page``, take the token of its form and send ``fields`` to ``action``."""
        found = _TOKEN.search(self.get(page).text)
        assert found, f"there is no form on {page}"
        data = {"form_token": found.group(1), **(fields or {})}
        return self.client.post(action, data=data, follow_redirects=False, **kwargs)

    def sign_in(self, address: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        """Sign in as somebody."""
        return self.post("/sign-in", "/sign-in", {"address": address, "password": password, **fields})

    def calls(self, method: str) -> list[dict[str, Any]]:
        """What the archive was asked by ``method``."""
        return [params for name, params in self.archive.state.calls if name == method]


def signed_in(address: str) -> Browser:
    """A browser of somebody who has signed in."""
    browser = Browser()
    assert browser.sign_in(address).status_code == 303
    return browser


def visible(answer: httpx.Response) -> str:
    """The words of a page in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())
