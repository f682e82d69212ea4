"""Archiving profiles: how they are, what they are at, what their runs have fetched, and what can be done with them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.checks import Check
from appliance.errors import ConflictError, NotFoundError
from appliance.services import api
from appliance.services.profiles.pace import Pace, pace
from appliance.sources.kinds import KINDS
from webadmin.forms import Form
from webadmin.page import local_path, page
from webadmin.session import Visit

RUNNING = ("waiting", "running")
HISTORY = 50
"""Runs on a profile's page."""


@dataclass(frozen=True, slots=True)
class BackForm:
    """Where a button stands: there the browser goes back to."""

    back: str = "/admin/profiles"


class Shown(NamedTuple):
    """A profile, and how fast its run goes that is under way."""

    profile: api.ProfileInfo
    pace: Pace | None

    @property
    def run(self) -> api.ProfileRun | None:
        """The run under way, else the last one."""
        return self.profile.run

    @property
    def goes_on(self) -> bool:
        """Whether a run is under way, or waits."""
        return self.run is not None and self.run.state in RUNNING

    @property
    def mark(self) -> str:
        """Another one once a run has begun or ended."""
        return f"{self.run.id}-{self.goes_on}" if self.run is not None else "none"


@get("/profiles")
async def profiles(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """All profiles; for htmx, which asks every few seconds, only the part that changes."""
    found = [_shown(one) for one in await visit.archive.profiles(visit.token)]
    part = "hx-request" in request.headers
    template = "admin/profiles_live.html" if part else "admin/profiles.html"
    return page(request, template, visit=visit, profiles=found, titles=_titles())


@get("/profiles/of/{name:str}")
async def profile(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str], job: FromQuery[str] = "",
    was: FromQuery[str] = "",
) -> Response[Any]:  # fmt: skip
    """One profile; ``job`` is a synchronisation before a run. For htmx only the part that changes, as long as the runs
    beside it are those that there ``was`` (``Shown.mark``)."""
    if "hx-request" in request.headers:
        return await _live(request, visit, name, job, was)
    return await _profile_page(request, visit, name, job)


@post("/profiles/of/{name:str}/test")
async def try_profile(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """Try everything that a run needs."""
    checks = await visit.archive.profile_test(visit.token, name=name)
    if "hx-request" in request.headers:
        return page(request, "parts/checks.html", checks=checks)
    return await _profile_page(request, visit, name, checks=checks)


@post("/profiles/of/{name:str}/run")
async def run_profile(visit: NamedDependency[Visit], name: FromPath[str]) -> Response[Any]:
    """Fetch what is new."""
    begun = await visit.archive.profile_run(visit.token, name=name)
    follow = f"?job={begun.job.id}" if begun.job is not None else "?note=run-begun"
    return Redirect(f"/admin/profiles/of/{name}{follow}", status_code=303)


@post("/profiles/of/{name:str}/stop")
async def stop(visit: NamedDependency[Visit], name: FromPath[str], data: Form[BackForm]) -> Response[Any]:
    """Ask what is under way to end."""
    try:
        await visit.archive.profile_stop(visit.token, name=name)
    except ConflictError:  # it has ended meanwhile
        return Redirect(f"{local_path(data.back)}?note=profile-idle", status_code=303)
    return Redirect(f"{local_path(data.back)}?note=profile-stopped", status_code=303)


@post("/profiles/of/{name:str}/pause")
async def pause(visit: NamedDependency[Visit], name: FromPath[str], data: Form[BackForm]) -> Response[Any]:
    """Begin nothing by the clock."""
    await visit.archive.profile_change(visit.token, name=name, paused=True)
    return Redirect(f"{local_path(data.back)}?note=profile-paused", status_code=303)


@post("/profiles/of/{name:str}/resume")
async def resume(visit: NamedDependency[Visit], name: FromPath[str], data: Form[BackForm]) -> Response[Any]:
    """Go on."""
    await visit.archive.profile_change(visit.token, name=name, paused=False)
    return Redirect(f"{local_path(data.back)}?note=profile-resumed", status_code=303)


@get("/profiles/of/{name:str}/runs/{id:int}")
async def profile_run(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str], id: FromPath[int]
) -> Response[Any]:
    """One run: its figures, its accounts, and what could not be fetched; for htmx only the part that changes."""
    run = await visit.archive.profile_run_get(visit.token, id=id)
    if run.profile != name:
        raise NotFoundError("That run is another profile's.")
    part = "hx-request" in request.headers
    answer = page(
        request, "admin/profile_run_live.html" if part else "admin/profile_run.html", visit=visit, run=run,
        now=_pace(run),
    )  # fmt: skip
    if part and run.state not in RUNNING:
        answer.headers["HX-Refresh"] = "true"  # it is asked for no more
    return answer


@get("/profiles/of/{name:str}/deletions")
async def deletions(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str], days: FromQuery[int] = 0
) -> Response[Any]:
    """What its deletion rule, or one of so many days, would have deleted at the source now."""
    found = await find_profile(visit, name)
    would = await visit.archive.profile_deletions(visit.token, name=name, after_days=days or None)
    days = days or found.delete_after_days
    return page(request, "admin/profile_deletions.html", visit=visit, profile=found, would=would, days=days)


@get("/profiles/of/{name:str}/remove")
async def removing(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], name: FromPath[str]
) -> Response[Any]:
    """What removing it means, and the button that does it."""
    return page(request, "admin/profile_remove.html", visit=visit, profile=await find_profile(visit, name))


@post("/profiles/of/{name:str}/remove")
async def remove(visit: NamedDependency[Visit], name: FromPath[str]) -> Response[Any]:
    """Fetch nothing by it any more."""
    await visit.archive.profile_remove(visit.token, name=name)
    return Redirect("/admin/profiles?note=profile-removed", status_code=303)


async def find_profile(visit: Visit, name: str) -> api.ProfileInfo:
    """The profile of that name. Raises NotFoundError."""
    for known in await visit.archive.profiles(visit.token):
        if known.name == name:
            return known
    raise NotFoundError("There is no such profile. It may have been removed; the list shows those there are.")


async def _profile_page(
    request: Request[Any, Any, Any], visit: Visit, name: str, job: str = "", checks: tuple[Check, ...] = (),
) -> Response[Any]:  # fmt: skip
    shown = _shown(await find_profile(visit, name))
    labels = {field.key: field.label for one in KINDS if one.kind == shown.profile.kind for field in one.fields}
    return page(
        request, "admin/profile.html", visit=visit, shown=shown, titles=_titles(), labels=labels, checks=checks,
        job=await _job(visit, job),
        runs=await visit.archive.profile_runs(visit.token, name=name, limit=HISTORY),
    )  # fmt: skip


async def _live(request: Request[Any, Any, Any], visit: Visit, name: str, job: str, was: str) -> Response[Any]:
    shown = _shown(await find_profile(visit, name))
    answer = page(request, "admin/profile_live.html", visit=visit, shown=shown, job=await _job(visit, job))
    if shown.mark != was:
        answer.headers["HX-Refresh"] = "true"  # the history beside it has changed
    return answer


async def _job(visit: Visit, id: str) -> api.JobInfo | None:
    """The synchronisation that is asked for; None where it is forgotten."""
    try:
        return await visit.archive.job(visit.token, id=id) if id else None
    except NotFoundError:
        return None


def _shown(one: api.ProfileInfo) -> Shown:
    return Shown(one, _pace(one.run) if one.run is not None else None)


def _pace(run: api.ProfileRun) -> Pace | None:
    return pace(run, time.time()) if run.state == "running" else None


def _titles() -> dict[str, str]:
    return {one.kind: one.title for one in KINDS}


HANDLERS = [
    profiles, profile, try_profile, run_profile, stop, pause, resume, profile_run, deletions, removing, remove,
]  # fmt: skip
