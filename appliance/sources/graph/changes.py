"""What has come, changed and gone in a folder: delta queries.

    GET /mailFolders/{id}/messages/delta

https://learn.microsoft.com/en-us/graph/delta-query-messages, …/api/message-delta

A cursor is what stands behind the question mark of the link that Graph gave last, to the next page or the next round;
what stands before it names the mailbox, and is not for whoever sees a cursor. It is valid for some days to weeks, as
Exchange sees fit; then the folder is listed from its beginning. Ids stay what they were, so nothing is fetched again.

Graph tells of what is new, changed and moved in without a difference: all of it is ``Page.items``. Within a round it is
in no order, and one message may come twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from appliance.errors import ThrottledError, UnavailableError
from appliance.language import later
from appliance.sources.base import CursorLostError, Folder, Item, Page
from appliance.sources.graph.folders import Property
from appliance.sources.graph.mailbox import Mailbox
from appliance.vendor.web import RefusedError

_SIZE: Final = 0x0E08  # PidTagMessageSize
_VERB: Final = 0x1081  # PidTagLastVerbExecuted
_ANSWERED: Final = frozenset({"102", "103"})  # reply, reply to all; 104: forward
_FORWARDED: Final = "104"

# Nothing of a message's text: a message that Exchange cannot convert would make the whole page fail.
_SELECT: Final = {"$select": "receivedDateTime,isRead,isDraft,flag"}
_SELECT_MORE: Final = {
    **_SELECT,
    "$expand": f"singleValueExtendedProperties($filter=id eq 'Integer 0x{_SIZE:04X}' or id eq 'Integer 0x{_VERB:04X}')",
}
_LOST: Final = frozenset(
    {"syncstatenotfound", "syncstateinvalid", "resyncrequired", "errorinvalidsyncstatedata", "errorsyncstatenotfound"}
)
_TOKEN: Final = re.compile(r"(?:^|[&$])(?:delta|skip)token=", re.IGNORECASE)
_GONE: Final = frozenset({"erroritemnotfound", "errorsyncfoldernotfound", "errorfoldernotfound"})
_PERHAPS_TOO_MUCH: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR})
_READINGS: Final = 3
"""Of a folder in which the place is lost again and again."""
_FULL: Final = "errorquotaexceeded"


class _Flag(msgspec.Struct, frozen=True, rename="camel"):
    flag_status: str | None = None


class _Message(msgspec.Struct, frozen=True, rename="camel"):
    """What Graph says of a message (https://learn.microsoft.com/en-us/graph/api/resources/message); of one that has
    changed it need not say all again."""

    id: str
    received_date_time: str | None = None
    is_read: bool | str | None = None  # "true" in the documentation's example of a change
    is_draft: bool | None = None
    flag: _Flag | None = None
    removed: Mapping[str, object] | None = msgspec.field(name="@removed", default=None)
    properties: tuple[Property, ...] = msgspec.field(name="singleValueExtendedProperties", default=())


class _Round(msgspec.Struct, frozen=True):
    value: tuple[_Message, ...]
    next: str | None = msgspec.field(name="@odata.nextLink", default=None)
    delta: str | None = msgspec.field(name="@odata.deltaLink", default=None)


class Changes:
    """Rounds through the folders of one mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._more = True
        """Whether sizes and the like can be asked for along with a round."""

    def since(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        """As ``Session.changes``. Raises RefusedError, UnavailableError; CursorLostError for a cursor that is none."""
        for _ in range(_READINGS):
            try:
                yield from self._round(folder, cursor)
                return
            except RefusedError as error:
                reason = error.reason.lower()
                if reason == _FULL:
                    break
                if reason in _GONE:
                    raise UnavailableError(
                        later("The folder “{folder}” is no longer there. It was deleted while it was read."),
                        folder="/".join(folder.path),
                    ) from error
                if not (error.status == HTTPStatus.GONE or reason in _LOST or _refuses(error, cursor)):
                    raise
                cursor = b""
        else:
            raise UnavailableError(
                later("Exchange Online loses its place in the folder “{folder}” again and again. It is read later."),
                folder="/".join(folder.path),
            )
        # Exchange keeps what a delta query knows in the mailbox itself; where that is full, it has to do without.
        yield from self._listed(folder, cursor)

    def newest(self, folder: Folder) -> Item | None:
        """One of the folder's newest messages; None if it is empty. Raises RefusedError, UnavailableError."""
        params = {**_SELECT, "$top": "1", "$orderby": "receivedDateTime desc"}
        found = self._mailbox.get(_messages(folder), _Round, params).value
        return _item(found[0]) if found else None

    def _round(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        path = f"{_messages(folder)}/delta"
        page = self._resumed(path, cursor) if cursor else self._first(path)
        been: set[str] = set()
        while True:
            link = page.next or page.delta
            if link is None or link in been:
                raise UnavailableError(
                    later("Microsoft Graph does not say where a list of messages goes on. It is read again later.")
                )
            been.add(link)
            yield self._page(page, urlsplit(link).query.encode())
            if page.next is None:
                return
            page = self._mailbox.follow(page.next, _Round)

    def _listed(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        """All that is in the folder, in each run anew, without what has gone."""
        page = self._first(_messages(folder), {"$orderby": "receivedDateTime asc"})
        been: set[str] = set()
        yield self._page(page, cursor)
        while page.next is not None and page.next not in been:
            been.add(page.next)
            page = self._mailbox.follow(page.next, _Round)
            yield self._page(page, cursor)

    def _first(self, path: str, params: Mapping[str, str] | None = None) -> _Round:
        if self._more:
            try:
                return self._mailbox.get(path, _Round, {**_SELECT_MORE, **(params or {})})
            except ThrottledError:
                raise
            except (RefusedError, UnavailableError) as error:
                if isinstance(error, RefusedError) and error.status not in _PERHAPS_TOO_MUCH:
                    raise
                # Some of Exchange's servers cannot do both at once; what follows tells whether that was all.
                found = self._mailbox.get(path, _Round, {**_SELECT, **(params or {})})
                self._more = False
                return found
        return self._mailbox.get(path, _Round, {**_SELECT, **(params or {})})

    def _resumed(self, path: str, cursor: bytes) -> _Round:
        query = cursor.decode("ascii", "replace")
        if _TOKEN.search(query) is None:
            raise CursorLostError(later("What was remembered of a folder is of another service; it is read anew."))
        return self._mailbox.get(f"{path}?{query}", _Round)

    def _page(self, page: _Round, cursor: bytes) -> Page:
        last = {one.id: one for one in page.value}  # of one that is told of twice, what was said last holds
        items = []
        gone = []
        for one in last.values():
            if one.removed is not None:
                gone.append(one.id)
            elif (whole := self._whole(one)) is not None:
                items.append(_item(whole))
        return Page(tuple(items), cursor, gone=tuple(gone))

    def _whole(self, message: _Message) -> _Message | None:
        """What there is to know of a message; None where it has gone meanwhile."""
        if message.received_date_time is not None:
            return message
        try:
            found = self._mailbox.get(f"/messages/{quote(message.id, safe='')}", _Message, _SELECT)
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return msgspec.structs.replace(found, properties=message.properties)


def _refuses(error: RefusedError, cursor: bytes) -> bool:
    """Whether it may be the cursor that Graph does not take."""
    return bool(cursor) and error.status == HTTPStatus.BAD_REQUEST


def _messages(folder: Folder) -> str:
    return f"/mailFolders/{quote(folder.id, safe='')}/messages"


def _item(message: _Message) -> Item:
    more = {_tag(one.id): one.value or "" for one in message.properties}
    size, verb = more.get(_SIZE, ""), more.get(_VERB, "")
    flags = {
        "seen": str(message.is_read).lower() == "true",
        "answered": verb in _ANSWERED,
        "flagged": message.flag is not None and message.flag.flag_status == "flagged",
        "draft": message.is_draft is True,
        "forwarded": verb == _FORWARDED,
    }
    return Item(
        id=message.id,
        size=int(size) if size.isdecimal() else None,
        received=_microseconds(message.received_date_time),
        flags=tuple(flag for flag, holds in flags.items() if holds),
        # A draft is rewritten, and its id may be that of the message that is sent at last.
        same="" if message.is_draft else message.id,
    )


def _tag(id: str) -> int:
    """The number of a property whose id is like ``Integer 0x0E08``, which Graph writes ``Integer 0xe08``."""
    try:
        return int(id.rpartition(" ")[2], 16)
    except ValueError:
        return 0


def _microseconds(time: str | None) -> int | None:
    """Of a time like 2016-12-29T18:46:48Z."""
    if time is None:
        return None
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
