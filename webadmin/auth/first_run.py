"""The first page of a fresh installation: the set-up code from the box creates the administrator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.response import Redirect

from appliance.errors import ConflictError, SignInError, UsageError
from webadmin.auth.start import password_problem, start_session
from webadmin.forms import Form
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import address_of, archive_of


@dataclass(frozen=True, slots=True)
class FirstRunForm:
    """The set-up code and the administrator to create."""

    code: str = ""
    name: str = ""
    address: str = ""
    password: str = ""
    again: str = ""


@get("/setup")
async def first_run_page(request: Request[Any, Any, Any]) -> Response[Any]:
    """The form, as long as there is no administrator."""
    state = await archive_of(request).first_run()
    if not state.needed:
        return Redirect("/sign-in", status_code=303)
    return page(request, "auth/first_run.html", form=FirstRunForm(), host=state.host, problem="")


@post("/setup")
async def first_run(request: Request[Any, Any, Any], data: Form[FirstRunForm]) -> Response[Any]:
    """Create the administrator and sign in; else the form again with the reason."""
    archive = archive_of(request)
    problem, status = password_problem(data.password, data.again), 400
    if not problem:
        try:
            signed_in = await archive.create_administrator(
                code=data.code.strip(),
                name=data.name.strip(),
                address=data.address.strip(),
                password=data.password,
                client=address_of(request),
            )
            return start_session(request, signed_in, "/admin")
        except (SignInError, UsageError, ConflictError) as error:
            problem, status = error.message, status_of(error)
    host = (await archive.first_run()).host
    return page(request, "auth/first_run.html", status_code=status, form=data, host=host, problem=problem)


HANDLERS = [first_run_page, first_run]
