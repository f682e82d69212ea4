"""The alarms that stand and those that stood: how a list of troubles makes them begin, get graver, and end. Pure.

A trouble that is not seen any more ends its alarm at once, or, of the kinds in ``LINGER``, when it has stayed away for
a while: what comes and goes every minute is one alarm. Level and figures follow the trouble; who acknowledged a warning
has not acknowledged what became an error.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from appliance.services.alarms.trouble import RANK, Figures, Level, Trouble

KEPT: Final = 500
"""Alarms that are over and still remembered."""
KEPT_SECONDS: Final = 400 * 86_400
LINGER: Final = MappingProxyType(
    {"gateway": 120.0, "late": 60.0, "replica-unknown": 60.0, "disagree": 30.0, "sign-in": 1800.0}
)
"""Seconds that a trouble of a kind has to stay away until its alarm is over."""

Told = Literal["warning", "error", "over"]
_TOLD_RANK: Final = MappingProxyType({"": 0, **RANK, "over": 3})


class Alarm(msgspec.Struct, frozen=True, omit_defaults=True):
    """One alarm. Times are seconds; ``told`` is what each way of telling has told of it last."""

    id: str
    kind: str
    about: str
    level: Level
    since: int
    figures: Figures = {}
    until: int | None = None
    acknowledged_by: str = ""  # user id, or local:<unix user>
    acknowledged_at: int | None = None
    told: dict[str, Told] = {}
    missed_since: float | None = None  # the trouble has not been seen since then

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the alarm of a trouble."""
        return self.kind, self.about

    def untold(self, way: str, since: float) -> bool:
        """Whether that way of telling, set up at ``since``, still has to tell how the alarm is now.

        One that was over before anybody could be told of it is told if it began after that.
        """
        told = self.told.get(way, "")
        if self.until is not None and not told:
            return self.since >= since
        now: Told = self.level if self.until is None else "over"
        return _TOLD_RANK[now] > _TOLD_RANK[told]


class Book(msgspec.Struct, frozen=True, omit_defaults=True):
    """All alarms of an archive, and what is reported by those who look for themselves."""

    version: int = 1
    standing: tuple[Alarm, ...] = ()  # oldest first
    over: tuple[Alarm, ...] = ()  # the last one that ended first
    reported: tuple[Trouble, ...] = ()
    daily: str = ""  # the day of the last daily mail

    def level(self, kind: str, about: str) -> Level | None:
        """At which level a trouble is held to be wrong; None where it is not."""
        return next((one.level for one in self.standing if one.key == (kind, about)), None)

    def seen(self, troubles: Iterable[Trouble], now: float, kinds: Set[str] | None = None) -> Book:
        """The book after a look that found ``troubles``; one that can only see some ``kinds`` leaves the others be."""
        found = {one.key: one for one in troubles}
        standing: list[Alarm] = []
        ended: list[Alarm] = []
        for alarm in self.standing:
            trouble = found.pop(alarm.key, None)
            if trouble is not None:
                after = _followed(alarm, trouble)
            else:
                after = _missed(alarm, now) if kinds is None or alarm.kind in kinds else alarm
            (standing if after.until is None else ended).append(after)
        standing += [_begun(one, now) for one in found.values()]
        if not ended and not standing and not self.standing:
            return self
        kept = [one for one in (*reversed(ended), *self.over) if now - (one.until or 0) < KEPT_SECONDS]
        return msgspec.structs.replace(self, standing=tuple(standing), over=tuple(kept[:KEPT]))

    def acknowledged(self, id: str, by: str, now: float) -> Book:
        """The book after somebody has seen an alarm that stands; as it was where there is none of that id."""
        return msgspec.structs.replace(
            self,
            standing=tuple(
                msgspec.structs.replace(one, acknowledged_by=by, acknowledged_at=int(now)) if one.id == id else one
                for one in self.standing
            ),
        )

    def told(self, way: str, alarms: Mapping[str, Told]) -> Book:
        """The book after ``way`` has told of alarms: how each was then, by id."""

        def after(one: Alarm) -> Alarm:
            return msgspec.structs.replace(one, told={**one.told, way: alarms[one.id]}) if one.id in alarms else one

        return msgspec.structs.replace(
            self, standing=tuple(map(after, self.standing)), over=tuple(map(after, self.over))
        )

    def report(self, kind: str, about: str, trouble: Trouble | None) -> Book:
        """The book with a trouble that stands until it is reported anew; None takes it back."""
        others = [one for one in self.reported if one.key != (kind, about)]
        return msgspec.structs.replace(self, reported=(*others, *([trouble] if trouble is not None else [])))

    def differs(self, other: Book) -> bool:
        """Whether more than figures, which are observed anew at each look, tells two books apart."""
        return _without_figures(self) != _without_figures(other)


def how(alarm: Alarm) -> Told:
    """What there is to tell of an alarm now."""
    return alarm.level if alarm.until is None else "over"


def _begun(trouble: Trouble, now: float) -> Alarm:
    return Alarm(secrets.token_hex(6), trouble.kind, trouble.about, trouble.level, int(now), trouble.figures)


def _followed(alarm: Alarm, trouble: Trouble) -> Alarm:
    after = msgspec.structs.replace(alarm, level=trouble.level, figures=trouble.figures, missed_since=None)
    if RANK[trouble.level] > RANK[alarm.level]:
        return msgspec.structs.replace(after, acknowledged_by="", acknowledged_at=None)
    return after


def _missed(alarm: Alarm, now: float) -> Alarm:
    since = now if alarm.missed_since is None else alarm.missed_since
    if now - since >= LINGER.get(alarm.kind, 0.0):
        return msgspec.structs.replace(alarm, until=int(now), missed_since=None)
    return msgspec.structs.replace(alarm, missed_since=since)


def _without_figures(book: Book) -> Book:
    return msgspec.structs.replace(
        book, standing=tuple(msgspec.structs.replace(one, figures={}, missed_since=None) for one in book.standing)
    )
