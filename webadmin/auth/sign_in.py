"""Signing in and out, and the choice of light or dark, which is open before signing in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.response import Redirect

from appliance.errors import MailkeepError, SignInError
from webadmin import cookies
from webadmin.auth.start import start_session
from webadmin.forms import Form
from webadmin.page import THEMES, local_path, page
from webadmin.problems import status_of
from webadmin.session import address_of, archive_of, token_of


@dataclass(frozen=True, slots=True)
class SignInForm:
    """What the sign-in form sends; ``totp`` is empty for people without two-step sign-in."""

    address: str = ""
    password: str = ""
    totp: str = ""
    next: str = "/"


@dataclass(frozen=True, slots=True)
class AppearanceForm:
    """The wanted theme, and the page to come back to."""

    theme: str = "auto"
    back: str = "/"


@get("/sign-in")
async def sign_in_page(request: Request[Any, Any, Any]) -> Response[Any]:
    """The sign-in form; on a fresh installation the way to the first-run page."""
    if (await archive_of(request).first_run()).needed:
        return Redirect("/setup", status_code=303)
    target = local_path(request.query_params.get("next", "/"))
    return page(request, "auth/sign_in.html", form=SignInForm(next=target), problem="")


@post("/sign-in")
async def sign_in(request: Request[Any, Any, Any], data: Form[SignInForm]) -> Response[Any]:
    """A session for the right address, password and code; else the form again with the reason."""
    try:
        signed_in = await archive_of(request).sign_in(
            address=data.address.strip(),
            password=data.password,
            totp=data.totp.replace(" ", ""),
            client=address_of(request),
        )
    except SignInError as error:
        return page(request, "auth/sign_in.html", status_code=status_of(error), form=data, problem=error.message)
    return start_session(request, signed_in, data.next)


@post("/sign-out")
async def sign_out(request: Request[Any, Any, Any]) -> Response[Any]:
    """End the session here and at the archiver."""
    jar = cookies.of_app(request)
    response = Redirect("/sign-in?note=signed-out", status_code=303)
    jar.forget(response, jar.session)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    token = token_of(request)
    if token:
        try:
            await archive_of(request).sign_out(token)
        except MailkeepError as error:
            if not isinstance(error, SignInError):  # an ended session is what was wanted
                raise
    return response


@post("/appearance")
async def appearance(request: Request[Any, Any, Any], data: Form[AppearanceForm]) -> Response[Any]:
    """Keep the choice of light, dark or the system's own, and go back."""
    response = Redirect(local_path(data.back), status_code=303)
    theme = data.theme if data.theme in THEMES else "auto"
    response.set_cookie(cookies.of_app(request).preference(cookies.THEME, theme))
    return response


HANDLERS = [sign_in_page, sign_in, sign_out, appearance]
