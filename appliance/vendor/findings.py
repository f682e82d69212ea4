"""What tests of a vendor's service find, whatever it is used for: how it stands, and in a sentence what to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from appliance.language import _, ngettext

State = Literal["ok", "warning", "problem"]

SKEW: Final = 300.0
"""Seconds that clocks may differ by before what is signed, or a token, is refused."""
_EXPIRES_SOON = timedelta(days=30)


def certificate(begin: datetime, end: datetime, now: datetime) -> tuple[State, str]:
    """An application's certificate, valid from ``begin`` to ``end``."""
    state: State = "problem"
    if end < now:
        text = _("The certificate expired on {day}. Make a new one, and upload it to the app registration.")
    elif begin > now:
        text = _("The certificate is not valid before {begin}. Is this machine's clock right?")
    elif end < now + _EXPIRES_SOON:
        state = "warning"
        text = _("The certificate expires on {day}. Make a new one in time, and upload it to the app registration.")
    else:
        state = "ok"
        text = _("The certificate is valid until {day}.")
    return state, text.format(day=f"{end:%Y-%m-%d}", begin=f"{begin:%Y-%m-%d}")


def clock(skew: float | None, whose: str) -> str:
    """A warning where the clock of ``whose`` is ``skew`` seconds, and so too far, ahead of ours; otherwise ""."""
    if skew is None or abs(skew) <= SKEW:
        return ""
    minutes = round(abs(skew) / 60)
    if skew > 0:
        text = ngettext(
            "This machine's clock is {count} minute behind that of {whose}. Set it.",
            "This machine's clock is {count} minutes behind that of {whose}. Set it.",
            minutes,
        )
    else:
        text = ngettext(
            "This machine's clock is {count} minute ahead of that of {whose}. Set it.",
            "This machine's clock is {count} minutes ahead of that of {whose}. Set it.",
            minutes,
        )
    return text.format(count=minutes, whose=whose)
