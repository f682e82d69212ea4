"""Properties as values of the type that is asked for, whatever type they were stored with.

Items come out of damaged and hostile files: a subject may be a number there. What cannot be taken as the type that is
asked for is as if it were not there, and no string that leaves this module has a NUL or half a surrogate pair in it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from appliance.mail import charsets
from appliance.mapi.base import Properties, Value
from appliance.mapi.tags import Key

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def get(properties: Properties, key: Key) -> Value | None:
    """The property as it is."""
    return properties.get(key) if isinstance(key, int) else properties.named(*key)


def text(properties: Properties, key: Key) -> str:
    """A string; "" where there is none."""
    return clean(get(properties, key))


def first_text(properties: Properties, *keys: Key) -> str:
    """The first of them that says anything."""
    return next(filter(None, (text(properties, key).strip() for key in keys)), "")


def texts(properties: Properties, key: Key) -> tuple[str, ...]:
    """The strings of a property with several values, or its only one."""
    value = get(properties, key)
    found = (clean(one) for one in (value if isinstance(value, tuple) else (value,)))
    return tuple(one for one in found if one)


def number(properties: Properties, key: Key, default: int = 0) -> int:
    """A whole number."""
    value = get(properties, key)
    return int(value) if isinstance(value, int) else default


def present(properties: Properties, key: Key) -> bool:
    """Whether it is there and true."""
    return bool(number(properties, key))


def data(properties: Properties, key: Key) -> bytes:
    """Bytes; b"" where there are none."""
    value = get(properties, key)
    return value if isinstance(value, bytes) else b""


def datas(properties: Properties, key: Key) -> tuple[bytes, ...]:
    """The bytes of a property with several values, or its only one."""
    value = get(properties, key)
    return tuple(one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, bytes))


def moment(properties: Properties, *keys: Key) -> datetime | None:
    """The first of them that is a point in time, in UTC."""
    for key in keys:
        value = get(properties, key)
        if isinstance(value, datetime):
            return in_utc(value)
    return None


def in_utc(value: datetime) -> datetime:
    """The time in UTC; one that says no time zone is in UTC already."""
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # the first or last hours that Python knows
        return value.replace(tzinfo=UTC)


def clean(value: object) -> str:
    """A string that can be written as UTF-8; "" for what is no string."""
    if isinstance(value, bytes):
        value = charsets.decode(value)
    if not isinstance(value, str):
        return ""
    if "\0" in value:
        value = value.replace("\0", "")
    try:
        value.encode()
    except UnicodeEncodeError:  # halves of surrogate pairs: those that fit together are joined
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def printable(text: str) -> str:
    """Text without controls, for which iCalendar and vCard have no form, but tabs and line ends, which become LF."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines if lines.isprintable() else _CONTROLS.sub("", lines)
