"""Step 4: time zone, and a clock that is kept right."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime

from textual.suggester import SuggestFromList
from textual.widget import Widget

from appliance.errors import MailkeepError
from appliance.host import clock
from appliance.language import _
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, aside
from tui.widgets.form import Choice, Facts, Field, Text, WrongAnswerError


class ClockPage(StepPage):
    """What the clock says, its zone, and whether the network corrects it."""

    step = "time"

    def prepare(self) -> None:
        """What is set; where the system's tools do not tell, it cannot be changed either."""
        try:
            self._found = clock.current()
        except MailkeepError as error:
            self._found = clock.Clock(self.app.now(), time.tzname[0], False, False, (), error.message)

    def question(self) -> Iterable[Widget]:
        """Facts, and where they may be changed, zone and source."""
        found = self._found
        yield Facts(
            (
                (_("Now"), f"{datetime.fromtimestamp(self.app.now()).astimezone():%Y-%m-%d %H:%M}"),
                (_("Time zone"), found.zone),
                (_("From the network"), _("yes") if found.ntp else _("no")),
            )
        )
        if found.read_only:
            yield Text(found.read_only, "hint")
            return
        zone = Field(_("Time zone"), id="zone", value=found.zone, placeholder="Europe/Berlin")
        zone.input.suggester = SuggestFromList(clock.zones(), case_sensitive=False)
        yield zone
        yield Choice(
            [("yes", _("Keep the clock right over the network (NTP)"), ""), ("no", _("Leave the clock to itself"), "")],
            id="ntp", value="yes" if found.ntp else "no",
        )  # fmt: skip

    async def apply(self) -> None:
        """Change what differs."""
        found = self._found
        if found.read_only:
            return
        zone = self.field("zone").value.strip()
        if zone != found.zone:
            if zone not in await aside(clock.zones):
                raise WrongAnswerError("zone", _("There is no such time zone. Try Europe/Berlin or UTC."))
            await aside(clock.change_zone, zone)
        wanted = self.query_one("#ntp", Choice).value == "yes"
        if wanted != found.ntp:
            await aside(clock.change_ntp, wanted)

    async def test(self) -> list[Finding]:
        """Ask a time server."""
        return await aside(checks.time_kept)
