"""Whether a profile can be carried out as it is given: everything that can be said without asking its source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from appliance.errors import UsageError
from appliance.language import later
from appliance.mail.folders import Selection
from appliance.services.collector import schedule
from appliance.services.collector.choosing import day_of
from appliance.settings.events import ProfilePut
from appliance.sources.kinds import check_options, kind

MOST_AT_A_TIME: Final = 32
LONGEST_TIMEOUT: Final = 3600
"""Seconds."""
OLDEST_DAYS: Final = 36_500
LONGEST_WORDS: Final = 200
MOST_PATTERNS: Final = 200
SHORTEST_NAME: Final = 4
"""Characters of what is told from other words."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def checked(put: ProfilePut) -> ProfilePut:
    """The profile, its dates, patterns and schedule written in one way. Raises UsageError unless it can be carried
    out; whether users, addresses and the directory exist is the caller's to know."""
    if not _NAME.fullmatch(put.name):
        raise UsageError(later("A profile's name has small letters, digits and hyphens, at most 32 of them."))
    check_options(put.kind, put.options)
    put = msgspec.structs.replace(
        put, include=_patterns(put.include), exclude=_patterns(put.exclude), since=_day(put.since),
        before=_day(put.before), sender=put.sender.strip(), subject=put.subject.strip(),
        cron=" ".join(put.cron.split()),
    )  # fmt: skip
    Selection(put.include, put.exclude).chosen(())
    _check_messages(put)
    schedule.check(put)
    _check_pace(put)
    return put


def check_deletion_age(days: int, *, least: int) -> None:
    """Raises UsageError for a number of days after which nothing can be deleted at a source."""
    if not least <= days <= OLDEST_DAYS:
        text = later("Messages are deleted at the source after 1 to {most} days, or never: 0.")
        raise UsageError(text, most=OLDEST_DAYS)


def named(put: ProfilePut) -> Iterator[str]:
    """What a profile's options name, a server, a user, a secret: none of it is anybody else's to read."""
    for field in kind(put.kind).fields:
        value = put.options.get(field.key, "")
        if len(value) >= SHORTEST_NAME and value not in field.choices and not value.isdigit() and "\n" not in value:
            yield value


def _patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(filter(None, (one.strip() for one in patterns))))
    if len(found) > MOST_PATTERNS:
        raise UsageError(later("A profile has at most {count} patterns of folders."), count=MOST_PATTERNS)
    return found


def _day(text: str) -> str:
    return day_of(text.strip()).isoformat() if text.strip() else ""


def _check_messages(put: ProfilePut) -> None:
    if put.since and put.before and put.since >= put.before:
        text = later("No message is from {since} on and before {before}: change one of the dates.")
        raise UsageError(text, since=put.since, before=put.before)
    if not 0 <= put.older_than_days <= OLDEST_DAYS:
        raise UsageError(later("The age of messages is 0 to {most} days."), most=OLDEST_DAYS)
    check_deletion_age(put.delete_after_days, least=0)
    if put.largest < 0:
        raise UsageError(later("The largest size is a number of bytes, or 0 for any."))
    if max(len(put.sender), len(put.subject)) > LONGEST_WORDS:
        raise UsageError(later("What sender or subject contain has at most {most} characters."), most=LONGEST_WORDS)


def _check_pace(put: ProfilePut) -> None:
    if not 1 <= put.parallel <= MOST_AT_A_TIME:
        raise UsageError(later("A profile fetches from 1 to {most} accounts at a time."), most=MOST_AT_A_TIME)
    if put.rate < 0:
        raise UsageError(later("The rate is a number of bytes a second, or 0 for no limit."))
    if not 0 <= put.timeout <= LONGEST_TIMEOUT:
        raise UsageError(later("The time-out is at most {most} seconds; 0 is the source's own."), most=LONGEST_TIMEOUT)
