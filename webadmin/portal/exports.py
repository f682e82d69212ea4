"""Exports: selected messages or all hits of a search as a ZIP of EML files, made by a job."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from appliance.errors import UsageError
from webadmin.download import download
from webadmin.page import page
from webadmin.portal.place import scoped
from webadmin.session import Visit

RUNNING = ("waiting", "running")


@get("/exports")
async def exports(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The caller's exports; for htmx only the list, with its progress."""
    jobs = await visit.archive.jobs(visit.token, kind="export")
    template = "portal/job_list.html" if "hx-request" in request.headers else "portal/exports.html"
    return page(request, template, visit=visit, jobs=jobs, running=any(job.state in RUNNING for job in jobs))


@post("/exports")
async def export(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Begin an export of the ticked messages (``id``) or, with ``every``, of all that the search ``q`` finds.

    Raises UsageError where nothing was selected.
    """
    form = await request.form()
    scope = scoped(form, visit).scope
    ids = tuple(str(id) for id in form.getall("id", []))
    if form.get("every"):
        query = str(form.get("q") or "*")
        folder, below = str(form.get("folder") or ""), form.get("below") == "1"
        await visit.archive.export_begin(visit.token, query=query, folder=folder, below=below, **scope)
    elif ids:
        await visit.archive.export_begin(visit.token, ids=ids, **scope)
    else:
        raise UsageError("Nothing was selected. Tick the messages that you want, or choose all hits.")
    return Redirect("/exports", status_code=303)


@post("/exports/{id:str}/stop")
async def stop(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Stop a job."""
    await visit.archive.job_stop(visit.token, id=id)
    return Redirect("/exports?note=job-stopped", status_code=303)


@get("/exports/{id:str}/file")
async def file(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """What a finished job made."""
    return download(await visit.archive.job_download(visit.token, id=id))


HANDLERS = [exports, export, stop, file]
