"""The system: what this box is, the doctor, a support bundle, and switching the machine off or on again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.framing import words_of
from appliance.host import clock, hostname, network, power
from appliance.language import _
from appliance.services import api
from tui import words
from tui.page import key
from tui.place import Place
from tui.screens import bundle
from tui.screens.doctor import Doctor
from tui.widgets.form import Facts

PAUSE = 0.5
"""Seconds between two looks at a support bundle that is being made."""


class System(Place):
    """Facts of the machine; the keys do the rest."""

    NAME = "system"
    EVERY = 15.0
    BINDINGS: ClassVar[list[BindingType]] = [
        key("d", "doctor", "Doctor", shown="D"),
        key("b", "bundle", "Support bundle", shown="B"),
        key("r", "restart", "Restart", shown="R"),
        key("o", "off", "Switch off", shown="O"),
    ]
    AUTO_FOCUS = "Places"

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "The doctor looks at everything around the archive and says how to mend what is wrong. A support bundle "
            "holds states, numbers and logs without mail, names and secrets, for whoever helps you."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Facts(id="facts")

    async def load(self) -> None:
        """See ``Place``."""
        status = await self.app.box.call("status", api.Status)
        name = await self.app.host.ask(hostname.current)
        lines = await self.app.host.ask(network.current)
        time = await self.app.host.ask(clock.current)
        addresses = [address for one in lines.interfaces if one.up for address in one.addresses]
        await self.query_one("#facts", Facts).show(
            (
                ("mailkeep", status.version),
                (_("Host name"), name.name),
                (_("Addresses"), "\n".join(addresses) or "–"),
                (
                    _("Clock"),
                    f"{time.zone}, " + (_("synchronised") if time.synchronised else _("not synchronised: see Doctor")),
                ),
                (_("Running since"), words.moment(status.started_at)),
                (_("Data folder"), str(self.app.paths.data)),
                (_("Disk"), _("{free} free of {total}").format(
                    free=words.size(status.disk_free), total=words.size(status.disk_total))),
                (_("Signed in"), self.app.caller.name if self.app.caller else _("as who owns this terminal")),
            )
        )  # fmt: skip

    # -- doing ------------------------------------------------------------------------------------------------

    def action_doctor(self) -> None:
        """Look at everything around the archive."""
        self.app.push_screen(Doctor())

    def action_bundle(self) -> None:
        """Write a support bundle to a file."""
        self.do(self._bundle)

    def action_restart(self) -> None:
        """Start the machine anew."""
        self.do(self._restart)

    def action_off(self) -> None:
        """Switch the machine off."""
        self.do(self._off)

    async def _bundle(self) -> None:
        given = await self.app.push_screen_wait(bundle.ask_for_file(self.app.now()))
        if given is None:
            return
        job = await self.app.box.call("support_begin", api.JobInfo)
        while job.finished_at is None:
            self.say(_("The support bundle is being made …"))
            await asyncio.sleep(PAUSE)
            job = await self.app.box.call("job", api.JobInfo, id=job.id)
        if job.state != "done":
            self.say(words_of(job.message, job.failure) or _("The support bundle was not made. Try again."), "bad")
            return
        self.say(await bundle.write(self.app.box, given["file"], "support_download", id=job.id), "good")

    async def _restart(self) -> None:
        await self._power(
            "restart",
            _("Start the machine anew?"),
            _(
                "Everything ends in order and begins again in about a minute. Mail servers try again by themselves. "
                "Unless the box unlocks itself, somebody has to type a passphrase then."
            ),
            _("Restart"),
        )

    async def _off(self) -> None:
        await self._power(
            "power-off",
            _("Switch the machine off?"),
            _(
                "Everything ends in order. Mail servers keep new mail and try again for some days. To switch it on "
                "again somebody has to press its button."
            ),
            _("Switch off"),
        )

    async def _power(self, act: str, question: str, what: str, yes: str) -> None:
        if reason := await self.app.host.ask(power.read_only):
            self.say(reason, "warn")
            return
        if await self.sure(question, what, yes=yes, danger=True):
            await self.note_act(act)
            self.say(_("It begins to end …"))
            await self.app.host.ask(power.restart if act == "restart" else power.power_off)
