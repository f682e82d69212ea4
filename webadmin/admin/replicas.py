"""Replicas: which copies of the archive there are elsewhere, how far they are, and the way back from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from appliance.cloud.backends import backend
from appliance.errors import UsageError
from webadmin.admin.restore_command import FOLDER, restore_command
from webadmin.forms import Form
from webadmin.page import local_path, page
from webadmin.problems import status_of
from webadmin.session import Visit

HISTORY = 100
"""Runs on the page of all."""


@dataclass(frozen=True, slots=True)
class KeepForm:
    """What holds for all replicas: days as typed, and a tick."""

    keep_local_days: str = ""
    rehearsal: str = ""


@dataclass(frozen=True, slots=True)
class BackForm:
    """Where a button stands: there the browser goes back to."""

    back: str = "/admin/replicas"


@get("/replicas")
async def replicas(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """All replicas; for htmx, which asks every few seconds, only the part that changes."""
    if "hx-request" in request.headers:
        return await _overview(request, visit, "admin/replicas_live.html")
    return await _replicas_page(request, visit, None, "", 200)


@post("/replicas/keep")
async def keep(request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[KeepForm]) -> Response[Any]:
    """Say for how long mail stays on this disk, and whether a restore is rehearsed."""
    days = data.keep_local_days.strip() or "0"
    try:
        if not days.isascii() or not days.isdigit() or len(days) > 9:
            raise UsageError("Enter the days as a number, or leave them empty to keep all mail here.")
        await visit.archive.replica_settings_set(visit.token, keep_local_days=int(days), rehearsal=bool(data.rehearsal))
    except UsageError as error:
        return await _replicas_page(request, visit, data, error.message, status_of(error))
    return Redirect("/admin/replicas?note=replicas-changed", status_code=303)


@post("/replicas/replicate")
async def replicate_all(visit: NamedDependency[Visit]) -> Response[Any]:
    """Bring all that are not paused up to date."""
    await visit.archive.replicate_begin(visit.token)
    return Redirect("/admin/replicas?note=run-begun", status_code=303)


@post("/replicas/runs/{id:int}/stop")
async def stop(visit: NamedDependency[Visit], id: FromPath[int], data: Form[BackForm]) -> Response[Any]:
    """Ask a run to end."""
    await visit.archive.replica_stop(visit.token, id=id)
    return Redirect(f"{local_path(data.back)}?note=run-stopped", status_code=303)


@get("/replicas/history")
async def history(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The runs of all replicas."""
    runs = await visit.archive.replica_history(visit.token, limit=HISTORY)
    return page(request, "admin/replica_history.html", visit=visit, remote="", runs=runs)


@get("/replicas/restore")
async def restore(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """What to do when this box is gone; to be printed, since it is needed where this page is not."""
    remotes = await visit.archive.remotes(visit.token)
    ways = [(one, backend(one.type), restore_command(one)) for one in remotes]
    return page(request, "admin/restore.html", visit=visit, ways=ways, folder=FOLDER)


async def _replicas_page(
    request: Request[Any, Any, Any], visit: Visit, form: KeepForm | None, problem: str, status: int
) -> Response[Any]:
    common = await visit.archive.replica_settings(visit.token)
    typed = form or KeepForm(str(common.keep_local_days or ""), "1" if common.rehearsal else "")
    return await _overview(request, visit, "admin/replicas.html", status, form=typed, problem=problem)


async def _overview(
    request: Request[Any, Any, Any], visit: Visit, template: str, status: int = 200, **values: object
) -> Response[Any]:
    numbers = await visit.archive.status(visit.token)
    remotes = await visit.archive.remotes(visit.token)
    return page(
        request, template, status_code=status, visit=visit, remotes=remotes, only_here=numbers.only_here, **values
    )


HANDLERS = [replicas, keep, replicate_all, stop, history, restore]
