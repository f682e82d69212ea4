"""What is wrong, as data: from what was observed at one moment to a list of troubles. Pure, with hysteresis.

A threshold that has been crossed holds until the value is clearly on the other side again, so that an alarm does not
come and go with each message: ``standing`` says what is held to be wrong already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from appliance.mail.published import WorkerStats
from appliance.services.alarms.trouble import Figures, Level, Trouble
from appliance.services.alarms.working_time import WorkingTime, elapsed

DISK_WARNING, DISK_ERROR, MARGIN = 0.80, 0.90, 0.02
"""Shares of the disk in use from which on there is an alarm; it is over a margin below."""
MEMORY_ERROR = 0.95
"""Share of the tmpfs in use. The live index alone stays below half of it (``index.live.budget``)."""
UNHEARD_SECONDS: Final = 60
"""Time without counters after which a gateway worker is taken for stuck."""
LATE_SECONDS, LATE_OVER_SECONDS, LATE_ERROR_SECONDS = 300.0, 60.0, 3600.0
"""Age of the oldest mail that is not searchable: from when there is an alarm, until when, and when it is grave."""
CERTIFICATE_DAYS = ((30.0, 1 / 4), (7.0, 1 / 10))
"""Days before a certificate ends, warning and error; for short-lived ones at most that share of their life."""
RENEWED_DAYS = 90.0
"""Days that certificates which are renewed by themselves last at most, mostly."""
ATTACK_TRIES, ATTACK_ERROR_TRIES = 30, 300
"""Wrong passwords in an hour from which on somebody is taken to be guessing; the alarm is over below a third."""

Standing = Callable[[str, str], Level | None]
"""The level at which a kind of trouble (about something) is held to be wrong already; None where it is not."""


class Disagreement(msgspec.Struct, frozen=True):
    """Counts that should be the same and are not."""

    searchable: int
    projected: int
    messages: int
    indexed: int


class Quiet(msgspec.Struct, frozen=True):
    """A mailbox that takes mail: when the last came in (seconds; ``ever`` says whether any did, else when it was made),
    and when that counts as silence."""

    mailbox: str
    address: str
    last: float
    ever: bool
    working: WorkingTime


class Certificate(msgspec.Struct, frozen=True):
    """The certificate of gateway and web; ``problem`` says why it cannot be used, if so."""

    days_left: float
    lifetime_days: float
    problem: str = ""


class Tries(msgspec.Struct, frozen=True):
    """Wrong passwords and codes within the last hour, from how many places."""

    count: int = 0
    clients: int = 0


class Observed(msgspec.Struct, frozen=True):
    """The archive at one moment. What cannot be told of a locked one is as if nothing were wrong with it."""

    now: float  # seconds
    disk_used: float  # share
    waiting: int | None = None  # of a locked archive: messages that wait to be read in
    memory_used: float = 0.0  # share of the tmpfs that the live index is on
    plain_swaps: tuple[str, ...] = ()
    damaged: int = 0  # places in the log
    late: float = 0.0  # seconds since the oldest mail that is not searchable came in
    disagreement: Disagreement | None = None
    workers: tuple[WorkerStats, ...] = ()
    turned_away: dict[str, int] = {}  # lately, by address
    quiet: tuple[Quiet, ...] = ()
    unstamped_days: int | None = None
    certificate: Certificate | None = None
    tries: Tries = Tries()
    replicas: tuple[Trouble, ...] = ()
    reported: tuple[Trouble, ...] = ()  # by those who look for themselves, such as a check of everything


def troubles(seen: Observed, standing: Standing) -> Iterator[Trouble]:
    """What is wrong."""
    if seen.waiting is not None:
        yield Trouble("locked", "warning", figures={"waiting": seen.waiting, **_until_it_ends(seen)})
    yield from _about_the_box(seen, standing)
    yield from _about_the_log(seen, standing)
    yield from _about_the_gateway(seen)
    yield from (one for quiet in seen.quiet for one in _silence(quiet, seen.now))
    if seen.unstamped_days:
        yield Trouble("timestamps", "warning", figures={"days": seen.unstamped_days})
    yield from _attack(seen.tries, standing)
    yield from seen.replicas
    yield from seen.reported


def _about_the_box(seen: Observed, standing: Standing) -> Iterator[Trouble]:
    limits: tuple[tuple[Level, float], ...] = (("error", DISK_ERROR), ("warning", DISK_WARNING))
    yield from _over("disk", seen.disk_used, limits, standing, {"used": seen.disk_used, "free": 1 - seen.disk_used})
    yield from _over("memory", seen.memory_used, (("error", MEMORY_ERROR),), standing, {"free": 1 - seen.memory_used})
    if seen.plain_swaps:
        yield Trouble("swap", "warning", figures={"swaps": ", ".join(seen.plain_swaps)})
    if seen.certificate is not None:
        yield from _certificate(seen.certificate, locked=seen.waiting is not None)


def _over(
    kind: str, value: float, limits: Iterable[tuple[Level, float]], standing: Standing, figures: Figures
) -> Iterator[Trouble]:
    """The gravest level whose limit is reached, or was reached and is not left by the margin. Gravest first."""
    held = standing(kind, "")
    for level, limit in limits:
        if value >= limit or (held in ("error", level) and value > limit - MARGIN):
            yield Trouble(kind, level, figures=figures)
            return


def _until_it_ends(seen: Observed) -> Figures:
    """When the certificate of a locked box ends, where that is near: it is not renewed before the box is unlocked."""
    found = seen.certificate
    if found is None or found.problem or found.days_left > RENEWED_DAYS:
        return {}
    return {"ends": int(seen.now + found.days_left * 86_400), "ended": int(found.days_left < 0)}


def _certificate(found: Certificate, *, locked: bool) -> Iterator[Trouble]:
    figures: Figures = {"days": int(found.days_left), "problem": found.problem, "locked": int(locked)}
    warning, error = (min(days, found.lifetime_days * share) for days, share in CERTIFICATE_DAYS)
    if found.problem or found.days_left <= error:
        yield Trouble("certificate", "error", figures=figures)
    elif found.days_left <= warning:
        yield Trouble("certificate", "warning", figures=figures)


def _about_the_log(seen: Observed, standing: Standing) -> Iterator[Trouble]:
    if seen.damaged:
        yield Trouble("damage", "error", figures={"places": seen.damaged})
    if seen.late > (LATE_OVER_SECONDS if standing("late", "") else LATE_SECONDS):
        level: Level = "error" if seen.late > LATE_ERROR_SECONDS else "warning"
        yield Trouble("late", level, figures={"minutes": int(seen.late / 60)})
    if seen.disagreement is not None:
        yield Trouble("disagree", "error", figures=msgspec.structs.asdict(seen.disagreement))


def _about_the_gateway(seen: Observed) -> Iterator[Trouble]:
    for worker in seen.workers:
        if seen.now - worker.updated_at / 1e6 > UNHEARD_SECONDS:
            yield Trouble("gateway", "error", str(worker.worker), {"worker": worker.worker})
    for address, count in sorted(seen.turned_away.items()):
        yield Trouble("turned-away", "warning", address, {"address": address, "count": count})


def _silence(quiet: Quiet, now: float) -> Iterator[Trouble]:
    working = quiet.working
    if not working.hours or elapsed(working, quiet.last, now) < working.hours * 3600:
        return
    figures: Figures = {
        "address": quiet.address, "hours": round((now - quiet.last) / 3600), "limit": working.hours,
        "ever": int(quiet.ever),
    }  # fmt: skip
    yield Trouble("silence", "warning", quiet.mailbox, figures)


def _attack(tries: Tries, standing: Standing) -> Iterator[Trouble]:
    limit = ATTACK_TRIES // 3 if standing("sign-in", "") else ATTACK_TRIES
    if tries.count >= limit:
        level: Level = "error" if tries.count >= ATTACK_ERROR_TRIES else "warning"
        yield Trouble("sign-in", level, figures={"count": tries.count, "clients": tries.clients})
