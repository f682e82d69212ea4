"""Deleting messages for good.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/deleteitem-operation
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.errors import UnavailableError
from appliance.language import later
from appliance.sources.ews.exchange import FINE, GONE, Exchange, about_all, code
from appliance.sources.ews.soap import Element, item_id

_TOGETHER: Final = 50


def delete(exchange: Exchange, ids: Sequence[str]) -> frozenset[str]:
    """The ids that are gone now; what Exchange keeps is not among them, nor are drafts, which may be others by now than
    those that were fetched. Raises RemoteDeniedError, UnavailableError."""
    gone: set[str] = set()
    for begin in range(0, len(ids), _TOGETHER):
        some = ids[begin : begin + _TOGETHER]
        found = _asked_of_each(
            exchange,
            some,
            "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>"
            '<t:FieldURI FieldURI="item:IsDraft"/></t:AdditionalProperties></m:ItemShape>{ids}</m:GetItem>',
        )
        gone |= {id for id, message in found.items() if code(message) in GONE}
        if sent := [id for id, message in found.items() if _is_sent(message, id)]:
            deleted = _asked_of_each(
                exchange,
                sent,
                # The two attributes after the first are needed for what is an appointment or a task, and do nothing
                # else.
                '<m:DeleteItem DeleteType="HardDelete" SendMeetingCancellations="SendToNone" '
                'AffectedTaskOccurrences="SpecifiedOccurrenceOnly">{ids}</m:DeleteItem>',
            )
            gone |= {id for id, message in deleted.items() if code(message) == FINE or code(message) in GONE}
    return frozenset(gone)


def _asked_of_each(exchange: Exchange, ids: Sequence[str], operation: str) -> dict[str, Element]:
    """What Exchange says of each id; ``operation`` has a place for all of them."""
    messages = exchange.ask(operation.format(ids=f"<m:ItemIds>{''.join(map(item_id, ids))}</m:ItemIds>"))
    if len(messages) != len(ids):
        raise UnavailableError(
            later("Exchange does not say of each message whether it was deleted. What was, the next run tells.")
        )
    for message in messages:
        if about_all(code(message)):
            exchange.well(message)
    return dict(zip(ids, messages, strict=True))


def _is_sent(message: Element, id: str) -> bool:
    item = next(message.every("ItemId"), None)
    draft = next(message.every("IsDraft"), None)
    return (
        code(message) == FINE
        and (item is not None and item.attributes.get("Id") == id)
        and (draft is not None and draft.text in ("false", "0"))
    )
