"""The step that signing in, an invitation and the first administrator share: the session cookie, then a page."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.response import Redirect

from appliance.services.api import SignedIn
from webadmin import cookies
from webadmin.page import local_path


def start_session(request: Request[Any, Any, Any], signed_in: SignedIn, target: str = "/") -> Redirect:
    """Put the session's token into its cookie and go to ``target``, which must be on this site."""
    jar = cookies.of_app(request)
    response = Redirect(local_path(target), status_code=303)
    response.set_cookie(jar.secret(jar.session, signed_in.token))
    return response


def password_problem(password: str, again: str) -> str:
    """What is wrong with a new password typed twice, as a sentence; empty if nothing is."""
    if password != again:
        return "The two passwords are not the same. Type the new password twice."
    if len(password) < 12:
        return "The password is too short: use at least 12 characters. A few unrelated words are easy to remember."
    return ""
