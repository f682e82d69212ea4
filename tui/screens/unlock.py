"""The archive is locked: the passphrase or the recovery key opens it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from appliance.errors import KeyringError
from appliance.language import _
from appliance.services import api
from tui.page import Page, key
from tui.screens import bundle
from tui.widgets.form import Buttons, Field, Heading, Text


class Unlock(Page[None]):
    """Asks for the secret and goes on when the archive is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("f2", "other", "Passphrase or recovery key"),
        key("f4", "bundle", "Support bundle"),
        key("f10", "app.quit", "Quit"),
    ]

    def __init__(self, lock: api.LockState) -> None:
        super().__init__()
        self._by_passphrase = lock.passphrase

    def heading(self) -> str:
        """See ``Page``."""
        return _("Locked")

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Heading(_("The archive is locked"))
        yield Text(
            _(
                "Mail is received and stored safely all the while. To read it, "
                "to search and to change anything, the archive has to be unlocked."
            )
        )
        yield Field(self._label(), id="secret", secret=True)
        yield Buttons(("unlock", _("Unlock"), "main"), ("other", _("Use the other secret")))

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Enter does it."""
        self.do(self._unlock)

    def on_buttons_chosen(self, event: Buttons.Chosen) -> None:
        """A button."""
        if event.id == "unlock":
            self.do(self._unlock)
        else:
            self.action_other()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While it is locked nobody can sign in: where somebody would have to, nobody writes files."""
        return not self.app.asks_who if action == "bundle" else super().check_action(action, parameters)

    def action_bundle(self) -> None:
        """Write a support bundle, as far as it can be made without the key."""
        self.do(self._bundle)

    async def _bundle(self) -> None:
        given = await self.app.push_screen_wait(bundle.ask_for_file(self.app.now()))
        if given is not None:
            self.say(_("The support bundle is being made …"))
            self.say(await bundle.write(self.app.box, given["file"], "support_write"), "good")

    def action_other(self) -> None:
        """The other of the two secrets."""
        self._by_passphrase = not self._by_passphrase
        field = self.query_one("#secret", Field)
        field.relabel(self._label())
        field.value = ""
        field.wrong("")
        field.input.focus()

    def _label(self) -> str:
        return _("Passphrase") if self._by_passphrase else _("Recovery key")

    async def _unlock(self) -> None:
        field = self.query_one("#secret", Field)
        secret, field.value = field.value, ""
        if not secret:
            field.wrong(_("Type the secret first."))
            return
        field.wrong("")
        self.say(_("Unlocking …"))
        try:
            await self.app.box.call(
                "unlock", api.LockState, **{"passphrase" if self._by_passphrase else "recovery_key": secret}
            )
        except KeyringError as error:
            self.say("")
            field.wrong(error.message)
            return
        self.app.go_on()
