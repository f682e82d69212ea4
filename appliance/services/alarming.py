"""Alarms as services: which there are, that somebody has seen one, and when silence is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import select

from appliance.errors import NotFoundError
from appliance.language import speaking
from appliance.services import api
from appliance.services.alarms import words
from appliance.services.alarms.book import Alarm
from appliance.services.alarms.working_time import WorkingTime, check
from appliance.services.archive import Archive
from appliance.services.principal import Principal
from appliance.services.repeating import Repeating
from appliance.settings import events, tables

LOOK_SECONDS = 30.0
"""Between two looks for what is wrong, beside those of the faces."""


class Watch(Repeating):
    """Looks again and again."""

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__("alarms", look, LOOK_SECONDS)


class Alarming:
    """The services of one open archive, and its watch.

    ``now`` looks at everything, which brings the alarms up to date; ``lately`` does so if nobody has just done it.
    """

    def __init__(self, archive: Archive, *, now: Callable[[], api.Status], lately: Callable[[], api.Status]) -> None:
        self._archive = archive
        self._now = now
        self._lately = lately
        self._watch = Watch(lately)

    def start(self) -> None:
        """Begin to look, and to remember what is found."""
        self._archive.alarms.keeps = True
        self._watch.start()

    def close(self) -> None:
        """Look no more."""
        self._watch.close()

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "alarms": self.alarms, "alarm_acknowledge": self.acknowledge, "watch_rules": self.rules,
            "watch_set": self.set,
        }  # fmt: skip

    def alarms(self, principal: Principal, *, recent: bool = False) -> api.AlarmPage:
        """The alarms that stand, and those that are over; those of a recent look will do for who asks again and
        again."""
        principal.require("admin")
        return page((self._lately() if recent else self._now()).alarms, self._archive.alarms.book.over, self._names())

    def acknowledge(self, principal: Principal, *, id: str) -> api.Alarm:
        """Say that the caller has seen an alarm and deals with it. Raises NotFoundError where it is over."""
        principal.require("admin")
        alarm = next((one for one in self._archive.alarms.book.standing if one.id == id), None)
        if alarm is None:
            raise NotFoundError("There is no such alarm any more: it may be over already.")
        self._archive.note(principal, "alarm.acknowledge", f"{alarm.kind} {alarm.about}".strip())
        return info(self._archive.alarms.acknowledge(id, principal.id), self._names())

    def rules(self, principal: Principal) -> tuple[api.WatchRule, ...]:
        """When silence is an alarm: for all mailboxes first, then for each."""
        principal.require("admin")
        rules = self._archive.settings.watches()
        common = rules.get(b"") or events.WatchSet()
        boxes = [(one.mailbox, one.address) for one in self._archive.settings.mailboxes()]
        return tuple(
            api.WatchRule(
                mailbox.hex(), address, mailbox in rules, rule.hours, rule.days, rule.begins, rule.ends, rule.zone
            )
            for mailbox, address, rule in (
                (b"", "", common), *((mailbox, address, rules.get(mailbox) or common) for mailbox, address in boxes)
            )
        )  # fmt: skip

    def set(
        self, principal: Principal, *, mailbox: str = "", own: bool = True, hours: int = 6,
        days: Sequence[int] = (0, 1, 2, 3, 4), begins: int = 480, ends: int = 1080, zone: str = "",
    ) -> None:  # fmt: skip
        """Set when silence is an alarm, for one mailbox or (empty) for all without a rule of their own; ``own`` false
        takes a mailbox's own rule away. Raises UsageError, NotFoundError."""
        principal.require("admin")
        known = {one.mailbox.hex(): one.mailbox for one in self._archive.settings.mailboxes()}
        if mailbox and mailbox not in known:
            raise NotFoundError("There is no such mailbox.")
        rule = check(WorkingTime(hours, tuple(days), begins, ends, zone))
        given = msgspec.structs.asdict(rule)
        self._archive.record(principal, events.WatchSet(known.get(mailbox, b""), own or not mailbox, **given))

    def _names(self) -> dict[str, str]:
        with self._archive.settings.read() as database:
            return {row.id: row.name for row in database.scalars(select(tables.User))}


def page(standing: Sequence[api.Alarm], over: Sequence[Alarm], names: Mapping[str, str]) -> api.AlarmPage:
    """Alarms as faces show them; ``names`` of users by id."""
    named = (
        msgspec.structs.replace(one, acknowledged_by=names.get(one.acknowledged_by, one.acknowledged_by))
        for one in standing
    )
    return api.AlarmPage(tuple(named), tuple(info(one, names) for one in over))


def info(alarm: Alarm, names: Mapping[str, str] | None = None) -> api.Alarm:
    """One alarm as faces show it."""
    by = alarm.acknowledged_by
    with speaking("en"):
        return api.Alarm(
            level=alarm.level, text=words.sentence(alarm.kind, alarm.figures), since=alarm.since, id=alarm.id,
            kind=alarm.kind, about=alarm.about, title=words.title(alarm.kind), figures=alarm.figures,
            until=alarm.until, acknowledged_by=(names or {}).get(by, by), acknowledged_at=alarm.acknowledged_at,
        )  # fmt: skip
