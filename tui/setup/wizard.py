"""The wizard: what its pages share, which of them comes next, and what every page does alike.

A page asks one thing. Going on puts the answer in force, tests it, and shows the next page where the test found nothing
to complain about; else it shows what it found, and going on once more goes on all the same. Every page can be left:
what is done is remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

import msgspec
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, OptionList

from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services import api
from appliance.services.paths import Paths
from appliance.services.setup import checks, runtime
from appliance.services.setup.box import Box
from appliance.services.setup.checks import Finding
from appliance.services.setup.progress import Progress, load, save
from appliance.services.setup.runtime import Runtime
from appliance.services.setup.steps import ORDER, Id, after, before, first_open, number, step
from tui.page import Page, key
from tui.setup.overview import Overview
from tui.widgets.findings import Findings
from tui.widgets.form import Buttons, Field, Text, WrongAnswerError
from tui.widgets.qr import ShowQr

if TYPE_CHECKING:
    from tui.app import Console

P = ParamSpec("P")
T = TypeVar("T")


class Wizard:
    """What the pages share. Secrets are in its memory only, from the page that asks to the one that needs them."""

    def __init__(self, app: Console, paths: Paths, *, box: Box | None = None, runtime: Runtime | None = None) -> None:
        self.app = app
        self.paths = paths
        self.box = box or Box(paths)
        self.progress: Progress = load(paths)
        self.passphrase = ""
        self.recovery_key = ""
        self.mailbox_password = ""
        self.note = ""
        """What the test of the page before found, when it went well."""
        self._runtime = runtime

    @property
    def runtime(self) -> Runtime:
        """What starts the product here."""
        if self._runtime is None:
            self._runtime = runtime.runtime_of(self.paths, self.progress.listen)
        return self._runtime

    def remember(self, done: Id | None = None, **changed: Any) -> None:
        """Change what is remembered, durably, perhaps with one more step done. Raises StorageError.

        What another console has remembered meanwhile stays.
        """
        progress = msgspec.structs.replace(load(self.paths), **changed)
        progress = progress if done is None else progress.with_done(done)
        save(self.paths, progress)
        self.progress = progress

    def mailbox(self) -> api.MailboxInfo | None:
        """The journal mailbox of this set-up: the one that was made here, else the first there is."""
        found = self.box.mailboxes()
        return next((one for one in found if one.id == self.progress.mailbox), next(iter(found), None))

    def page(self, id: Id) -> StepPage:
        """The first page of a step."""
        from tui.setup.pages import PAGES

        return PAGES[id](self)

    def go_on(self) -> StepPage:
        """The page to show first: the first step that is not done, but what needs the running archive only with it."""
        next_step = first_open(self.progress)
        needs_archive = ORDER.index(next_step) > ORDER.index("archive")
        if needs_archive and not (self.runtime.is_running() and self.box.is_unlocked()):
            next_step = "archive"
        return self.page(next_step)


def first_screen(app: Console, paths: Paths) -> Screen[None]:
    """The page on which set-up begins, or goes on."""
    wizard = Wizard(app, paths)
    try:
        page = wizard.go_on()
        page.prepare()
    except MailkeepError:  # the archive does not answer as it should: its page starts it, or says what is wrong
        page = wizard.page("archive")
        page.prepare()
    return page


async def aside(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run what blocks in a thread, so that the keys go on working."""
    return await asyncio.to_thread(function, *arguments, **named)


def labelled(label: str, value: str) -> Text:
    """A value to be copied, on a line of its own."""
    return Text(f"{label}\n  {value}", "mono")


class StepPage(Page[None]):
    """One page of the wizard.

    A page gives ``step``, ``question`` (its widgets), ``apply`` (puts the answer in force) and ``test``.
    """

    step: ClassVar[Id]
    marks_done: bool = True
    """Whether the step is done with this page; else another page of the same step follows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "back", "Back", shown="Esc"),
        key("f2", "go_on", "Continue"),
        key("f3", "qr", "QR code"),
        key("f4", "test", "Test"),
        key("f10", "app.quit", "Leave"),
        Binding("pagedown", "scroll(1)", show=False, priority=True),
        Binding("pageup", "scroll(-1)", show=False, priority=True),
    ]

    def __init__(self, wizard: Wizard) -> None:
        super().__init__()
        self.wizard = wizard
        self._accepted = False
        self._busy = False

    def on_mount(self) -> None:
        """Say what the test of the page before found."""
        self.say(self.wizard.note, "good")
        self.wizard.note = ""

    # -- what a page overrides --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Find out what the page shows, in a thread, before it is shown. Raises MailkeepError."""

    def question(self) -> Iterable[Widget]:
        """What is asked."""
        return ()

    async def apply(self) -> None:
        """Put the answer in force. Raises WrongAnswerError, MailkeepError."""

    async def test(self) -> list[Finding]:
        """Try it for real."""
        return []

    def following(self) -> StepPage:
        """The page after this one."""
        return self.wizard.page(after(self.step))

    def preceding(self) -> StepPage:
        """The page before this one."""
        return self.wizard.page(before(self.step))

    def continue_words(self) -> str:
        """What the main button says."""
        return _("Continue")

    def as_qr(self) -> tuple[str, str]:
        """What of the page can be shown as a QR code, and how it is called; both empty for nothing."""
        return "", ""

    # -- what all do ------------------------------------------------------------------------------------------

    def heading(self) -> str:
        """Step and title."""
        return _("Set-up, step {number} of {count}: {title}").format(
            number=number(self.step), count=len(ORDER), title=step(self.step).title
        )

    def side(self) -> Iterable[Widget]:
        """The list of steps."""
        yield Overview(self.wizard.progress, self.step)

    def body(self) -> Iterable[Widget]:
        """What the step is for, the question, what the test found, the buttons."""
        yield Text(step(self.step).what, "lead")
        yield from self.question()
        yield Findings(id="findings")
        buttons: list[tuple[str, str] | tuple[str, str, str]] = [("go_on", self.continue_words(), "main")]
        if self.has_test():
            buttons.append(("test", _("Test")))
        if step(self.step).may_wait and self.marks_done:
            buttons.append(("later", _("Later")))
        yield Buttons(*buttons)

    def has_test(self) -> bool:
        """Whether the page has a test of its own."""
        return type(self).test is not StepPage.test

    def field(self, id: str) -> Field:
        """A field of the page."""
        return self.query_one(f"#{id}", Field)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys of what the page does not have are not shown."""
        match action:
            case "test":
                return self.has_test()
            case "qr":
                return self.app.shows_qr and any(self.as_qr())
            case _:
                return True

    def on_buttons_chosen(self, event: Buttons.Chosen) -> None:
        """A button does what its key does."""
        getattr(self, f"action_{event.id}")()

    @on(Input.Submitted)
    def _enter_in_field(self) -> None:
        """Enter goes to the next field, and from the last one on."""
        inputs = [one for one in self.query("#body Input").results(Input) if one.display and not one.disabled]
        here = next((place for place, one in enumerate(inputs) if one.has_focus), len(inputs) - 1)
        if here + 1 < len(inputs):
            inputs[here + 1].focus()
        else:
            self.action_go_on()

    @on(OptionList.OptionSelected)
    def _enter_in_choice(self) -> None:
        """Enter on an answer goes to the first field, or on where there is none."""
        inputs = [one for one in self.query("#body Input").results(Input) if one.display and one.region]
        if inputs:
            inputs[0].focus()
        else:
            self.action_go_on()

    @on(Input.Changed)
    @on(OptionList.OptionHighlighted)
    def _answer_changes(self) -> None:
        self._accepted = False

    def action_back(self) -> None:
        """The page before."""
        self._show(self.preceding)

    def action_scroll(self, pages: int) -> None:
        """Up or down, where a page is longer than the screen."""
        body = self.query_one("#body", VerticalScroll)
        body.scroll_relative(y=pages * max(body.size.height - 2, 1), animate=False)

    def action_later(self) -> None:
        """Leave the step out for now."""
        self._finish()

    def action_qr(self) -> None:
        """Show the page's QR code."""
        text, heading = self.as_qr()
        self.app.push_screen(ShowQr(heading, text))

    def action_test(self) -> None:
        """Put the answer in force and test it, and stay."""
        self._work(stay=True)

    def action_go_on(self) -> None:
        """Put the answer in force, test it, and go on."""
        self._work(stay=False)

    @work(group="step")
    async def _work(self, *, stay: bool) -> None:
        if self._busy:
            return
        if self._accepted and not stay:  # what was found was seen
            self._finish()
            return
        self._busy = True
        self.say(_("One moment …"))
        try:
            if not await self._applied():
                return
            findings = await self.test()
        except MailkeepError as error:
            self.say(error.message, "bad")
            return
        finally:
            self._busy = False
        if findings:
            await self.query_one("#findings", Findings).show(findings)
        if stay or checks.worst(findings) != "ok":
            self._accepted = not stay or checks.worst(findings) != "problem"
            self.say(*self._verdict(findings))
            return
        self.wizard.note = " ".join(one.text for one in findings)
        self._finish()

    async def _applied(self) -> bool:
        for one in self.query(Field):
            one.wrong("")
        try:
            await self.apply()
        except WrongAnswerError as wrong:
            self.say("")
            self.field(wrong.field).wrong(wrong.why)
            return False
        return True

    def _verdict(self, findings: list[Finding]) -> tuple[str, str]:
        match checks.worst(findings):
            case "ok":
                return _("The test went well."), "good"
            case "warning":
                return _("Continue goes on all the same; this can be put right later."), "warn"
            case _:
                return _("This does not work yet. Put it right and test again, or continue all the same."), "bad"

    def _finish(self) -> None:
        try:
            if self.marks_done:
                self.wizard.remember(self.step)
        except MailkeepError as error:
            self.say(error.message, "bad")
            return
        self._show(self.following)

    @work(exclusive=True, group="showing")
    async def _show(self, page_of: Callable[[], StepPage]) -> None:
        try:
            page = page_of()
            await aside(page.prepare)
        except MailkeepError as error:
            self.say(error.message, "bad")
            return
        self.app.switch_screen(page)
