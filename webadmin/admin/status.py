"""The status page: whether everything accepted is searchable, and every number that says so."""

from __future__ import annotations

import time
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from webadmin.page import page
from webadmin.session import Visit
from webadmin.sparkline import sparkline


@get("/")
async def status(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The numbers; for htmx, which asks every few seconds, only the part that changes."""
    numbers = await visit.archive.status(visit.token)
    template = "admin/status_live.html" if "hx-request" in request.headers else "admin/status.html"
    return page(
        request,
        template,
        visit=visit,
        status=numbers,
        chart=sparkline(numbers.per_minute),
        uptime=max(0, time.time() - numbers.started_at),
    )


HANDLERS = [status]
