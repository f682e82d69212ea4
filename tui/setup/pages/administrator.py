"""Step 6: the first administrator."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from appliance.errors import UsageError
from appliance.language import _
from appliance.services.identity import SHORTEST_PASSWORD
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, aside
from tui.widgets.form import Field, Text, WrongAnswerError


class AdministratorPage(StepPage):
    """Name, address, password; or a word where there is one already."""

    step = "administrator"

    def prepare(self) -> None:
        """Whether there is one."""
        self._there = self.wizard.box.has_administrator()

    def question(self) -> Iterable[Widget]:
        """Four fields."""
        if self._there:
            yield Text(_("There is an administrator. Further ones are added in the browser."), "good")
            return
        yield Field(_("Name"), id="name", placeholder="Anna Admin")
        yield Field(_("E-mail address"), id="address", placeholder="anna@example.com", hint=_("To sign in with."))
        yield Field(
            _("Password"), id="password", secret=True,
            hint=_("At least {count} characters, and not the passphrase.").format(count=SHORTEST_PASSWORD),
        )  # fmt: skip
        yield Field(_("The same again"), id="again", secret=True)

    async def apply(self) -> None:
        """Create the person."""
        if self._there:
            return
        address, password = self.field("address").value.strip(), self.field("password").value
        if "@" not in address.strip("@"):
            raise WrongAnswerError("address", _("Enter a full address, such as anna@example.com."))
        if len(password) < SHORTEST_PASSWORD:
            raise WrongAnswerError("password", _("Choose at least {count} characters.").format(count=SHORTEST_PASSWORD))
        if password != self.field("again").value:
            raise WrongAnswerError("again", _("The two are not the same."))
        if await aside(self.wizard.box.has_administrator):
            return
        try:
            await aside(
                self.wizard.box.add_administrator,
                name=self.field("name").value.strip(),
                address=address,
                password=password,
            )
        except UsageError as error:
            raise WrongAnswerError("address", error.message) from error

    async def test(self) -> list[Finding]:
        """Sign in as the browser will."""
        if self._there:
            return []
        return await aside(
            checks.signs_in,
            self.wizard.paths,
            address=self.field("address").value.strip(),
            password=self.field("password").value,
        )
