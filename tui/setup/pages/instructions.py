"""Step 9: what to enter in Exchange or Google, with the real values."""

from __future__ import annotations

from collections.abc import Iterable

from textual import on
from textual.widget import Widget
from textual.widgets import OptionList

from appliance.errors import NotFoundError
from appliance.language import _
from appliance.services.instructions import instructions
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, aside, labelled
from tui.widgets.form import Choice, Points, Text


class InstructionsPage(StepPage):
    """A choice of mail systems; below it the steps for the one the cursor is on."""

    step = "instructions"

    def prepare(self) -> None:
        """The journal address. Raises NotFoundError where there is none any more."""
        found = self.wizard.mailbox()
        if found is None:
            raise NotFoundError(_("There is no journal mailbox. Go back and make one."))
        self._address = found.address

    def question(self) -> Iterable[Widget]:
        """The choice and the text; the address also as a QR code, to take it to another screen."""
        self._name = self.wizard.progress.host_name
        self._texts = instructions(self._address, self._name or _("this box"))
        yield Choice([(str(place), one.title, "") for place, one in enumerate(self._texts)], id="system")
        yield Points(id="steps")
        yield labelled(_("Journal address"), self._address)
        if self.app.shows_qr:
            yield Text(_("F3 shows the journal address as a QR code, for a phone's camera."), "hint")

    def as_qr(self) -> tuple[str, str]:
        """The journal address."""
        return self._address, _("Journal address")

    @on(OptionList.OptionHighlighted, "#system")
    async def _show_steps(self) -> None:
        chosen = self._texts[int(self.query_one("#system", Choice).value)]
        await self.query_one("#steps", Points).show((f"{place}.", text) for place, text in enumerate(chosen.steps, 1))

    async def test(self) -> list[Finding]:
        """Where mail for the address goes by now."""
        return await aside(checks.routed_here, self._address, self._name) if self._name else []
