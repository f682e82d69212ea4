"""Dates as people write them in a search: a day, a month, a year, or a stretch of days that ends today.

All days are UTC days, so that a search means the same wherever it is asked.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_YEAR_FIRST = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?")
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_BACK = re.compile(r"(\d{1,5})\s*(d|w|m|y|days?|weeks?|months?|years?)")
_FORMS = "2026-11-20, 2026-11, 2026, today, yesterday, “last week”, “this month” or 7d"


class Period(NamedTuple):
    """From ``start`` to before ``end``, in seconds since 1970-01-01 UTC."""

    start: int
    end: int


def period_of(text: str, *, today: date) -> Period:
    """The period that ``text`` names.

    Raises ValueError with a sentence in which ``{at}`` stands for the place.
    """
    value = " ".join(text.lower().split())
    if match := _YEAR_FIRST.fullmatch(value):
        year, month, day = (int(part) if part else None for part in match.groups())
        return _calendar(text, year or 0, month, day)
    if match := _DAY_FIRST.fullmatch(value):
        return _calendar(text, int(match[3]), int(match[2]), int(match[1]))
    if match := _BACK.fullmatch(value):
        return _days(_back(today, int(match[1]), match[2][0]), today.toordinal() + 1)
    days = _named(value, today)
    if days is None:
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        raise ValueError(f"The date “{shown}” {{at}} is not understood; write {_FORMS}.")
    return _days(*days)


def _calendar(text: str, year: int, month: int | None, day: int | None) -> Period:
    try:
        first = date(year, month or 1, day or 1)
    except ValueError:
        raise ValueError(f"“{text}” {{at}} is not in the calendar; write a date such as 2026-11-20.") from None
    if day:
        return _days(first.toordinal(), first.toordinal() + 1)
    return _days(first.toordinal(), _after_months(first, 1 if month else 12))


def _named(value: str, today: date) -> tuple[int, int] | None:
    """First day and the day after the last, as ordinals, of a period that has a name."""
    day = today.toordinal()
    week = day - today.weekday()
    month, year = today.replace(day=1), today.replace(month=1, day=1)
    return {
        "today": (day, day + 1),
        "yesterday": (day - 1, day),
        "this week": (week, week + 7),
        "last week": (week - 7, week),
        "this month": (month.toordinal(), _after_months(month, 1)),
        "last month": (_after_months(month, -1), month.toordinal()),
        "this year": (year.toordinal(), _after_months(year, 12)),
        "last year": (_after_months(year, -12), year.toordinal()),
    }.get(value)


def _back(today: date, count: int, unit: str) -> int:
    """The ordinal of the day ``count`` days, weeks, months or years before ``today``, never before year 1."""
    if unit in "dw":
        return max(1, today.toordinal() - count * (7 if unit == "w" else 1))
    first = _after_months(today.replace(day=1), -count * (12 if unit == "y" else 1))
    month = date.fromordinal(first)
    return min(first + today.day - 1, _after_months(month, 1) - 1)


def _after_months(first: date, months: int) -> int:
    """The ordinal of the first day ``months`` later; the calendar's ends are the days after and before it."""
    count = first.year * 12 + first.month - 1 + months
    if count >= 10_000 * 12:
        return date.max.toordinal() + 1
    if count < 12:
        return 1
    return date(count // 12, count % 12 + 1, 1).toordinal()


def _days(first: int, end: int) -> Period:
    return Period((first - _EPOCH) * _DAY_SECONDS, (end - _EPOCH) * _DAY_SECONDS)
