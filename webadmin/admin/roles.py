"""Appointments of auditors that wait for a second auditor."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from webadmin.page import page
from webadmin.session import Visit


@get("/approvals")
async def approvals(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The waiting appointments."""
    requests = await visit.archive.role_requests(visit.token)
    return page(request, "admin/approvals.html", visit=visit, requests=requests)


@post("/approvals/{id:str}/approve")
async def approve(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Put an appointment in force."""
    await visit.archive.role_decide(visit.token, id=id, approve=True)
    return Redirect("/oversight/approvals?note=request-approved", status_code=303)


@post("/approvals/{id:str}/refuse")
async def refuse(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Refuse an appointment."""
    await visit.archive.role_decide(visit.token, id=id, approve=False)
    return Redirect("/oversight/approvals?note=request-refused", status_code=303)


HANDLERS = [approvals, approve, refuse]
