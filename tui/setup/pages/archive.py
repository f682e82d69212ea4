"""Step 5: the archive. Its passphrase, its recovery key on paper and typed back, and then it is started."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from appliance.errors import KeyringError, UsageError
from appliance.language import _
from appliance.services.setup import checks, making
from appliance.services.setup.checks import Finding
from appliance.services.unlock import unlocks_itself
from tui.setup.wizard import StepPage, Wizard, aside
from tui.widgets.form import Buttons, Choice, Field, Text, WrongAnswerError

_GROUPS_A_LINE, _WORDS_A_LINE = 4, 6


def first_archive_page(wizard: Wizard) -> StepPage:
    """A new archive, or, where it is there already, starting and opening it."""
    made = wizard.progress.archive == "made" and wizard.paths.keyring.exists()
    return OpenPage(wizard) if made else PassphrasePage(wizard)


class PassphrasePage(StepPage):
    """A passphrase, twice, and whether the box may start without it."""

    step = "archive"
    marks_done = False

    def question(self) -> Iterable[Widget]:
        """The two fields and the choice."""
        if self.wizard.progress.archive == "making":
            yield Text(
                _("The recovery key was not typed back last time, so the archive, still empty, is made anew."), "hint"
            )
        yield Field(
            _("Passphrase"), id="passphrase", value=self.wizard.passphrase, secret=True,
            hint=_("At least 12 characters; a few unrelated words are good."),
        )  # fmt: skip
        yield Field(_("The same again"), id="again", value=self.wizard.passphrase, secret=True)
        yield Text(_("After a restart the archive"), "label")
        yield Choice(
            [
                ("asks", _("waits for the passphrase"), _("Mail comes in. A stolen disk opens nothing.")),
                (
                    "itself",
                    _("opens by itself"),
                    _("Nobody is needed. Who takes the box reads the mail."),
                ),
            ],
            id="restart",
        )

    async def apply(self) -> None:
        """Make the archive. It counts when the recovery key was typed back."""
        passphrase = self.field("passphrase").value
        try:
            making.require_good_passphrase(passphrase)
        except UsageError as error:
            raise WrongAnswerError("passphrase", error.message) from error
        if passphrase != self.field("again").value:
            raise WrongAnswerError("again", _("The two are not the same."))
        itself = self.query_one("#restart", Choice).value == "itself"
        self.wizard.progress, self.wizard.recovery_key = await aside(
            making.begin, self.wizard.paths, self.wizard.progress, passphrase=passphrase, unlocks_itself=itself
        )
        self.wizard.passphrase = passphrase

    def following(self) -> StepPage:
        """The recovery key."""
        return RecoveryKeyPage(self.wizard)


class RecoveryKeyPage(StepPage):
    """The recovery key in groups, in words, and, by a key where the screen can draw it, as a QR code."""

    step = "archive"
    marks_done = False

    def body(self) -> Iterable[Widget]:
        """Only the key: it has to fit on the smallest screen."""
        groups, words = self.wizard.recovery_key.split("-"), making.words(self.wizard.recovery_key)
        yield Text(
            _("Recovery key: write it down now. Without it and the passphrase nobody reads the mail again."), "lead"
        )
        yield Text(
            "\n".join(" - ".join(groups[at : at + _GROUPS_A_LINE]) for at in range(0, len(groups), _GROUPS_A_LINE)),
            "mono",
        )
        yield Text(_("or, which is the same, in words:"))
        yield Text(
            "\n".join(" ".join(words[at : at + _WORDS_A_LINE]) for at in range(0, len(words), _WORDS_A_LINE)), "mono"
        )
        yield Text(_("Keep the paper away from this box. The key is shown this once."), "hint")
        yield Buttons(("go_on", _("I have written it down"), "main"))

    def as_qr(self) -> tuple[str, str]:
        """The key."""
        return self.wizard.recovery_key, _("Recovery key")

    def following(self) -> StepPage:
        """Typing it back."""
        return TypeBackPage(self.wizard)

    def preceding(self) -> StepPage:
        """Back to the passphrase; a new key comes then."""
        return PassphrasePage(self.wizard)

    async def _applied(self) -> bool:
        return True


class TypeBackPage(StepPage):
    """Proof that it was written down; then the archive counts and is started."""

    step = "archive"

    def question(self) -> Iterable[Widget]:
        """One field."""
        yield Text(_("Type the recovery key from your paper: its groups (the hyphens do not matter), or its words."))
        yield Field(_("Recovery key"), id="typed", hint=_("Esc shows it again."))

    async def apply(self) -> None:
        """Compare, start, open."""
        wizard = self.wizard
        if wizard.progress.archive != "made":
            typed = self.field("typed").value
            try:
                wizard.progress = await aside(
                    making.confirm, wizard.paths, wizard.progress, key=wizard.recovery_key, typed=typed
                )
            except KeyringError as error:
                raise WrongAnswerError("typed", error.message) from error
            wizard.recovery_key = ""
        self.say(_("The archive is being started …"))
        await aside(wizard.runtime.start)
        await aside(wizard.box.unlock, wizard.passphrase)
        await aside(wizard.box.await_open)
        wizard.passphrase = ""

    async def test(self) -> list[Finding]:
        """Whether its ports answer."""
        return await aside(checks.listens, self.wizard.paths)

    def preceding(self) -> StepPage:
        """The key again, as long as it does not count yet."""
        return RecoveryKeyPage(self.wizard) if self.wizard.recovery_key else first_archive_page(self.wizard)


class OpenPage(StepPage):
    """The archive is there; it is started and, where it does not open by itself, its passphrase is asked for."""

    step = "archive"

    def prepare(self) -> None:
        """Whether it takes a passphrase."""
        self._asks = not (unlocks_itself(self.wizard.paths) or self._is_open())

    def question(self) -> Iterable[Widget]:
        """The passphrase, where it takes one."""
        yield Text(_("The archive is made."), "good")
        if self._asks:
            yield Field(
                _("Passphrase"), id="passphrase", secret=True, hint=_("It opens the archive, so that set-up goes on.")
            )

    def _is_open(self) -> bool:
        return self.wizard.runtime.is_running() and self.wizard.box.is_unlocked()

    async def apply(self) -> None:
        """Start and open it."""
        self.say(_("The archive is being started …"))
        await aside(self.wizard.runtime.start)
        if self._asks and not await aside(self.wizard.box.is_unlocked):
            try:
                await aside(self.wizard.box.unlock, self.field("passphrase").value)
            except KeyringError as error:
                raise WrongAnswerError("passphrase", error.message) from error
        await aside(self.wizard.box.await_open)

    async def test(self) -> list[Finding]:
        """Whether its ports answer."""
        return await aside(checks.listens, self.wizard.paths)
