"""Archiving profiles: from where mail is fetched; reached from the mailboxes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.checks import Check
from appliance.language import _
from appliance.services import api
from appliance.services.profiles.pace import pace
from appliance.sources.base import SourceKind
from appliance.sources.kinds import KINDS
from tui import words
from tui.adding import Adding
from tui.page import key
from tui.place import FactsPlace
from tui.widgets.dialog import Ask, Asked, Show
from tui.widgets.form import Facts, Field, WrongAnswerError
from tui.widgets.table import Column, Row, Table

LAST_RUNS = 12


class Profiles(FactsPlace[api.ProfileInfo]):
    """The list of profiles, and what is known of the one under the cursor."""

    NAME = "mailboxes"
    EVERY = 2.0
    BINDINGS: ClassVar[list[BindingType]] = [
        key("n", "new", "New", shown="N"),
        key("r", "run", "Run", shown="R"),
        key("s", "stop", "Halt", shown="S"),
        key("p", "pause", "Pause", shown="P"),
        key("t", "test", "Test", shown="T"),
        key("h", "history", "Runs", shown="H"),
        key("d", "remove", "Delete", shown="D"),
        key("escape", "go('mailboxes')", "Mailboxes", show=False),
    ]

    def heading(self) -> str:
        """See ``Page``."""
        return _("Archiving profiles")

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "A profile says from where mail is fetched, whose, which folders and messages, whose archive it becomes, "
            "and how often. Each message that a run comes upon is counted once: seen = new + archived before + "
            "filtered out + failed. What failed is tried again by the next run."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Table(
            Column(_("Profile")), Column(_("Kind"), 16, wide_only=True), Column(_("State"), 11),
            Column(_("Last run"), 14), Column(_("New"), 8, right=True), id="list",
            empty=_("No profile. N adds one."),
        )  # fmt: skip
        yield Facts(id="facts")

    async def load(self) -> None:
        """See ``Place``."""
        found = await self.app.box.call("profiles", tuple[api.ProfileInfo, ...])
        self.known = {one.name: one for one in found}
        now = self.app.now()
        self.query_one("#list", Table).show(
            [
                Row(one.name, (one.name, _title(one.kind), _state(one), _last(one, now), _new(one)), _look(one))
                for one in found
            ]
        )
        await self.show_facts()

    def facts(self, one: api.ProfileInfo) -> Iterable[tuple[str, str]]:
        """See ``FactsPlace``."""
        run = one.run
        return (
            (_("Archive"), one.archive or _("of the user who has the account's address")),
            (_("Next"), words.moment(one.next_at) if one.next_at is not None else _("by hand")),
            *([(_("Deleted there"), _after(one.delete_after_days))] if one.delete_after_days else []),
            *([(_("Now") if run.state == "running" else _("Last time"), _counted(run.counts))] if run else []),
            *([(_("Progress"), _progress(run, self.app.now()))] if run and run.state == "running" else []),
            *([(_("Trouble"), one.trouble)] if one.trouble else []),
        )

    def action_go(self, name: str) -> None:
        """Go to a place; from here to the mailboxes as well."""
        self.app.go_to(name)

    # -- doing ------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Add a profile."""
        self.do(self._new)

    def action_run(self) -> None:
        """Fetch now what is new."""
        self.do(self._run)

    def action_stop(self) -> None:
        """Ask what is under way to end."""
        self.do(self._stop)

    def action_pause(self) -> None:
        """Begin no run by the clock, or begin them again."""
        self.do(self._pause)

    def action_test(self) -> None:
        """Try the profile."""
        self.do(self._test)

    def action_history(self) -> None:
        """The last runs."""
        self.do(self._history)

    def action_remove(self) -> None:
        """Fetch nothing by it any more."""
        self.do(self._remove)

    async def _new(self) -> None:
        answers = tuple((one.kind, _(one.title), "") for one in KINDS)
        given = await self.app.push_screen_wait(
            Ask(_("From where is mail fetched?"), (Asked("kind", "", answers=answers),), yes=_("Continue"))
        )
        if given is None:
            return
        kind = next(one for one in KINDS if one.kind == given["kind"])
        name = await self.app.push_screen_wait(NewProfile(kind, tuple(self.known)))
        if name is not None:
            self.say(_("“{name}” is added. T tries it, R fetches.").format(name=name), "good")
            self.action_reload()

    async def _run(self) -> None:
        if (one := self.chosen()) is not None:
            await self.app.box.call("profile_run", api.ProfileBegun, name=one.name)
            self.say(_("“{name}” is being run.").format(name=one.name), "good")
            self.action_reload()

    async def _stop(self) -> None:
        if (one := self.chosen()) is not None:
            await self.app.box.call("profile_stop", type(None), name=one.name)
            self.say(_("It ends; what was fetched stays, and the next run goes on there."))
            self.action_reload()

    async def _pause(self) -> None:
        if (one := self.chosen()) is not None:
            await self.app.box.call("profile_change", api.ProfileInfo, name=one.name, paused=not one.paused)
            text = _("“{name}” runs by the clock again.") if one.paused else _("“{name}” is paused.")
            self.say(text.format(name=one.name), "good")
            self.action_reload()

    async def _test(self) -> None:
        one = self.chosen()
        if one is None:
            return
        self.say(_("“{name}” is tried …").format(name=one.name))
        checks = await self.app.box.call("profile_test", tuple[Check, ...], name=one.name)
        bad = any(check.state == "problem" for check in checks)
        self.say(_("The test did not go well.") if bad else _("The test went well."), "bad" if bad else "good")
        kinds = {"ok": "good", "warning": "warn", "problem": "bad"}
        texts = [(f"{check.what}: {check.text}", kinds[check.state]) for check in checks]
        await self.app.push_screen_wait(Show(one.name, *texts, large=True))

    async def _history(self) -> None:
        one = self.chosen()
        if one is None:
            return
        runs = await self.app.box.call("profile_runs", tuple[api.ProfileRun, ...], name=one.name, limit=LAST_RUNS)
        if not runs:
            self.say(_("“{name}” has not run yet.").format(name=one.name))
            return
        texts = [
            (f"{words.moment(run.begun)}  {_ended(run)}\n{_counted(run.counts)} {run.words}".rstrip(),
             "bad" if run.state == "failed" else "")
            for run in runs
        ]  # fmt: skip
        await self.app.push_screen_wait(Show(one.name, *texts, large=True))

    async def _remove(self) -> None:
        one = self.chosen()
        if one is None:
            return
        what = _("What was fetched stays. This box forgets the credentials, and how far it was.")
        if await self.sure(_("Remove {name}?").format(name=one.name), what, yes=_("Remove"), danger=True):
            await self.app.box.call("profile_remove", type(None), name=one.name)
            self.say(_("“{name}” is removed.").format(name=one.name), "good")
            self.action_reload()


class NewProfile(Adding):
    """The name of the profile that was added; None where the person thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [key("f2", "add", "Add")]

    def __init__(self, kind: SourceKind, taken: Collection[str]) -> None:
        """``taken`` are the names of the profiles that there are."""
        super().__init__(kind, kind.kind if kind.kind not in taken else "")
        self._of = kind.kind

    def heading(self) -> str:
        """See ``Page``."""
        return _("A new archiving profile")

    def lead(self) -> str:
        """See ``Adding``."""
        return _("Nothing is fetched before it is run, and nothing is changed there. The web pages have finer rules.")

    def below(self) -> Iterable[Widget]:
        """See ``Adding``."""
        yield Field(
            _("Archive"), id="archive",
            hint=_("Address of the user whose archive all of it becomes; empty: whose address an account has."),
        )  # fmt: skip
        yield Field(_("Every … minutes"), id="minutes", hint=_("How often it runs by itself; empty: by hand."))

    async def add(self, name: str, options: dict[str, str]) -> bool:
        """Add it."""
        minutes = self.query_one("#minutes", Field).value.strip() or "0"
        if not minutes.isdecimal():
            wrong = WrongAnswerError("minutes", _("This is a number of minutes."))
            self.query_one(f"#{wrong.field}", Field).wrong(wrong.why)
            return False
        await self.app.box.call(
            "profile_add", api.ProfileInfo, name=name, kind=self._of, options=options,
            archive=self.query_one("#archive", Field).value.strip(), interval=int(minutes) * 60,
        )  # fmt: skip
        return True


def _ended(run: api.ProfileRun) -> str:
    said = {
        "waiting": _("waits"), "running": _("runs"), "done": _("done"), "failed": _("failed"),
        "stopped": _("stopped"),
    }  # fmt: skip
    return said[run.state]


def _title(kind: str) -> str:
    return next((_(each.title) for each in KINDS if each.kind == kind), kind)


def _state(one: api.ProfileInfo) -> str:
    if one.run is not None and one.run.state in ("running", "waiting"):
        return _("runs")
    if one.paused:
        return _("paused")
    if one.trouble:
        return _("failed")
    return _("ready")


def _look(one: api.ProfileInfo) -> str:
    if one.trouble:
        return "bad"
    return "faint" if one.paused else ""


def _last(one: api.ProfileInfo, now: float) -> str:
    return words.ago(one.run.ended or one.run.begun, now) if one.run is not None else "–"


def _new(one: api.ProfileInfo) -> str:
    return words.number(one.run.counts.new) if one.run is not None else ""


def _counted(counts: api.ProfileCounts) -> str:
    text = _(
        "{seen} seen: {new} new, {already} archived before, {filtered} filtered out, {failed} failed; "
        "{deleted} deleted there."
    )
    return text.format(**{name: words.number(getattr(counts, name)) for name in api.ProfileCounts.__struct_fields__})


def _after(days: int) -> str:
    return _("after {days} days, once the archived copy was read back").format(days=days)


def _progress(run: api.ProfileRun, now: float) -> str:
    found = pace(run, now)
    text = _("{done} of {all} accounts, {rate} messages a second").format(
        done=run.accounts_done, all=run.accounts_all, rate=f"{found.messages:.0f}"
    )
    return text if found.left is None else text + ", " + _("{span} left").format(span=words.span(found.left))
