"""Invitations: a one-time code and a new password make a session.

The code comes in the address's fragment (``/welcome#code``), which browsers do not send, so that it stands in no
log; a script moves it into the form. Without scripts it is typed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post

from appliance.errors import SignInError, UsageError
from webadmin.auth.start import password_problem, start_session
from webadmin.forms import Form
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import address_of, archive_of


@dataclass(frozen=True, slots=True)
class WelcomeForm:
    """The invitation code and the new password, twice."""

    code: str = ""
    password: str = ""
    again: str = ""


@get("/welcome")
async def welcome_page(request: Request[Any, Any, Any]) -> Response[Any]:
    """The form for an invitation code."""
    return page(request, "auth/welcome.html", form=WelcomeForm(), problem="")


@post("/welcome")
async def welcome(request: Request[Any, Any, Any], data: Form[WelcomeForm]) -> Response[Any]:
    """Set the password and sign in; else the form again with the reason."""
    problem, status = password_problem(data.password, data.again), 400
    if not problem:
        try:
            signed_in = await archive_of(request).accept_invitation(
                code=data.code.strip(), password=data.password, client=address_of(request)
            )
            return start_session(request, signed_in)
        except (SignInError, UsageError) as error:
            problem, status = error.message, status_of(error)
    return page(request, "auth/welcome.html", status_code=status, form=data, problem=problem)


HANDLERS = [welcome_page, welcome]
