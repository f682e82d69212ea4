"""A new remote: what its service asks for, a test that really connects, and only then is it added."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.cloud.backends import Backend
from appliance.language import _
from appliance.services import api
from appliance.services.setup import checks
from tui.adding import Adding
from tui.page import key
from tui.widgets.findings import Findings
from tui.widgets.form import Buttons
from tui.widgets.remote import free_name


class NewRemote(Adding):
    """The name of the remote that was added; None where the person thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [key("f2", "add", "Test and add"), key("f4", "test", "Test")]

    def __init__(self, backend: Backend, taken: Collection[str]) -> None:
        """``taken`` are the names of the remotes that there are."""
        super().__init__(backend, free_name(taken))
        self._type = backend.type
        self._busy = False

    def heading(self) -> str:
        """See ``Page``."""
        return _("A new remote")

    def lead(self) -> str:
        """See ``Adding``."""
        return _("What is copied is encrypted here; nobody there can read it.")

    def below(self) -> Iterable[Widget]:
        """What a test found."""
        yield Findings(id="findings")

    def buttons(self) -> Buttons:
        """See ``Adding``."""
        return Buttons(("add", _("Test and add"), "main"), ("test", _("Test")), ("back", _("Cancel")))

    def action_back(self) -> None:
        """Nothing is added."""
        if not self._busy:
            super().action_back()

    def action_test(self) -> None:
        """Try it, and stay."""
        self.do(self._test)

    async def add(self, name: str, options: dict[str, str]) -> bool:
        """Try it, and add it where that went well."""
        if self._busy or not await self._works(options):
            return False
        path = options.pop("path", "")
        await self.app.box.call("remote_add", api.RemoteInfo, name=name, type=self._type, options=options, path=path)
        return True

    async def _test(self) -> None:
        given = None if self._busy else self.given()
        if given is not None and await self._works(given[1]):
            self.say(_("The test went well."), "good")

    async def _works(self, options: dict[str, str]) -> bool:
        """Write, read, compare and delete there."""
        asked = {key: value for key, value in options.items() if key != "path"}
        path = options.get("path", "")
        self.say(_("A small file is written there, read back and deleted …"))
        self._busy = True
        try:
            tested = await self.app.box.call("remote_test", api.RemoteTested, type=self._type, options=asked, path=path)
        finally:
            self._busy = False
        await self.query_one(Findings).show(checks.remote(tested))
        if not tested.passed:
            self.say(_("This does not work yet, and nothing was added. Put it right and test again."), "bad")
        return tested.passed
