"""Step 10: a remote for replicas, or later."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textual.widget import Widget

from appliance.cloud.backends import BACKENDS, Backend
from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, Wizard, WrongAnswerError, aside
from tui.widgets.form import Choice, Field, Text

NAME = "replica"


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
        """A field for each option. A long secret may be given as a file, by @ and its path."""
        yield Text(_(self._backend.title), "lead")
        if self._backend.help:
            yield Text(_(self._backend.help))
        for one in self._backend.fields:
            hints = [
                _(one.help) if one.help else "",
                _("Or @ and the path of a file with it.") if one.multiline else "",
            ]
            label = _(one.label)
            yield Field(
                label if one.required else _("{label} (if needed)").format(label=label), id=f"option-{one.key}",
                hint=" ".join(filter(None, hints)), secret=one.secret, placeholder=", ".join(one.choices),
            )  # fmt: skip

    async def apply(self) -> None:
        """Nothing yet: it is added once it was tested."""
        self._options = {one.key: self._value(one.key) for one in self._backend.fields}
        for one in self._backend.fields:
            if one.required and not self._options[one.key]:
                raise WrongAnswerError(f"option-{one.key}", _("This is needed."))
        self._path = self._options.pop("path", "")
        self._options = {key: value for key, value in self._options.items() if value}

    async def test(self) -> list[Finding]:
        """Write, read, compare and delete there; then it is added."""
        box = self.wizard.box
        try:
            tested = await aside(box.test_remote, type=self._backend.type, options=self._options, path=self._path)
            findings = checks.remote(tested)
            if checks.worst(findings) != "problem":
                name = await aside(self._free_name)
                await aside(box.add_remote, name=name, type=self._backend.type, options=self._options, path=self._path)
        except MailkeepError as error:
            return [Finding("problem", error.message)]
        return findings

    def preceding(self) -> StepPage:
        """The services."""
        return RemotePage(self.wizard)

    def _free_name(self) -> str:
        taken = {one.name for one in self.wizard.box.remotes()}
        return next(
            name
            for number in range(1, len(taken) + 2)
            if (name := f"{NAME}-{number}" if number > 1 else NAME) not in taken
        )

    def _value(self, key: str) -> str:
        value = self.field(f"option-{key}").value.strip()
        if not value.startswith("@"):
            return value
        try:
            return Path(value[1:]).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WrongAnswerError(f"option-{key}", _("{path} cannot be read.").format(path=value[1:])) from error
