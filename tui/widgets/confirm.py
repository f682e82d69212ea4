"""A question before something is done: what will happen, and two answers of which the safe one comes first."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Footer

from appliance.language import _
from tui.page import Dialog, key
from tui.widgets.form import Buttons, Heading, Text


class Confirm(Dialog[bool]):
    """True where the person wants it. Escape and the first button say no."""

    BINDINGS: ClassVar[list[BindingType]] = [key("escape", "refuse", "Cancel")]

    def __init__(self, question: str, what: str, *, yes: str, no: str = "", danger: bool = False) -> None:
        """``what`` says what will happen; ``yes`` is a verb, as on the button."""
        super().__init__()
        self._question, self._what, self._yes, self._no, self._danger = question, what, yes, no, danger

    def compose(self) -> ComposeResult:
        """The question, what will happen, the answers."""
        with Vertical(classes="dialog"):
            yield Heading(self._question)
            yield Text(self._what)
            yield Buttons(("no", self._no or _("Cancel")), ("yes", self._yes, "danger" if self._danger else "main"))
        yield Footer(compact=True, show_command_palette=False)

    def on_buttons_chosen(self, event: Buttons.Chosen) -> None:
        """The answer."""
        self.dismiss(event.id == "yes")

    def action_refuse(self) -> None:
        """No."""
        self.dismiss(False)
