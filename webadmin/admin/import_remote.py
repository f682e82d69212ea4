"""Files of an import that lie on a remote: looking through its folders, choosing what the archive is to fetch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.errors import MailkeepError, UsageError
from appliance.services import api
from webadmin.admin.imports import PAGE
from webadmin.forms import Form
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class ChosenForm:
    """What was chosen in a folder of a remote."""

    remote: str = ""
    folder: str = ""
    password: str = ""
    paths: list[str] | str = ""  # a form with one of a kind gives no list

    def chosen(self) -> list[str]:
        """The paths of the files."""
        return [one for one in ([self.paths] if isinstance(self.paths, str) else self.paths) if one]


@get("/imports/{id:int}/remote")
async def look(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[int], remote: FromQuery[str] = "",
    folder: FromQuery[str] = "",
) -> Response[Any]:  # fmt: skip
    """The remotes, or a folder of one."""
    return await _page(request, visit, id, ChosenForm(remote, folder))


@post("/imports/{id:int}/remote")
async def fetch(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[int], data: Form[ChosenForm]
) -> Response[Any]:
    """Have the archive fetch what was chosen; else the folder again with the reason."""
    try:
        chosen = data.chosen()
        if not chosen:
            raise UsageError("Choose at least one file.")
        await visit.archive.import_from_remote(
            visit.token, id=id, remote=data.remote, paths=chosen, password=data.password
        )
    except MailkeepError as error:
        return await _page(request, visit, id, data, problem=error)
    return Redirect(f"{PAGE}/{id}?note=import-fetching", status_code=303)


async def _page(
    request: Request[Any, Any, Any], visit: Visit, id: int, form: ChosenForm, *, problem: MailkeepError | None = None
) -> Response[Any]:
    one = await visit.archive.import_get(visit.token, id=id, problems=0)
    remotes = await visit.archive.remotes(visit.token)
    listing: api.RemoteListing | None = None
    if form.remote:
        try:
            listing = await visit.archive.remote_files(visit.token, name=form.remote, folder=form.folder)
        except MailkeepError as error:
            problem = problem or error
    return page(
        request, "admin/import_remote.html", visit=visit, one=one, remotes=remotes, form=form, chosen=form.chosen(),
        listing=listing,
        above=_above(listing.folder) if listing else (), problem=problem.message if problem else "",
        status_code=status_of(problem) if problem else 200,
    )  # fmt: skip


def _above(folder: str) -> tuple[tuple[str, str], ...]:
    """The folders on the way to one, from the top: path and name."""
    path = PurePosixPath(folder)
    return tuple((str(one), one.name) for one in (*reversed(path.parents), path) if one.name)


HANDLERS = [look, fetch]
