"""When a profile runs by itself: every so many seconds, or by five fields of crontab(5). No input or output."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from huey import crontab

from appliance.errors import UsageError
from appliance.language import later
from appliance.settings.events import ProfilePut

SHORTEST: Final = 60
"""Seconds between two runs, at least."""
_LONGEST: Final = timedelta(days=366 * 4 + 1)
"""After so long every date of the calendar has come, the 29th of February too."""


def described(profile: ProfilePut) -> str:
    """Equal for schedules that are equal; "" for by hand."""
    if profile.paused:
        return ""
    return f"every {profile.interval}" if profile.interval else profile.cron


def following(profile: ProfilePut, after: float) -> float | None:
    """The first moment behind ``after`` (both seconds) at which the profile runs; None for never. Raises UsageError."""
    if profile.paused:
        return None
    if profile.interval:
        return after + profile.interval
    return _by_cron(profile.cron, after) if profile.cron else None


def check(profile: ProfilePut) -> None:
    """Raises UsageError for a schedule that is none."""
    if profile.interval and profile.cron:
        raise UsageError(later("A profile runs every so often, or at certain times, not both."))
    if profile.interval and profile.interval < SHORTEST:
        raise UsageError(later("A profile runs once a minute at most."))
    if profile.cron and _by_cron(profile.cron, datetime(2024, 1, 1).timestamp()) is None:
        raise UsageError(later("“{cron}” never comes."), cron=profile.cron)


def _by_cron(text: str, after: float) -> float | None:
    fits = _fitting(text)
    # In local time, as cron(8) has it: where the clock is put back, what comes twice is done once.
    moment = datetime.fromtimestamp(after).replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = moment + _LONGEST
    day = crontab(*("* * " + " ".join(text.split()[2:])).split(), strict=True)
    while moment < end:
        if not day(moment):
            moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
        elif fits(moment):
            return moment.timestamp()
        else:
            moment += timedelta(minutes=1)
    return None


def _fitting(text: str) -> Callable[[datetime], bool]:
    fields = text.split()
    try:
        if len(fields) != 5:
            raise ValueError(text)
        fits: Callable[[datetime], bool] = crontab(*fields, strict=True)
    except (ValueError, TypeError) as error:
        wanted = later("“{cron}” is no schedule: it takes minute, hour, day, month and day of the week, as crontab(5).")
        raise UsageError(wanted, cron=text) from error
    return fits
