"""Directories: where users come from, trying them, and what a synchronisation changes or would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.checks import Check
from appliance.directory.base import DirectoryKind
from appliance.directory.kinds import KINDS, kind
from appliance.errors import ConflictError, MailkeepError, NotFoundError, UsageError
from appliance.services import api
from webadmin.admin.option_fields import Asked, OptionFields
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit

RUNNING = ("waiting", "running")
_MOST_DIGITS = 8


@dataclass(frozen=True, slots=True)
class DirectoryForm:
    """A directory's settings as typed."""

    kind: DirectoryKind
    name: str = ""
    interval: str = "3600"
    signs_in: bool = False
    options: OptionFields = field(default_factory=lambda: OptionFields(()))

    @classmethod
    def empty(cls, name: str) -> DirectoryForm:
        """The form of a new directory of that kind. Raises NotFoundError."""
        try:
            found = kind(name)
        except UsageError as error:
            raise NotFoundError(error.message) from error
        return cls(found, options=OptionFields(found.fields))

    @classmethod
    def of(cls, one: api.DirectoryInfo) -> DirectoryForm:
        """The form of a directory as it is set up."""
        found = kind(one.kind)
        return cls(found, one.name, str(one.interval), one.signs_in, OptionFields.of(found.fields, one.options))

    def typed(self, given: Mapping[str, Any]) -> DirectoryForm:
        """This form with what a browser sent."""
        texts = {name: value for name, value in given.items() if isinstance(value, str)}
        return replace(
            self,
            name=texts.get("name", self.name).strip(),
            interval=texts.get("interval", "").strip(),
            signs_in="signs_in" in texts,
            options=self.options.typed(texts),
        )

    def asked(self) -> tuple[Asked, ...]:
        """The fields of its kind, with what they hold, but for secrets."""
        return self.options.asked()

    def seconds(self) -> int:
        """Between two synchronisations. Raises UsageError for what is no number."""
        text = self.interval or "0"
        if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
            raise UsageError("Enter the time between two synchronisations as a number.")
        return int(text)


@get("/directories")
async def directories(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """All directories."""
    found = await visit.archive.directories(visit.token)
    return page(request, "admin/directories.html", visit=visit, directories=found, titles=_titles())


@get("/directories/new")
async def new_directory(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], kind: FromQuery[str] = ""
) -> Response[Any]:
    """The kinds to choose from; with ``kind`` the form for one."""
    if not kind:
        return page(request, "admin/directory_kinds.html", visit=visit, kinds=KINDS)
    return page(
        request, "admin/directory_form.html", visit=visit, form=DirectoryForm.empty(kind), is_new=True, problem=""
    )


@post("/directories/new")
async def add_directory(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Add a directory; its page then offers to try it."""
    given = await request.form()
    form = DirectoryForm.empty(str(given.get("kind", ""))).typed(given)
    try:
        await visit.archive.directory_add(
            visit.token, name=form.name, kind=form.kind.kind, options=form.options.changed(), interval=form.seconds(),
            signs_in=form.signs_in,
        )  # fmt: skip
    except (UsageError, ConflictError) as error:
        return _refused(request, visit, form, error, is_new=True)
    return Redirect(f"/admin/directories/of/{form.name}?note=directory-added", status_code=303)


@get("/directories/of/{name:str}")
async def directory(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str], job: FromQuery[str] = ""
) -> Response[Any]:
    """One directory; ``job`` is the synchronisation to show. For htmx, which asks while it runs, only that part."""
    if "hx-request" in request.headers:
        return await _run_part(request, visit, name, job)
    return await _directory_page(request, visit, name, job)


@post("/directories/of/{name:str}/test")
async def try_directory(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Try everything that a synchronisation needs."""
    checks = await visit.archive.directory_test(visit.token, name=name)
    if "hx-request" in request.headers:
        return page(request, "parts/checks.html", checks=checks)
    return await _directory_page(request, visit, name, checks=checks)


@post("/directories/of/{name:str}/synchronise")
async def synchronise(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Begin a synchronisation, a dry run (``do`` = dry-run), or one that is confirmed (``do`` = confirm)."""
    do = str((await request.form()).get("do", ""))
    job = await visit.archive.directory_sync_begin(
        visit.token, name=name, dry_run=do == "dry-run", confirmed=do == "confirm"
    )
    return Redirect(f"/admin/directories/of/{name}?job={job.id}", status_code=303)


@get("/directories/of/{name:str}/settings")
async def directory_settings(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """The form with what is set."""
    form = DirectoryForm.of(await _find(visit, name))
    return page(request, "admin/directory_form.html", visit=visit, form=form, is_new=False, problem="")


@post("/directories/of/{name:str}/settings")
async def change_directory(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Change the settings."""
    form = DirectoryForm.of(await _find(visit, name)).typed({**await request.form(), "name": name})
    try:
        await visit.archive.directory_change(
            visit.token, name=name, options=form.options.changed(), interval=form.seconds(), signs_in=form.signs_in
        )
    except (UsageError, ConflictError) as error:
        return _refused(request, visit, form, error, is_new=False)
    return Redirect(f"/admin/directories/of/{name}?note=directory-changed", status_code=303)


@get("/directories/of/{name:str}/remove")
async def removing_directory(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """What removing it means, and the button that does it."""
    return page(request, "admin/directory_remove.html", visit=visit, directory=await _find(visit, name))


@post("/directories/of/{name:str}/remove")
async def remove_directory(visit: NamedDependency[Visit], name: FromPath[str]) -> Response[Any]:
    """Take nothing from there any more."""
    await visit.archive.directory_remove(visit.token, name=name)
    return Redirect("/admin/directories?note=directory-removed", status_code=303)


async def _find(visit: Visit, name: str) -> api.DirectoryInfo:
    for known in await visit.archive.directories(visit.token):
        if known.name == name:
            return known
    raise NotFoundError("There is no such directory. It may have been removed; the list shows those there are.")


def _titles() -> dict[str, str]:
    return {one.kind: one.title for one in KINDS}


async def _directory_page(
    request: Request[Any, Any, Any], visit: Visit, name: str, job: str = "",
    checks: tuple[Check, ...] = (),
) -> Response[Any]:  # fmt: skip
    found = await _find(visit, name)
    run, done = await _run(visit, job)
    return page(
        request, "admin/directory.html", visit=visit, directory=found, titles=_titles(), checks=checks, run=run,
        done=done,
    )  # fmt: skip


async def _run_part(request: Request[Any, Any, Any], visit: Visit, name: str, job: str) -> Response[Any]:
    run, done = await _run(visit, job)
    answer = page(
        request, "admin/directory_run.html", visit=visit, directory=await _find(visit, name), run=run, done=done
    )
    if run is None or run.state not in RUNNING:
        answer.headers["HX-Refresh"] = "true"  # the facts beside it have changed
    return answer


async def _run(visit: Visit, job: str) -> tuple[api.JobInfo | None, api.DirectorySynchronised | None]:
    """The synchronisation that is asked for, and what came of it."""
    if not job:
        return None, None
    try:
        run = await visit.archive.job(visit.token, id=job)
        done = await visit.archive.directory_synchronised(visit.token, id=job) if run.state == "done" else None
    except (NotFoundError, UsageError):  # forgotten meanwhile
        return None, None
    return run, done


def _refused(
    request: Request[Any, Any, Any], visit: Visit, form: DirectoryForm, error: MailkeepError, *, is_new: bool
) -> Response[Any]:
    return page(
        request, "admin/directory_form.html", status_code=status_of(error), visit=visit, form=form, is_new=is_new,
        problem=error.message,
    )  # fmt: skip


HANDLERS = [
    directories, new_directory, add_directory, directory, try_directory, synchronise, directory_settings,
    change_directory, removing_directory, remove_directory,
]  # fmt: skip
