"""The doctor: everything round the archive, looked at by a job, with how to mend what is not as it should be."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from appliance.services import api
from webadmin.page import page
from webadmin.session import Visit

PAGE = "/admin/doctor"
RUNNING = ("waiting", "running")
_FIRST = {"problem": 0, "warning": 1, "ok": 2}


@get("/doctor")
async def doctor(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """What the last examination found, worst first; for htmx, which asks while one runs, only that part."""
    jobs = await visit.archive.jobs(visit.token, kind="doctor")
    running = next((job for job in jobs if job.state in RUNNING), None)
    done = next((job for job in jobs if job.state == "done"), None)
    found: tuple[api.Finding, ...] = ()
    if done is not None and running is None:
        found = await visit.archive.doctor_findings(visit.token, id=done.id)
    template = "admin/doctor_live.html" if "hx-request" in request.headers else "admin/doctor.html"
    ordered = sorted(found, key=lambda one: _FIRST[one.state])
    return page(request, template, visit=visit, running=running, done=done, findings=ordered)


@post("/doctor")
async def examine(visit: NamedDependency[Visit]) -> Response[Any]:
    """Begin an examination, unless one is under way."""
    jobs = await visit.archive.jobs(visit.token, kind="doctor")
    if not any(job.state in RUNNING for job in jobs):
        await visit.archive.doctor_begin(visit.token)
    return Redirect(PAGE, status_code=303)


HANDLERS = [doctor, examine]
