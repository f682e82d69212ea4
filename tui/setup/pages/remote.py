"""Step 10: a remote for replicas, or later."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from appliance.cloud.backends import BACKENDS, Backend
from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, Wizard, aside
from tui.widgets.form import Choice, Text
from tui.widgets.remote import RemoteForm, free_name


class RemotePage(StepPage):
    """Which service."""

    step = "remote"
    marks_done = False

    def prepare(self) -> None:
        """The remotes that there are."""
        self._there = self.wizard.box.remotes()

    def question(self) -> Iterable[Widget]:
        """The services that the assistant knows."""
        for one in self._there:
            yield Text(_("The archive is replicated to “{name}”.").format(name=one.name), "good")
        yield Text(
            _("What is copied is encrypted here; nobody there can read it. Without it, all is gone with this box.")
        )
        choices = [(one.type, _(one.title), "") for one in BACKENDS]
        yield Choice([("", _("No other") if self._there else _("Later"), ""), *choices], id="type")

    def following(self) -> StepPage:
        """The fields of the service; or on, without."""
        known = {one.type: one for one in BACKENDS}
        chosen = self.query_one("#type", Choice).value
        if not chosen:
            self.wizard.remember(self.step)
            return self.wizard.page("finish")
        return OptionsPage(self.wizard, known[chosen])


class OptionsPage(StepPage):
    """What the service asks for."""

    step = "remote"

    def __init__(self, wizard: Wizard, backend: Backend) -> None:
        super().__init__(wizard)
        self._backend = backend

    def question(self) -> Iterable[Widget]:
        """What the service asks for."""
        yield RemoteForm(self._backend)

    async def apply(self) -> None:
        """Nothing yet: it is added once it was tested."""
        self._answers = self.query_one(RemoteForm).answers()

    async def test(self) -> list[Finding]:
        """Write, read, compare and delete there; then it is added."""
        box, type, (path, options) = self.wizard.box, self._backend.type, self._answers
        try:
            findings = checks.remote(await aside(box.test_remote, type=type, options=options, path=path))
            if checks.worst(findings) != "problem":
                name = free_name({one.name for one in await aside(box.remotes)})
                await aside(box.add_remote, name=name, type=type, options=options, path=path)
        except MailkeepError as error:
            return [Finding("problem", error.message)]
        return findings

    def preceding(self) -> StepPage:
        """The services."""
        return RemotePage(self.wizard)
