"""The overview: the state in one sentence, four curves, the alarms, and what came in last at each mailbox."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Grid
from textual.widget import Widget
from textual.widgets import DataTable

from appliance.language import _, ngettext
from appliance.services import api
from appliance.services.alarms import words as alarm_words
from tui import words
from tui.page import key
from tui.place import Place
from tui.widgets.curve import Curve
from tui.widgets.dialog import Show
from tui.widgets.form import Text
from tui.widgets.table import Column, Row, Table

DISK_WARN, DISK_BAD = 0.8, 0.9
"""Share of the disk in use from which on its curve changes colour, as the alarms do."""


class Overview(Place):
    """What is looked at every day."""

    NAME = "overview"
    BINDINGS: ClassVar[list[BindingType]] = [key("a", "acknowledge", "Acknowledge alarm", shown="A")]
    AUTO_FOCUS = "Places"

    _alarms: dict[str, api.Alarm]

    def __init__(self) -> None:
        super().__init__()
        self._alarms = {}

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "How the archive is, now and in the last hour. Alarms stand until what they tell of is over; to "
            "acknowledge one says that somebody takes care of it."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        plain = self.app.plain
        yield Text("", id="state")
        with Grid(id="curves"):
            yield Curve(_("Mail a minute"), plain=plain, id="mail")
            yield Curve(_("Not searchable yet"), plain=plain, id="backlog")
            yield Curve(_("Disk"), plain=plain, id="disk")
            yield Curve(_("Replicas behind"), plain=plain, id="lag")
        yield Table(Column(_("Alarms")), Column(_("Since"), 10, right=True), id="alarms")
        yield Table(
            Column(_("Mailbox")), Column(_("Last report"), 15), Column(_("Messages"), 11, right=True),
            Column(_("Size"), 9, right=True, wide_only=True), Column(_("State"), 18, wide_only=True),
            id="mailboxes", empty=_("No mailbox yet. Make one with 2, then N."),
        )  # fmt: skip

    async def load(self) -> None:
        """See ``Place``."""
        box = self.app.box
        status = await box.call("status", api.Status, recent=True)
        if not status.unlocked:
            self.app.go_on()
            return
        trends = await box.call("trends", api.Trends)
        mailboxes = await box.call("mailboxes", tuple[api.MailboxInfo, ...])
        self.app.place = (await box.call("host_name", str)) or self.app.place
        self._say_state(status)
        self._draw(status, trends)
        self._list_alarms(status.alarms)
        self._list_mailboxes(mailboxes)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The key for alarms is there when there are some."""
        return bool(self._alarms) if action == "acknowledge" else super().check_action(action, parameters)

    def _say_state(self, status: api.Status) -> None:
        text, kind = state(status, self.app.now())
        shown = self.query_one("#state", Text)
        shown.update(text)
        shown.set_classes(f"-{kind}")

    def _draw(self, status: api.Status, trends: api.Trends) -> None:
        used = status.disk_total - status.disk_free
        full = used / status.disk_total if status.disk_total else 0.0
        lags = [one.lag_seconds for one in status.replicas if one.state != "paused"]
        minutes = status.per_minute[-1] if status.per_minute else 0
        self.query_one("#mail", Curve).show(
            _("{now} · {hour} in the last hour").format(
                now=words.number(minutes), hour=words.number(sum(status.per_minute))
            ),
            status.per_minute, top=10,
        )  # fmt: skip
        self.query_one("#backlog", Curve).show(
            words.number(status.backlog) if not status.backlog else _("{count} · oldest {span}").format(
                count=words.number(status.backlog), span=words.span(status.oldest_unsearchable_seconds)
            ),
            (*trends.backlog, status.backlog), top=10, kind="warn" if status.oldest_unsearchable_seconds > 300 else "",
        )  # fmt: skip
        self.query_one("#disk", Curve).show(
            _("{share} of {total}").format(
                share=words.share(used, status.disk_total), total=words.size(status.disk_total)
            ),
            (*trends.disk_used, used), top=status.disk_total,
            kind="bad" if full >= DISK_BAD else "warn" if full >= DISK_WARN else "",
        )  # fmt: skip
        behind = any(one.state in ("behind", "failing", "superseded") for one in status.replicas)
        self.query_one("#lag", Curve).show(
            _("no replica") if not status.replicas else words.span(max(lags, default=0.0)),
            (*trends.replica_lag, max(lags, default=0.0)), top=300, kind="warn" if behind else "",
        )  # fmt: skip

    def _list_alarms(self, alarms: tuple[api.Alarm, ...]) -> None:
        table = self.query_one("#alarms", Table)
        table.display = bool(alarms)
        now = self.app.now()
        table.show(
            [
                Row(
                    one.id,
                    (said(one), words.span(now - one.since)),
                    "faint" if one.acknowledged_at else "bad" if one.level == "error" else "warn",
                )
                for one in alarms
            ]
        )
        self._alarms = {one.id: one for one in alarms}
        self.refresh_bindings()

    def _list_mailboxes(self, mailboxes: tuple[api.MailboxInfo, ...]) -> None:
        now = self.app.now()
        self.query_one("#mailboxes", Table).show(
            [
                Row(
                    one.id,
                    (
                        one.address, words.ago(one.last_at, now), words.number(one.records), words.size(one.bytes),
                        state_of_mailbox(one),
                    ),
                    "" if one.state == "active" else "faint",
                )
                for one in sorted(mailboxes, key=lambda one: one.address)
            ]
        )  # fmt: skip

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter on an alarm shows it whole; on a mailbox goes to the mailboxes."""
        id = str(event.row_key.value)
        if event.data_table.id == "mailboxes":
            self.action_go("mailboxes")
        elif id in self._alarms:
            one = self._alarms[id]
            known = _("{who} takes care of it, since {when}.").format(
                who=one.acknowledged_by, when=words.moment(one.acknowledged_at)
            )
            self.app.push_screen(
                Show(
                    alarm_words.title(one.kind) if one.kind else _("Alarm"),
                    (said(one), "lead"),
                    (_("Since {when}.").format(when=words.moment(one.since)), "hint"),
                    *([(known, "hint")] if one.acknowledged_at else []),
                )
            )

    def action_acknowledge(self) -> None:
        """Somebody takes care of the alarm that the cursor is on."""
        self.do(self._acknowledge)

    async def _acknowledge(self) -> None:
        chosen = self.query_one("#alarms", Table).chosen
        if chosen is None:
            self.say(_("There is no alarm to acknowledge."))
            return
        if await self.sure(
            _("Take care of this alarm?"),
            said(self._alarms[chosen]) + "\n\n"
            + _("It stays on the list until it is over, but is not told again. The audit trail names you."),
            yes=_("Acknowledge"),
        ):  # fmt: skip
            await self.app.box.call("alarm_acknowledge", api.Alarm, id=chosen)
            self.action_reload()


def said(alarm: api.Alarm) -> str:
    """The alarm as a sentence in the language in use."""
    return alarm_words.sentence(alarm.kind, alarm.figures) if alarm.kind else alarm.text


def state(status: api.Status, now: float) -> tuple[str, str]:
    """How the archive is, in one sentence, and good, warn or bad."""
    errors = sum(one.level == "error" for one in status.alarms)
    open_ones = sum(one.acknowledged_at is None for one in status.alarms)
    if errors:
        return (
            ngettext("Something is wrong: {count} alarm.", "Something is wrong: {count} alarms.", len(status.alarms))
            .format(count=len(status.alarms)),
            "bad",
        )  # fmt: skip
    if open_ones:
        return (
            ngettext(
                "Mail is kept safely. {count} thing to look at.", "Mail is kept safely. {count} things to look at.",
                open_ones,
            ).format(count=open_ones),
            "warn",
        )  # fmt: skip
    if status.last_message_at is None:
        return _("Ready. No mail has come in yet."), "good"
    return (
        _("All is well. Last message {ago}; {count} are kept.").format(
            ago=words.ago(status.last_message_at, now), count=words.number(status.records)
        ),
        "good",
    )


def state_of_mailbox(mailbox: api.MailboxInfo) -> str:
    """The state of a mailbox in a word or two."""
    name = {"active": _("active"), "suspended": _("suspended"), "disabled": _("disabled"), "deleted": _("deleted")}
    return name[mailbox.state] + (", " + _("sealed") if mailbox.sealed else "")
