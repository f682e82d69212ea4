"""The page on which something outside is added: a name, what its kind asks for, and the button that adds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from appliance.language import _
from tui.page import Page, key
from tui.widgets.form import Buttons, Field, Heading, WrongAnswerError
from tui.widgets.options import Kind, OptionsForm


class Adding(Page[str | None]):
    """The name of what was added; None where the person thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [key("escape", "back", "Back")]
    AUTO_FOCUS = "#name-input"

    def __init__(self, kind: Kind, proposed: str) -> None:
        """``proposed`` stands in the field for the name."""
        super().__init__()
        self._kind = kind
        self._proposed = proposed

    def lead(self) -> str:
        """The sentence above the fields."""
        return ""

    def buttons(self) -> Buttons:
        """What can be done, the main thing first."""
        return Buttons(("add", _("Add"), "main"), ("back", _("Cancel")))

    async def add(self, name: str, options: dict[str, str]) -> bool:
        """Add it; False where the page stays, and says why."""
        raise NotImplementedError

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Heading(self.lead())
        yield Field(_("Name"), id="name", value=self._proposed, hint=_("What it is called on this box."))
        yield OptionsForm(self._kind)
        yield from self.below()
        yield self.buttons()

    def below(self) -> Iterable[Widget]:
        """What stands between the fields and the buttons."""
        return ()

    def given(self) -> tuple[str, dict[str, str]] | None:
        """Name and options as typed; None where something is missing, which is said at its field."""
        for field in self.query(Field):
            field.wrong("")
        name = self.query_one("#name", Field).value.strip()
        try:
            if not name:
                raise WrongAnswerError("name", _("This is needed."))
            return name, self.query_one(OptionsForm).options()
        except WrongAnswerError as wrong:
            self.query_one(f"#{wrong.field}", Field).wrong(wrong.why)
            return None

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
        self.dismiss(None)

    def action_add(self) -> None:
        """Add it."""
        self.do(self._add)

    async def _add(self) -> None:
        given = self.given()
        if given is not None and await self.add(*given):
            self.dismiss(given[0])
