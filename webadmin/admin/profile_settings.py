"""Adding an archiving profile, and changing one."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.errors import ConflictError, UsageError
from appliance.sources.kinds import KINDS
from webadmin.admin.profile_form import ProfileForm
from webadmin.admin.profiles import find_profile
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit


@get("/profiles/new")
async def new_profile(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], kind: FromQuery[str] = ""
) -> Response[Any]:
    """The kinds to choose from; with ``kind`` the form for one."""
    if not kind:
        return page(request, "admin/profile_kinds.html", visit=visit, kinds=KINDS)
    return await _form(request, visit, ProfileForm.empty(kind), is_new=True)


@post("/profiles/new")
async def add_profile(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Add a profile; its page then offers to try it."""
    given = await request.form()
    form = ProfileForm.empty(str(given.get("kind", ""))).typed(given)
    try:
        await visit.archive.profile_add(visit.token, name=form.name, kind=form.kind.kind, **form.settings())
    except (UsageError, ConflictError) as error:
        return await _form(request, visit, form, is_new=True, error=error)
    return Redirect(f"/admin/profiles/of/{form.name}?note=profile-added", status_code=303)


@get("/profiles/of/{name:str}/settings")
async def profile_settings(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """The form with what is set."""
    return await _form(request, visit, ProfileForm.of(await find_profile(visit, name)), is_new=False)


@post("/profiles/of/{name:str}/settings")
async def change_profile(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Change the settings."""
    form = ProfileForm.of(await find_profile(visit, name)).typed({**await request.form(), "name": name})
    try:
        await visit.archive.profile_change(visit.token, name=name, **form.settings())
    except (UsageError, ConflictError) as error:
        return await _form(request, visit, form, is_new=False, error=error)
    return Redirect(f"/admin/profiles/of/{name}?note=profile-changed", status_code=303)


async def _form(
    request: Request[Any, Any, Any], visit: Visit, form: ProfileForm, *, is_new: bool,
    error: UsageError | ConflictError | None = None,
) -> Response[Any]:  # fmt: skip
    known = [one.name for one in await visit.archive.directories(visit.token)]
    return page(
        request, "admin/profile_form.html", status_code=200 if error is None else status_of(error), visit=visit,
        form=form, is_new=is_new, directories=known, problem="" if error is None else error.message,
    )  # fmt: skip


HANDLERS = [new_profile, add_profile, profile_settings, change_profile]
