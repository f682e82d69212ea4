"""The places of the daily console: pages with the list of all places at the left, whose numbers are their keys.

A place loads what it shows when it is opened, every few seconds after that, and when it has done something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Generic, TypeVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from appliance.errors import MailkeepError
from appliance.language import _
from tui.page import Page, key
from tui.widgets.confirm import Confirm
from tui.widgets.dialog import Show
from tui.widgets.form import Facts
from tui.widgets.table import Table

PLACES: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("1", "overview", lambda: _("Overview")),
    ("2", "mailboxes", lambda: _("Mailboxes")),
    ("3", "users", lambda: _("Users")),
    ("4", "jobs", lambda: _("Jobs")),
    ("5", "replicas", lambda: _("Replicas")),
    ("6", "keys", lambda: _("Keys")),
    ("7", "certificate", lambda: _("Certificate")),
    ("8", "services", lambda: _("Services")),
    ("9", "updates", lambda: _("Updates")),
    ("0", "system", lambda: _("System")),
)
"""Key, name and title of each place."""


class Places(OptionList):
    """The list at the left."""

    def __init__(self, here: str) -> None:
        super().__init__(*(Option(f"{number} {title()}", id=name) for number, name, title in PLACES), markup=False)
        self.highlighted = next(i for i, (_key, name, _title) in enumerate(PLACES) if name == here)


class Place(Page[None]):
    """One of the places. ``NAME`` is its name in ``PLACES``; ``load`` asks and shows."""

    NAME: ClassVar[str] = ""
    EVERY: ClassVar[float] = 5.0
    """Seconds between two loads."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(key(number, f"go('{name}')", name, show=False) for number, name, _title in PLACES),
        key("escape", "go('overview')", "Overview", show=False),
        key("f1", "help", "Help"),
        key("f5", "reload", "Reload", show=False),
        key("f10", "leave", "Leave"),
    ]

    def heading(self) -> str:
        """See ``Page``."""
        return next(title() for _key, name, title in PLACES if name == self.NAME)

    def side(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Places(self.NAME)

    async def load(self) -> None:
        """Ask what the place shows, and show it."""

    def help(self) -> str:
        """What the place is for, in a few sentences."""
        return ""

    def on_mount(self) -> None:
        """Begin to load."""
        self.action_reload()
        self.set_interval(self.EVERY, self._again)

    def _again(self) -> None:
        if self.is_current:
            self.action_reload()

    def action_reload(self) -> None:
        """Load now."""
        self.run_worker(self._load(), group="loading", exclusive=True)

    async def _load(self) -> None:
        with self.telling():
            await self.load()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter in the list goes there."""
        if isinstance(event.option_list, Places) and event.option_id is not None:
            event.stop()
            self.action_go(event.option_id)

    def action_go(self, name: str) -> None:
        """Go to the place with that name."""
        if name != self.NAME:
            self.app.go_to(name)

    def action_help(self) -> None:
        """What the place is for, and its keys."""
        keys = [
            (binding.description, self.app.get_key_display(binding))
            for _node, binding, enabled, _tip in self.active_bindings.values()
            if binding.show and enabled
        ]
        lines = "\n".join(f"{shown:<8} {_(words)}" for words, shown in keys)
        general = _(
            "1 to 0   a place of the list at the left\n"
            "Tab      to the next part of the page, Shift+Tab back\n"
            "Enter    opens what the cursor is on\n"
            "Esc      back\n"
            "F5       asks again\n"
            "Ctrl+P   finds a command by its name"
        )
        self.app.push_screen(Show(self.heading(), (self.help(), ""), (f"{lines}\n{general}", "mono")))

    def action_leave(self) -> None:
        """Sign out, or leave the console."""
        self.app.leave()

    # -- asking before doing ----------------------------------------------------------------------------------

    async def sure(self, question: str, what: str, *, yes: str, danger: bool = False) -> bool:
        """Whether the person wants it. Only within ``do``."""
        return await self.app.push_screen_wait(Confirm(question, what, yes=yes, danger=danger))

    async def note_act(self, act: str, what: str = "") -> None:
        """Write into the audit trail what is about to be done to the machine. A locked archive cannot: the journal of
        the system has it anyhow."""
        try:
            await self.app.box.call("machine_act", type(None), act=act, what=what)
        except MailkeepError as error:
            if error.code not in ("locked", "unavailable"):
                raise


T = TypeVar("T")


class ListPlace(Place, Generic[T]):
    """A place with one table, ``#list``, of things that are known by their rows' keys."""

    AUTO_FOCUS = "Table"

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, T] = {}
        """What was loaded last."""

    def chosen(self) -> T | None:
        """What the cursor is on."""
        return self.known.get(self.query_one("#list", Table).chosen or "")


class FactsPlace(ListPlace[T]):
    """A list, and below it, in ``#facts``, what is known of the one under the cursor."""

    def facts(self, one: T) -> Iterable[tuple[str, str]]:
        """Name and value of each fact."""
        raise NotImplementedError

    async def show_facts(self) -> None:
        """Show those of the one under the cursor; to be called once the list has been shown."""
        one = self.chosen()
        await self.query_one("#facts", Facts).show(() if one is None else tuple(self.facts(one)))

    async def on_data_table_row_highlighted(self) -> None:
        """Another one under the cursor."""
        await self.show_facts()
