"""Updates: what there is for this box, and installing it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.host import updates
from appliance.language import _, ngettext
from tui import words
from tui.page import key
from tui.place import Place
from tui.widgets.form import Facts, Text
from tui.widgets.table import Column, Row, Table


class Updates(Place):
    """The packages for which there is something newer."""

    NAME = "updates"
    EVERY = 30.0
    BINDINGS: ClassVar[list[BindingType]] = [
        key("k", "look", "Look", shown="K"),
        key("i", "install", "Install", shown="I"),
        key("u", "unattended", "By itself", shown="U"),
    ]
    AUTO_FOCUS = "Table"

    _now: updates.Updates | None = None

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "Updates of Debian and of mailkeep. Mail is received while they are installed. After a new kernel the box "
            "has to be started anew: that is under System."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Text("", id="summary")
        yield Facts(id="facts")
        yield Table(
            Column(_("Package")), Column(_("Installed"), 16), Column(_("Available"), 16), Column(_("Security"), 10),
            id="list", empty=_("Everything is as new as it can be."),
        )  # fmt: skip

    async def load(self) -> None:
        """See ``Place``."""
        now = self._now = await self.app.host.ask(updates.current)
        installing = await self.app.host.ask(updates.is_installing)
        text, kind = _summary(now, installing=installing)
        summary = self.query_one("#summary", Text)
        summary.update(text)
        summary.set_classes(f"-{kind}")
        await self.query_one("#facts", Facts).show(
            (
                ("mailkeep", now.mailkeep),
                (_("Looked for"), words.ago(now.looked_at, self.app.now())),
                (
                    _("Security updates"),
                    _("installed by themselves, last {ago}").format(ago=words.ago(now.unattended_at, self.app.now()))
                    if now.unattended else _("not by themselves"),
                ),
            )
        )  # fmt: skip
        self.query_one("#list", Table).show(
            [
                Row(
                    one.package, (one.package, one.installed, one.available, _("yes") if one.security else ""),
                    "warn" if one.security else "",
                )
                for one in sorted(now.packages, key=lambda one: (not one.security, one.package))
            ]
        )  # fmt: skip

    # -- doing ------------------------------------------------------------------------------------------------

    def action_look(self) -> None:
        """Ask the package servers."""
        self.do(self._look)

    def action_install(self) -> None:
        """Install all that there is."""
        self.do(self._install)

    def action_unattended(self) -> None:
        """Have security updates installed by themselves, or not."""
        self.do(self._unattended)

    def _may(self) -> bool:
        if self._now is not None and self._now.read_only:
            self.say(self._now.read_only, "warn")
            return False
        return self._now is not None

    async def _look(self) -> None:
        if self._may():
            await self.note_act("updates.look")
            self.say(_("Asking the package servers …"))
            await self.app.host.ask(updates.refresh)
            self.say("")
            self.action_reload()

    async def _install(self) -> None:
        if not self._may() or self._now is None:
            return
        count = len(self._now.packages)
        if not count:
            self.say(_("There is nothing to install. K looks for updates."))
            return
        question = ngettext("Install {count} update?", "Install {count} updates?", count).format(count=count)
        what = _(
            "This goes on also when you leave the console. Mail is received all the while; if mailkeep itself is among "
            "them, its parts are started anew one after the other."
        )
        if await self.sure(question, what, yes=_("Install")):
            await self.note_act("updates.install", " ".join(one.package for one in self._now.packages)[:1000])
            await self.app.host.ask(updates.install)
            self.say(_("The updates are being installed."), "good")
            self.action_reload()

    async def _unattended(self) -> None:
        if not self._may() or self._now is None:
            return
        on = not self._now.unattended
        question = (
            _("Install security updates by themselves?")
            if on
            else _("No longer install security updates by themselves?")
        )
        what = (
            _("Once a day Debian's security updates are installed. The box is never started anew without you.")
            if on
            else _("Known holes then stay open until somebody installs updates here.")
        )
        if await self.sure(question, what, yes=_("Switch on") if on else _("Switch off"), danger=not on):
            await self.note_act("updates.unattended", "on" if on else "off")
            await self.app.host.ask(updates.change_unattended, on)
            self.action_reload()


def _summary(now: updates.Updates, *, installing: bool) -> tuple[str, str]:
    if installing:
        return _("Updates are being installed."), "warn"
    if now.restart_needed:
        return _("The box has to be started anew for updates to be in force: under System."), "warn"
    if now.read_only:
        return now.read_only, "hint"
    security = sum(one.security for one in now.packages)
    if security:
        return (
            ngettext("{count} security update waits.", "{count} security updates wait.", security).format(
                count=security
            ),
            "warn",
        )
    if now.packages:
        return ngettext("{count} update waits.", "{count} updates wait.", len(now.packages)).format(
            count=len(now.packages)
        ), "hint"
    return _("Everything is as new as it can be."), "good"
