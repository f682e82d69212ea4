"""People whose mail is kept: list, addresses, import, invitations, sign-in, roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.errors import ConflictError, ForbiddenError, UsageError
from appliance.services import api
from webadmin.forms import Form, Upload, items
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class UserForm:
    """A person as typed; ``aliases`` is a list."""

    name: str = ""
    primary: str = ""
    aliases: str = ""


@dataclass(frozen=True, slots=True)
class RoleForm:
    """A role to give or take; a reason is needed for giving."""

    role: str = ""
    reason: str = ""


@dataclass(slots=True)
class ImportForm:
    """The uploaded CSV file."""

    file: UploadFile


@get("/users")
async def users(
    request: Request[Any, Any, Any],
    visit: NamedDependency[Visit],
    find: FromQuery[str] = "",
    offset: FromQuery[int] = 0,
) -> Response[Any]:
    """A page of the user list; for htmx, which asks while somebody types, only the table."""
    offset = max(0, offset)
    found = await visit.archive.users(visit.token, find=find.strip(), offset=offset, limit=PAGE_SIZE)
    template = "admin/user_list.html" if "hx-request" in request.headers else "admin/users.html"
    return page(request, template, visit=visit, users=found, find=find.strip(), offset=offset, page_size=PAGE_SIZE)


@get("/users/new")
async def new_user(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The form for a new user."""
    return page(request, "admin/user_new.html", visit=visit, form=UserForm(), problem="")


@post("/users/new")
async def create_user(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[UserForm]
) -> Response[Any]:
    """Create the user; else the form again with the reason."""
    try:
        made = await visit.archive.user_create(
            visit.token, name=data.name.strip(), primary=data.primary.strip(), aliases=items(data.aliases)
        )
    except (UsageError, ConflictError) as error:
        status = status_of(error)
        return page(request, "admin/user_new.html", status_code=status, visit=visit, form=data, problem=error.message)
    return Redirect(f"/admin/users/{made.id}?note=user-created", status_code=303)


@get("/users/import")
async def import_page(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The form for a CSV file."""
    return page(request, "admin/user_import.html", visit=visit, result=None, problem="")


@post("/users/import")
async def import_users(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Upload[ImportForm]
) -> Response[Any]:
    """Import the file and say what became of each line."""
    csv = await data.file.read()
    result: api.ImportResult | None = None
    problem, status = "", 200
    try:
        result = await visit.archive.user_import(visit.token, csv=csv)
    except UsageError as error:
        problem, status = error.message, status_of(error)
    return page(request, "admin/user_import.html", status_code=status, visit=visit, result=result, problem=problem)


@post("/users/invite")
async def invite_all(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Codes for everybody who never signed in, shown once."""
    return _invitations(request, visit, await visit.archive.user_invite(visit.token))


@post("/users/{id:str}/invite")
async def invite(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """A code for one person, shown once."""
    return _invitations(request, visit, await visit.archive.user_invite(visit.token, ids=(id,)))


@get("/users/{id:str}")
async def user(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """One person."""
    return await user_page(request, visit, id)


@post("/users/{id:str}")
async def change_user(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[UserForm]
) -> Response[Any]:
    """Change name and addresses; else the page again with the reason."""
    try:
        await visit.archive.user_change(
            visit.token,
            id=id,
            name=data.name.strip(),
            primary=data.primary.strip(),
            aliases=items(data.aliases),
        )
    except (UsageError, ConflictError) as error:
        return await user_page(request, visit, id, form=data, problem=error.message, status=status_of(error))
    return Redirect(f"/admin/users/{id}?note=user-changed", status_code=303)


@post("/users/{id:str}/disable")
async def disable(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Stop this person's sign-in; the archive stays."""
    return await _set_state(request, visit, id, "disabled", "user-disabled")


@post("/users/{id:str}/enable")
async def enable(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Let this person sign in again."""
    return await _set_state(request, visit, id, "active", "user-enabled")


@post("/users/{id:str}/grant")
async def grant(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[RoleForm]
) -> Response[Any]:
    """Give a role; an auditor's may wait for a second auditor."""
    if not data.reason.strip():
        problem = "Give a reason: it is kept in the audit trail."
        return await user_page(request, visit, id, problem=problem, status=400)
    try:
        changed = await visit.archive.role_grant(visit.token, id=id, role=data.role, reason=data.reason.strip())
    except (UsageError, ConflictError, ForbiddenError) as error:
        return await user_page(request, visit, id, problem=error.message, status=status_of(error))
    note = "role-granted" if data.role in changed.roles else "role-asked"
    return Redirect(f"/admin/users/{id}?note={note}", status_code=303)


@post("/users/{id:str}/revoke")
async def revoke(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[RoleForm]
) -> Response[Any]:
    """Take a role away."""
    try:
        await visit.archive.role_revoke(visit.token, id=id, role=data.role)
    except (UsageError, ConflictError, ForbiddenError) as error:
        return await user_page(request, visit, id, problem=error.message, status=status_of(error))
    return Redirect(f"/admin/users/{id}?note=role-revoked", status_code=303)


async def _set_state(request: Request[Any, Any, Any], visit: Visit, id: str, state: str, note: str) -> Response[Any]:
    try:
        await visit.archive.user_change(visit.token, id=id, state=state)
    except (UsageError, ConflictError, ForbiddenError) as error:
        return await user_page(request, visit, id, problem=error.message, status=status_of(error))
    return Redirect(f"/admin/users/{id}?note={note}", status_code=303)


async def user_page(
    request: Request[Any, Any, Any],
    visit: Visit,
    id: str,
    *,
    form: UserForm | None = None,
    problem: str = "",
    status: int = 200,
) -> Response[Any]:
    """The page of one person; with what was typed and the reason where that could not be done."""
    found = await visit.archive.user(visit.token, id=id)
    return page(
        request,
        "admin/user.html",
        status_code=status,
        visit=visit,
        user=found,
        form=form or UserForm(name=found.name, primary=found.primary, aliases="\n".join(found.aliases)),
        may_read=await visit.archive.access_list(visit.token, user=id),
        read_by=await visit.archive.access_list(visit.token, whose=id),
        problem=problem,
    )


def _invitations(request: Request[Any, Any, Any], visit: Visit, made: tuple[api.Invitation, ...]) -> Response[Any]:
    base = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return page(request, "admin/invitations.html", visit=visit, invitations=made, welcome=f"{base}/welcome")


HANDLERS = [
    users,
    new_user,
    create_user,
    import_page,
    import_users,
    invite_all,
    invite,
    user,
    change_user,
    disable,
    enable,
    grant,
    revoke,
]
