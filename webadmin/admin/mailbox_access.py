"""What opens a mailbox from outside: its password and its tokens, each shown once on a page of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from appliance.errors import ForbiddenError, SignInError, UsageError
from webadmin.admin.mailboxes import find_mailbox
from webadmin.forms import Form
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class PasswordForm:
    """The present password, and the next one: the proposed one that was shown, or one of somebody's own."""

    old: str = ""
    proposed: str = ""
    own: str = ""
    kept: str = ""


@dataclass(frozen=True, slots=True)
class TokenForm:
    """A new token's name, and the mailbox's password where it takes that."""

    name: str = ""
    password: str = ""


@get("/mailboxes/{id:str}/password")
async def password(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """A new password to write down, and the form that puts it in force."""
    return await _password_page(request, visit, id, "", 200)


@post("/mailboxes/{id:str}/password")
async def change_password(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[PasswordForm]
) -> Response[Any]:
    """Put it in force; else the page again with the reason."""
    try:
        if not data.own and not data.kept:
            raise UsageError("Write the new password down first, and say so: it is not shown a second time.")
        await visit.archive.mailbox_password(visit.token, id=id, old=data.old, new=data.own or data.proposed)
    except (UsageError, SignInError, ForbiddenError) as error:
        return await _password_page(request, visit, id, error.message, status_of(error), data.proposed)
    return Redirect(f"/admin/mailboxes/{id}?note=mailbox-password", status_code=303)


@get("/mailboxes/{id:str}/tokens/new")
async def new_token(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """The form for a new token."""
    return await _token_page(request, visit, id, TokenForm(), "", 200)


@post("/mailboxes/{id:str}/tokens/new")
async def create_token(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[TokenForm]
) -> Response[Any]:
    """Make it and show it, once; else the form again with the reason."""
    try:
        made = await visit.archive.mailbox_token_add(visit.token, id=id, name=data.name, password=data.password)
    except (UsageError, SignInError, ForbiddenError) as error:
        return await _token_page(request, visit, id, data, error.message, status_of(error))
    return page(
        request, "admin/mailbox_token_created.html", status_code=200, visit=visit,
        mailbox=await find_mailbox(visit, id), made=made,
    )  # fmt: skip


@post("/mailboxes/{id:str}/tokens/{which:str}/remove")
async def remove_token(visit: NamedDependency[Visit], id: FromPath[str], which: FromPath[str]) -> Response[Any]:
    """Take a token away."""
    await visit.archive.mailbox_token_remove(visit.token, id=id, which=which)
    return Redirect(f"/admin/mailboxes/{id}?note=token-removed", status_code=303)


async def _password_page(
    request: Request[Any, Any, Any], visit: Visit, id: str, problem: str, status: int, proposed: str = ""
) -> Response[Any]:
    return page(
        request, "admin/mailbox_password.html", status_code=status, visit=visit, mailbox=await find_mailbox(visit, id),
        proposed=proposed or await visit.archive.mailbox_proposed_password(visit.token), problem=problem,
    )  # fmt: skip


async def _token_page(
    request: Request[Any, Any, Any], visit: Visit, id: str, form: TokenForm, problem: str, status: int
) -> Response[Any]:
    return page(
        request, "admin/mailbox_token_new.html", status_code=status, visit=visit,
        mailbox=await find_mailbox(visit, id), form=form, problem=problem,
    )  # fmt: skip


HANDLERS = [password, change_password, new_token, create_token, remove_token]
