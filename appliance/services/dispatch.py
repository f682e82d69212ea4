"""From the name of a call to the function that answers it, with the right to ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appliance.errors import UsageError
from appliance.services import (
    access,
    alarming,
    api,
    auditing,
    folders,
    instructions,
    locking,
    mailbox_access,
    mailboxes,
    reading,
    searching,
    users,
)
from appliance.services.archive import Archive
from appliance.services.calling import Service
from appliance.services.certificates.managing import Certificates
from appliance.services.compacting import Compactions
from appliance.services.console import ConsoleServices
from appliance.services.directories.managing import Directories
from appliance.services.doctoring.service import Examinations
from appliance.services.exporting import Exports
from appliance.services.health import health
from appliance.services.identity import Identity
from appliance.services.imports.fetching import ImportFetching
from appliance.services.imports.managing import ImportServices
from appliance.services.jobs import Jobs
from appliance.services.local import LocalServices
from appliance.services.looking import Looking
from appliance.services.metrics import Metrics
from appliance.services.notifying.services import Notifications
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.services.profiles.managing import Profiles
from appliance.services.proving import Proofs
from appliance.services.pulling import Pulling
from appliance.services.replicas import Replicas
from appliance.services.slots import Slots
from appliance.services.support import Support
from appliance.services.timestamping import Timestamping
from appliance.services.trends import Trends
from appliance.services.unpacking import Unpacking
from appliance.services.verifying import Verifications
from appliance.services.wire import Call

_OF_THE_ARCHIVE: Mapping[str, Callable[..., Any]] = {
    "search": searching.search,
    "folders": folders.folders,
    "message": reading.message,
    "message_html": reading.message_html,
    "part": reading.part,
    "original": reading.original,
    "mailboxes": mailboxes.mailboxes,
    "mailbox_create": mailboxes.mailbox_create,
    "mailbox_change": mailboxes.mailbox_change,
    "mailbox_delete": mailboxes.mailbox_delete,
    "mailbox_setup": instructions.mailbox_setup,
    "mailbox_pulling": instructions.mailbox_pulling,
    "mailbox_proposed_password": mailbox_access.mailbox_proposed_password,
    "mailbox_password": mailbox_access.mailbox_password,
    "mailbox_tokens": mailbox_access.mailbox_tokens,
    "mailbox_token_add": mailbox_access.mailbox_token_add,
    "mailbox_token_remove": mailbox_access.mailbox_token_remove,
    "users": users.users,
    "user": users.user,
    "user_by_address": users.user_by_address,
    "user_create": users.user_create,
    "user_change": users.user_change,
    "user_import": users.user_import,
    "user_reset_totp": users.user_reset_totp,
    "role_grant": users.role_grant,
    "role_revoke": users.role_revoke,
    "role_requests": users.role_requests,
    "role_decide": users.role_decide,
    "access_list": access.access_list,
    "access_open": access.access_open,
    "access_close": access.access_close,
    "access_mine": access.access_mine,
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
        self.jobs = jobs = Jobs(archive)
        exports = Exports(archive, jobs)
        pulling = Pulling(archive)
        self.timestamping = Timestamping(archive)
        self.compactions = Compactions(archive, jobs)
        self.replicas = Replicas(archive)
        self.certificates = Certificates(archive, jobs)
        self.directories = Directories(archive, jobs)
        self.profiles = Profiles(archive, jobs, self.directories)
        self.imports = ImportServices(archive, self.profiles.telling)
        self.fetching = ImportFetching(archive, self.imports, self.replicas, self.profiles.telling)
        examinations = Examinations(archive, jobs, self.replicas)
        looking = Looking(archive)
        self.trends = Trends(looking)
        self.alarming = alarming.Alarming(archive, now=looking.now, lately=looking.lately)
        self.notifications = Notifications(archive, looking)
        metrics = Metrics(archive, jobs, looking)
        support = Support(archive, jobs, looking)
        self._console = ConsoleServices(archive, identity)

        def user_invite(who: Principal, *, ids: Sequence[str] = ()) -> tuple[api.Invitation, ...]:
            return users.user_invite(archive, who, identity, ids=ids)

        self._anybody = _services({
            "first_run": self._first_run, "create_administrator": identity.create_administrator,
            "sign_in": identity.sign_in, "accept_invitation": identity.accept_invitation,
            "lock_state": locking.lock_state, "unlock": locking.unlock, "health": self._health,
            "metrics": metrics.read,
            **pulling.for_programs(),
        })  # fmt: skip
        shared = {name: Service(function, archive) for name, function in _OF_THE_ARCHIVE.items()} | _services({
            "export_begin": exports.begin, "jobs": jobs.list, "job": jobs.get, "job_stop": jobs.stop,
            "job_download": exports.download, "user_invite": user_invite,
            **self.replicas.methods(), **self.certificates.methods(), **self.directories.methods(),
            **self.profiles.methods(), **self.imports.methods(), **self.fetching.methods(), **examinations.methods(),
            **looking.methods(), **self.trends.methods(),
            **self.alarming.methods(), **self.notifications.methods(), **metrics.methods(), **support.methods(),
        })  # fmt: skip
        self._signed_in = shared | _services({
            "caller": identity.caller, "sign_out": identity.sign_out, "change_password": identity.change_password,
            "totp_begin": identity.totp_begin, "totp_confirm": identity.totp_confirm,
        })  # fmt: skip
        self._pop3 = _services(pulling.for_pop3())
        self._local = shared | _services({
            **LocalServices(archive, identity).methods(), **Slots(archive).methods(),
            **locking.LocalLock(archive).methods(), **Verifications(archive, jobs).methods(),
            **Proofs(archive).methods(), **self.timestamping.methods(), **self.compactions.methods(),
            **Unpacking(archive, jobs, self.replicas).methods(),
            **self.replicas.for_box(), **self._console.methods(), "health": lambda _who: self._health(),
        })  # fmt: skip

    def close(self) -> None:
        """End what goes on beside the calls."""
        self.notifications.close()
        self.alarming.close()
        self.timestamping.close()
        self.certificates.close()
        self.fetching.close()
        self.imports.close()
        self.profiles.close()
        self.directories.close()
        self.compactions.close()
        self.trends.close()
        self.replicas.close()
        self.jobs.close()

    @property
    def paths(self) -> Paths:
        """The archive's data folder."""
        return self.archive.paths

    def from_web(self, call: Call) -> Any:
        """Answer the web process: what nobody in particular may ask, or what the session's owner may."""
        client = call.client[:LONGEST_CLIENT]
        if (service := self._anybody.get(call.method)) is not None:
            return service(params={**call.params, "client": client} if service.takes("client") else call.params)
        service = self._signed_in.get(call.method)
        if service is None:
            raise UsageError("There is no such service.")
        return service(self.identity.principal(call.token, client), params=call.params)

    def from_pop3(self, call: Call) -> Any:
        """Answer the POP3 server: only for mailboxes that the key agent has opened for it."""
        service = self._pop3.get(call.method)
        if service is None:
            raise UsageError("There is no such service.")
        return service(params=call.params)

    def from_box(self, call: Call, principal: Principal) -> Any:
        """Answer the box's own command line, which acts as an auditor and administrator, or whoever signed in at its
        console; both are audited."""
        service = self._local.get(call.method)
        if service is None:
            raise UsageError("There is no such service.")
        return service(self._console.speaker(principal, call.session), params=call.params)

    def _health(self) -> api.Health:
        return health(self.archive.paths, self.archive.clock(), unlocked=True)

    def _first_run(self) -> api.FirstRun:
        return api.FirstRun(self.identity.needs_administrator(), mailboxes.hostname(self.archive))


def _services(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Service]:
    return {name: Service(function) for name, function in functions.items()}
