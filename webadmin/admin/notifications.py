"""Notifications: who is told of alarms and how, the daily mail, trying it; and the token for metrics."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from appliance.errors import UsageError
from appliance.services import api
from appliance.services.client import NotifyingChanges
from webadmin.forms import Form, items
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class MailForm:
    """How mails go out, as typed."""

    host: str = ""
    port: str = ""
    security: str = "starttls"
    user: str = ""
    password: str = ""
    sender: str = ""
    recipients: str = ""
    language: str = "en"
    level: str = "warning"
    daily: str = ""
    daily_hour: str = "7"


@dataclass(frozen=True, slots=True)
class HookForm:
    """The webhook, as typed."""

    url: str = ""
    secret: str = ""


@get("/notifications")
async def notifications(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The settings."""
    return await _page(request, visit)


@post("/notifications/mail")
async def set_mail(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[MailForm]
) -> Response[Any]:
    """Save how mails go out; else the page again with the reason."""
    before = await visit.archive.notifying(visit.token)
    # An empty password field stands for the one that is kept, which nobody is shown.
    try:
        changes = _mail_changes(data)
        if data.password or not before.has_password or not data.user.strip():
            changes["password"] = data.password
        await visit.archive.notifying_set(visit.token, **changes)
    except UsageError as error:
        return await _page(request, visit, mail=data, mail_problem=error.message, status=status_of(error))
    return Redirect("/admin/notifications?note=notifications-set", status_code=303)


@post("/notifications/webhook")
async def set_hook(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[HookForm]
) -> Response[Any]:
    """Save the webhook; else the page again with the reason."""
    given: NotifyingChanges = {"url": data.url.strip()}
    if not given["url"]:
        given["secret"] = ""
    elif data.secret.strip():
        given["secret"] = data.secret.strip()
    try:
        await visit.archive.notifying_set(visit.token, **given)
    except UsageError as error:
        return await _page(request, visit, hook=data, hook_problem=error.message, status=status_of(error))
    return Redirect("/admin/notifications?note=notifications-set", status_code=303)


@post("/notifications/test")
async def test(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Really tell somebody; for htmx only what came of it."""
    problem = ""
    tested: tuple[api.NotifyTested, ...] = ()
    try:
        tested = await visit.archive.notify_test(visit.token)
    except UsageError as error:
        problem = error.message
    if "hx-request" in request.headers:
        return page(
            request, "admin/notifications_tested.html", status_code=200, visit=visit, tested=tested,
            test_problem=problem,
        )  # fmt: skip
    return await _page(request, visit, tested=tested, test_problem=problem)


@post("/notifications/metrics-token")
async def make_token(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Make a token for metrics, and show it once."""
    token = await visit.archive.metrics_token_make(visit.token)
    return page(request, "admin/metrics_token.html", status_code=200, visit=visit, made=token)


@post("/notifications/metrics-token/remove")
async def remove_token(visit: NamedDependency[Visit]) -> Response[Any]:
    """Metrics are read on the box only."""
    await visit.archive.metrics_token_remove(visit.token)
    return Redirect("/admin/notifications?note=metrics-token-removed", status_code=303)


async def _page(
    request: Request[Any, Any, Any], visit: Visit, *, mail: MailForm | None = None, mail_problem: str = "",
    hook: HookForm | None = None, hook_problem: str = "", tested: tuple[api.NotifyTested, ...] = (),
    test_problem: str = "", status: int = 200,
) -> Response[Any]:  # fmt: skip
    now = await visit.archive.notifying(visit.token)
    return page(
        request, "admin/notifications.html", status_code=status, visit=visit, now=now, mail=mail or _mail_form(now),
        mail_problem=mail_problem, hook=hook or HookForm(now.url), hook_problem=hook_problem, tested=tested,
        test_problem=test_problem, metrics_token=await visit.archive.metrics_token_is_set(visit.token),
        proposed=secrets.token_hex(32),
    )  # fmt: skip


def _mail_form(now: api.NotifyingSettings) -> MailForm:
    return MailForm(
        now.host, str(now.port), now.security, now.user, "", now.sender, "\n".join(now.recipients), now.language,
        now.level, "" if now.daily_hour is None else "1", str(7 if now.daily_hour is None else now.daily_hour),
    )  # fmt: skip


def _mail_changes(data: MailForm) -> NotifyingChanges:
    """What was typed, but for the password. Raises UsageError."""
    return {
        "host": data.host.strip(), "port": _port(data.port), "security": data.security, "user": data.user.strip(),
        "sender": data.sender.strip(), "recipients": items(data.recipients), "language": data.language,
        "level": data.level, "daily_hour": _hour(data.daily_hour) if data.daily else -1,
    }  # fmt: skip


def _port(text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 5):
        raise UsageError("Enter the port as a number; usual are 587, 465 and 25.")
    return int(text)


def _hour(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        raise UsageError("The daily mail goes out at an hour from 0 to 23.")
    return int(text)


HANDLERS = [notifications, set_mail, set_hook, test, make_token, remove_token]
