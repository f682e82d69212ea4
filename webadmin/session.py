"""Who is asking: the archiver's answer to the session cookie, and what a page needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection

from appliance.errors import ForbiddenError, SignInError
from appliance.host.sockets import plain_ip
from appliance.services import api
from appliance.services.client import ArchiveClient
from webadmin import cookies


class NotSignedIn(Exception):  # noqa: N818  not an error to show: the answer is a way to the sign-in page
    """The page needs a session and there is none."""


class TotpMissing(Exception):  # noqa: N818  likewise: the answer is the page that sets TOTP up
    """The caller's role asks for a second factor that is not set up yet."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is signed in."""

    archive: ArchiveClient
    token: str
    caller: api.Caller

    def everywhere(self, wanted: bool) -> bool:
        """Whether to look in all archives: asked for, and the caller is an active auditor."""
        return wanted and self.caller.content_roles

    def whose(self, wanted: str) -> str:
        """Which other archive to look in, by its id, or ``api.ALL``: asked for and open to the caller. Empty for their
        own."""
        open_ = {one.id for one in self.caller.opened}
        return wanted if wanted in open_ or (wanted == api.ALL and open_) else ""


def archive_of(connection: ASGIConnection[Any, Any, Any, Any]) -> ArchiveClient:
    """The application's client of the archiver."""
    client: ArchiveClient = connection.app.state.archive
    return client


def token_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The session token that the browser sent, empty without one."""
    return connection.cookies.get(cookies.of_app(connection).session, "")


def address_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The browser's network address, for the limits on guessing and for the audit trail."""
    return plain_ip(connection.client.host) if connection.client else ""


async def visit(request: Request[Any, Any, Any]) -> Visit:
    """The caller behind this request. Raises NotSignedIn, or TotpMissing where a second factor is due."""
    found = await visit_for_account(request)
    if found.caller.totp_required and not found.caller.totp_enabled:
        raise TotpMissing
    return found


async def visit_for_account(request: Request[Any, Any, Any]) -> Visit:
    """As ``visit``, also while the second factor is still to be set up."""
    token = token_of(request)
    if not token:
        raise NotSignedIn
    try:
        caller = await archive_of(request).caller(token)
    except SignInError as error:
        raise NotSignedIn from error
    request.state.caller = caller
    return Visit(archive_of(request), token, caller)


async def admin_visit(request: Request[Any, Any, Any]) -> Visit:
    """The caller, who must be an administrator."""
    return _with_role(await visit(request), "admin", "This page is for administrators.")


async def overseer_visit(request: Request[Any, Any, Any]) -> Visit:
    """The caller, who must be an administrator or an auditor."""
    found = await visit(request)
    if "auditor" in found.caller.roles:
        return found
    return _with_role(found, "admin", "This page is for administrators and auditors.")


def _with_role(found: Visit, role: api.Role, sentence: str) -> Visit:
    if role not in found.caller.roles:
        raise ForbiddenError(f"{sentence} Your account does not have that role; an administrator can give it.")
    return found
