"""Services: the processes that the archive is made of, starting them anew, their logs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.host import processes, units
from appliance.language import _
from tui import words
from tui.page import key
from tui.place import Place
from tui.widgets.dialog import Show
from tui.widgets.form import Text
from tui.widgets.table import Column, Row, Table

LINES = 200


class Services(Place):
    """With systemd its units; elsewhere the processes that ``mailkeep serve`` runs."""

    NAME = "services"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("r", "restart", "Start anew", shown="R"),
        key("g", "logs", "Log", shown="G"),
        key("shift+g", "all_logs", "Log of all", shown="Shift+G"),
    ]
    AUTO_FOCUS = "Table"

    _units: dict[str, units.Unit]
    _by_systemd = True

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "Each part is a process of its own, with only the rights that it needs. To start the gateway anew refuses "
            "nobody: one process receives while the other is exchanged. Logs hold no mail and no addresses."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Text("", "hint", id="how")
        yield Table(
            Column(_("Part"), 14), Column(_("What it does")), Column(_("State"), 10), Column(_("Since"), 9, right=True),
            id="list", empty=_("Nothing runs."),
        )  # fmt: skip

    async def load(self) -> None:
        """See ``Place``."""
        self._by_systemd = await self.app.host.ask(units.available)
        self.query_one("#how", Text).update(
            _("systemd runs these.")
            if self._by_systemd
            else _("There is no systemd here: `mailkeep serve` runs these, and starts again what ends.")
        )
        table = self.query_one("#list", Table)
        if not self._by_systemd:
            self._units = {}
            running = await self.app.host.ask(processes.of, self.app.paths.data)
            table.show(
                [
                    Row(str(one.pid), (one.part, what_it_does(one.part), _("running"), words.span(one.seconds)))
                    for one in running
                ]
            )
            return
        found = await self.app.host.ask(units.states)
        self._units = {one.name: one for one in found}
        now = await self.app.host.ask(time.monotonic)
        table.show([_row(one, now) for one in found])

    # -- doing ------------------------------------------------------------------------------------------------

    def action_restart(self) -> None:
        """Start the part under the cursor anew."""
        self.do(self._restart)

    def action_logs(self) -> None:
        """The log of the part under the cursor."""
        self.do(lambda: self._logs(self._part()))

    def action_all_logs(self) -> None:
        """The log of all."""
        self.do(lambda: self._logs(""))

    async def on_data_table_row_selected(self) -> None:
        """Enter shows the log."""
        self.action_logs()

    def _part(self) -> str:
        one = self._units.get(self.query_one("#list", Table).chosen or "")
        return one.part if one else ""

    async def _restart(self) -> None:
        part = self._part()
        if not part:
            self.say(_("Without systemd, end `mailkeep serve` and start it again to start everything anew."), "warn")
            return
        what = {
            "gateway": _("Mail is received all the while: one process goes on until the other has begun."),
            "agent": _("The archive is locked then, unless the box unlocks itself. Mail is received all the while."),
            "archiver": _("For some seconds nobody can search or change anything. Mail is received all the while."),
            "web": _("For a moment the web page does not answer. Nobody is signed out."),
        }.get(part, _("It ends in order and begins again. Mail is received all the while."))
        if await self.sure(_("Start “{part}” anew?").format(part=part), what, yes=_("Start anew")):
            await self.note_act("service.restart", part)
            self.say(_("{part} is started anew …").format(part=part))
            await self.app.host.ask(units.restart, part)
            self.say(_("{part} runs again.").format(part=part), "good")
            self.action_reload()

    async def _logs(self, part: str) -> None:
        if not self._by_systemd:
            self.say(_("Without systemd the log is what `mailkeep serve` writes to its terminal."), "warn")
            return
        found = await self.app.host.ask(units.logs, part, lines=LINES)
        lines = [
            f"{datetime.fromtimestamp(one.at / 1e6).astimezone():%d.%m. %H:%M:%S} {one.part} {one.level}: {one.text}"
            for one in reversed(found)
        ]
        await self.app.push_screen_wait(
            Show(
                _("Log of {part}, newest first").format(part=part) if part else _("Log of all, newest first"),
                ("\n".join(lines) or _("It is empty."), ""),
                large=True,
            )
        )


def what_it_does(part: str) -> str:
    """What a part is for, in a few words."""
    return {
        "agent": _("holds the keys"), "archiver": _("answers, keeps settings, signs"),
        "projector": _("makes mail searchable"), "replicator": _("copies to the remotes"),
        "collector": _("fetches mail"),
        "gateway": _("receives mail (SMTP)"), "pop3": _("lets mailboxes be pulled"), "web": _("the web page"),
        "redirect": _("sends browsers to HTTPS"), "rclone": _("talks to the remotes"),
        "extract": _("reads mail, confined"), "supervisor": _("starts the others"),
    }.get(part, "")  # fmt: skip


def _row(one: units.Unit, now: float) -> Row:
    state = {
        "running": _("running"), "starting": _("starting"), "stopping": _("stopping"), "stopped": _("stopped"),
        "failed": _("failed"),
    }[one.state]  # fmt: skip
    kind = {"running": "", "failed": "bad", "stopped": "faint"}.get(one.state, "warn")
    since = words.span(now - one.since / 1e6) if one.since else "–"
    name = one.name.removeprefix("mailkeep-").removesuffix(".service")
    return Row(one.name, (name, what_it_does(one.part) or one.description, state, since), kind)
