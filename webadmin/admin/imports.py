"""Imports of old mail: those there are and were, beginning one, what became of its files, its report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.errors import ConflictError, MailkeepError, NotFoundError, UsageError
from appliance.services import api
from appliance.services.client import ImportSettings
from appliance.services.imports.pace import ImportPace, pace
from webadmin.download import disposition
from webadmin.forms import Form
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit

PAGE = "/admin/imports"
GOES_ON = ("arriving", "waiting", "running")
FILES, PROBLEMS = 200, 100
"""Files and problems on one page of an import."""


@dataclass(frozen=True, slots=True)
class ImportForm:
    """A new import as typed."""

    title: str = ""
    owners: str = "archive"
    archive: str = ""
    folder: str = ""
    dry_run: str = ""
    recovered: str = ""
    others: str = ""
    code_page: str = ""

    def settings(self) -> ImportSettings:
        """What the archiver is told beside the title. Raises UsageError where nobody is named."""
        owners: Literal["archive", "addresses"] = "addresses" if self.owners == "addresses" else "archive"
        archive = self.archive.strip() if owners == "archive" else ""
        if owners == "archive" and not archive:
            raise UsageError("Say whose archive it becomes, or choose that each message’s addresses say it.")
        return {
            "archive": archive,
            "owners": owners,
            "folder": tuple(part for part in (one.strip() for one in self.folder.split("/")) if part),
            "dry_run": bool(self.dry_run),
            "recovered": bool(self.recovered),
            "others": bool(self.others),
            "code_page": self.code_page.strip(),
        }

    def called(self) -> str:
        """The import's title."""
        return self.title.strip() or (f"Upload for {self.archive.strip()}" if self.archive.strip() else "Upload")


@get("/imports")
async def imports(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """All imports; for htmx, which asks every few seconds, only the part that changes."""
    found = await visit.archive.imports(visit.token)
    template = "admin/imports_live.html" if "hx-request" in request.headers else "admin/imports.html"
    return page(request, template, visit=visit, imports=found, busy=any(one.state in GOES_ON for one in found))


@get("/imports/new")
async def new_import(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The form of a new import."""
    return page(request, "admin/import_new.html", visit=visit, form=ImportForm(), problem="")


@post("/imports/new")
async def begin(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[ImportForm]
) -> Response[Any]:
    """Begin an import; else the form again with the reason."""
    try:
        made = await visit.archive.import_begin(visit.token, title=data.called(), **data.settings())
    except (UsageError, NotFoundError, ConflictError) as error:
        status = status_of(error)
        return page(request, "admin/import_new.html", status_code=status, visit=visit, form=data, problem=error.message)
    return Redirect(f"{PAGE}/{made.id}?note=import-begun", status_code=303)


@get("/imports/{id:int}")
async def one_import(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[int], offset: FromQuery[int] = 0,
    was: FromQuery[str] = "",
) -> Response[Any]:  # fmt: skip
    """One import; for htmx only the part that changes, as long as its state is what it ``was``."""
    return await import_page(request, visit, id, offset=max(0, offset), was=was)


@post("/imports/{id:int}/complete")
async def complete(visit: NamedDependency[Visit], id: FromPath[int]) -> Response[Any]:
    """No more files come."""
    await visit.archive.import_complete(visit.token, id=id)
    return Redirect(f"{PAGE}/{id}?note=import-complete", status_code=303)


@post("/imports/{id:int}/stop")
async def stop(visit: NamedDependency[Visit], id: FromPath[int]) -> Response[Any]:
    """Ask it to end."""
    await visit.archive.import_stop(visit.token, id=id)
    return Redirect(f"{PAGE}/{id}?note=import-stopped", status_code=303)


@get("/imports/{id:int}/report/{form:str}")
async def report(visit: NamedDependency[Visit], id: FromPath[int], form: FromPath[str]) -> Response[Any]:
    """The report of an import as a file."""
    if form not in ("csv", "html"):
        raise NotFoundError("There is no such report.")
    wanted: Literal["csv", "html"] = "html" if form == "html" else "csv"
    content = await visit.archive.import_report(visit.token, id=id, form=wanted)
    headers = {"Content-Disposition": disposition(f"import-{id}.{form}"), "Content-Security-Policy": "sandbox"}
    return Response(content, media_type="application/octet-stream", headers=headers)


async def import_page(
    request: Request[Any, Any, Any], visit: Visit, id: int, *, offset: int = 0, was: str = "",
    problem: MailkeepError | None = None,
) -> Response[Any]:  # fmt: skip
    """The page of one import, with the reason where something could not be done."""
    one = await visit.archive.import_get(visit.token, id=id)
    part = "hx-request" in request.headers
    answer = page(
        request, "admin/import_live.html" if part else "admin/import.html", visit=visit, one=one, now=_pace(one),
        offset=offset, files_shown=FILES, problems_shown=PROBLEMS, problem=problem.message if problem else "",
        status_code=status_of(problem) if problem else 200,
    )  # fmt: skip
    if part and was != one.state:
        answer.headers["HX-Refresh"] = "true"  # what stands beside it has changed
    return answer


def _pace(one: api.ImportInfo) -> ImportPace | None:
    return pace(one, time.time()) if one.state in GOES_ON else None


HANDLERS = [imports, new_import, begin, one_import, complete, stop, report]
