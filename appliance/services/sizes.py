"""How sizes and counts are said, in the language in use: on the pages, by the doctor, in mails, on the command line."""

from __future__ import annotations

import math
import re

from appliance.errors import UsageError
from appliance.language import current, later, ngettext

_TYPED = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)I?B?", re.ASCII)
_UNITS = ("KB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes in the largest unit (of 1024) that leaves at least one, as ``3.4 MB``; in German ``3,4 MB``."""
    if abs(count) < 1024:
        return ngettext("{count} byte", "{count} bytes", int(count)).format(count=int(count))
    power = min(int(math.log(abs(count), 1024)), len(_UNITS))
    value = count / 1024**power
    text = f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"
    return f"{text.replace('.', ',') if current() == 'de' else text} {_UNITS[power - 1]}"


def number(count: int) -> str:
    """An integer with its thousands apart, as ``1,234``; in German ``1.234``."""
    text = f"{count:,}"
    return text.replace(",", ".") if current() == "de" else text


def in_bytes(text: str) -> int:
    """The size that somebody has typed: ``25M``, ``1.5 GB`` (units of 1024) or ``800000``. Raises UsageError."""
    found = _TYPED.fullmatch(text.strip().upper())
    if found is None:
        raise UsageError(later("“{text}” is no size such as 25M."), text=text)
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " "))


def typed(count: int) -> str:
    """A size as somebody would type it, exactly: ``25M``."""
    power = next((power for power in (4, 3, 2, 1) if count and count % 1024**power == 0), 0)
    return f"{count // 1024**power}{' KMGT'[power]}".strip()
