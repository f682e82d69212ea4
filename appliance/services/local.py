"""Services for the box itself: its command line and its own processes, over a socket that only they reach.

The command line acts as the built-in auditor ``local:<unix user>`` and is audited like any auditor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from appliance.errors import UsageError
from appliance.services import api, folders, mailboxes, reading, searching, users
from appliance.services.archive import Archive
from appliance.services.identity import Identity
from appliance.services.principal import Principal, View
from appliance.settings import events

SMALLEST_LIMIT, LARGEST_LIMIT = 1024 * 1024, 2**31 - 1
"""Bytes of the largest message that can be set."""


class LocalServices:
    """What the box may ask beside what an administrator and auditor may."""

    def __init__(self, archive: Archive, identity: Identity) -> None:
        self._archive = archive
        self._identity = identity

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "setup_code": self.setup_code,
            "first_administrator_needed": self.first_administrator_needed,
            "first_administrator": self._identity.first_administrator,
            "local_search": self.search,
            "local_show": self.show,
            "local_folders": self.folders,
            "idle": self.idle,
            "create_user_from_mail": self.create_user_from_mail,
            "gateway_set": self.gateway_set,
        }

    def setup_code(self, _principal: Principal) -> str:
        """The code for creating the first administrator; empty where there is one."""
        return self._identity.setup_code if self._identity.needs_administrator() else ""

    def first_administrator_needed(self, _principal: Principal) -> bool:
        """Whether nobody is an administrator yet."""
        return self._identity.needs_administrator()

    def search(
        self, principal: Principal, *, query: str, user: str = "", offset: int = 0, limit: int = 25,
        sort: api.Sort = "date", reason: str = "", folder: str = "", below: bool = False,
    ) -> api.SearchPage:  # fmt: skip
        """A page of hits in all archives, or of what one user sees; ``folder`` and ``below`` as in
        ``searching.search``."""
        principal.require("auditor")
        view = self._seen_by(user) if user else principal.looking(everywhere=True)
        page = searching.search_view(
            self._archive, view, query=query, sort=sort, offset=offset, limit=limit, folder=folder, below=below
        )
        whose = f" as {user}" if user else ""
        self._archive.note(principal, "search.everywhere", f"{query}{whose} → {page.total}", reason)
        return page

    def show(self, principal: Principal, *, id: str) -> api.MessageView:
        """One message of any archive."""
        return reading.message(self._archive, principal, id=id, everywhere=True)

    def folders(self, principal: Principal, *, user: str) -> tuple[api.FolderTree, ...]:
        """The folders of a user's fetched mail."""
        principal.require("auditor")
        trees = folders.trees(self._archive, self._seen_by(user))
        self._archive.note(principal, "folders.everywhere", user)
        return trees

    def _seen_by(self, user: str) -> View:
        """What the user who holds an address sees."""
        archives = frozenset({users.find_user(self._archive, user)})
        return View(archives, archives)

    def idle(self, _principal: Principal) -> api.Idle:
        """Whether all accepted mail is searchable now."""
        catalogue = self._archive.catalogue
        # In this order: what is projected meanwhile is then waited for in the index, never overlooked.
        log = self._archive.backlog.count(catalogue)
        sequence = self._archive.indexed().sequence
        behind = log.waiting + max(catalogue.value("change") - sequence, 0)
        settings = int(self._archive.settings.directory_version() != catalogue.value("settings"))
        return api.Idle(behind + settings == 0, behind + settings)

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
