"""Mailboxes: the doors that mail servers send journal reports to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.language import _
from appliance.services import api
from tui import words
from tui.page import key
from tui.place import FactsPlace
from tui.screens.overview import state_of_mailbox
from tui.widgets.dialog import Ask, Asked, Show
from tui.widgets.form import Facts, Text
from tui.widgets.table import Column, Row, Table


class Mailboxes(FactsPlace[api.MailboxInfo]):
    """The list, and what is known of the one under the cursor."""

    NAME = "mailboxes"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("n", "new", "New", shown="N"),
        key("s", "suspend", "Suspend", shown="S"),
        key("a", "address", "Address", shown="A"),
        key("i", "instructions", "Instructions", shown="I"),
        key("o", "profiles", "Profiles", shown="O"),
    ]

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "A mailbox is a door for mail with an address and keys of its own. A suspended mailbox puts mail off: mail "
            "servers keep it and try again. The instructions say what to type into Exchange, Google and others."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Text(_("Mail servers send their journal reports to these addresses."), "hint")
        yield Table(
            Column(_("Address")), Column(_("Name"), 18, wide_only=True), Column(_("State"), 17),
            Column(_("Last report"), 15), Column(_("Messages"), 10, right=True, wide_only=True),
            id="list", empty=_("No mailbox yet. Make one with N."),
        )  # fmt: skip
        yield Facts(id="facts")

    async def load(self) -> None:
        """See ``Place``."""
        found = await self.app.box.call("mailboxes", tuple[api.MailboxInfo, ...])
        self.known = {one.id: one for one in found}
        now = self.app.now()
        self.query_one("#list", Table).show(
            [
                Row(
                    one.id,
                    (
                        one.address, one.name, state_of_mailbox(one), words.ago(one.last_at, now),
                        words.number(one.records),
                    ),
                    "" if one.state == "active" else "warn" if one.state == "suspended" else "faint",
                )
                for one in sorted(found, key=lambda one: one.address)
            ]
        )  # fmt: skip
        await self.show_facts()

    def facts(self, one: api.MailboxInfo) -> Iterable[tuple[str, str]]:
        """See ``FactsPlace``."""
        keeping = _("for ever") if not one.retention_days else words.span(one.retention_days * 86_400)
        return (
            (_("Name"), one.name),
            (
                _("Messages"),
                _("{count}, {size}").format(count=words.number(one.records), size=words.size(one.bytes)),
            ),
            *(
                [(_("First and last"), f"{words.moment(one.first_at)} – {words.moment(one.last_at)}")]
                if one.last_at
                else []
            ),
            (_("Kept"), keeping),
            (_("Also takes"), ", ".join((*one.aliases, *(f"*@{domain}" for domain in one.catch_all))) or "–"),
            (_("Only from"), ", ".join(one.networks) or _("anywhere")),
            (_("TLS"), _("required") if one.tls_required else _("used where offered")),
        )

    def action_profiles(self) -> None:
        """From where mail is fetched."""
        self.app.go_to("profiles")

    # -- doing ------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Make a mailbox."""
        self.do(self._new)

    def action_suspend(self) -> None:
        """Suspend the mailbox, or let it go on."""
        self.do(self._suspend)

    def action_address(self) -> None:
        """Give the mailbox another address."""
        self.do(self._address)

    def action_instructions(self) -> None:
        """What to type into mail servers."""
        self.do(self._instructions)

    async def on_data_table_row_selected(self) -> None:
        """Enter shows the instructions, which are what a mailbox is most often opened for."""
        self.action_instructions()

    async def _new(self) -> None:
        given = await self.app.push_screen_wait(
            Ask(
                _("A new mailbox"),
                (
                    Asked("name", _("Name"), hint=_("For people, such as Journal of the head office")),
                    Asked(
                        "address", _("Address"),
                        hint=_("@archive.example.com makes one that nobody can guess"),
                    ),
                    Asked(
                        "sealed", _("Who can open its mail?"), value="open",
                        answers=(
                            ("open", _("The archive"), _("its mail is searched and shown to its owners")),
                            ("sealed", _("Only who has its password (sealed)"), _("no search; lost with the password")),
                        ),
                    ),
                ),
                yes=_("Make it"),
            )
        )  # fmt: skip
        if given is None:
            return
        made = await self.app.box.call(
            "mailbox_create", api.MailboxCreated, name=given["name"], address=given["address"],
            sealed=given["sealed"] == "sealed",
        )  # fmt: skip
        await self.app.push_screen_wait(
            Show(
                _("The mailbox is there"),
                (_("Mail for {address} is taken from now on.").format(address=made.mailbox.address), "lead"),
                (_("Its password, for programs that fetch its mail. It is shown this once: write it down."), ""),
                (made.password, "mono"),
                close=_("I have written it down"),
            )
        )
        self.action_reload()

    async def _suspend(self) -> None:
        one = self.chosen()
        if one is None:
            return
        if one.state == "active":
            question = _("Suspend {address}?").format(address=one.address)
            what = _(
                "Mail to it is put off: mail servers keep it and try again, for some days as a rule. After that they "
                "give it back to its senders. What is kept already stays."
            )
            state, yes = "suspended", _("Suspend")
        else:
            question = _("Take mail for {address} again?").format(address=one.address)
            what = _("Mail servers deliver what they kept when they try the next time.")
            state, yes = "active", _("Resume")
        if await self.sure(question, what, yes=yes):
            await self.app.box.call("mailbox_change", api.MailboxInfo, id=one.id, state=state)
            self.say(_("{address} is changed.").format(address=one.address), "good")
            self.action_reload()

    async def _address(self) -> None:
        one = self.chosen()
        if one is None:
            return
        given = await self.app.push_screen_wait(
            Ask(
                _("Another address for {address}").format(address=one.address),
                (Asked("address", _("Address"), value=one.address),),
                what=_(
                    "Mail to the old address is put off for 30 days, with an alarm, so that nothing is lost while you "
                    "change the journal rule."
                ),
                yes=_("Change it"),
            )
        )
        if given is not None:
            await self.app.box.call("mailbox_change", api.MailboxInfo, id=one.id, address=given["address"])
            self.say(_("The mailbox has the address {address} now.").format(address=given["address"]), "good")
            self.action_reload()

    async def _instructions(self) -> None:
        one = self.chosen()
        if one is None:
            return
        texts = await self.app.box.call("mailbox_setup", tuple[api.SetupText, ...], id=one.id)
        given = await self.app.push_screen_wait(
            Ask(
                _("Instructions for {address}").format(address=one.address),
                (
                    Asked(
                        "which", _("Which mail server sends the journal reports?"), value="0",
                        answers=tuple((str(i), text.title, "") for i, text in enumerate(texts)),
                    ),
                ),
                yes=_("Show"),
            )
        )  # fmt: skip
        if given is not None:
            text = texts[int(given["which"])]
            steps = ((f"{number}. {step}", "") for number, step in enumerate(text.steps, 1))
            await self.app.push_screen_wait(Show(text.title, *steps))
