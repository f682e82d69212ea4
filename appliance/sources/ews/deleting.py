"""Deleting messages for good.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/deleteitem-operation
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.errors import UnavailableError
from appliance.language import later
from appliance.sources.ews.exchange import FINE, GONE, Exchange, about_all, code
from appliance.sources.ews.soap import item_id

_TOGETHER: Final = 50


def delete(exchange: Exchange, ids: Sequence[str]) -> frozenset[str]:
    """The ids that are gone now; what Exchange keeps is not among them. Raises RemoteDeniedError, UnavailableError."""
    gone: set[str] = set()
    for begin in range(0, len(ids), _TOGETHER):
        some = ids[begin : begin + _TOGETHER]
        messages = exchange.ask(
            # The two attributes after the first are needed for what is an appointment or a task, and do nothing else.
            '<m:DeleteItem DeleteType="HardDelete" SendMeetingCancellations="SendToNone" '
            'AffectedTaskOccurrences="SpecifiedOccurrenceOnly">'
            f"<m:ItemIds>{''.join(map(item_id, some))}</m:ItemIds></m:DeleteItem>"
        )
        if len(messages) != len(some):
            raise UnavailableError(
                later("Exchange does not say of each message whether it was deleted. What was, the next run tells.")
            )
        for id, message in zip(some, messages, strict=True):
            if code(message) == FINE or code(message) in GONE:
                gone.add(id)
            elif about_all(code(message)):
                exchange.well(message)
    return frozenset(gone)
