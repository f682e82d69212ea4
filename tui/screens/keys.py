"""Keys: locking, how the archive is unlocked when the box starts, and the ways to the appliance key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.errors import MailkeepError
from appliance.language import _
from appliance.services import api
from tui import words
from tui.page import key
from tui.place import ListPlace
from tui.widgets.dialog import Ask, Asked, Show
from tui.widgets.form import Facts
from tui.widgets.table import Column, Row, Table


class Keys(ListPlace[api.SlotInfo]):
    """The lock and the slots."""

    NAME = "keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("l", "lock", "Lock", shown="L"),
        key("p", "passphrase", "New", shown="P"),
        key("u", "unattended", "Unlocking", shown="U"),
        key("k", "recovery", "Recovery", shown="K"),
        key("d", "remove", "Remove", shown="D"),
    ]

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "One appliance key opens all mail that is not in sealed mailboxes. Each slot is a way to it: a passphrase, "
            "the recovery key, a keyfile on this box. To add or remove one rewrites no mail. A locked archive goes on "
            "receiving mail, and shows none."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Facts(id="facts")
        yield Table(
            Column(_("Way to the key"), 31), Column(_("Name")), Column(_("Made"), 17, wide_only=True), id="list"
        )  # fmt: skip

    async def load(self) -> None:
        """See ``Place``."""
        status = await self.app.box.call("status", api.Status)
        if not status.unlocked:
            self.app.go_on()
            return
        slots = await self.app.box.call("slots", tuple[api.SlotInfo, ...])
        self.known = {one.id: one for one in slots}
        self._by_itself = status.unlocks_itself
        await self.query_one("#facts", Facts).show(
            (
                (_("The archive is"), _("unlocked")),
                (
                    _("When the box starts"),
                    _("it unlocks itself") if status.unlocks_itself
                    else _("it stays locked until somebody types a passphrase"),
                ),
                (
                    _("Keys in memory"),
                    _("never swapped out") if status.memory_locked else _("may be swapped out: see System, Doctor"),
                ),
            )
        )  # fmt: skip
        self.query_one("#list", Table).show(
            [Row(one.id, (kind_of(one), one.name or "–", words.moment(one.created_at))) for one in slots]
        )

    # -- doing ------------------------------------------------------------------------------------------------

    def action_lock(self) -> None:
        """Take the keys out of memory."""
        self.do(self._lock)

    def action_passphrase(self) -> None:
        """Add a passphrase."""
        self.do(self._passphrase)

    def action_unattended(self) -> None:
        """Have the box unlock itself, or not."""
        self.do(self._unattended)

    def action_recovery(self) -> None:
        """Make a new recovery key."""
        self.do(self._recovery)

    def action_remove(self) -> None:
        """Remove the slot under the cursor."""
        self.do(self._remove)

    async def _lock(self) -> None:
        what = _(
            "The keys go out of memory. Nobody can search or read, and everybody is signed out here, until somebody "
            "types a passphrase or the recovery key. Mail is received all the while."
        )
        if await self.sure(_("Lock the archive?"), what, yes=_("Lock"), danger=True):
            await self.app.box.call("lock", api.LockState)
            self.app.session_ended()

    async def _passphrase(self) -> None:
        given = await self.app.push_screen_wait(
            Ask(
                _("One more passphrase"),
                (
                    Asked("name", _("Whose it is"), needed=False),
                    Asked(
                        "passphrase",
                        _("Passphrase"),
                        secret=True,
                        hint=_("12 characters or more; a few unrelated words are good"),
                    ),
                    Asked("again", _("The same again"), secret=True),
                ),
                yes=_("Add"),
            )
        )
        if given is None:
            return
        if given["passphrase"] != given["again"]:
            self.say(_("The two were not the same, so nothing was added. Try again."), "bad")
            return
        await self.app.box.call("slot_add_passphrase", api.SlotInfo, passphrase=given["passphrase"], name=given["name"])
        self.say(_("The new passphrase opens the archive."), "good")
        self.action_reload()

    async def _unattended(self) -> None:
        keyfile = self.app.paths.keyfile
        if self._by_itself:
            found = [one for one in self.known.values() if one.kind == "keyfile"]
            if not found:
                self.say(_("systemd unlocks this box. Remove that slot in the list below."), "warn")
                return
            what = _(
                "{file} opens the archive no more. From the next start on the archive stays locked until somebody "
                "types a passphrase or the recovery key."
            ).format(file=keyfile)
            if await self.sure(_("Have it stay locked when the box starts?"), what, yes=_("Stay locked")):
                for one in found:
                    await self.app.box.call("slot_remove", type(None), id=one.id)
                self.action_reload()
            return
        what = _(
            "A keyfile is written to {file}, outside the data folder. Whoever takes the whole disk away can then "
            "open the archive, unless the disk itself is encrypted. After a power cut, searching works again without "
            "anybody."
        ).format(file=keyfile)
        if await self.sure(_("Have the box unlock itself?"), what, yes=_("Unlock itself")):
            await self.app.box.call("slot_add_keyfile", api.SlotInfo, path=str(keyfile), name=keyfile.name)
            self.say(_("The box unlocks itself from now on."), "good")
            self.action_reload()

    async def _recovery(self) -> None:
        what = _("You get a new recovery key to write down. The one before opens the archive no more.")
        if not await self.sure(_("Make a new recovery key?"), what, yes=_("Make it")):
            return
        text = await self.app.box.call("slot_recovery_begin", str)
        await self.app.push_screen_wait(
            Show(
                _("The new recovery key"),
                (_("Write it on paper and keep it away from this box. It opens everything, also a restored copy."), ""),
                (text, "mono"),
                close=_("I have written it down"),
            )
        )
        while True:
            given = await self.app.push_screen_wait(
                Ask(
                    _("Type the recovery key back"),
                    (Asked("text", _("Recovery key")),),
                    what=_("It is in force only when it was typed back. Until then the one before counts."),
                    yes=_("Put it in force"),
                )
            )
            if given is None:
                self.say(_("The recovery key before stays in force. Destroy what you wrote down."), "warn")
                return
            try:
                await self.app.box.call("slot_recovery_confirm", type(None), text=given["text"])
            except MailkeepError as error:
                self.say(error.message, "bad")
                continue
            self.say(_("The new recovery key is in force. Destroy the one before."), "good")
            self.action_reload()
            return

    async def _remove(self) -> None:
        one = self.chosen()
        if one is None:
            return
        what = _(
            "It opens this archive no more. It still opens copies of the keyring from before, as in old backups: if it "
            "is known to somebody who must not read, make a new appliance key with `mailkeep slot rotate --new-key`."
        )
        question = _("Remove the slot “{slot}”?").format(slot=f"{kind_of(one)} {one.name}".strip())
        if await self.sure(question, what, yes=_("Remove"), danger=True):
            await self.app.box.call("slot_remove", type(None), id=one.id)
            self.say(_("The slot is removed."), "good")
            self.action_reload()


def kind_of(slot: api.SlotInfo) -> str:
    """What kind of way to the key it is."""
    return {
        "passphrase": _("Passphrase"), "recovery": _("Recovery key"), "keyfile": _("Keyfile on this box"),
        "credential": _("Kept by systemd"),
    }[slot.kind]  # fmt: skip
