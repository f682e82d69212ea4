"""Step 11: the first journal report, shown as it arrives."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from textual import work
from textual.widget import Widget

from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services import api
from appliance.services.setup.box import Arrivals
from tui.setup.wizard import StepPage, aside, labelled
from tui.widgets.form import Facts, Text

POLL_SECONDS = 1.0


class FinishPage(StepPage):
    """Waits, and can be left: the archive goes on waiting by itself."""

    step = "finish"

    def prepare(self) -> None:
        """The journal address."""
        found = self.wizard.mailbox()
        self._address = found.address if found else ""

    def question(self) -> Iterable[Widget]:
        """Where to send it, what has come, and what it was."""
        yield Text(_("Send yourself a mail now. Its journal report shows here within a minute or two."))
        name = self.wizard.progress.host_name
        yield labelled(_("Journal address"), self._address)
        if name:
            yield labelled(_("In the browser"), f"https://{name}/")
        yield Text(_("Waiting for the first journal report …"), "lead", id="state")
        yield Facts(id="report")

    def continue_words(self) -> str:
        """The last page."""
        return _("Finish set-up")

    def on_mount(self) -> None:
        """Look, again and again."""
        self._look()
        self.set_interval(POLL_SECONDS, self._look)

    @work(exclusive=True, group="looking")
    async def _look(self) -> None:
        try:
            now = await aside(self.wizard.box.arrivals)
            hit = await aside(self.wizard.box.latest) if now.messages else None
        except MailkeepError as error:
            self.say(error.message, "warn")
            return
        state = self.query_one("#state", Text)
        if not now.records:
            if now.deferred or now.refused:
                state.update(_refused(now))
            return
        if hit is None:
            state.update(_("The first journal report is here, and safe on the disk. It is being read …"))
            return
        state.update(_("✓ The first journal report has arrived. The archive is at work."))
        state.set_classes("-good")
        await self.query_one("#report", Facts).show(_facts(hit))

    def _finish(self) -> None:
        try:
            self.wizard.remember(self.step, finished=True)
        except MailkeepError as error:
            self.say(error.message, "bad")
            return
        self.app.set_up()


def _refused(now: Arrivals) -> str:
    return _(
        "Mail came, and none was taken: {deferred} put off, {refused} refused. Is it sent to the address above?"
    ).format(deferred=now.deferred, refused=now.refused)


def _facts(hit: api.Hit) -> list[tuple[str, str]]:
    return [
        (_("From"), ", ".join(one.address for one in hit.from_)),
        (_("To"), ", ".join(one.address for one in hit.to)),
        (_("Subject"), hit.subject),
        (_("Date"), f"{datetime.fromtimestamp(hit.date).astimezone():%Y-%m-%d %H:%M}"),
    ]
