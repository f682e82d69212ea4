"""The assistant: choose a kind of remote, fill in what it needs, have it tried, and it is replicated to.

With scripts only what came of it is put under the form, which stays as it was typed. Without them the page comes anew,
and secrets have to be typed again: they are never sent to a browser.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.cloud.backends import BACKENDS
from appliance.errors import ConflictError, MailkeepError, NotFoundError, UsageError
from appliance.services import api
from webadmin.admin.outcome import Outcome
from webadmin.admin.remote_form import RemoteForm
from webadmin.admin.remotes import find_remote
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit

NOT_ADDED = 400
"""HTTP status where the remote did not pass and nothing was saved."""


@get("/replicas/new")
async def new_remote(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], kind: FromQuery[str] = ""
) -> Response[Any]:
    """The kinds to choose from; with ``kind`` the form for one."""
    if not kind:
        return page(request, "admin/remote_kinds.html", visit=visit, backends=BACKENDS)
    return page(request, "admin/remote_form.html", visit=visit, form=_of_kind(kind), is_new=True, outcome=None)


@post("/replicas/new")
async def add_remote(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Try a remote and add it if it passes; with ``do`` = test only try it.

    One that does not pass is added where ``anyway`` is ticked, which is offered then.
    """
    given = await request.form()
    form = _of_kind(str(given.get("type", ""))).typed(given)
    only_test = given.get("do") == "test"
    try:
        if any(one.name == form.name for one in await visit.archive.remotes(visit.token)):
            raise ConflictError(f"There is a replica called “{form.name}” already. Take another name.")
        settings = form.settings()
        if only_test or not given.get("anyway"):
            tested = await visit.archive.remote_test(
                visit.token, name=form.name, type=form.type, options=settings["options"], path=settings["path"]
            )
            if only_test or not tested.passed:
                outcome = await _tested(visit, form, tested, anyway=not only_test)
                return _answer(request, visit, form, outcome, 200 if only_test else NOT_ADDED, is_new=True)
        await visit.archive.remote_add(visit.token, name=form.name, type=form.type, **settings)
    except (UsageError, ConflictError) as error:
        return _refused(request, visit, form, error, is_new=True)
    return _go(request, f"/admin/replicas/on/{form.name}?note=remote-added")


@get("/replicas/on/{name:str}/settings")
async def remote_settings(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """The form with what is set."""
    form = RemoteForm.of(await find_remote(visit, name))
    return page(request, "admin/remote_form.html", visit=visit, form=form, is_new=False, outcome=None)


@post("/replicas/on/{name:str}/settings")
async def change_remote(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Change the settings; with ``do`` = test only try them."""
    given = await request.form()
    form = RemoteForm.of(await find_remote(visit, name)).typed({**given, "name": name})
    try:
        settings = form.settings()
        if given.get("do") == "test":
            tested = await visit.archive.remote_test(
                visit.token, name=name, options=settings["options"], path=settings["path"]
            )
            return _answer(request, visit, form, await _tested(visit, form, tested), 200, is_new=False)
        await visit.archive.remote_change(visit.token, name=name, **settings)
    except (UsageError, ConflictError) as error:
        return _refused(request, visit, form, error, is_new=False)
    return _go(request, f"/admin/replicas/on/{name}?note=remote-changed")


def _of_kind(kind: str) -> RemoteForm:
    form = RemoteForm.empty(kind)
    if form.backend is None:
        raise NotFoundError("This page knows no such kind of storage. `mailkeep remote add` takes all of rclone’s.")
    return form


async def _tested(visit: Visit, form: RemoteForm, tested: api.RemoteTested, *, anyway: bool = False) -> Outcome:
    seconds = (await visit.archive.status(visit.token)).log_bytes / tested.up if tested.passed and tested.up else 0.0
    return Outcome(
        tested,
        first_run_seconds=seconds,
        stay_days=form.erased_stay_days(),
        anyway=anyway and not tested.passed,
        again=any(one.field.secret and not one.kept for one in form.asked()),
    )


def _refused(
    request: Request[Any, Any, Any], visit: Visit, form: RemoteForm, error: MailkeepError, *, is_new: bool
) -> Response[Any]:
    return _answer(request, visit, form, Outcome(problem=error.message, again=True), status_of(error), is_new=is_new)


def _answer(
    request: Request[Any, Any, Any], visit: Visit, form: RemoteForm, outcome: Outcome, status: int, *, is_new: bool
) -> Response[Any]:
    if "hx-request" in request.headers:
        return page(request, "admin/remote_outcome.html", status_code=status, outcome=outcome)
    return page(
        request, "admin/remote_form.html", status_code=status, visit=visit, form=form, is_new=is_new, outcome=outcome
    )


def _go(request: Request[Any, Any, Any], target: str) -> Response[Any]:
    """To another page; where htmx asked for a piece of this one, the whole page goes."""
    if "hx-request" in request.headers:
        return Response("", status_code=204, headers={"HX-Redirect": target})
    return Redirect(target, status_code=303)


HANDLERS = [new_remote, add_remote, remote_settings, change_remote]
