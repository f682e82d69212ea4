"""A new remote: what its service asks for, a test that really connects, and only then is it added."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from appliance.cloud.backends import Backend
from appliance.language import _
from appliance.services import api
from appliance.services.setup import checks
from tui.page import Page, key
from tui.widgets.findings import Findings
from tui.widgets.form import Buttons, Field, Heading, WrongAnswerError
from tui.widgets.remote import RemoteForm, free_name


class NewRemote(Page[str | None]):
    """The name of the remote that was added; None where the person thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("f2", "add", "Test and add"),
        key("f4", "test", "Test"),
        key("escape", "back", "Back"),
    ]
    AUTO_FOCUS = "#name-input"

    def __init__(self, backend: Backend, taken: Collection[str]) -> None:
        """``taken`` are the names of the remotes that there are."""
        super().__init__()
        self._backend = backend
        self._proposed = free_name(taken)
        self._busy = False

    def heading(self) -> str:
        """See ``Page``."""
        return _("A new remote")

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Heading(_("What is copied is encrypted here; nobody there can read it."))
        yield Field(_("Name"), id="name", value=self._proposed, hint=_("What it is called on this box."))
        yield RemoteForm(self._backend)
        yield Findings(id="findings")
        yield Buttons(("add", _("Test and add"), "main"), ("test", _("Test")), ("back", _("Cancel")))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the next field, and from the last one on."""
        inputs = list(self.query("#body Input").results(Input))
        if event.input is inputs[-1]:
            self.action_add()
        else:
            self.focus_next()

    def on_buttons_chosen(self, event: Buttons.Chosen) -> None:
        """A button does what its key does."""
        getattr(self, f"action_{event.id}")()

    def action_back(self) -> None:
        """Nothing is added."""
        if not self._busy:
            self.dismiss(None)

    def action_test(self) -> None:
        """Try it, and stay."""
        self.do(self._test)

    def action_add(self) -> None:
        """Try it, and add it where that went well."""
        self.do(self._add)

    async def _test(self) -> None:
        if not self._busy and await self._works():
            self.say(_("The test went well."), "good")

    async def _add(self) -> None:
        if self._busy or not await self._works():
            return
        name, form = self.query_one("#name", Field).value.strip(), self.query_one(RemoteForm).answers()
        await self.app.box.call(
            "remote_add", api.RemoteInfo, name=name, type=self._backend.type, options=form.options, path=form.path
        )
        self.dismiss(name)

    async def _works(self) -> bool:
        """Write, read, compare and delete there."""
        for field in self.query(Field):
            field.wrong("")
        try:
            if not self.query_one("#name", Field).value.strip():
                raise WrongAnswerError("name", _("This is needed."))
            form = self.query_one(RemoteForm).answers()
        except WrongAnswerError as wrong:
            self.query_one(f"#{wrong.field}", Field).wrong(wrong.why)
            return False
        self.say(_("A small file is written there, read back and deleted …"))
        self._busy = True
        try:
            tested = await self.app.box.call(
                "remote_test", api.RemoteTested, type=self._backend.type, options=form.options, path=form.path
            )
        finally:
            self._busy = False
        await self.query_one(Findings).show(checks.remote(tested))
        if not tested.passed:
            self.say(_("This does not work yet, and nothing was added. Put it right and test again."), "bad")
        return tested.passed
