"""How sizes and counts are said, in the language in use: on the pages, by the doctor, in mails, on the command line."""

from __future__ import annotations

import math

from appliance.language import current, ngettext

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
