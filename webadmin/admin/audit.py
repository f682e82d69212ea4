"""The audit trail: who signed in, searched, opened, exported and changed what."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from webadmin.page import page
from webadmin.session import Visit

PAGE_SIZE = 50


@get("/audit")
async def audit(
    request: Request[Any, Any, Any],
    visit: NamedDependency[Visit],
    find: FromQuery[str] = "",
    offset: FromQuery[int] = 0,
) -> Response[Any]:
    """A page of the trail, newest first."""
    offset = max(0, offset)
    found = await visit.archive.audit(visit.token, find=find.strip(), offset=offset, limit=PAGE_SIZE)
    return page(
        request,
        "admin/audit.html",
        visit=visit,
        trail=found,
        find=find.strip(),
        offset=offset,
        page_size=PAGE_SIZE,
    )


HANDLERS = [audit]
