"""What has come, changed and gone in a folder.

Of a mailbox's folder Exchange itself remembers how far it was read (SyncFolderItems): the cursor is its sync state. Of
public folders it does not: they are listed from beginning to end each time (FindItem), and the cursor says only that.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/syncfolderitems-operation,
…/finditem-operation
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from appliance.errors import UnavailableError
from appliance.language import later
from appliance.sources.base import CursorLostError, Folder, Item, Page
from appliance.sources.ews.exchange import LOST, CodeError, Exchange
from appliance.sources.ews.soap import Element, folder_id

_SYNCED: Final = b"sync:"
_LISTED: Final = b"list:"
_MOST: Final = 512  # the most that SyncFolderItems gives at once
_PAGE: Final = 500
_NO_MAIL: Final = frozenset({"CalendarItem", "Contact", "DistributionList", "Task"})
_SHAPE: Final = (
    "<t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>"
    '<t:FieldURI FieldURI="item:Size"/><t:FieldURI FieldURI="item:DateTimeReceived"/>'
    '<t:FieldURI FieldURI="item:IsDraft"/><t:FieldURI FieldURI="message:IsRead"/>'
    '<t:ExtendedFieldURI PropertyTag="0x1081" PropertyType="Integer"/>'
    '<t:ExtendedFieldURI PropertyTag="0x1090" PropertyType="Integer"/></t:AdditionalProperties>'
)
"""PidTagLastVerbExecuted and PidTagFlagStatus (MS-OXPROPS) beside what has names."""
_VERBS: Final = {"102": "answered", "103": "answered", "104": "forwarded"}
_FLAGGED: Final = "2"


def changes(exchange: Exchange, folder: Folder, cursor: bytes) -> Iterator[Page]:
    """As ``Session.changes``; in no order. Raises CursorLostError, RemoteDeniedError, UnavailableError."""
    if exchange.whose.public:
        yield from _listed(exchange, folder)
    else:
        yield from _synced(exchange, folder, cursor)


def newest(exchange: Exchange, folder: Folder) -> Item | None:
    """One of the folder's newest messages; None if there is none."""
    items, _ = _find(exchange, folder, 0, most=10, order="Descending")
    return next(iter(items), None)


def _synced(exchange: Exchange, folder: Folder, cursor: bytes) -> Iterator[Page]:
    if cursor and not cursor.startswith(_SYNCED):
        raise CursorLostError(later("What was remembered of a folder is of another service; it is read anew."))
    state = cursor.removeprefix(_SYNCED).decode("ascii", "replace")
    while True:
        message = _told(exchange, folder, state)
        told = message.find("Changes")
        following = message.said("SyncState")
        whole = message.said("IncludesLastItemInRange")
        if told is None or not following or whole not in ("true", "false") or (whole == "false" and following == state):
            raise UnavailableError(later("Exchange does not say where a list goes on. It is read again later."))
        yield _page(told, following)
        if whole == "true":
            return
        state = following


def _told(exchange: Exchange, folder: Folder, state: str) -> Element:
    """What has happened since a sync state. Raises CursorLostError for one that is none any more."""
    try:
        [message] = exchange.ask(
            f"<m:SyncFolderItems><m:ItemShape>{_SHAPE}</m:ItemShape>"
            f"<m:SyncFolderId>{folder_id(folder.id)}</m:SyncFolderId>"
            + (f"<m:SyncState>{escape(state)}</m:SyncState>" if state else "")
            + f"<m:MaxChangesReturned>{_MOST}</m:MaxChangesReturned><m:SyncScope>NormalItems</m:SyncScope>"
            "</m:SyncFolderItems>"
        )
        return exchange.well(message)
    except CodeError as error:
        if state and error.reason in LOST:
            raise CursorLostError(
                later("Exchange no longer knows how far a folder was read; it is read anew.")
            ) from error
        raise


def _page(told: Element, state: str) -> Page:
    items: dict[str, Item] = {}
    changed: list[Item] = []
    gone: list[str] = []
    for change in told.children:
        if change.name in ("Create", "Update"):
            items.update({_id(one): _item(one) for one in change.children if one.name not in _NO_MAIL})
        elif change.name == "Delete":
            gone.append(_id(change))
        elif change.name == "ReadFlagChange":
            changed.append(Item(_id(change), flags=("seen",) if _is(change, "IsRead") else ()))
    left = tuple(one for one in items.values() if one.id not in gone)
    return Page(left, _SYNCED + state.encode("ascii", "replace"), changed=tuple(changed), gone=tuple(gone))


def _listed(exchange: Exchange, folder: Folder) -> Iterator[Page]:
    offset: int | None = 0
    while offset is not None:
        items, offset = _find(exchange, folder, offset, most=_PAGE, order="Ascending")
        yield Page(items, _LISTED)


def _find(
    exchange: Exchange, folder: Folder, offset: int, *, most: int, order: str
) -> tuple[tuple[Item, ...], int | None]:
    """Messages from a place in the folder on, and where they go on; None at the end."""
    [message] = exchange.ask(
        f'<m:FindItem Traversal="Shallow"><m:ItemShape>{_SHAPE}</m:ItemShape>'
        f'<m:IndexedPageItemView MaxEntriesReturned="{most}" Offset="{offset}" BasePoint="Beginning"/>'
        f'<m:SortOrder><t:FieldOrder Order="{order}"><t:FieldURI FieldURI="item:DateTimeReceived"/></t:FieldOrder>'
        f"</m:SortOrder><m:ParentFolderIds>{folder_id(folder.id)}</m:ParentFolderIds></m:FindItem>"
    )
    root = exchange.well(message).find("RootFolder")
    found = root.find("Items") if root is not None else None
    if root is None or found is None:
        raise UnavailableError(later("Exchange lists messages in a form that cannot be read. Nothing was changed."))
    items = tuple(_item(one) for one in found.children if one.name not in _NO_MAIL)
    if root.attributes.get("IncludesLastItemInRange") == "true":
        return items, None
    following = root.attributes.get("IndexedPagingOffset", "")
    if not following.isdecimal() or int(following) <= offset:
        raise UnavailableError(later("Exchange does not say where a list goes on. It is read again later."))
    return items, int(following)


def _item(one: Element) -> Item:
    more = {
        field.attributes.get("PropertyTag", "").lower(): value.text
        for field, value in ((ext.find("ExtendedFieldURI"), ext.find("Value")) for ext in one.every("ExtendedProperty"))
        if field is not None and value is not None
    }
    verb = _VERBS.get(more.get("0x1081", ""))
    flags = {
        "seen": _is(one, "IsRead"),
        "answered": verb == "answered",
        "flagged": more.get("0x1090") == _FLAGGED,
        "draft": _is(one, "IsDraft"),
        "forwarded": verb == "forwarded",
    }
    size = one.said("Size")
    return Item(
        _id(one),
        int(size) if size.isdecimal() else None,
        _microseconds(one.said("DateTimeReceived")),
        tuple(flag for flag, holds in flags.items() if holds),
    )


def _is(one: Element, name: str) -> bool:
    return one.said(name) in ("true", "1")


def _id(one: Element) -> str:
    found = one.find("ItemId")
    if found is None or not found.attributes.get("Id"):
        raise UnavailableError(later("Exchange lists messages in a form that cannot be read. Nothing was changed."))
    return found.attributes["Id"]


def _microseconds(time: str) -> int | None:
    """Of a time like 2016-12-29T18:46:48Z."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1_000_000)
