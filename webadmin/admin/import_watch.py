"""The watched folder: which one it is, and what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from appliance.errors import UsageError
from webadmin.admin.imports import PAGE
from webadmin.forms import Form
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class WatchForm:
    """A folder of the box as typed; empty for none."""

    folder: str = ""


@get("/imports/watch")
async def watch(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The folder, and what lies in it."""
    now = await visit.archive.import_watch(visit.token)
    return page(request, "admin/import_watch.html", visit=visit, now=now, form=WatchForm(now.folder), problem="")


@post("/imports/watch")
async def change(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[WatchForm]
) -> Response[Any]:
    """Watch another folder, or none; else the form again with the reason."""
    try:
        await visit.archive.import_watch_set(visit.token, folder=data.folder.strip())
    except UsageError as error:
        now = await visit.archive.import_watch(visit.token)
        return page(
            request, "admin/import_watch.html", status_code=status_of(error), visit=visit, now=now, form=data,
            problem=error.message,
        )  # fmt: skip
    return Redirect(f"{PAGE}/watch?note=import-watch", status_code=303)


HANDLERS = [watch, change]
