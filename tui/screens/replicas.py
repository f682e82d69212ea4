"""Replicas: the remotes that copies of the archive lie on, and how far each is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.cloud.backends import BACKENDS
from appliance.framing import words_of
from appliance.language import _, ngettext
from appliance.services import api
from tui import words
from tui.page import key
from tui.place import FactsPlace
from tui.screens.jobs import run_title, state_word
from tui.screens.new_remote import NewRemote
from tui.widgets.dialog import Ask, Asked, Show
from tui.widgets.form import Facts, Text
from tui.widgets.table import Column, Row, Table

HISTORY = 20


class Replicas(FactsPlace[api.RemoteInfo]):
    """The list of remotes, and what is known of the one under the cursor."""

    NAME = "replicas"
    EVERY = 3.0
    BINDINGS: ClassVar[list[BindingType]] = [
        key("n", "new", "New", shown="N"),
        key("r", "replicate", "Replicate", shown="R"),
        key("t", "test", "Test", shown="T"),
        key("c", "check", "Check", shown="C"),
        key("p", "pause", "Pause", shown="P"),
        key("d", "remove", "Remove", shown="D"),
    ]

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "A replica is a whole, encrypted copy of the archive on a remote. With it and the recovery key everything "
            "can be restored on another box. A new remote is tested before it is added."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Text("", id="summary")
        yield Table(
            Column(_("Remote")), Column(_("State"), 11), Column(_("Not there yet"), 16), Column(_("Last run"), 13),
            id="list", empty=_("No remote. N adds one."),
        )  # fmt: skip
        yield Facts(id="facts")

    async def load(self) -> None:
        """See ``Place``."""
        remotes = await self.app.box.call("remotes", tuple[api.RemoteInfo, ...])
        status = await self.app.box.call("status", api.Status)
        self.known = {one.name: one for one in remotes}
        now = self.app.now()
        summary = self.query_one("#summary", Text)
        if not remotes:
            summary.update(_("All mail is on this box only. If its disk fails, the mail is gone."))
            summary.set_classes("-warn")
        elif status.only_here:
            summary.update(
                ngettext("{count} message is on this box only so far.", "{count} messages are on this box only so far.",
                         status.only_here).format(count=words.number(status.only_here))
            )  # fmt: skip
            summary.set_classes("-hint")
        else:
            summary.update(_("Every message is on a replica, too."))
            summary.set_classes("-good")
        self.query_one("#list", Table).show([_row(one, now) for one in remotes])
        await self.show_facts()

    def facts(self, one: api.RemoteInfo) -> Iterable[tuple[str, str]]:
        """See ``FactsPlace``."""
        replica = one.replica
        return (
            (_("Storage"), f"{one.type}  {one.path}"),
            (_("Holds all up to"), words.moment(replica.reached_at)),
            (_("Begins by itself"), _("every {span}").format(span=words.span(one.interval))),
            (_("Checked in full"), words.moment(replica.checked_at)),
            (_("Rehearsed"), words.moment(replica.rehearsed_at)),
            *([(_("Free there"), words.size(replica.free))] if replica.free is not None else []),
            *([(_("Under way"), _under_way(replica.run))] if replica.run is not None else []),
            *([(_("Trouble"), replica.trouble)] if replica.trouble else []),
            *([(_("Not sound"), replica.unsound)] if replica.unsound else []),
        )

    # -- doing ------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Add a remote."""
        self.do(self._new)

    def action_remove(self) -> None:
        """Replicate there no more."""
        self.do(self._remove)

    def action_replicate(self) -> None:
        """Bring the remote up to date."""
        self.do(self._replicate)

    def action_test(self) -> None:
        """Try the remote."""
        self.do(self._test)

    def action_check(self) -> None:
        """Read some of the replica back."""
        self.do(self._check)

    def action_pause(self) -> None:
        """Begin nothing there by itself, or go on."""
        self.do(self._pause)

    async def on_data_table_row_selected(self) -> None:
        """Enter shows the last runs."""
        self.do(self._history)

    async def _new(self) -> None:
        given = await self.app.push_screen_wait(
            Ask(
                _("Where is the replica to lie?"),
                (Asked("type", "", answers=tuple((one.type, _(one.title), "") for one in BACKENDS)),),
                yes=_("Continue"),
            )
        )
        if given is None:
            return
        backend = next(one for one in BACKENDS if one.type == given["type"])
        name = await self.app.push_screen_wait(NewRemote(backend, tuple(self.known)))
        if name is not None:
            self.say(_("The archive is replicated to “{name}” from now on.").format(name=name), "good")
            self.action_reload()

    async def _remove(self) -> None:
        one = self.chosen()
        if one is None:
            return
        what = _(
            "Nothing is replicated there any more. What lies there stays, encrypted, and the recovery key still "
            "restores it; who wants it gone deletes it at the service."
        )
        if len(self.known) == 1:
            what += " " + _("What comes in from now on is then on this box only.")
        if await self.sure(_("Remove {name}?").format(name=one.name), what, yes=_("Remove"), danger=True):
            await self.app.box.call("remote_remove", type(None), name=one.name)
            self.say(_("{name} is no remote of this archive any more.").format(name=one.name), "good")
            self.action_reload()

    async def _replicate(self) -> None:
        one = self.chosen()
        if one is not None:
            await self.app.box.call("replicate_begin", tuple[api.RunInfo, ...], remote=one.name)
            self.say(_("Replication to {name} begins. Its progress is under Jobs.").format(name=one.name), "good")
            self.action_reload()

    async def _test(self) -> None:
        one = self.chosen()
        if one is None:
            return
        self.say(_("A small file is written to {name}, read back and deleted …").format(name=one.name))
        tested = await self.app.box.call("remote_test", api.RemoteTested, name=one.name)
        text = words_of(tested.words, tested.failure)
        if tested.passed and tested.up:
            text += " " + _("Up {up} a second, down {down} a second.").format(
                up=words.size(tested.up), down=words.size(tested.down)
            )
        self.say(text, "good" if tested.passed else "bad")

    async def _check(self) -> None:
        one = self.chosen()
        if one is None:
            return
        if await self.sure(
            _("Check the replica on {name}?").format(name=one.name),
            _("Some of its files are read back and compared. Where the remote charges for reading, this costs some."),
            yes=_("Check"),
        ):
            await self.app.box.call("replica_verify_begin", tuple[api.RunInfo, ...], remote=one.name)
            self.say(_("The check of {name} begins. What it finds is under Jobs.").format(name=one.name), "good")

    async def _pause(self) -> None:
        one = self.chosen()
        if one is None:
            return
        if not one.paused and not await self.sure(
            _("Pause {name}?").format(name=one.name),
            _("Nothing is replicated there until it is resumed: what comes in meanwhile is not on it."),
            yes=_("Pause"),
        ):
            return
        await self.app.box.call("remote_change", api.RemoteInfo, name=one.name, paused=not one.paused)
        self.action_reload()

    async def _history(self) -> None:
        one = self.chosen()
        if one is None:
            return
        runs = await self.app.box.call("replica_history", tuple[api.RunInfo, ...], remote=one.name, limit=HISTORY)
        lines = [
            f"{words.moment(run.begun_at or run.queued_at)}  {run_title(run)}: {state_word(run.state)}. {run.words}"
            for run in runs
        ]
        await self.app.push_screen_wait(
            Show(_("Runs to {name}").format(name=one.name), ("\n".join(lines) or _("None yet."), ""), large=True)
        )


def _row(one: api.RemoteInfo, now: float) -> Row:
    replica = one.replica
    kind = {"current": "good", "behind": "warn", "failing": "bad", "superseded": "bad", "paused": "faint"}
    waiting = "–"
    if replica.waiting:
        waiting = _("{count}, {size}").format(
            count=words.number(replica.waiting), size=words.size(replica.waiting_bytes)
        )
    return Row(
        one.name, (one.name, _state(replica), waiting, words.ago(replica.last_at, now)), kind.get(replica.state, "")
    )


def _state(replica: api.ReplicaState) -> str:
    return {
        "new": _("new"), "current": _("current"), "behind": _("behind"), "failing": _("failing"),
        "paused": _("paused"), "superseded": _("superseded"),
    }[replica.state]  # fmt: skip


def _under_way(run: api.RunInfo) -> str:
    far = words.share(run.done, run.total) if run.total else words.size(run.done)
    return f"{run_title(run)}, {far}"
