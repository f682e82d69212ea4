"""The support bundle: one file for whoever is to help, without anything that is nobody's business."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from webadmin.download import download
from webadmin.page import page
from webadmin.session import Visit

RUNNING = ("waiting", "running")


@get("/support")
async def support(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The bundles that were made; for htmx only the list, with its progress."""
    jobs = await visit.archive.jobs(visit.token, kind="support")
    template = "admin/support_live.html" if "hx-request" in request.headers else "admin/support.html"
    return page(request, template, visit=visit, jobs=jobs, running=any(job.state in RUNNING for job in jobs))


@post("/support")
async def make(visit: NamedDependency[Visit]) -> Response[Any]:
    """Begin to make one."""
    await visit.archive.support_begin(visit.token)
    return Redirect("/admin/support", status_code=303)


@get("/support/{id:str}/file")
async def file(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """The finished ZIP."""
    return download(await visit.archive.support_download(visit.token, id=id))


HANDLERS = [support, make, file]
