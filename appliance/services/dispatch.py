"""From the name of a call to the function that answers it, with the right to ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from appliance.errors import ForbiddenError, UsageError
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
from appliance.services.exporting import Exports
from appliance.services.identity import Identity
from appliance.services.local import LocalServices
from appliance.services.principal import Principal
from appliance.services.wire import Call

Service = Callable[..., Any]


_OF_THE_ARCHIVE: Mapping[str, Service] = {
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
    "role_grant": users.role_grant,
    "role_revoke": users.role_revoke,
    "role_requests": users.role_requests,
    "role_decide": users.role_decide,
    "audit": auditing.audit,
}
"""Services that need nothing but the archive and the caller."""


class Dispatcher:
    """All services of one open archive."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.identity = identity = Identity(archive)
        self.backlog = Backlog(archive.reader, archive.paths.volumes)
        exports = Exports(archive)
        local = LocalServices(archive, identity, self.backlog)
        with_archive: dict[str, Service] = {
            name: partial(service, archive) for name, service in _OF_THE_ARCHIVE.items()
        }
        self._anybody: Mapping[str, Service] = {
            "first_run": self._first_run, "create_administrator": identity.create_administrator,
            "sign_in": identity.sign_in, "accept_invitation": identity.accept_invitation,
        }  # fmt: skip
        self._signed_in: Mapping[str, Service] = with_archive | {
            "caller": identity.caller, "sign_out": identity.sign_out, "change_password": identity.change_password,
            "totp_begin": identity.totp_begin, "totp_confirm": identity.totp_confirm,
            "export_begin": self._export_begin(exports), "jobs": exports.list,
            "job": lambda who, *, id: exports.get(who, id), "job_stop": lambda who, *, id: exports.stop(who, id),
            "job_download": lambda who, *, id: exports.download(who, id),
            "status": lambda who: status.status(archive, who, self.backlog),
            "user_invite": lambda who, *, ids=(): users.user_invite(archive, who, identity, ids=ids),
        }  # fmt: skip
        self._local: Mapping[str, Service] = {**self._signed_in, **local.methods()}

    def from_web(self, call: Call) -> Any:
        """Answer the web process: what nobody in particular may ask, or what the session's owner may."""
        if (service := self._anybody.get(call.method)) is not None:
            if call.method != "first_run":
                return service(client=call.client, **call.params)
            return service()
        service = self._signed_in.get(call.method)
        if service is None:
            raise UsageError(f"There is no service {call.method!r}.")
        principal = self.identity.principal(call.token, call.client)
        return service(principal, **call.params)

    def from_box(self, call: Call, principal: Principal) -> Any:
        """Answer the box's own command line, which acts as an auditor and administrator (and is audited)."""
        service = self._local.get(call.method)
        if service is None:
            raise UsageError(f"There is no service {call.method!r}.")
        if call.token:
            raise ForbiddenError("The command line acts for the box, not for a session.")
        return service(principal, **call.params)

    def _first_run(self) -> api.FirstRun:
        return api.FirstRun(self.identity.needs_administrator(), mailboxes.hostname(self.archive))

    @staticmethod
    def _export_begin(exports: Exports) -> Service:
        def begin(
            who: Principal, *, query: str = "", ids: tuple[str, ...] = (), everywhere: bool = False
        ) -> api.JobInfo:
            return exports.begin(who, query=query, ids=tuple(ids), everywhere=everywhere)

        return begin
