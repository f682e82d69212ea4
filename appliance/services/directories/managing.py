"""Directories of an open archive: set up, tried, synchronised by hand and by the clock."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import func, select

from appliance.checks import Check
from appliance.directory.kinds import check_options, kind
from appliance.errors import ConflictError, MailkeepError, NotFoundError, UsageError
from appliance.language import later
from appliance.services import api
from appliance.services.alarms.trouble import Figures, Trouble
from appliance.services.archive import Archive
from appliance.services.directories import errand
from appliance.services.directories.planning import Plan, User, plan
from appliance.services.identity import new_user_id
from appliance.services.jobs import Jobs, Progress
from appliance.services.options import merged
from appliance.services.principal import SYSTEM, Principal
from appliance.services.repeating import Repeating
from appliance.settings import events, tables
from appliance.settings.store import Directory

log = logging.getLogger(__name__)

KIND = "directory"
SHORTEST_INTERVAL = 300
LOOK_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 300.0, 6 * 3600.0
"""Seconds until a directory that could not be read is asked again: doubled each time."""
ALARM_SECONDS = 24 * 3600.0
"""After so long without a synchronisation that works there is an alarm."""
AT_A_TIME = 100
"""Users that are written down with one entry of links: after a crash these few are found again by their addresses."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Directories:
    """What can be done with directories, and the thread that keeps users as they are there."""

    def __init__(self, archive: Archive, jobs: Jobs) -> None:
        self._archive = archive
        self._jobs = jobs
        self._tries: dict[str, _Try] = {}
        self._one_at_a_time = threading.Lock()
        self._by_the_clock = Progress()
        self._round = Repeating("directories", self.round, LOOK_SECONDS)

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "directories": self.list, "directory_add": self.add, "directory_change": self.change,
            "directory_remove": self.remove, "directory_test": self.test,
            "directory_sync_begin": self.synchronise, "directory_synchronised": self.synchronised,
        }  # fmt: skip

    def start(self) -> None:
        """Begin to keep users as they are in their directories."""
        self._round.start()

    def close(self) -> None:
        """End; what is being read is given up, and nothing is changed by it."""
        self._by_the_clock.stop()
        self._round.close()

    # -- setting up -------------------------------------------------------------------------------------------

    def list(self, principal: Principal) -> tuple[api.DirectoryInfo, ...]:
        """All directories, by name."""
        principal.require("admin")
        return tuple(self._info(one) for one in self._archive.settings.directories())

    def add(
        self, principal: Principal, *, name: str, kind: str, options: Mapping[str, str] | None = None,
        interval: int = 3600, signs_in: bool = False,
    ) -> api.DirectoryInfo:  # fmt: skip
        """A new directory. Nothing is read from it before it is synchronised. Raises UsageError, ConflictError."""
        principal.require("admin")
        put = _checked(events.DirectoryPut(name, kind, dict(options or {}), interval, signs_in))
        with self._archive.directory:
            if any(one.put.name == name for one in self._archive.settings.directories()):
                raise ConflictError(f"There is a directory called “{name}” already. Change it, or take another name.")
            self._archive.record(principal, put)
        return self._info(self._find(name))

    def change(
        self, principal: Principal, *, name: str, options: Mapping[str, str] | None = None,
        interval: int | None = None, signs_in: bool | None = None,
    ) -> api.DirectoryInfo:  # fmt: skip
        """Change what is given. Of ``options`` those that are given change, and an empty value takes one away. Raises
        NotFoundError, and UsageError, also where a stored secret would go to another server."""
        principal.require("admin")
        with self._archive.directory:
            before = self._find(name).put
            put = events.DirectoryPut(
                name,
                before.kind,
                merged(kind(before.kind).fields, before.options, options or {}),
                before.interval if interval is None else interval,
                before.signs_in if signs_in is None else signs_in,
            )
            self._archive.record(principal, _checked(put))
        self._tries.pop(name, None)
        return self._info(self._find(name))

    def remove(self, principal: Principal, *, name: str) -> None:
        """Take nothing from there any more. The users that came from it stay as they are. Raises ConflictError while a
        profile asks for it."""
        principal.require("admin")
        with self._archive.directory:
            self._find(name)
            if used := [one.name for one in self._archive.settings.profiles() if one.directory == name]:
                raise ConflictError(
                    later(
                        "The archiving profile “{profile}” synchronises this directory before its runs. Take it away "
                        "there first."
                    ),
                    profile=used[0],
                )
            self._archive.record(principal, events.DirectoryRemoved(name))
        self._tries.pop(name, None)
        self._alarm(name, None)

    def test(self, principal: Principal, *, name: str) -> tuple[Check, ...]:
        """Try everything that a synchronisation needs, and change nothing."""
        principal.require("admin")
        put = self._find(name).put
        return tuple(errand.checks(put.kind, put.options))

    # -- synchronising ----------------------------------------------------------------------------------------

    def synchronise(
        self, principal: Principal, *, name: str, dry_run: bool = False, confirmed: bool = False
    ) -> api.JobInfo:
        """Read all of a directory and change the users here accordingly, as a job; with ``dry_run`` only say how.

        ``confirmed`` carries out, too, what takes the right to sign in from unusually many.
        """
        principal.require("admin")
        self._find(name)

        def work(progress: Progress) -> str:
            done = self._synchronise(principal, name, progress, dry_run=dry_run, confirmed=confirmed)
            progress.result = done
            return done.words

        title = f"Directory “{name}”" + (", dry run" if dry_run else "")
        # What it changes stands in the audit trail by itself.
        return self._jobs.begin(principal, KIND, title, work, what=None, shared_with="admin")

    def synchronised(self, principal: Principal, *, id: str) -> api.DirectorySynchronised:
        """What a finished synchronisation, or a dry run, did. Raises NotFoundError, ConflictError, UsageError."""
        principal.require("admin")
        found = self._jobs.result(principal, id=id)
        if not isinstance(found, api.DirectorySynchronised):
            raise UsageError("That job was no synchronisation.")
        return found

    def first(self, principal: Principal, name: str, progress: Progress) -> str:
        """Synchronise for what a person has asked for and what comes after it; in words, what came of it. Where that
        fails, or waits for a person's word, users are as they were."""
        try:
            done = self._synchronise(principal, name, progress, dry_run=False, confirmed=False)
        except MailkeepError as error:
            return later("The directory could not be synchronised, users are as they were: {why}").format(
                why=error.message
            )
        return done.words

    def before_run(self, name: str) -> None:
        """Synchronise before something that runs by the clock, unless that was done lately or has just failed."""
        one = next((one for one in self._archive.settings.directories() if one.put.name == name), None)
        if one is not None and self._is_due(one, SHORTEST_INTERVAL):
            self._by_itself(name)

    def round(self) -> None:
        """Synchronise what is due."""
        for one in self._archive.settings.directories():
            if one.put.interval and self._is_due(one, one.put.interval):
                self._by_itself(one.put.name)

    def _is_due(self, one: Directory, interval: float) -> bool:
        if one.synchronised_at is None:  # the first time is a person's
            return False
        now, tried = self._archive.clock(), self._tries.get(one.put.name)
        return now >= one.synchronised_at / 1e6 + interval and not (tried and now < tried.again_at)

    def _by_itself(self, name: str) -> None:
        try:
            done = self._synchronise(SYSTEM, name, self._by_the_clock, dry_run=False, confirmed=False)
            if done.waits:
                log.warning("directory %s: %s", name, done.waits)
        except MailkeepError as error:
            log.warning("directory %s could not be synchronised: %s", name, error.message)

    def _synchronise(
        self, principal: Principal, name: str, progress: Progress, *, dry_run: bool, confirmed: bool
    ) -> api.DirectorySynchronised:
        with self._one_at_a_time:
            try:
                done = self._read_and_change(principal, name, progress, dry_run=dry_run, confirmed=confirmed)
            except MailkeepError as error:
                self._failed(name, error.message)
                raise
            if done.waits:
                self._failed(name, done.waits)
                self._alarm(name, {"name": name, "losing": done.losing})
            elif not dry_run:
                self._tries.pop(name, None)
                self._alarm(name, None)
            return done

    def _read_and_change(
        self, principal: Principal, name: str, progress: Progress, *, dry_run: bool, confirmed: bool
    ) -> api.DirectorySynchronised:
        put = self._find(name).put
        listing = errand.listing(put.kind, put.options, progress.report, progress.stopped)
        with self._archive.directory:
            if self._find(name).put != put:
                raise ConflictError("The directory's settings were changed meanwhile. Nothing was done; try again.")
            found = self._plan(name, listing)
            waits = "" if confirmed else found.waits
            if not dry_run and not waits:
                self._carry_out(principal, name, found, progress)
        return _told(name, found, dry_run=dry_run, waits=waits)

    def _plan(self, name: str, listing: Any) -> Plan:
        archive = self._archive
        elsewhere = {user: whose for user, whose in archive.settings.linked_users().items() if whose != name}
        with archive.settings.read() as database:
            admins = database.scalars(
                select(tables.Grant.user_id)
                .join(tables.User, tables.User.id == tables.Grant.user_id)
                .where(tables.Grant.role == "admin", tables.User.state == "active")
            ).all()
            held: dict[str, tuple[str, ...]] = {}
            for row in database.scalars(
                select(tables.Address).where(tables.Address.until.is_(None)).order_by(tables.Address.rank)
            ):
                held[row.user_id] = (*held.get(row.user_id, ()), row.address)
            users = [
                User(
                    row.id, row.name, held.get(row.id, ()), "active" if row.state == "active" else "disabled",
                    elsewhere.get(row.id, ""), last_administrator=list(admins) == [row.id],
                )
                for row in database.scalars(select(tables.User))
            ]  # fmt: skip
        return plan(listing, users, archive.settings.links(name), archive.settings.open_doors(), new_user_id)

    def _carry_out(self, principal: Principal, name: str, found: Plan, progress: Progress) -> None:
        """Users first, then, for some at a time, where they come from. What a crash leaves is done by the next one."""
        links = {link.user: link for link in found.links}
        waiting: list[events.Link] = []

        def write_down(at_least: int) -> None:
            if len(waiting) >= at_least:
                self._archive.record(principal, events.PeopleLinked(name, tuple(waiting)))
                waiting.clear()

        for number, put in enumerate(found.puts, 1):
            self._archive.record(principal, put)
            if (link := links.pop(put.user, None)) is not None:
                waiting.append(link)
                write_down(AT_A_TIME)
            progress.report(number, len(found.puts))
        waiting.extend(links.values())
        write_down(1)
        self._archive.record(principal, _counted(name, found))

    def _failed(self, name: str, why: str) -> None:
        now, before = self._archive.clock(), self._tries.get(name)
        pause = min(before.pause * 2, LONGEST_PAUSE) if before else FIRST_PAUSE
        since = before.since if before else now
        self._tries[name] = _Try(why, pause, now + pause, since)
        if now - since >= ALARM_SECONDS:
            self._alarm(name, {"name": name, "hours": int((now - since) / 3600)})

    def _alarm(self, name: str, figures: Figures | None) -> None:
        trouble = None if figures is None else Trouble(KIND, "warning", name, figures)
        before = next((one for one in self._archive.alarms.book.reported if one.key == (KIND, name)), None)
        if trouble != before:
            self._archive.alarms.report(KIND, trouble, name)

    # -- helpers ----------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Directory:
        found = next((one for one in self._archive.settings.directories() if one.put.name == name), None)
        if found is None:
            raise NotFoundError(f"There is no directory called “{name}”.")
        return found

    def _info(self, one: Directory) -> api.DirectoryInfo:
        put, result, tried = one.put, one.result, self._tries.get(one.put.name)
        secret = {field.key for field in kind(put.kind).fields if field.secret}
        at = None if one.synchronised_at is None else one.synchronised_at // 1_000_000
        next_at = None
        if put.interval and at is not None:
            next_at = int(tried.again_at) if tried else at + put.interval
        return api.DirectoryInfo(
            name=put.name, kind=put.kind,
            options=tuple(
                api.RemoteOption(key, "" if key in secret else value, key in secret)
                for key, value in sorted(put.options.items())
            ),
            interval=put.interval, signs_in=put.signs_in, users=self._count(put.name), synchronised_at=at,
            next_at=next_at, trouble=tried.why if tried else "",
            result=None if result is None else api.DirectoryCounts(
                result.created, result.changed, result.unchanged, result.refused, result.disabled, result.left_out,
                result.excluded,
            ),
        )  # fmt: skip

    def _count(self, name: str) -> int:
        with self._archive.settings.read() as database:
            counted = select(func.count()).select_from(tables.Link).where(tables.Link.directory == name)
            return database.scalar(counted) or 0


class _Try(msgspec.Struct, frozen=True):
    """The last try of a directory that did not work, when it is tried again, since when none did (seconds)."""

    why: str
    pause: float
    again_at: float
    since: float


def _checked(put: events.DirectoryPut) -> events.DirectoryPut:
    """Raises UsageError unless a directory can be made of it."""
    if not _NAME.fullmatch(put.name):
        raise UsageError("A directory's name has small letters, digits and hyphens, at most 32 of them.")
    if put.interval and put.interval < SHORTEST_INTERVAL:
        raise UsageError(f"A directory is synchronised every {SHORTEST_INTERVAL} seconds at most; 0 is for by hand.")
    check_options(put.kind, put.options)
    if put.signs_in and not kind(put.kind).signs_in:
        raise UsageError(f"{kind(put.kind).title} cannot tell whether a password is right, so nobody signs in with it.")
    return put


def _counted(name: str, found: Plan) -> events.DirectorySynchronised:
    return events.DirectorySynchronised(
        name, found.count("created"), found.count("changed"), found.count("unchanged"), found.count("refused"),
        found.count("disabled"), len(found.left_out), found.excluded,
    )  # fmt: skip


def _told(name: str, found: Plan, *, dry_run: bool, waits: str) -> api.DirectorySynchronised:
    counted = _counted(name, found)
    counts = api.DirectoryCounts(
        counted.created, counted.changed, counted.unchanged, counted.refused, counted.disabled, counted.left_out,
        counted.excluded,
    )  # fmt: skip
    steps = [api.DirectoryStep(one.what, one.name, one.text) for one in found.steps if one.what != "unchanged"]
    steps += [api.DirectoryStep("left-out", one.who, one.why) for one in found.left_out]
    told = (
        f"{counts.created} created, {counts.changed} changed, {counts.unchanged} as they were, {counts.disabled} no "
        f"longer listed, {counts.refused} refused, {counts.left_out} left out, {counts.excluded} excluded."
    )
    words = waits or (f"Nothing was changed. It would be: {told}" if dry_run else told)
    return api.DirectorySynchronised(counts, tuple(steps), words, waits, found.losing)
