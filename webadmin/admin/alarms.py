"""Alarms: what needs attention, who has seen it, what it was before; and when silence of a mailbox is one."""

from __future__ import annotations

import re
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from appliance.errors import NotFoundError, UsageError
from appliance.services import api
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHOWN = 100
"""Alarms of the history on the page."""
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


@get("/alarms")
async def alarms(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The alarms; for htmx, which asks every few seconds, only the part that changes."""
    found = await visit.archive.alarms(visit.token)
    template = "admin/alarms_live.html" if "hx-request" in request.headers else "admin/alarms.html"
    return page(request, template, visit=visit, standing=found.standing, over=found.over[:SHOWN])


@post("/alarms/{id:str}/acknowledge")
async def acknowledge(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Say that the caller has seen it; one that is over by now needs nobody any more."""
    try:
        await visit.archive.alarm_acknowledge(visit.token, id=id)
    except NotFoundError:
        return Redirect("/admin/alarms?note=alarm-over", status_code=303)
    return Redirect("/admin/alarms?note=alarm-seen", status_code=303)


@get("/alarms/silence")
async def silence(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """When silence is an alarm, for all mailboxes and for each."""
    rules = await visit.archive.watch_rules(visit.token)
    return page(request, "admin/silence.html", visit=visit, rules=rules, said=said)


@get("/alarms/silence/rule")
async def rule(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], mailbox: FromQuery[str] = ""
) -> Response[Any]:
    """The form for one mailbox, or for all."""
    return _rule_page(request, visit, await _find(visit, mailbox), "", 200)


@post("/alarms/silence/rule")
async def set_rule(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Save it; else the form again with the reason."""
    form = await request.form()
    before = await _find(visit, str(form.get("mailbox", "")))
    try:
        if before.mailbox and form.get("own") != "1":
            await visit.archive.watch_set(visit.token, mailbox=before.mailbox, own=False)
        else:
            await visit.archive.watch_set(
                visit.token, mailbox=before.mailbox, hours=_hours(str(form.get("hours", ""))),
                days=tuple(number for number in range(7) if form.get(f"day{number}")),
                begins=_minutes(str(form.get("begins", ""))), ends=_minutes(str(form.get("ends", ""))),
                zone=str(form.get("zone", "")).strip(),
            )  # fmt: skip
    except UsageError as error:
        return _rule_page(request, visit, before, error.message, status_of(error))
    return Redirect("/admin/alarms/silence?note=silence-set", status_code=303)


def said(rule: api.WatchRule) -> str:
    """A rule in words."""
    if not rule.hours:
        return "never missed"
    if rule.days == (0, 1, 2, 3, 4):
        days = "Monday to Friday"
    elif len(rule.days) == len(DAYS):
        days = "every day"
    else:
        days = ", ".join(DAYS[number] for number in rule.days)
    zone = f" in {rule.zone}" if rule.zone else ""
    hours = f"{rule.hours} {'hour' if rule.hours == 1 else 'hours'}"
    return f"{hours}, {days}, {clock(rule.begins)} to {clock(rule.ends)}{zone}"


def clock(minutes: int) -> str:
    """Minutes after midnight as ``08:00``."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _rule_page(
    request: Request[Any, Any, Any], visit: Visit, rule: api.WatchRule, problem: str, status: int
) -> Response[Any]:
    return page(
        request, "admin/silence_rule.html", status_code=status, visit=visit, rule=rule, problem=problem, days=DAYS,
        clock=clock,
    )  # fmt: skip


async def _find(visit: Visit, mailbox: str) -> api.WatchRule:
    for one in await visit.archive.watch_rules(visit.token):
        if one.mailbox == mailbox:
            return one
    raise NotFoundError("There is no such mailbox.")


def _hours(text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 5):
        raise UsageError("Enter the hours as a number; 0 if this mailbox may be silent for ever.")
    return int(text)


def _minutes(text: str) -> int:
    """Minutes after midnight; an end at 00:00 is the end of the day."""
    if not _CLOCK.fullmatch(text.strip()):
        raise UsageError("Enter times as 08:00 and 18:00.")
    hours, minutes = text.strip().split(":")
    return int(hours) * 60 + int(minutes)


HANDLERS = [alarms, acknowledge, silence, rule, set_rule]
