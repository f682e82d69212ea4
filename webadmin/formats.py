"""How values look on a page: sizes, counts, times, people. Pure functions, used as template filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup, escape

from appliance.services.api import Person
from appliance.services.sizes import number, size

_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}")
_TYPED = re.compile(r"\s\s(?P<command>rclone .+?)(?:\s\s|\s(?=,)|$)|\s?(?P<url>https://[\w.]*example\.com[^\s;,]*)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo | None:
    """The time zone with an IANA ``name``; None, which is the box's own, where there is none."""
    if not _ZONE_NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def plural(count: int, one: str, many: str = "") -> str:
    """``1 message``, ``1,234 messages``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A span of time in its largest unit: ``4 s``, ``12 min``, ``3 h``, ``5 days``."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def moment(seconds: int, zone: tzinfo | None) -> datetime | None:
    """A time in a zone; None for one that no calendar has (mail carries such dates)."""
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    except (OverflowError, OSError, ValueError):
        return None


def full_time(seconds: int, zone: tzinfo | None) -> str:
    """``Fri, 20 Nov 2026, 14:03:09 +0100``."""
    when = moment(seconds, zone)
    if when is None:
        return "unreadable date"
    day = when.strftime("%a")
    return f"{day}, {when.day} {_MONTHS[when.month - 1]} {when.year}, {when:%H:%M:%S %z}"


def short_time(seconds: int, zone: tzinfo | None, now: datetime | None = None) -> str:
    """``14:03`` today, ``20 Nov`` this year, ``20 Nov 2019`` before."""
    when = moment(seconds, zone)
    if when is None:
        return "no date"
    today = now or datetime.now(when.tzinfo)
    if when.date() == today.date():
        return f"{when:%H:%M}"
    if when.year == today.year:
        return f"{when.day} {_MONTHS[when.month - 1]}"
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"


def long_time(seconds: int, zone: tzinfo | None) -> str:
    """``20 Nov 2026, 14:03``."""
    when = moment(seconds, zone)
    if when is None:
        return "unreadable date"
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}, {when:%H:%M}"


def exact_time(seconds: int, zone: tzinfo | None, now: datetime | None = None) -> str:
    """``14:03`` today, ``20 Nov 2026, 14:03`` before."""
    when = moment(seconds, zone)
    today = now or datetime.now(when.tzinfo if when else None)
    return short_time(seconds, zone, today) if when and when.date() == today.date() else long_time(seconds, zone)


_STYLES = {"short": short_time, "long": long_time, "exact": exact_time}


def time_tag(seconds: int | None, zone: tzinfo | None, style: str = "short") -> Markup:
    """A ``<time>`` whose title has the full time; ``style`` is short, long or exact."""
    if seconds is None:
        return Markup("never")
    when = moment(seconds, zone)
    machine = when.isoformat() if when else ""
    text = _STYLES[style](seconds, zone)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(machine, full_time(seconds, zone), text)


def person(who: Person) -> str:
    """A name if there is one, else the address."""
    return who.name or who.address or "unknown"


def people(all_of: Sequence[Person], limit: int = 3) -> str:
    """Names in a line, the rest counted: ``Anna Berg, Jo, +4``."""
    if not all_of:
        return "unknown"
    rest = len(all_of) - limit
    return ", ".join(person(who) for who in all_of[:limit]) + (f", +{rest}" if rest > 0 else "")


def initials(all_of: Sequence[Person]) -> str:
    """One or two letters for a person's mark."""
    words = re.findall(r"\w+", person(all_of[0])) if all_of else []
    return "".join(word[0] for word in words[:2]).upper() or "?"


def hue(all_of: Sequence[Person]) -> int:
    """A number from 0 to 7 that is always the same for an address: the colour of a person's mark."""
    return sum((all_of[0].address or all_of[0].name).encode()) % 8 if all_of else 0


def marked(text: str, marks: Sequence[tuple[int, int]]) -> Markup:
    """``text`` with the (start, end) of ``marks`` in ``<mark>``; those out of order or overlapping are skipped."""
    parts: list[Markup] = []
    at = 0
    for start, end in marks:
        if not at <= start < end <= len(text):
            continue
        parts += [escape(text[at:start]), Markup("<mark>{}</mark>").format(text[start:end])]
        at = end
    return Markup("").join([*parts, escape(text[at:])])


def pointed(query: str, position: int) -> Markup:
    """A query with the character at ``position`` (or its end) marked, for showing where it goes wrong."""
    at = min(max(position, 0), len(query))
    return Markup("{}<mark>{}</mark>{}").format(query[:at], query[at : at + 1] or " ", query[at + 1 :])


def narrowed(query: str, words: str) -> str:
    """``query`` and also ``words``."""
    query = query.strip()
    if query in ("", "*"):
        return words
    if re.search(r"\bOR\b", query):
        query = f"({query})"
    return f"{query} {words}"


def linked(text: str) -> Markup:
    """Plain text with its http(s) addresses as links that tell the other side nothing."""
    parts: list[Markup] = []
    at = 0
    for found in re.finditer(r"https?://[^\s<>\"]{3,2000}", text):
        address = found.group().rstrip(".,;:!?)]}'")
        parts.append(escape(text[at : found.start()]))
        parts.append(Markup('<a href="{0}" rel="noopener noreferrer nofollow" target="_blank">{0}</a>').format(address))
        at = found.start() + len(address)
    return Markup("").join([*parts, escape(text[at:])])


def advice(text: str) -> Markup:
    """Words of help: what is to be typed, which is a command apart by two blanks or an address at example.com, as
    code, and other addresses as links."""
    parts: list[Markup] = []
    at = 0
    for found in _TYPED.finditer(text):
        parts += [linked(text[at : found.start()]), Markup(" <code>{}</code>").format(found["command"] or found["url"])]
        at = found.end()
        if found["command"] and not text.startswith(",", at):
            parts.append(Markup(" "))
    return Markup("").join([*parts, linked(text[at:])]).strip()


def coded(text: str) -> Markup:
    """A sentence whose commands stand between backticks, with each as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one that has no other
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def folder_name(path: Sequence[str]) -> str:
    """What a folder is called by itself."""
    if not path:
        return "No folder"
    return "Inbox" if len(path) == 1 and path[0].upper() == "INBOX" else path[-1] or "no name"


def folder_path(path: Sequence[str]) -> str:
    """A folder with those that it is in: ``Inbox / Projects``."""
    return " / ".join((folder_name(path[:1]), *path[1:]))


FILTERS: dict[str, Callable[..., Any]] = {
    "size": size,
    "number": number,
    "plural": plural,
    "duration": duration,
    "time_tag": time_tag,
    "full_time": full_time,
    "person": person,
    "people": people,
    "initials": initials,
    "hue": hue,
    "marked": marked,
    "pointed": pointed,
    "narrowed": narrowed,
    "linked": linked,
    "advice": advice,
    "coded": coded,
    "plus": quote_plus,
    "folder_name": folder_name,
    "folder_path": folder_path,
}
