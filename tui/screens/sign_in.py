"""Who is there: an administrator signs in before the box's own screen shows anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from appliance.errors import SignInError
from appliance.language import _
from appliance.services import api
from tui.page import Page, key
from tui.widgets.form import Buttons, Field, Heading, Text


class SignIn(Page[None]):
    """Address, password and, where there is one, the six digits of the authenticator app."""

    BINDINGS: ClassVar[list[BindingType]] = [key("f10", "app.quit", "Quit")]

    def heading(self) -> str:
        """See ``Page``."""
        return _("Sign in")

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Heading(_("Sign in as an administrator"))
        yield Field(_("Address"), id="address")
        yield Field(_("Password"), id="password", secret=True)
        yield Field(
            _("Six digits of the authenticator app"), id="totp", hint=_("Leave empty where you have none."), width=12
        )
        yield Buttons(("sign-in", _("Sign in"), "main"))
        yield Text(_("Mail is received whether somebody is signed in or not."), "hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes on to the next field, and signs in from the last."""
        if event.input.id == "address-input":
            self.query_one("#password", Field).input.focus()
        else:
            self.do(self._sign_in)

    def on_buttons_chosen(self) -> None:
        """The button."""
        self.do(self._sign_in)

    async def _sign_in(self) -> None:
        address, password, totp = (self.query_one(f"#{name}", Field) for name in ("address", "password", "totp"))
        for field in (address, password):
            field.wrong("")
        self.say(_("Signing in …"))
        try:
            who = await self.app.box.call(
                "console_sign_in", api.SignedIn, address=address.value, password=password.value, totp=totp.value
            )
        except SignInError as error:
            self.say("")
            totp.value = ""
            # A missing code is told apart by the service, which then keeps the password as right.
            password.wrong(error.message)
            return
        self.app.signed_in(who)
