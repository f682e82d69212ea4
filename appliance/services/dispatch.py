"""From the name of a call to the function that answers it, with the right to ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appliance.errors import UsageError
from appliance.services import (
    api,
    auditing,
    mailboxes,
    reading,
    searching,
    status,
    users,
)
from appliance.services.archive import Archive
from appliance.services.backlog import Backlog
from appliance.services.calling import Service
from appliance.services.exporting import Exports
from appliance.services.identity import Identity
from appliance.services.local import LocalServices
from appliance.services.principal import Principal
from appliance.services.wire import Call

_OF_THE_ARCHIVE: Mapping[str, Callable[..., Any]] = {
    "search": searching.search,
    "message": reading.message,
    "message_html": reading.message_html,
    "part": reading.part,
    "original": reading.original,
    "mailboxes": mailboxes.mailboxes,
    "mailbox_create": mailboxes.mailbox_create,
    "mailbox_change": mailboxes.mailbox_change,
    "mailbox_delete": mailboxes.mailbox_delete,
    "mailbox_setup": mailboxes.mailbox_setup,
    "users": users.users,
    "user": users.user,
    "user_create": users.user_create,
    "user_change": users.user_change,
    "user_import": users.user_import,
    "user_reset_totp": users.user_reset_totp,
    "role_grant": users.role_grant,
    "role_revoke": users.role_revoke,
    "role_requests": users.role_requests,
    "role_decide": users.role_decide,
    "audit": auditing.audit,
}
"""Services that need nothing but the archive and the caller."""

LONGEST_CLIENT = 64
"""Characters of a browser's address: an IPv6 address with its zone is shorter."""


class Dispatcher:
    """All services of one open archive."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.identity = identity = Identity(archive)
        self.backlog = backlog = Backlog(archive.reader, archive.paths.volumes)
        exports = Exports(archive)

        def status_now(who: Principal) -> api.Status:
            return status.status(archive, who, backlog)

        def user_invite(who: Principal, *, ids: Sequence[str] = ()) -> tuple[api.Invitation, ...]:
            return users.user_invite(archive, who, identity, ids=ids)

        self._anybody = _services({
            "first_run": self._first_run, "create_administrator": identity.create_administrator,
            "sign_in": identity.sign_in, "accept_invitation": identity.accept_invitation,
        })  # fmt: skip
        shared = {name: Service(function, archive) for name, function in _OF_THE_ARCHIVE.items()} | _services({
            "export_begin": exports.begin, "jobs": exports.list, "job": exports.get, "job_stop": exports.stop,
            "job_download": exports.download, "status": status_now, "user_invite": user_invite,
        })  # fmt: skip
        self._signed_in = shared | _services({
            "caller": identity.caller, "sign_out": identity.sign_out, "change_password": identity.change_password,
            "totp_begin": identity.totp_begin, "totp_confirm": identity.totp_confirm,
        })  # fmt: skip
        self._local = shared | _services(LocalServices(archive, identity, backlog).methods())

    def from_web(self, call: Call) -> Any:
        """Answer the web process: what nobody in particular may ask, or what the session's owner may."""
        client = call.client[:LONGEST_CLIENT]
        if (service := self._anybody.get(call.method)) is not None:
            return service(params={**call.params, "client": client} if service.takes("client") else call.params)
        service = self._signed_in.get(call.method)
        if service is None:
            raise UsageError("There is no such service.")
        return service(self.identity.principal(call.token, client), params=call.params)

    def from_box(self, call: Call, principal: Principal) -> Any:
        """Answer the box's own command line, which acts as an auditor and administrator (and is audited)."""
        service = self._local.get(call.method)
        if service is None:
            raise UsageError("There is no such service.")
        return service(principal, params=call.params)

    def _first_run(self) -> api.FirstRun:
        return api.FirstRun(self.identity.needs_administrator(), mailboxes.hostname(self.archive))


def _services(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Service]:
    return {name: Service(function) for name, function in functions.items()}
