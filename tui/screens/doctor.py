"""The doctor: everything around the archive, one finding after the other, with how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import DataTable

from appliance.errors import MailkeepError
from appliance.language import _, ngettext
from appliance.services import doctoring
from appliance.services.paths import Paths
from appliance.services.running import RunningBox
from tui.page import Page, key
from tui.widgets.dialog import Show
from tui.widgets.form import Text
from tui.widgets.table import Column, Row, Table


class Doctor(Page[None]):
    """Looks when it is opened; left by Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "back", "Back"),
        key("f5", "look", "Look again"),
    ]
    AUTO_FOCUS = "Table"

    def heading(self) -> str:
        """See ``Page``."""
        return _("Doctor")

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Text("", id="summary")
        yield Table(Column("", 2), Column(_("What"), 18), Column(_("Finding")), id="list")
        yield Text(_("Enter shows a finding whole, and how to mend it."), "hint")

    def on_mount(self) -> None:
        """Look."""
        self.action_look()

    def action_look(self) -> None:
        """Look again."""
        self.do(self._look)

    def action_back(self) -> None:
        """To where one came from."""
        self.dismiss(None)

    async def _look(self) -> None:
        summary = self.query_one("#summary", Text)
        summary.update(_("Looking … this takes up to a minute."))
        summary.set_classes("-hint")
        found = await self.app.host.ask(examine, self.app.paths)
        self._found = dict(enumerate(found))
        bad = sum(one.state != "ok" for one in found)
        summary.update(
            ngettext("{count} thing to mend.", "{count} things to mend.", bad).format(count=bad)
            if bad
            else _("All is well.")
        )
        summary.set_classes("-warn" if bad else "-good")
        self.query_one("#list", Table).show(
            [
                Row(str(number), (_MARKS[one.state], one.what, one.text), _KINDS[one.state])
                for number, one in self._found.items()
            ]
        )

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter shows it whole."""
        one = self._found[int(str(event.row_key.value))]
        texts = [(one.text, "lead")]
        if one.mend:
            texts += [(_("How to mend it:"), "hint"), (one.mend, "")]
        self.app.push_screen(Show(one.what, *texts))


def examine(paths: Paths) -> tuple[doctoring.Finding, ...]:
    """All that the doctor finds; of an archive that is locked or does not run, what can be looked at without it."""
    try:
        box = RunningBox(paths.local_socket)
    except (OSError, MailkeepError):
        return tuple(doctoring.examine(paths))
    try:
        about = doctoring.subject(box)
    except MailkeepError:
        about = None
    finally:
        box.close()
    return tuple(doctoring.examine(paths, about))


_MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}
_KINDS = {"ok": "", "warning": "warn", "problem": "bad"}
