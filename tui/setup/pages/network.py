"""Step 3: the network. A change that cuts the person off is undone by itself."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import OptionList

from appliance.errors import MailkeepError, UsageError
from appliance.host import network
from appliance.language import _
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, aside
from tui.widgets.form import Buttons, Choice, Facts, Field, Heading, Text, WrongAnswerError

_FIELDS = ("address", "gateway", "dns")


class NetworkPage(StepPage):
    """What is set, and where this may be changed, how."""

    step = "network"

    def prepare(self) -> None:
        """What is set; where the system's tools do not tell, there is nothing to be changed either."""
        try:
            self._network = network.current()
        except MailkeepError as error:
            self._network = network.Network("none", (), error.message)

    def question(self) -> Iterable[Widget]:
        """Facts, and DHCP or fixed addresses."""
        found = self._network
        yield Facts((one.name, _shown(one)) for one in found.interfaces)
        if found.read_only:
            yield Text(found.read_only, "hint")
            return
        yield Choice(
            [
                ("keep", _("Leave it as it is"), ""),
                ("dhcp", _("Addresses from the network (DHCP)"), ""),
                ("static", _("A fixed address"), ""),
            ],
            id="how",
        )
        first = found.interfaces[0] if found.interfaces else None
        with Vertical(id="addresses") as fields:
            fields.styles.height = "auto"
            fields.display = False
            if len(found.interfaces) > 1:
                yield Choice([(one.name, one.name, "") for one in found.interfaces], id="interface")
            yield Field(_("Address with prefix length"), id="address", value=_first(first.addresses if first else ()),
                        placeholder="192.0.2.10/24")  # fmt: skip
            yield Field(
                _("Gateway"), id="gateway", value=_first(first.gateways if first else ()), placeholder="192.0.2.1"
            )
            yield Field(_("Name servers"), id="dns", value=" ".join(first.dns) if first else "",
                        placeholder="192.0.2.53 192.0.2.54")  # fmt: skip

    @on(OptionList.OptionHighlighted, "#how")
    def _show_fields(self) -> None:
        self.query_one("#addresses").display = self._how() == "static"

    def _how(self) -> str:
        found = self.query("#how")
        return self.query_one("#how", Choice).value if found else "keep"

    async def apply(self) -> None:
        """Try the change; keep it where the person, who still sees this, says so."""
        if self._how() == "keep" or not self._network.interfaces:
            return
        chosen = self.query("#interface")
        name = self.query_one("#interface", Choice).value if chosen else self._network.interfaces[0].name
        plan: network.Plan = network.Dhcp(name)
        if self._how() == "static":
            address, gateway, servers = (tuple(self.field(one).value.replace(",", " ").split()) for one in _FIELDS)
            try:
                plan = network.check(network.Static(name, address, gateway, servers))
            except UsageError as error:
                raise WrongAnswerError("address", error.message) from error
        trial = await aside(network.begin, plan)
        if await self.app.push_screen_wait(KeepNetwork(trial)):
            await aside(network.confirm, trial)
            self.query_one("#how", Choice).highlighted = 0
        else:
            await aside(network.undo, trial)
            raise WrongAnswerError("address", _("The change was taken back."))

    async def test(self) -> list[Finding]:
        """Addresses, the way out, name servers."""
        return await aside(checks.reached_network)


class KeepNetwork(ModalScreen[bool]):
    """Asks whether the changed network is to stay, while the time runs in which the machine would undo it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "undo", show=False)]

    def __init__(self, trial: network.Trial) -> None:
        super().__init__()
        self._trial = trial

    def compose(self) -> ComposeResult:
        """The question, and how long there is to answer."""
        with Vertical(classes="dialog"):
            yield Heading(_("The network is changed. Keep it so?"))
            yield Text("", id="left")
            yield Buttons(("undo", _("Take it back")), ("keep", _("Keep"), "main"))

    def on_mount(self) -> None:
        """Count down."""
        self._count()
        self.set_interval(1.0, self._count)

    def _count(self) -> None:
        left = round(self._trial.until - time.time())
        if left <= 0:
            self.dismiss(False)
            return
        self.query_one("#left", Text).update(
            _("Without an answer it is taken back by itself in {seconds} seconds.").format(seconds=left)
        )

    def on_buttons_chosen(self, event: Buttons.Chosen) -> None:
        """The answer."""
        self.dismiss(event.id == "keep")

    def action_undo(self) -> None:
        """As before."""
        self.dismiss(False)


def _shown(one: network.Interface) -> str:
    how = {True: "DHCP", False: _("fixed"), None: ""}[one.dhcp]
    addresses = ", ".join(one.addresses) or _("no address")
    through = f" → {', '.join(one.gateways)}" if one.gateways else ""
    return f"{addresses}{through}{f' ({how})' if how else ''}"


def _first(values: tuple[str, ...]) -> str:
    return values[0] if values else ""
