"""The part of the double that has archiving profiles: one at work, one that failed, one that nobody has run yet."""

from __future__ import annotations

import time
from typing import Any, Unpack

import msgspec

from appliance.checks import Check
from appliance.errors import ConflictError, NotFoundError
from appliance.services import api
from appliance.services.client import ProfileSettings
from appliance.settings.events import ProfilePut
from appliance.sources.kinds import check_options, kind


class ProfilesDouble:
    """Profiles in memory; mixed into ``ArchiveDouble``."""

    def _admin(self, token: str) -> None:
        raise NotImplementedError

    def _note(self, method: str, **params: Any) -> None:
        raise NotImplementedError

    def begin_profiles(self) -> None:
        """Three of them."""
        now = int(time.time())
        counts = api.ProfileCounts(48_211, 31_077, 16_020, 1_102, 12, 0, 2_911_004_512)
        central = _info(ProfilePut(
            "central", "imap",
            {"host": "imap.example.org", "sign_in": "master", "master": "archive", "password": "x"},
            interval=3600, parallel=8, directory="office",
        ))  # fmt: skip
        old = _info(ProfilePut(
            "old-server", "imap", {"host": "mail.old.example", "user": "info@example.org", "password": "x"},
            archive="info@example.org", cron="30 2 * * 1-5", since="2019-01-01", largest=26_214_400, paused=True,
            delete_after_days=90,
        ))  # fmt: skip
        fresh = _info(ProfilePut("fresh", "imap", {"host": "imap.fresh.example", "user": "a", "password": "x"}))
        running = api.ProfileRun(
            id=7, profile="central", state="running", asked=True, queued=now - 601, begun=now - 600, ended=None,
            counts=counts, expected=90_000, accounts_done=41, accounts_all=87,
            accounts=(
                api.ProfileAccountRun(
                    account="anna.berg@example.org", address="anna.berg@example.org", archive="anna.berg@example.org",
                    state="running", counts=api.ProfileCounts(900, 700, 188, 0, 12), expected=2_400,
                    folder="Projects/Spring campaign",
                ),
                api.ProfileAccountRun(
                    account="printer@example.org", address="printer@example.org", archive="", state="left-out",
                    counts=api.ProfileCounts(),
                    words="Nobody here has the address printer@example.org: add it to a user, or give the profile an "
                    "archive.",
                ),
            ),
            failures=tuple(
                api.ProfileFailure("anna.berg@example.org", "INBOX", str(number), "The server lists it, and does not "
                                   "give it: “[SERVERBUG] Internal error occurred”.")
                for number in range(4711, 4723)
            ),
        )  # fmt: skip
        failed = api.ProfileRun(
            id=5, profile="old-server", state="failed", asked=False, queued=now - 90_000, begun=now - 90_000,
            ended=now - 89_990, counts=api.ProfileCounts(), words="mail.old.example does not answer (timed out).",
        )  # fmt: skip
        done = msgspec.structs.replace(
            running, id=6, state="done", asked=False, begun=now - 4000, ended=now - 3400, accounts=(), failures=(),
            words="12 messages could not be fetched; they are tried again by the next run.",
        )  # fmt: skip
        self.profile_history = [running, done, failed]
        self.known_profiles = {
            "central": msgspec.structs.replace(central, run=running, next_at=now + 1800),
            "fresh": fresh,
            "old-server": msgspec.structs.replace(old, run=failed, trouble=failed.words),
        }

    async def profiles(self, token: str) -> tuple[api.ProfileInfo, ...]:
        self._admin(token)
        return tuple(self.known_profiles.values())

    async def profile_add(
        self, token: str, *, name: str, kind: str, **settings: Unpack[ProfileSettings]
    ) -> api.ProfileInfo:
        self._admin(token)
        check_options(kind, settings.get("options", {}))
        if name in self.known_profiles:
            raise ConflictError(f"There is a profile called “{name}” already. Change it, or take another name.")
        self._note("profile_add", name=name, kind=kind, **settings)
        changed = msgspec.structs.replace(ProfilePut(name, kind), **settings)
        self.known_profiles[name] = _info(changed)
        return self.known_profiles[name]

    async def profile_change(self, token: str, *, name: str, **settings: Unpack[ProfileSettings]) -> api.ProfileInfo:
        self._admin(token)
        found = self._profile(name)
        self._note("profile_change", name=name, **settings)
        changes = {key: value for key, value in settings.items() if key != "options"}
        self.known_profiles[name] = msgspec.structs.replace(found, **changes)
        return self.known_profiles[name]

    async def profile_remove(self, token: str, *, name: str) -> None:
        self._admin(token)
        del self.known_profiles[self._profile(name).name]

    async def profile_test(self, token: str, *, name: str) -> tuple[Check, ...]:
        self._admin(token)
        self._profile(name)
        return (
            Check("connection", "ok", "imap.example.org answers, encrypted with TLS 1.3."),
            Check("printer@example.org", "warning", "Nobody here has the address printer@example.org."),
            Check("accounts", "ok", "87 accounts are archived."),
        )

    async def profile_deletions(self, token: str, *, name: str, after_days: int | None = None) -> api.ProfileDeletions:
        self._admin(token)
        if not (after_days or self._profile(name).delete_after_days):
            return api.ProfileDeletions(0, 0, ())
        return api.ProfileDeletions(
            812, 91_500_000,
            (api.ProfileDeletion("info@example.org", "INBOX", "17", 1_546_300_800, 104_000),
             api.ProfileDeletion("info@example.org", "Projects/Old", "4", 1_549_300_800, 9_000)),
        )  # fmt: skip

    async def profile_run(self, token: str, *, name: str) -> api.ProfileBegun:
        self._admin(token)
        self._profile(name)
        self._note("profile_run", name=name)
        return api.ProfileBegun(run=8)

    async def profile_stop(self, token: str, *, name: str) -> None:
        self._admin(token)
        self._note("profile_stop", name=name)
        run = self._profile(name).run
        if run is None or run.ended is not None:
            raise ConflictError("Nothing is being fetched by it just now.")

    async def profile_runs(self, token: str, *, name: str | None = None, limit: int = 50) -> tuple[api.ProfileRun, ...]:
        self._admin(token)
        return tuple(one for one in self.profile_history if name in (None, one.profile))[:limit]

    async def profile_run_get(self, token: str, *, id: int) -> api.ProfileRun:
        self._admin(token)
        for one in self.profile_history:
            if one.id == id:
                return one
        raise NotFoundError("There is no such run any more.")

    def _profile(self, name: str) -> api.ProfileInfo:
        if name not in self.known_profiles:
            raise NotFoundError(f"There is no profile called “{name}”.")
        return self.known_profiles[name]


def _info(put: ProfilePut) -> api.ProfileInfo:
    secret = {field.key for field in kind(put.kind).fields if field.secret}
    told = {key: value for key, value in msgspec.structs.asdict(put).items() if key != "options"}
    return api.ProfileInfo(
        **told,
        options=tuple(
            api.RemoteOption(key, "" if key in secret else value, key in secret) for key, value in put.options.items()
        ),
    )
