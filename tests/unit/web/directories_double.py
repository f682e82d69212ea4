"""The part of the double that has directories: one that works, one that does not answer, and what one would change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.checks import Check
from appliance.directory.kinds import KINDS, check_options
from appliance.errors import ConflictError, NotFoundError
from appliance.services import api

_RUN = "d-run"


class DirectoriesDouble:
    """Directories in memory; mixed into ``ArchiveDouble``."""

    state: Any

    def _admin(self, token: str) -> None:
        raise NotImplementedError

    def _note(self, method: str, **params: Any) -> None:
        raise NotImplementedError

    def begin_directories(self) -> None:
        """Two of them."""
        now = int(time.time())
        counts = api.DirectoryCounts(0, 2, 84, 0, 1, 1, 14)
        office = api.DirectoryInfo(
            name="office", kind="entra", interval=3600, signs_in=False, users=87, synchronised_at=now - 1260,
            next_at=now + 2340, trouble="", result=counts,
            options=(api.RemoteOption("tenant", "example.onmicrosoft.com"), api.RemoteOption("client", "7d1f…"),
                     api.RemoteOption("secret", "", secret=True)),
        )  # fmt: skip
        branch = msgspec.structs.replace(
            office, name="branch", kind="ldap", users=12, signs_in=True, options=(),
            trouble="dc1.branch.example does not answer. Nothing was changed; it is tried again.",
        )  # fmt: skip
        self.known_directories = {one.name: one for one in (branch, office)}
        self.synchronised = api.DirectorySynchronised(
            msgspec.structs.replace(counts, created=1),
            (
                api.DirectoryStep("created", "Lena Vogt <lena.vogt@example.org>", "lena.vogt@example.org."),
                api.DirectoryStep("disabled", "Tom Reiter", "No longer in the directory: cannot sign in any more."),
                api.DirectoryStep("left-out", "Printer 4", "The account has no mail address."),
            ),
            "Nothing was changed. It would be: 1 created, 2 changed, 84 as they were, 1 no longer listed, 0 refused, 1 "
            "left out, 14 excluded.",
        )

    async def directories(self, token: str) -> tuple[api.DirectoryInfo, ...]:
        self._admin(token)
        return tuple(self.known_directories.values())

    async def directory_add(
        self, token: str, *, name: str, kind: str, options: Mapping[str, str], interval: int, signs_in: bool
    ) -> api.DirectoryInfo:
        self._admin(token)
        check_options(kind, options)
        if name in self.known_directories:
            raise ConflictError(f"There is a directory called “{name}” already. Change it, or take another name.")
        self._note("directory_add", name=name, kind=kind, options=dict(options), interval=interval, signs_in=signs_in)
        secret = {field.key for one in KINDS if one.kind == kind for field in one.fields if field.secret}
        self.known_directories[name] = api.DirectoryInfo(
            name=name, kind=kind, interval=interval, signs_in=signs_in, users=0, synchronised_at=None, next_at=None,
            trouble="", result=None,
            options=tuple(
                api.RemoteOption(key, "" if key in secret else value, key in secret) for key, value in options.items()
            ),
        )  # fmt: skip
        return self.known_directories[name]

    async def directory_change(
        self, token: str, *, name: str, options: Mapping[str, str], interval: int, signs_in: bool
    ) -> api.DirectoryInfo:
        self._admin(token)
        self._note("directory_change", name=name, options=dict(options), interval=interval, signs_in=signs_in)
        return self._directory(name)

    async def directory_remove(self, token: str, *, name: str) -> None:
        self._admin(token)
        self._note("directory_remove", name=name)
        del self.known_directories[self._directory(name).name]

    async def directory_test(self, token: str, *, name: str) -> tuple[Check, ...]:
        self._admin(token)
        self._directory(name)
        return (
            Check("sign-in", "ok", "The application is let in."),
            Check("groups", "warning", "Nobody is in the group “Mail archive”."),
        )

    async def directory_sync_begin(self, token: str, *, name: str, dry_run: bool, confirmed: bool) -> api.JobInfo:
        self._admin(token)
        self._note("directory_sync_begin", name=name, dry_run=dry_run, confirmed=confirmed)
        now = int(time.time())
        job = api.JobInfo(
            id=_RUN, kind="directory", title=f"Directory “{name}”", state="done", done=87, total=87, message="",
            started_at=now - 3, finished_at=now, download="",
        )  # fmt: skip
        self.state.jobs.insert(0, job)
        return job

    async def directory_synchronised(self, token: str, *, id: str) -> api.DirectorySynchronised:
        self._admin(token)
        if id != _RUN:
            raise NotFoundError("There is no such job.")
        return self.synchronised

    def _directory(self, name: str) -> api.DirectoryInfo:
        if name not in self.known_directories:
            raise NotFoundError(f"There is no directory called “{name}”.")
        return self.known_directories[name]
