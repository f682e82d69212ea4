"""Services for the box itself: its command line and its own processes, over a socket that only they reach.

The command line acts as the built-in auditor ``local:<unix user>`` and is audited like any auditor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from appliance.errors import DamageError, UsageError
from appliance.ingest.system_log import check_chain, entries
from appliance.services import api, mailboxes, reading, searching, users
from appliance.services.archive import Archive
from appliance.services.backlog import Backlog
from appliance.services.identity import Identity
from appliance.services.principal import Principal, View
from appliance.settings import events
from appliance.store.refs import Finding
from appliance.store.verify import VerifyReport, verify

SMALLEST_LIMIT, LARGEST_LIMIT = 1024 * 1024, 2**31 - 1
"""Bytes of the largest message that can be set."""


class Idle(msgspec.Struct, frozen=True):
    """Whether all accepted mail is searchable, and how many records are not."""

    idle: bool
    backlog: int


class Checked(msgspec.Struct, frozen=True):
    """What a check of everything stored found."""

    records: int
    volumes: int
    errors: tuple[Finding, ...]


class LocalServices:
    """What the box may ask beside what an administrator and auditor may."""

    def __init__(self, archive: Archive, identity: Identity, backlog: Backlog) -> None:
        self._archive = archive
        self._identity = identity
        self._backlog = backlog

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "setup_code": self.setup_code,
            "local_search": self.search,
            "local_show": self.show,
            "idle": self.idle,
            "verify": self.verify,
            "create_user_from_mail": self.create_user_from_mail,
            "gateway_set": self.gateway_set,
            "user_by_address": self.user_by_address,
        }

    def setup_code(self, _principal: Principal) -> str:
        """The code for creating the first administrator; empty where there is one."""
        return self._identity.setup_code if self._identity.needs_administrator() else ""

    def search(
        self, principal: Principal, *, query: str, user: str = "", offset: int = 0, limit: int = 25,
        sort: api.Sort = "date", reason: str = "",
    ) -> api.SearchPage:  # fmt: skip
        """A page of hits in all archives, or of what one user sees."""
        principal.require("auditor")
        view = principal.looking(everywhere=True)
        if user:
            archives = frozenset({users.find_user(self._archive, user)})
            view = View(archives, archives)
        page = searching.search_view(self._archive, view, query=query, sort=sort, offset=offset, limit=limit)
        whose = f" as {user}" if user else ""
        self._archive.note(principal, "search.everywhere", f"{query}{whose} → {page.total}", reason)
        return page

    def show(self, principal: Principal, *, id: str) -> api.MessageView:
        """One message of any archive."""
        return reading.message(self._archive, principal, id=id, everywhere=True)

    def idle(self, _principal: Principal) -> Idle:
        """Whether all accepted mail is searchable now."""
        catalogue = self._archive.catalogue
        # In this order: what is projected meanwhile is then waited for in the index, never overlooked.
        log = self._backlog.count(catalogue)
        sequence = self._archive.indexed().sequence
        behind = log.waiting + max(catalogue.value("change") - sequence, 0)
        settings = int(self._archive.settings.directory_version() != catalogue.value("settings"))
        return Idle(behind + settings == 0, behind + settings)

    def verify(self, principal: Principal) -> Checked:
        """Check every record, signature and audit line. Takes as long as reading the whole archive."""
        principal.require("auditor")
        report: VerifyReport = verify(self._archive.paths.volumes, self._archive.keyring, deep=True)
        position = self._archive.settings.position()
        try:
            wrong = check_chain(entries(self._archive.reader), position)
        except DamageError as error:
            wrong = [error.message]
        findings = [Finding(file="system log", offset=0, record_id=None, what=what) for what in wrong]
        findings += self._lost_since_projected()
        checked = Checked(report.records, report.volumes, (*report.errors, *findings))
        self._archive.note(principal, "verify", f"{checked.records} records, {len(checked.errors)} errors")
        return checked

    def _lost_since_projected(self) -> Iterator[Finding]:
        """Volumes that are gone or shorter than the catalogue knows them: a loss that no seal attests yet."""
        sizes = {volume.path: volume.size for volume in self._archive.reader.volumes()}
        for path, (cursor, _finished) in self._archive.catalogue.cursors().items():
            if path not in sizes:
                yield Finding(file=path, offset=0, record_id=None, what="the volume is missing; the catalogue knows it")
            elif sizes[path] < cursor:
                what = f"{cursor - sizes[path]} bytes are missing that the catalogue was made from"
                yield Finding(file=path, offset=sizes[path], record_id=None, what=what)

    def create_user_from_mail(self, _principal: Principal, *, address: str) -> None:
        """A user for an address seen in mail, where the mailbox's rule wants one."""
        users.create_from_mail(self._archive, address)

    def gateway_set(self, principal: Principal, *, hostname: str = "", size_limit: int = 0) -> None:
        """Set the box's name and the largest message."""
        before = self._archive.settings.gateway()
        limit = size_limit or before.size_limit
        if not SMALLEST_LIMIT <= limit <= LARGEST_LIMIT:
            raise UsageError(f"The largest message is from {SMALLEST_LIMIT} to {LARGEST_LIMIT} bytes.")
        self._archive.record(principal, events.GatewaySet(hostname or before.hostname, limit))
        mailboxes.publish(self._archive)

    def user_by_address(self, principal: Principal, *, address: str) -> api.UserInfo:
        """The user who holds an address."""
        return users.user(self._archive, principal, id=users.find_user(self._archive, address))
