"""One's own account: the password and two-step sign-in."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from appliance.errors import SignInError, UsageError
from appliance.services.api import TotpSetup
from webadmin.auth.start import password_problem
from webadmin.forms import Form
from webadmin.page import page
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class PasswordForm:
    """The old password and the new one, twice."""

    old: str = ""
    password: str = ""
    again: str = ""


@dataclass(frozen=True, slots=True)
class TotpForm:
    """A code from the authenticator app."""

    code: str = ""


@get("/")
async def account(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The account page."""
    return await _account_page(request, visit)


@post("/password")
async def change_password(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[PasswordForm]
) -> Response[Any]:
    """Change the password; else the page again with the reason."""
    problem = password_problem(data.password, data.again)
    if not problem:
        try:
            await visit.archive.change_password(visit.token, old=data.old, new=data.password)
            return Redirect("/account?note=password-changed", status_code=303)
        except (SignInError, UsageError) as error:
            problem = error.message
    return await _account_page(request, visit, problem, status=400)


@get("/two-step")
async def two_step_page(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """A new secret as QR code and text."""
    return await _two_step(request, visit, "")


@post("/two-step")
async def two_step(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[TotpForm]
) -> Response[Any]:
    """Put the secret in force if the app shows the right code; else a new secret with the reason."""
    try:
        await visit.archive.totp_confirm(visit.token, code=data.code.replace(" ", ""))
    except (SignInError, UsageError) as error:
        return await _two_step(request, visit, error.message)
    return Redirect("/account?note=totp-on", status_code=303)


async def _account_page(
    request: Request[Any, Any, Any], visit: Visit, problem: str = "", *, status: int = 200
) -> Response[Any]:
    readers = await visit.archive.access_mine(visit.token)
    return page(request, "auth/account.html", status_code=status, visit=visit, readers=readers, problem=problem)


async def _two_step(request: Request[Any, Any, Any], visit: Visit, problem: str) -> Response[Any]:
    setup = await visit.archive.totp_begin(visit.token)
    return page(
        request,
        "auth/two_step.html",
        status_code=400 if problem else 200,
        visit=visit,
        setup=setup,
        picture=_picture(setup),
        problem=problem,
    )


def _picture(setup: TotpSetup) -> str:
    """The QR code as a data address: an image, in which nothing can run, rather than markup in the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(setup.qr_svg.encode()).decode()


HANDLERS = [account, change_password, two_step_page, two_step]
