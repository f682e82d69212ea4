"""Directories: where users come from; reached from the users."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.checks import Check
from appliance.directory.base import DirectoryKind
from appliance.directory.kinds import KINDS
from appliance.framing import words_of
from appliance.language import _
from appliance.services import api
from tui import words
from tui.adding import Adding
from tui.page import key
from tui.place import FactsPlace
from tui.widgets.dialog import Ask, Asked, Show
from tui.widgets.form import Facts
from tui.widgets.table import Column, Row, Table

LOOK_SECONDS = 0.5


class Directories(FactsPlace[api.DirectoryInfo]):
    """The list of directories, and what is known of the one under the cursor."""

    NAME = "users"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("n", "new", "New", shown="N"),
        key("s", "synchronise", "Synchronise", shown="S"),
        key("w", "dry_run", "Dry run", shown="W"),
        key("t", "test", "Test", shown="T"),
        key("d", "remove", "Remove", shown="D"),
        key("escape", "go('users')", "Users", show=False),
    ]

    def heading(self) -> str:
        """See ``Page``."""
        return _("Directories")

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "Users come from a directory with all their addresses, and stay as they are there. Who is no longer listed "
            "cannot sign in any more; archives stay, and nobody inherits one."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Table(
            Column(_("Directory")), Column(_("Kind"), 16), Column(_("Users"), 8, right=True),
            Column(_("Synchronised"), 14), id="list", empty=_("No directory. N adds one."),
        )  # fmt: skip
        yield Facts(id="facts")

    async def load(self) -> None:
        """See ``Place``."""
        found = await self.app.box.call("directories", tuple[api.DirectoryInfo, ...])
        self.known = {one.name: one for one in found}
        now = self.app.now()
        self.query_one("#list", Table).show(
            [
                Row(
                    one.name,
                    (one.name, _title(one), words.number(one.users), words.ago(one.synchronised_at, now)),
                    "bad" if one.trouble else "",
                )
                for one in found
            ]
        )
        await self.show_facts()

    def facts(self, one: api.DirectoryInfo) -> Iterable[tuple[str, str]]:
        """See ``FactsPlace``."""
        result = one.result
        return (
            (_("Next"), _next(one)),
            (_("Sign-in with it"), _("yes") if one.signs_in else _("no")),
            *([(_("Last time"), _counted(result))] if result is not None else []),
            *([(_("Trouble"), one.trouble)] if one.trouble else []),
        )

    def action_go(self, name: str) -> None:
        """Go to a place; from here to the users as well."""
        self.app.go_to(name)

    # -- doing ------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Add a directory."""
        self.do(self._new)

    def action_synchronise(self) -> None:
        """Make users as they are there."""
        self.do(lambda: self._synchronise(dry_run=False))

    def action_dry_run(self) -> None:
        """Only say what that would change."""
        self.do(lambda: self._synchronise(dry_run=True))

    def action_test(self) -> None:
        """Try the directory."""
        self.do(self._test)

    def action_remove(self) -> None:
        """Take nothing from there any more."""
        self.do(self._remove)

    async def _new(self) -> None:
        answers = tuple((one.kind, _(one.title), "") for one in KINDS)
        given = await self.app.push_screen_wait(
            Ask(_("Where do users come from?"), (Asked("kind", "", answers=answers),), yes=_("Continue"))
        )
        if given is None:
            return
        kind = next(one for one in KINDS if one.kind == given["kind"])
        name = await self.app.push_screen_wait(NewDirectory(kind, tuple(self.known)))
        if name is not None:
            self.say(_("“{name}” is added. W shows what it would change, S does it.").format(name=name), "good")
            self.action_reload()

    async def _synchronise(self, *, dry_run: bool, confirmed: bool = False) -> None:
        one = self.chosen()
        if one is None:
            return
        self.say(_("“{name}” is read …").format(name=one.name))
        job = await self.app.box.call(
            "directory_sync_begin", api.JobInfo, name=one.name, dry_run=dry_run, confirmed=confirmed
        )
        while job.finished_at is None:
            await asyncio.sleep(LOOK_SECONDS)
            job = await self.app.box.call("job", api.JobInfo, id=job.id)
        if job.state != "done":
            self.say(words_of(job.message, job.failure) or _("It was stopped."), "bad")
            return
        done = await self.app.box.call("directory_synchronised", api.DirectorySynchronised, id=job.id)
        self.action_reload()
        if dry_run or not done.waits:
            self.say(_counted(done.counts), "good")
            await self.app.push_screen_wait(Show(one.name, *_told(done), large=True))
        elif await self.sure(_("Change them all the same?"), done.waits, yes=_("Change them"), danger=True):
            await self._synchronise(dry_run=False, confirmed=True)
        else:
            self.say(_("Nothing was changed."))

    async def _test(self) -> None:
        one = self.chosen()
        if one is None:
            return
        self.say(_("“{name}” is asked …").format(name=one.name))
        checks = await self.app.box.call("directory_test", tuple[Check, ...], name=one.name)
        bad = any(check.state == "problem" for check in checks)
        self.say(_("The test did not go well.") if bad else _("The test went well."), "bad" if bad else "good")
        kinds = {"ok": "good", "warning": "warn", "problem": "bad"}
        texts = [(f"{check.what}: {check.text}", kinds[check.state]) for check in checks]
        await self.app.push_screen_wait(Show(one.name, *texts, large=True))

    async def _remove(self) -> None:
        one = self.chosen()
        if one is None:
            return
        what = _("Its users, their addresses and their archives stay as they are. This box forgets the credentials.")
        if await self.sure(_("Remove {name}?").format(name=one.name), what, yes=_("Remove"), danger=True):
            await self.app.box.call("directory_remove", type(None), name=one.name)
            self.say(_("“{name}” is removed.").format(name=one.name), "good")
            self.action_reload()


class NewDirectory(Adding):
    """The name of the directory that was added; None where the person thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [key("f2", "add", "Add")]

    def __init__(self, kind: DirectoryKind, taken: Collection[str]) -> None:
        """``taken`` are the names of the directories that there are."""
        super().__init__(kind, kind.kind if kind.kind not in taken else "")
        self._of = kind.kind

    def heading(self) -> str:
        """See ``Page``."""
        return _("A new directory")

    def lead(self) -> str:
        """See ``Adding``."""
        return _("It is only read, and nothing is taken from it before it is synchronised.")

    async def add(self, name: str, options: dict[str, str]) -> bool:
        """Add it."""
        await self.app.box.call("directory_add", api.DirectoryInfo, name=name, kind=self._of, options=options)
        return True


def _title(one: api.DirectoryInfo) -> str:
    return next((_(each.title) for each in KINDS if each.kind == one.kind), one.kind)


def _next(one: api.DirectoryInfo) -> str:
    if one.next_at is not None:
        return words.moment(one.next_at)
    return _("after the first time") if one.interval else _("by hand")


def _counted(counts: api.DirectoryCounts) -> str:
    text = _(
        "{created} new, {changed} changed, {unchanged} as they were, {disabled} no longer listed, {refused} refused, "
        "{left_out} left out, {excluded} excluded."
    )
    return text.format(**{name: words.number(getattr(counts, name)) for name in api.DirectoryCounts.__struct_fields__})


def _told(done: api.DirectorySynchronised) -> list[tuple[str, str]]:
    said = {
        "created": _("new"), "changed": _("changed"), "unchanged": _("as it was"), "refused": _("refused"),
        "disabled": _("not listed"), "left-out": _("left out"),
    }  # fmt: skip
    steps = "\n".join(f"{said[step.what]}: {step.name}  {step.text}" for step in done.steps)
    return [(_counted(done.counts), "lead"), (steps or _("Nothing changes."), "")]
