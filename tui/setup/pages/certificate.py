"""Step 7: the certificate that mail servers and browsers see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textual import on
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import OptionList

from appliance.errors import MailkeepError
from appliance.framing import words_of
from appliance.language import _
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding
from tui.setup.wizard import StepPage, aside
from tui.widgets.confirm import Confirm
from tui.widgets.form import Choice, Field, WrongAnswerError


class CertificatePage(StepPage):
    """Self-signed, the administrator's own, or from an authority over the internet (ACME)."""

    step = "certificate"

    def prepare(self) -> None:
        """Where the one in use comes from."""
        self._now = self.wizard.box.certificate().source

    def question(self) -> Iterable[Widget]:
        """Three ways; the fields of the one the cursor is on."""
        yield Choice(
            [
                ("self-signed", _("Self-signed"), _("Enough for Exchange and Google. Browsers warn.")),
                ("acme", _("From Let's Encrypt, renewed by itself"),
                 _("Port 80 of this box has to be open to the internet.")),
                ("own", _("My own"), _("Certificate, chain and key in files on this box.")),
            ],
            id="source", value=self._now,
        )  # fmt: skip
        with _group("own"):
            yield Field(_("Files"), id="files", placeholder="/root/chain.pem /root/key.pem")
            yield Field(_("Password of the file, if it has one"), id="password", secret=True)
        with _group("acme"):
            yield Field(
                _("Your e-mail address"), id="contact", hint=_("The authority writes there when something is wrong.")
            )

    @on(OptionList.OptionHighlighted, "#source")
    def _show_fields(self) -> None:
        source = self.query_one("#source", Choice).value
        for one in ("own", "acme"):
            self.query_one(f"#for-{one}").display = one == source

    async def apply(self) -> None:
        """Put it in force; gateway and web take it without a restart."""
        box, source = self.wizard.box, self.query_one("#source", Choice).value
        now = await aside(box.certificate)
        match source:
            case "self-signed":
                if now.source != "self-signed":
                    await aside(box.self_signed)
            case "own":
                await self._own()
            case _:
                await self._order()

    async def _own(self) -> None:
        try:
            content = [Path(one).read_bytes() for one in self.field("files").value.split()]
        except OSError as error:
            raise WrongAnswerError("files", _("{path} cannot be read.").format(path=error.filename)) from error
        if not content:
            raise WrongAnswerError("files", _("Name at least one file."))
        try:
            await aside(self.wizard.box.own_certificate, content, self.field("password").value)
        except MailkeepError as error:
            raise WrongAnswerError("files", error.message) from error

    async def _order(self) -> None:
        box, contact = self.wizard.box, self.field("contact").value.strip()
        if "@" not in contact.strip("@"):
            raise WrongAnswerError("contact", _("Enter a full address, such as anna@example.com."))
        terms = await aside(box.acme_terms)
        question = Confirm(
            _("Do you agree to the authority's terms?"), terms or _("It has none."), yes=_("I agree"), no=_("No")
        )
        if not await self.app.push_screen_wait(question):
            raise WrongAnswerError("contact", _("Without agreeing there is no certificate from this authority."))
        self.say(_("The certificate is being ordered; this takes up to a minute …"))
        job = await aside(box.follow, await aside(box.acme, contact=contact))
        if job.state != "done":
            raise WrongAnswerError("contact", words_of(job.message, job.failure))

    async def test(self) -> list[Finding]:
        """A handshake as browsers and mail servers make it."""
        return await aside(checks.encrypts, self.wizard.paths, self.wizard.progress.host_name or "localhost")


def _group(name: str) -> Vertical:
    group = Vertical(id=f"for-{name}")
    group.styles.height = "auto"
    group.display = False
    return group
