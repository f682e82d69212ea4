"""Archiving profiles: what an administrator sets up, tries, runs and looks at. The runs are the collector's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar, Unpack

import msgspec

from appliance.checks import Check
from appliance.errors import ConflictError, NotFoundError, StorageError, UnavailableError, UsageError
from appliance.keys.agent_client import AgentKeys
from appliance.language import later
from appliance.services import api
from appliance.services.alarms.trouble import Figures, Trouble
from appliance.services.archive import Archive
from appliance.services.client import ProfileSettings
from appliance.services.collector.asking import ask
from appliance.services.collector.ledger import KEPT, Ledger, Standing
from appliance.services.directories.managing import Directories
from appliance.services.jobs import Jobs, Progress
from appliance.services.options import merged
from appliance.services.principal import Principal
from appliance.services.profiles.checking import check_deletion_age, checked
from appliance.services.profiles.proving import SECONDS as PROVE_SECONDS
from appliance.services.profiles.proving import Proving
from appliance.services.profiles.teaching import Teaching
from appliance.services.profiles.telling import Telling, people
from appliance.services.profiles.watching import failing_for
from appliance.services.repeating import Repeating
from appliance.services.users import find_user
from appliance.settings.events import ProfilePut, ProfileRemoved
from appliance.sources.kinds import kind as kind_of

log = logging.getLogger(__name__)

KIND: Final = "profile"
"""Of alarms, and of the jobs that synchronise a directory before a run."""
TELL_SECONDS: Final = 5.0
"""Between two looks whether the collector is to be told of another address."""
TEACH_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 20.0
AHEAD_SECONDS: Final = 120.0
"""How long before a run that begins by the clock its directory is synchronised."""

T = TypeVar("T")


class Profiles:
    """The services of one open archive."""

    def __init__(self, archive: Archive, jobs: Jobs, directories: Directories) -> None:
        self._archive = archive
        self._jobs = jobs
        self._directories = directories
        self.telling = Telling(archive)
        """What the collector is told; imports tell it, too."""
        self._lock = threading.Lock()
        self._opened: Ledger | None = None
        self._opening = threading.Lock()
        self._rounds = (
            Repeating("profiles", self.keep_told, TELL_SECONDS),
            Repeating("profiles-look", self.look, LOOK_SECONDS),
            Repeating("profiles-proving", Proving(archive, lambda: self._ledger).round, PROVE_SECONDS),
            Repeating("profiles-teaching", Teaching(archive, lambda: self._ledger).round, TEACH_SECONDS),
        )

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "profiles": self.list, "profile_add": self.add, "profile_change": self.change,
            "profile_remove": self.remove, "profile_test": self.test, "profile_run": self.run,
            "profile_begun": self.begun, "profile_stop": self.stop, "profile_runs": self.runs,
            "profile_run_get": self.run_get, "profile_deletions": self.deletions,
        }  # fmt: skip

    def start(self) -> None:
        """Tell the collector how things are, and keep it told."""
        for one in self._rounds:
            one.start()

    def close(self) -> None:
        """End. What the collector does goes on."""
        for one in self._rounds:
            one.close()
        if self._opened is not None:
            self._opened.close()

    # -- setting up -------------------------------------------------------------------------------------------

    def list(self, principal: Principal) -> tuple[api.ProfileInfo, ...]:
        """All profiles, by name, each with its last run or the one under way."""
        principal.require("admin")
        addresses = self._addresses()
        return tuple(self._info(one, addresses) for one in self._archive.settings.profiles())

    def add(
        self, principal: Principal, *, name: str, kind: str, **settings: Unpack[ProfileSettings]
    ) -> api.ProfileInfo:
        """A new profile. What is not given is as in ``ProfilePut``. Raises UsageError, ConflictError for a name that is
        taken, StorageError, KeyringError."""
        principal.require("admin")
        blank = ProfilePut(name, kind)
        if "exclude" not in settings:  # who names a folder wants it
            named = {one.strip().casefold() for one in settings.get("include", ())}
            settings["exclude"] = [one for one in blank.exclude if one.casefold() not in named]
        with self._lock:
            if any(one.name == name for one in self._archive.settings.profiles()):
                text = later("There is a profile called “{name}” already. Change it, or take another name.")
                raise ConflictError(text, name=name)
            put = self._with(blank, settings)
            self.telling.prepare()
            self._archive.record(principal, put)
            self.telling.tell()
        return self._one(name)

    def change(self, principal: Principal, *, name: str, **settings: Unpack[ProfileSettings]) -> api.ProfileInfo:
        """Change what is given. Of ``options`` those that are given change, and an empty value takes one away; an
        interval takes the place of a timetable, and the other way round. Raises NotFoundError, UsageError,
        StorageError."""
        principal.require("admin")
        with self._lock:
            was = self._find(name)
            put = self._with(was, settings)
            if put != was:
                self._archive.record(principal, put)
                self.telling.tell()
        return self._one(name)

    def remove(self, principal: Principal, *, name: str) -> None:
        """Fetch nothing by it any more; what was fetched stays. Raises NotFoundError, StorageError."""
        principal.require("admin")
        with self._lock:
            self._find(name)
            self._archive.record(principal, ProfileRemoved(name))
            self.telling.tell()
        self._alarm(name, None)
        with suppress(UnavailableError):  # a collector that is started anew knows no such profile any more
            for id in self._under_way(name):
                self._ask("stop", type(None), id=id)

    # -- what the collector does ------------------------------------------------------------------------------

    def test(self, principal: Principal, *, name: str) -> tuple[Check, ...]:
        """Try everything that a run needs, and fetch nothing. Raises NotFoundError, UnavailableError."""
        principal.require("admin")
        put = self._find(name)
        self.telling.keep_told()
        return self._ask("test", tuple[Check, ...], profile=put)

    def deletions(self, principal: Principal, *, name: str, after_days: int | None = None) -> api.ProfileDeletions:
        """What the profile's rule would have deleted at the source if it ran now, or, with ``after_days``, if it were
        so; nothing is. Raises NotFoundError, UsageError, UnavailableError."""
        principal.require("admin")
        self._find(name)
        if after_days is not None:
            check_deletion_age(after_days, least=1)
        self.telling.keep_told()
        return self._ask("deletions", api.ProfileDeletions, profile=name, after_days=after_days or 0)

    def run(self, principal: Principal, *, name: str) -> api.ProfileBegun:
        """Begin a run now, or after the one that goes on; where the profile has a directory, after that was
        synchronised. Raises NotFoundError, UnavailableError, ConflictError."""
        principal.require("admin")
        directory = self._find(name).directory
        if not directory:
            self._archive.note(principal, "profile.run", name)
            return api.ProfileBegun(run=self._begin(name))

        def work(progress: Progress) -> str:
            words = self._directories.first(principal, directory, progress)
            if not progress.stopped():
                progress.result = self._begin(name)
            return words

        title = later("Directory “{name}”").format(name=directory)
        job = self._jobs.begin(principal, KIND, title, work, what=name, shared_with="admin")
        return api.ProfileBegun(job=job)

    def begun(self, principal: Principal, *, id: str) -> int:
        """The number of the run that a job has begun. Raises NotFoundError, ConflictError, UsageError."""
        principal.require("admin")
        found = self._jobs.result(principal, id=id)
        if not isinstance(found, int):
            raise UsageError(later("That job has begun no run."))
        return found

    def stop(self, principal: Principal, *, name: str) -> None:
        """Ask what is under way by it to end; what was fetched is kept, and the next run goes on there. Raises
        NotFoundError, ConflictError where nothing is, UnavailableError."""
        principal.require("admin")
        self._find(name)
        under_way = self._under_way(name)
        if not under_way:
            raise ConflictError(later("Nothing is being fetched by it just now."))
        self._archive.note(principal, "profile.stop", name)
        for id in under_way:
            self._ask("stop", type(None), id=id)

    def runs(self, principal: Principal, *, name: str | None = None, limit: int = 50) -> tuple[api.ProfileRun, ...]:
        """The runs that are remembered of one profile, or of all, newest first. Raises NotFoundError for a name that
        nothing is known of."""
        principal.require("admin")
        found = self._runs(name, min(max(limit, 0), KEPT))
        if not found and name is not None:
            self._find(name)
        return found

    def run_get(self, principal: Principal, *, id: int) -> api.ProfileRun:
        """One run as it is now, with its accounts and what could not be fetched. Raises NotFoundError."""
        principal.require("admin")
        ledger = self._ledger
        if ledger is None:
            raise NotFoundError(later("There is no such run."))
        run, addresses = ledger.run(id), self._addresses()
        return msgspec.structs.replace(
            run,
            accounts=tuple(
                msgspec.structs.replace(one, archive=addresses.get(one.archive, one.archive)) for one in run.accounts
            ),
        )

    def keep_told(self) -> None:
        """Tell the collector of what has changed since."""
        try:
            self.telling.keep_told()
        except StorageError as error:
            log.error("the collector could not be told: %s", error.message)

    def look(self) -> None:
        """See to what runs by the clock: its directories before it runs, an alarm where nothing of it works."""
        now = self._archive.clock()
        for one in self._archive.settings.profiles():
            next_at = None if one.paused else self._standing(one.name).next_at
            if one.directory and next_at is not None and now < next_at <= now + AHEAD_SECONDS:
                self._directories.before_run(one.directory)
            by_itself = next_at is not None
            failing = failing_for(self._runs(one.name, KEPT), now, KEPT) if by_itself else None
            self._alarm(one.name, None if failing is None else {"name": one.name, "hours": int(failing / 3600)})

    # -- helpers ----------------------------------------------------------------------------------------------

    def _alarm(self, name: str, figures: Figures | None) -> None:
        trouble = None if figures is None else Trouble(KIND, "warning", name, figures)
        self._archive.alarms.report(KIND, trouble, name)

    def _begin(self, name: str) -> int:
        self.telling.keep_told()
        return self._ask("begin", int, profile=name)

    def _ask(self, method: str, kind: type[T], /, **params: Any) -> T:
        """Ask the collector. Raises UnavailableError, and what it raises."""
        if not isinstance(self._archive.keyring, AgentKeys):
            raise UnavailableError(
                later("Mail is fetched while the archive is served. Start it with `mailkeep serve`.")
            )
        return ask(self._archive.paths, method, kind, **params)

    def _with(self, was: ProfilePut, settings: ProfileSettings) -> ProfilePut:
        """``was`` with what is given, addresses resolved to users. Raises UsageError."""
        options = merged(kind_of(was.kind).fields, was.options, settings.get("options", {}))
        changes: dict[str, Any] = {**settings, "options": options}
        if changes.get("archive"):
            changes["archive"] = self._user(changes["archive"])
        if "chosen" in changes:
            changes["chosen"] = tuple(dict.fromkeys(self._user(one) for one in changes["chosen"] if one.strip()))
        for one, other in (("interval", "cron"), ("cron", "interval")):
            if changes.get(one) and other not in changes:
                changes[other] = type(getattr(was, other))()
        put = checked(msgspec.structs.replace(was, **changes | _whose(was, changes)))
        known = {one.put.name for one in self._archive.settings.directories()}
        if put.directory and put.directory not in known:
            raise UsageError(later("There is no directory called “{name}”."), name=put.directory)
        return put

    def _user(self, address: str) -> str:
        try:
            return find_user(self._archive, address)
        except NotFoundError as error:
            text = later("No user has the address {address}. Create the user first, or synchronise a directory.")
            raise UsageError(text, address=address) from error

    def _addresses(self) -> dict[str, str]:
        """The primary address of each user who has one, by id."""
        return {one.user: one.addresses[0] for one in people(self._archive.settings)}

    def _find(self, name: str) -> ProfilePut:
        found = next((one for one in self._archive.settings.profiles() if one.name == name), None)
        if found is None:
            text = later("There is no profile called “{name}”. `mailkeep profile list` shows those there are.")
            raise NotFoundError(text, name=name)
        return found

    def _one(self, name: str) -> api.ProfileInfo:
        return self._info(self._find(name), self._addresses())

    def _info(self, put: ProfilePut, addresses: Mapping[str, str]) -> api.ProfileInfo:
        secret = {field.key for field in kind_of(put.kind).fields if field.secret}
        standing, runs = self._standing(put.name), self._runs(put.name, 2)
        told = {key: value for key, value in msgspec.structs.asdict(put).items() if key != "options"}
        told["archive"] = addresses.get(put.archive, put.archive)
        told["chosen"] = tuple(addresses.get(one, one) for one in put.chosen)
        return api.ProfileInfo(
            **told,
            options=tuple(
                api.RemoteOption(key, "" if key in secret else value, key in secret)
                for key, value in sorted(put.options.items())
            ),
            next_at=None if put.paused else standing.next_at,
            run=next((one for one in runs if one.state == "running"), runs[0] if runs else None),
            trouble=standing.trouble,
        )

    @property
    def _ledger(self) -> Ledger | None:
        """The collector's ledger; None as long as it has none. Raises StorageError, UnavailableError."""
        with self._opening:
            if self._opened is None and self._archive.paths.ledger.exists():
                self._opened = Ledger(self._archive.paths.ledger, self.telling.keys())
            return self._opened

    def _runs(self, name: str | None, limit: int) -> tuple[api.ProfileRun, ...]:
        ledger = self._ledger
        return () if ledger is None else ledger.runs(name, limit=limit)

    def _under_way(self, name: str) -> Sequence[int]:
        """The numbers of a profile's runs that go on or wait."""
        return [one.id for one in self._runs(name, KEPT) if one.ended is None]

    def _standing(self, name: str) -> Standing:
        ledger = self._ledger
        return Standing() if ledger is None else ledger.standing(name)


def _whose(was: ProfilePut, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Of which users, as the changes say it together. Raises UsageError where they contradict each other."""
    chosen = changes.get("chosen", was.chosen)
    if "users" not in changes and "chosen" in changes:
        users = "all" if not chosen else "only" if was.users == "all" else was.users
    else:
        users = changes.get("users", was.users)
    if users == "all":
        if changes.get("chosen"):
            raise UsageError(later("Choose users, or take all: not both."))
        return {"users": users, "chosen": ()}
    if not chosen:
        raise UsageError(later("Name the users that are meant, or take all."))
    return {"users": users, "chosen": chosen}
