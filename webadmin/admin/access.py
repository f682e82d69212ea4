"""Whose archives somebody may read, and who may read theirs: opened and closed on a person's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from appliance.errors import ConflictError, ForbiddenError, NotFoundError, UsageError
from webadmin.admin.users import user_page
from webadmin.forms import Form
from webadmin.problems import status_of
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class OpenForm:
    """The address of somebody else, and whether this person is to read theirs (``reads``) or they this person's."""

    way: str = "reads"
    address: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CloseForm:
    """Who is to read whose archive no more, by their ids."""

    user: str = ""
    whose: str = ""


@post("/users/{id:str}/access")
async def open_archive(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[OpenForm]
) -> Response[Any]:
    """Let one read the other's archive; else the page again with the reason."""
    try:
        other = (await visit.archive.user_by_address(visit.token, address=data.address.strip())).id
        user, whose = (id, other) if data.way == "reads" else (other, id)
        await visit.archive.access_open(visit.token, user=user, whose=whose, reason=data.reason)
    except (UsageError, NotFoundError, ConflictError, ForbiddenError) as error:
        return await user_page(request, visit, id, problem=error.message, status=status_of(error))
    return Redirect(f"/admin/users/{id}?note=archive-opened", status_code=303)


@post("/users/{id:str}/access/close")
async def close_archive(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[CloseForm]
) -> Response[Any]:
    """Let nobody read that archive by this right any more."""
    try:
        await visit.archive.access_close(visit.token, user=data.user, whose=data.whose)
    except NotFoundError as error:
        return await user_page(request, visit, id, problem=error.message, status=status_of(error))
    return Redirect(f"/admin/users/{id}?note=archive-closed", status_code=303)


HANDLERS = [open_archive, close_archive]
