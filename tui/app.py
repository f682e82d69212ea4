"""The console: which page comes next, who it speaks for, how it looks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.traceback import Traceback
from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services import api, setup
from appliance.services.paths import Paths
from tui import theme
from tui.box import ArchiverBox, Box
from tui.host import Host, ThisMachine
from tui.page import key
from tui.place import PLACES, Place
from tui.screens import place
from tui.widgets.qr import BLOCKS

log = logging.getLogger(__name__)

IDLE_SECONDS = 15 * 60
"""After so long without a key, somebody who signed in is signed out again."""


class Console(App[None]):
    """The console of one data folder.

    What it shows first: the set-up where that is not finished; a word and a way to start where nothing answers; the
    lock; with ``sign_in`` a sign-in; then the overview. Each page that ends one of those calls ``go_on``.
    """

    CSS_PATH = Path(__file__).with_name("console.tcss")
    TITLE = "mailkeep"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (132, "-wide")]  # noqa: RUF012 - declared so by Textual
    BINDINGS: ClassVar[list[BindingType]] = [
        key("f10", "quit", "Quit", show=False),
        key("ctrl+q", "quit", "Quit", show=False),
    ]

    def __init__(
        self, paths: Paths, *, sign_in: bool = False, plain: bool | None = None, box: Box | None = None,
        host: Host | None = None, now: Callable[[], float] = time.time, font: frozenset[str] | None = None,
    ) -> None:  # fmt: skip
        """``plain`` None takes the look that fits the terminal; ``sign_in`` asks who is there first; ``font`` are the
        characters that the terminal can draw, None where it cannot tell."""
        self.plain = theme.is_plain() if plain is None else plain
        self.shows_qr = not self.plain if font is None else font >= frozenset(BLOCKS)
        """Whether a QR code can be drawn here."""
        super().__init__()
        self.paths = paths
        self.box: Box = ArchiverBox(paths) if box is None else box
        self.host: Host = ThisMachine() if host is None else host
        self.now = now
        self.place = os.uname().nodename
        """What the title bar calls this box."""
        self.caller: api.Caller | None = None
        """Who signed in, where somebody has to."""
        self.asks_who = sign_in
        """Whether somebody has to sign in here."""
        self._pressed = now()
        for one in theme.THEMES:
            self.register_theme(one)
        self.theme = theme.PLAIN if self.plain else theme.DARK
        if self.plain:
            self.set_class(True, "-plain")
            self._filters.append(theme.PlainScreen(font or frozenset()))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The style sheet's own variables."""
        return dict(theme.VARIABLES)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers on every page."""
        if isinstance(screen, Place):
            for _number, name, title in PLACES:
                yield SystemCommand(title(), _("Go to this place"), partial(screen.action_go, name))
            for _node, binding, enabled, _tip in screen.active_bindings.values():
                if binding.show and enabled and binding.action not in ("help", "leave"):
                    yield SystemCommand(
                        binding.description, screen.heading(), partial(screen.run_action, binding.action)
                    )
        yield SystemCommand(_("Quit"), _("Leave the console; mailkeep goes on running"), self.action_quit)
        if not self.plain:
            yield SystemCommand(_("Light or dark"), _("Change between the light and the dark look"), self._change_look)

    def _change_look(self) -> None:
        self.theme = theme.LIGHT if self.theme == theme.DARK else theme.DARK

    def get_key_display(self, binding: Binding) -> str:
        """How the footer names a key: as it stands on the keyboard."""
        return binding.key_display or super().get_key_display(binding).capitalize()

    def _fatal_error(self) -> None:
        """End after a fault of the console itself: where it is, not what was in its variables, such as secrets."""
        log.exception("the console has failed")  # on the box's own screen it is started again at once
        self._exit_renderables.append(Traceback(show_locals=False, width=None))
        self._close_messages_no_wait()

    def time_of_day(self) -> str:
        """The time, as the title bar shows it."""
        return f"{datetime.fromtimestamp(self.now()).astimezone():%H:%M}"

    # -- which page comes next --------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Begin."""
        self.go_on()
        self.set_interval(5.0, self._look_for_idleness)

    @work(exclusive=True, group="going on")
    async def go_on(self) -> None:
        """Show the page that is due now, in place of those before."""
        page = await self._due()
        while len(self.screen_stack) > 1:
            self.pop_screen()
        await self.push_screen(page)

    def set_up(self) -> None:
        """The set-up is finished."""
        self.go_on()

    def session_ended(self) -> None:
        """Whoever was signed in is so no more."""
        self.caller = None
        self.box.speak_for("")
        self.go_on()

    def needs_set_up(self) -> bool:
        """Whether there is no archive yet, or its set-up is not finished."""
        return setup.is_needed(self.paths)

    async def _due(self) -> Screen[None]:
        from tui.screens.away import Away
        from tui.screens.overview import Overview
        from tui.screens.sign_in import SignIn
        from tui.screens.unlock import Unlock

        if self.needs_set_up():
            from tui.setup.wizard import first_screen

            return first_screen(self, self.paths)
        try:
            lock = await self.box.call("lock_state", api.LockState)
        except MailkeepError as error:
            return Away(error.message)
        if not lock.unlocked:
            return Unlock(lock)
        if self.asks_who and self.caller is None:
            return SignIn()
        return Overview()

    # -- signed in --------------------------------------------------------------------------------------------

    def go_to(self, name: str) -> None:
        """Go to one of the places."""
        self.switch_screen(place(name))

    def leave(self) -> None:
        """Sign out where somebody is signed in, else leave the console."""
        if self.asks_who and self.caller is not None:
            self.sign_out()
        else:
            self.exit()

    def signed_in(self, who: api.SignedIn) -> None:
        """Speak for a person from now on."""
        self.caller = who.caller
        self.box.speak_for(who.token)
        self._pressed = self.now()
        self.go_on()

    async def on_event(self, event: object) -> None:
        """Take note that somebody is there."""
        from textual.events import Event, InputEvent

        if isinstance(event, InputEvent):
            self._pressed = self.now()
        assert isinstance(event, Event)
        await super().on_event(event)

    @work(group="signing out")
    async def sign_out(self) -> None:
        """End the session of who is signed in."""
        if self.caller is not None:
            with suppress(MailkeepError):  # else it ends by itself
                await self.box.call("console_sign_out", type(None))
            self.session_ended()

    def _look_for_idleness(self) -> None:
        if self.caller is not None and self.now() - self._pressed > IDLE_SECONDS:
            self.sign_out()
