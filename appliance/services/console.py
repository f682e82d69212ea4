"""What the box's own console asks beside what the command line may: who sits there, and what was done to the machine.

Whoever reaches the local socket may do everything anyhow. On a screen that anybody can walk up to, the console asks
an administrator to sign in and makes its calls with that session, so that the audit trail names the person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from appliance.errors import ForbiddenError
from appliance.language import later
from appliance.services import api, mailboxes
from appliance.services.archive import Archive
from appliance.services.identity import Identity
from appliance.services.principal import KEYHOLDER, Principal

CLIENT: str = "console"
"""Where somebody signed in, in the audit trail."""

MachineAct = Literal["power-off", "restart", "service.restart", "updates.look", "updates.install", "updates.unattended"]
"""What an administrator does to the machine, and not to the archive."""


class ConsoleServices:
    """The services for the console of one open archive."""

    def __init__(self, archive: Archive, identity: Identity) -> None:
        self._archive = archive
        self._identity = identity

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "console_sign_in": self.sign_in,
            "console_sign_out": self.sign_out,
            "machine_act": self.machine_act,
            "host_name": self.host_name,
        }

    def speaker(self, principal: Principal, session: str) -> Principal:
        """Who makes a call on the local socket: whose session it is, or, without one, who connected.

        A person has their own roles there, and may handle the keys if who connected may. Raises SignInError.
        """
        if not session:
            return principal
        person = self._identity.principal(session, CLIENT)
        return msgspec.structs.replace(person, roles=person.roles | (principal.roles & {KEYHOLDER}))

    def sign_in(self, _principal: Principal, *, address: str, password: str, totp: str = "") -> api.SignedIn:
        """A session for an administrator. Raises SignInError, ForbiddenError for who is none."""
        signed_in = self._identity.sign_in(address=address, password=password, totp=totp, client=CLIENT)
        if "admin" not in signed_in.caller.roles:
            self._identity.sign_out(self._identity.principal(signed_in.token, CLIENT))
            raise ForbiddenError(
                later("Only administrators sign in here. Your own mail is on the web page of this box.")
            )
        return signed_in

    def sign_out(self, principal: Principal) -> None:
        """End the session with which this is asked."""
        if principal.session:
            self._identity.sign_out(principal)

    def host_name(self, _principal: Principal) -> str:
        """The name that the archive goes by, on certificates and in addresses of pages."""
        return mailboxes.hostname(self._archive)

    def machine_act(self, principal: Principal, *, act: MachineAct, what: str = "") -> None:
        """Write down what an administrator is about to do to the machine itself."""
        principal.require("admin")
        self._archive.note(principal, f"machine.{act}", what)
