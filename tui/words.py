"""How numbers, sizes and times are said in the console. Pure functions, in the language in use."""

from __future__ import annotations

from datetime import datetime

from appliance.language import _, ngettext
from appliance.services.sizes import number, size

__all__ = ["ago", "moment", "number", "share", "size", "span"]


def share(part: float, whole: float) -> str:
    """``64 %``."""
    return f"{100 * part / whole if whole else 0:.0f} %"


def span(seconds: float) -> str:
    """A span of time in its largest unit: ``4 s``, ``12 min``, ``3 h``, ``5 days``."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    days = round(seconds / 86_400)
    return ngettext("{count} day", "{count} days", days).format(count=days)


def ago(at: float | None, now: float) -> str:
    """``12 min ago``; ``never`` for None."""
    if at is None:
        return _("never")
    if now - at < 5:
        return _("just now")
    return _("{span} ago").format(span=span(now - at))


def moment(at: float | None) -> str:
    """A time as ``2026-11-21 14:03``, in the box's time zone."""
    if at is None:
        return _("never")
    try:
        return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):  # mail and certificates carry such dates
        return _("unreadable")
