"""The archive does not answer: why, and a way to look again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.language import _
from tui.page import Page, key
from tui.widgets.form import Buttons, Heading, Text


class Away(Page[None]):
    """Looks again by itself every few seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [key("r", "look", "Look again", shown="R"), key("f10", "app.quit", "Quit")]

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def heading(self) -> str:
        """See ``Page``."""
        return _("Not running")

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Heading(_("The archive does not answer"))
        yield Text(self._why)
        yield Buttons(("look", _("Look again")))

    def on_mount(self) -> None:
        """Look again from time to time."""
        self.set_interval(3.0, self.action_look)

    def on_buttons_chosen(self) -> None:
        """Look again now."""
        self.action_look()

    def action_look(self) -> None:
        """Look again."""
        if self.is_current:
            self.app.go_on()
