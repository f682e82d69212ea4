"""One replica: how far it is, what it is at, and what can be done with it."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from appliance.errors import NotFoundError
from appliance.services import api
from webadmin.admin.outcome import Outcome
from webadmin.admin.replicas import BackForm
from webadmin.forms import Form
from webadmin.page import local_path, page
from webadmin.session import Visit

RECENT = 5
"""Runs on a remote's own page."""
HISTORY = 200
"""Runs on the page of its history: as many as are remembered."""


@get("/replicas/on/{name:str}")
async def remote(request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]) -> Response[Any]:
    """How far a replica is; for htmx, which asks every few seconds, only the part that changes."""
    if "hx-request" in request.headers:
        return page(request, "admin/remote_live.html", visit=visit, remote=await find_remote(visit, name))
    return await _remote_page(request, visit, name)


@post("/replicas/on/{name:str}/test")
async def try_remote(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Write, read back and delete a file there, and say what came of it."""
    outcome = Outcome(await visit.archive.remote_test(visit.token, name=name))
    if "hx-request" in request.headers:
        return page(request, "admin/remote_outcome.html", outcome=outcome)
    return await _remote_page(request, visit, name, outcome)


@post("/replicas/on/{name:str}/replicate")
async def replicate(visit: NamedDependency[Visit], name: FromPath[str], data: Form[BackForm]) -> Response[Any]:
    """Bring it up to date now."""
    await visit.archive.replicate_begin(visit.token, remote=name)
    return Redirect(f"{local_path(data.back)}?note=run-begun", status_code=303)


@post("/replicas/on/{name:str}/check")
async def check(visit: NamedDependency[Visit], name: FromPath[str]) -> Response[Any]:
    """Read some files back and compare them."""
    await visit.archive.replica_verify_begin(visit.token, remote=name)
    return Redirect(f"/admin/replicas/on/{name}?note=run-begun", status_code=303)


@post("/replicas/on/{name:str}/check-all")
async def check_all(visit: NamedDependency[Visit], name: FromPath[str]) -> Response[Any]:
    """Find out whether all of it is there and whole."""
    await visit.archive.replica_verify_begin(visit.token, remote=name, full=True)
    return Redirect(f"/admin/replicas/on/{name}?note=run-begun", status_code=303)


@post("/replicas/on/{name:str}/pause")
async def pause(visit: NamedDependency[Visit], name: FromPath[str], data: Form[BackForm]) -> Response[Any]:
    """Begin nothing there by itself."""
    await visit.archive.remote_change(visit.token, name=name, paused=True)
    return Redirect(f"{local_path(data.back)}?note=remote-paused", status_code=303)


@post("/replicas/on/{name:str}/resume")
async def resume(visit: NamedDependency[Visit], name: FromPath[str], data: Form[BackForm]) -> Response[Any]:
    """Go on."""
    await visit.archive.remote_change(visit.token, name=name, paused=False)
    return Redirect(f"{local_path(data.back)}?note=remote-resumed", status_code=303)


@get("/replicas/on/{name:str}/remove")
async def removing(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """What removing it means, and the button that does it."""
    remotes = await visit.archive.remotes(visit.token)
    return page(
        request,
        "admin/remote_remove.html",
        visit=visit,
        remote=await find_remote(visit, name),
        is_last=len(remotes) == 1,
    )


@post("/replicas/on/{name:str}/remove")
async def remove(visit: NamedDependency[Visit], name: FromPath[str]) -> Response[Any]:
    """Replicate there no more."""
    await visit.archive.remote_remove(visit.token, name=name)
    return Redirect("/admin/replicas?note=remote-removed", status_code=303)


@get("/replicas/on/{name:str}/history")
async def remote_history(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Its runs, with their logs."""
    runs = await visit.archive.replica_history(visit.token, remote=name, limit=HISTORY)
    return page(request, "admin/replica_history.html", visit=visit, remote=name, runs=runs)


async def find_remote(visit: Visit, name: str) -> api.RemoteInfo:
    """The remote of that name. Raises NotFoundError."""
    for known in await visit.archive.remotes(visit.token):
        if known.name == name:
            return known
    raise NotFoundError("There is no such replica. It may have been removed; the list shows those there are.")


async def _remote_page(
    request: Request[Any, Any, Any], visit: Visit, name: str, outcome: Outcome | None = None
) -> Response[Any]:
    found = await find_remote(visit, name)
    runs = await visit.archive.replica_history(visit.token, remote=name, limit=RECENT)
    return page(request, "admin/remote.html", visit=visit, remote=found, outcome=outcome, runs=runs)


HANDLERS = [remote, try_remote, replicate, check, check_all, pause, resume, removing, remove, remote_history]
