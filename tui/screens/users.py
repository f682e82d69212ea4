"""Users: the people whose mail is kept, and their ways in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from appliance.language import _
from appliance.services import api
from tui import words
from tui.page import key
from tui.place import ListPlace
from tui.widgets.dialog import Ask, Asked, Show
from tui.widgets.form import Field, Text
from tui.widgets.table import Column, Row, Table

SHOWN = 200
"""Users on the page; who looks for others types a part of the name."""


class Users(ListPlace[api.UserInfo]):
    """The list, narrowed by what is typed above it."""

    NAME = "users"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("n", "new", "New", shown="N"),
        key("i", "invite", "Invite", shown="I"),
        key("d", "disable", "Disable", shown="D"),
        key("a", "archives", "Archives", show=False),  # in the help: a bare screen has no room for one more
        key("o", "directories", "Directory", shown="O"),
        key("slash", "find", "Find", shown="/"),
    ]

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "Each user is a person, or a shared mailbox, whose mail is kept in an archive of their own. An invitation "
            "is a one-time code with which a person sets a password. Who is disabled cannot sign in; the mail stays. "
            "With A you let somebody read another's archive, such as a deputy, and close it again."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Field(_("Name or address contains"), id="find")
        yield Table(
            Column(_("Name")), Column(_("Address")), Column(_("Role"), 8),
            Column(_("Sign-in"), 12), Column(_("Messages"), 10, right=True, wide_only=True),
            id="list", empty=_("Nobody is found."),
        )  # fmt: skip
        yield Text("", "hint", id="count")

    async def load(self) -> None:
        """See ``Place``."""
        page = await self.app.box.call(
            "users", api.UserPage, find=self.query_one("#find", Field).value.strip(), limit=SHOWN
        )
        self.known = {one.id: one for one in page.users}
        self.query_one("#list", Table).show(
            [
                Row(
                    one.id,
                    (one.name, one.primary, _role(one), _sign_in(one), words.number(one.messages)),
                    "" if one.state == "active" else "faint",
                )
                for one in page.users
            ]
        )
        self.query_one("#count", Text).update(
            _("{shown} of {total} users").format(shown=words.number(len(page.users)), total=words.number(page.total))
        )

    def on_input_changed(self, _event: Input.Changed) -> None:
        """Look for what is typed."""
        self.action_reload()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Enter goes to what was found."""
        self.query_one("#list", Table).focus()

    def action_find(self) -> None:
        """Type a part of a name."""
        self.query_one("#find", Field).input.focus()

    def action_directories(self) -> None:
        """Where users come from."""
        self.app.go_to("directories")

    # -- doing ------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Make a user."""
        self.do(self._new)

    def action_invite(self) -> None:
        """Make a code for the user under the cursor."""
        self.do(self._invite)

    def action_disable(self) -> None:
        """Keep the user from signing in, or allow it again."""
        self.do(self._disable)

    def action_archives(self) -> None:
        """Give the user another's archive to read, or take it away."""
        self.do(self._archives)

    def on_data_table_row_selected(self) -> None:
        """Enter shows the user."""
        self.do(self._show)

    async def _show(self) -> None:
        one = self.chosen()
        if one is None:
            return
        reads = await self.app.box.call("access_list", tuple[api.AccessInfo, ...], user=one.id)
        read_by = await self.app.box.call("access_list", tuple[api.AccessInfo, ...], whose=one.id)
        facts = (
            (_("Address"), one.primary),
            (_("Also"), ", ".join(one.aliases) or "–"),
            (_("Role"), _role(one)),
            (_("Sign-in"), _sign_in(one)),
            (_("Second factor"), _("on") if one.totp_enabled else _("off")),
            (_("Messages"), words.number(one.messages)),
            (_("May read"), ", ".join(other.archive_name for other in reads) or "–"),
            (_("Read by"), ", ".join(other.user_name for other in read_by) or "–"),
        )
        self.app.push_screen(Show(one.name, *((f"{name}: {value}", "") for name, value in facts)))

    async def _new(self) -> None:
        given = await self.app.push_screen_wait(
            Ask(
                _("A new user"),
                (
                    Asked("name", _("Name")),
                    Asked("primary", _("Address"), hint=_("Mail that was kept for it so far becomes theirs.")),
                    Asked("aliases", _("Other addresses"), hint=_("With commas between them"), needed=False),
                ),
                yes=_("Make it"),
            )
        )
        if given is None:
            return
        aliases = [one.strip() for one in given["aliases"].split(",") if one.strip()]
        made = await self.app.box.call(
            "user_create", api.UserInfo, name=given["name"], primary=given["primary"], aliases=aliases
        )
        self.action_reload()
        if await self.sure(
            _("Invite {name} now?").format(name=made.name),
            _("You get a code to hand over. With it the person sets a password on the web page of this box."),
            yes=_("Invite"),
        ):
            await self._hand_over(made)

    async def _invite(self) -> None:
        one = self.chosen()
        if one is None:
            return
        what = _("You get a code to hand over. With it the person sets a password on the web page of this box.")
        if one.sign_in == "password":
            what += " " + _("The person has a password already: the code replaces it.")
        elif one.sign_in == "invited":
            what += " " + _("The code given out before is void then.")
        if await self.sure(_("Invite {name}?").format(name=one.name), what, yes=_("Invite")):
            await self._hand_over(one)
            self.action_reload()

    async def _hand_over(self, user: api.UserInfo) -> None:
        (made,) = await self.app.box.call("user_invite", tuple[api.Invitation, ...], ids=[user.id])
        host = await self.app.box.call("host_name", str)
        await self.app.push_screen_wait(
            Show(
                _("An invitation for {name}").format(name=user.name),
                (_("Hand over these two. The code is shown this once."), ""),
                (f"https://{host}/welcome", "mono"),
                (made.code, "mono"),
                (_("Or both in one address:") + f"\nhttps://{host}/welcome#{made.code}", "hint"),
                (_("Good until {when}.").format(when=words.moment(made.expires_at)), "hint"),
                close=_("I have handed it over"),
            )
        )

    async def _archives(self) -> None:
        one = self.chosen()
        if one is None:
            return
        reads = await self.app.box.call("access_list", tuple[api.AccessInfo, ...], user=one.id)
        which = await self._which(one, reads) if reads else ""
        if which is None:
            return
        if which:
            await self.app.box.call("access_close", type(None), user=one.id, whose=which)
            self.say(_("{name} may not read it any more.").format(name=one.name), "good")
        else:
            await self._open(one)

    async def _which(self, one: api.UserInfo, reads: Iterable[api.AccessInfo]) -> str | None:
        """The id of the archive to close to the user, empty for one more to open, None for neither."""
        close = [(it.archive, _("Close the archive of {name}").format(name=it.archive_name), it.reason) for it in reads]
        given = await self.app.push_screen_wait(
            Ask(
                _("Archives that {name} may read").format(name=one.name),
                (Asked("which", "", answers=(("", _("Open one more"), ""), *close)),),
                yes=_("Go on"),
            )
        )
        return None if given is None else given["which"]

    async def _open(self, one: api.UserInfo) -> None:
        given = await self.app.push_screen_wait(
            Ask(
                _("An archive for {name} to read").format(name=one.name),
                (
                    Asked("address", _("Whose archive"), hint=_("An address of the user whose mail is in it")),
                    Asked("reason", _("Reason"), hint=_("It stays in the audit trail.")),
                ),
                yes=_("Open it"),
                what=_("{name} sees in it what its owner sees, and changes nothing. Each look is recorded.").format(
                    name=one.name
                ),
            )
        )
        if given is None:
            return
        owner = await self.app.box.call("user_by_address", api.UserInfo, address=given["address"])
        await self.app.box.call("access_open", api.AccessInfo, user=one.id, whose=owner.id, reason=given["reason"])
        self.say(_("{name} may read the archive of {owner}.").format(name=one.name, owner=owner.name), "good")

    async def _disable(self) -> None:
        one = self.chosen()
        if one is None:
            return
        if one.state == "active":
            question = _("Disable {name}?").format(name=one.name)
            what, yes, state = (
                _("The person is signed out and cannot sign in. The mail stays, and goes on coming in."),
                _("Disable"),
                "disabled",
            )
        else:
            question = _("Enable {name} again?").format(name=one.name)
            what, yes, state = _("The person can sign in again, with the password as before."), _("Enable"), "active"
        if await self.sure(question, what, yes=yes):
            await self.app.box.call("user_change", api.UserInfo, id=one.id, state=state)
            self.say(_("{name} is changed.").format(name=one.name), "good")
            self.action_reload()


def _role(user: api.UserInfo) -> str:
    if "admin" in user.roles and "auditor" in user.roles:
        return _("both")
    return _("admin") if "admin" in user.roles else _("auditor") if "auditor" in user.roles else "–"


def _sign_in(user: api.UserInfo) -> str:
    if user.state != "active":
        return _("disabled")
    return {"none": _("not yet"), "invited": _("invited"), "password": _("password")}[user.sign_in]
