"""Step 1: in which language the box speaks, and, on its own screen, with which keyboard it is spoken to."""

from __future__ import annotations

import os
from collections.abc import Iterable

from textual.widget import Widget

from appliance.host import keyboard
from appliance.language import LANGUAGES, _, current, use
from tui.setup.wizard import StepPage, aside
from tui.widgets.form import Choice, Field, Points, Text

_USUAL = {"en": "us", "de": "de"}
"""The keyboard that is proposed with a language."""


class LanguagePage(StepPage):
    """The first page also says what is ahead."""

    step = "language"

    def prepare(self) -> None:
        """Whether the keyboard is asked for: on a screen of the machine itself, where it can be set."""
        on_its_screen = os.environ.get("TERM") == "linux"
        self._keyboard = on_its_screen and not keyboard.current().read_only
        self.marks_done = not self._keyboard

    def question(self) -> Iterable[Widget]:
        """The languages, each by its own name."""
        yield Choice([(code, name, "") for code, name in LANGUAGES.items()], id="language", value=current())
        yield Text(_("In about ten minutes this box receives its first mail. You will need:"), "lead")
        yield Points(
            ("•", one)
            for one in (
                _("a name for this box in your DNS, such as archive.example.com"),
                _("pen and paper for the recovery key"),
                _("an administrator's access to Exchange, Google or your mail server"),
            )
        )
        yield Text(_("Leave with F10 whenever you like: what is done is kept, and you go on where you were."), "hint")

    async def apply(self) -> None:
        """Speak it from the next page on."""
        code = self.query_one("#language", Choice).value
        use(code)
        self.wizard.remember(language=code)

    def following(self) -> StepPage:
        """The keyboard, where it is asked for."""
        return KeyboardPage(self.wizard) if self._keyboard else super().following()


class KeyboardPage(StepPage):
    """The layout, with a field to try it in."""

    step = "language"

    def prepare(self) -> None:
        """What is set; the language's own is proposed while it is Debian's first."""
        self._found = keyboard.current().layout

    def question(self) -> Iterable[Widget]:
        """The layouts, and the field."""
        proposed = _USUAL.get(current(), "us") if self._found in ("", "us") else self._found
        yield Text(_("The keyboard of this screen. A passphrase typed here has to be the same elsewhere."))
        yield Choice([(layout, name, "") for layout, name in keyboard.LAYOUTS.items()], id="layout", value=proposed)
        yield Field(_("To try it, after F4"), id="try", placeholder="y z ä ß - @ #")

    async def apply(self) -> None:
        """Set it, where it differs."""
        layout = self.query_one("#layout", Choice).value
        if layout != self._found:
            await aside(keyboard.change, layout)
            self._found = layout

    def action_test(self) -> None:
        """Set it, and go to the field."""
        super().action_test()
        self.field("try").input.focus()

    def has_test(self) -> bool:
        """It is tried by typing."""
        return True

    def preceding(self) -> StepPage:
        """The language."""
        return self.wizard.page("language")
