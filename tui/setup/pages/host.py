"""Step 2: the name of the box."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from appliance.errors import MailkeepError, UsageError
from appliance.host import hostname, network
from appliance.language import _
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, aside
from tui.widgets.form import Field, Text, WrongAnswerError


class HostPage(StepPage):
    """One whole name, as it stands in the DNS."""

    step = "host"

    def prepare(self) -> None:
        """The name that it has."""
        self._found = hostname.current()

    def question(self) -> Iterable[Widget]:
        """The name, to be changed."""
        found = self._found
        name = self.wizard.progress.host_name or (found.name if "." in found.name else "")
        yield Field(
            _("Host name"), id="name", value=name,
            placeholder="archive.example.com", hint=_("The whole name, as it stands or will stand in your DNS."),
        )  # fmt: skip
        if found.read_only:
            yield Text(
                _("mailkeep will go by this name; that of the system stays {name}.").format(name=found.name), "hint"
            )

    async def apply(self) -> None:
        """The system's name, where it may be changed, and the archive's."""
        try:
            name = hostname.check(self.field("name").value)
        except UsageError as error:
            raise WrongAnswerError("name", error.message) from error
        if not self._found.read_only and self._found.name != name:
            await aside(hostname.change, name)
        self.wizard.remember(host_name=name)
        if self.wizard.progress.archive == "made" and self.wizard.runtime.is_running():
            await aside(self.wizard.box.set_host_name, name)

    async def test(self) -> list[Finding]:
        """Whether the DNS knows it."""
        return await aside(checks.host, self.wizard.progress.host_name, await aside(own_addresses))


def own_addresses() -> list[str]:
    """The box's addresses without their prefix lengths; none where they cannot be told."""
    try:
        interfaces = network.current().interfaces
    except MailkeepError:
        return []
    return [address.split("/")[0] for one in interfaces for address in one.addresses]
