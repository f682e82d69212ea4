"""Step 8: the first journal mailbox, and its password, shown once."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services import api
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, Wizard, aside, labelled
from tui.widgets.form import Field, Text, WrongAnswerError


def first_mailbox_page(wizard: Wizard) -> StepPage:
    """The question; or, where there is a mailbox, what it is."""
    found = wizard.mailbox()
    return AddressPage(wizard) if found is None else MailboxPage(wizard, found)


class AddressPage(StepPage):
    """The address, or only its domain."""

    step = "mailbox"
    marks_done = False

    def question(self) -> Iterable[Widget]:
        """One field."""
        yield Text(
            _(
                "Mail servers send a copy of each mail to this address. Nobody else should know it: give only the "
                "domain, and a local part is made up that nobody guesses."
            )
        )
        name = self.wizard.progress.host_name
        yield Field(
            _("Domain, or whole address"), id="address", value=name if "." in name.strip(".") else "",
            placeholder="archive.example.com", hint=_("A domain of its own, not the one that people's mail goes to."),
        )  # fmt: skip

    async def apply(self) -> None:
        """Create it."""
        address = self.field("address").value.strip()
        address = address if "@" in address else f"@{address}"
        try:
            created = await aside(self.wizard.box.create_mailbox, name=_("Journal"), address=address)
        except MailkeepError as error:
            raise WrongAnswerError("address", error.message) from error
        self.wizard.remember(mailbox=created.mailbox.id)
        self.wizard.mailbox_password = created.password

    def following(self) -> StepPage:
        """What was made."""
        return first_mailbox_page(self.wizard)


class MailboxPage(StepPage):
    """The address to be used, and the password that opens the mailbox's mail, if it was made just now."""

    step = "mailbox"

    def __init__(self, wizard: Wizard, mailbox: api.MailboxInfo) -> None:
        super().__init__(wizard)
        self._mailbox = mailbox

    def question(self) -> Iterable[Widget]:
        """Address and password."""
        password = self.wizard.mailbox_password
        yield labelled(_("Journal address"), self._mailbox.address)
        if password:
            yield labelled(_("Its password"), password)
            yield Text(
                _("The password fetches this mailbox's mail by POP3. It is shown once; a new one can be set later."),
                "hint",
            )

    async def test(self) -> list[Finding]:
        """Ask the mail port whether it takes mail for it, and the DNS where such mail goes."""
        self.wizard.remember(mailbox=self._mailbox.id)
        address = self._mailbox.address
        found = await aside(checks.takes_mail, self.wizard.paths, address)
        name = self.wizard.progress.host_name
        return found + (await aside(checks.routed_here, address, name) if name else [])

    def preceding(self) -> StepPage:
        """The mailbox is made: there is no way back to its question."""
        return self.wizard.page("certificate")
