"""The folders of a mailbox, level by level.

    GET /mailFolders?includeHiddenFolders=true · /mailFolders/{id}/childFolders · POST /$batch

https://learn.microsoft.com/en-us/graph/api/user-list-mailfolders, …/mailfolder-list-childfolders,
…/resources/mailfolder
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from appliance.decoding import from_values
from appliance.errors import UnavailableError
from appliance.language import later
from appliance.mail.folders import Path, Role
from appliance.sources.base import Folder
from appliance.sources.graph.mailbox import Mailbox
from appliance.vendor.graph import Page, Reply
from appliance.vendor.web import RefusedError

T = TypeVar("T")

_ROLES: Final[Mapping[str, Role]] = {
    "inbox": "inbox",
    "sentitems": "sent",
    "drafts": "drafts",
    "deleteditems": "trash",
    "junkemail": "junk",
    "archive": "archive",
}
"""By Outlook's names for folders that it makes, which are the same in every language."""
_SEARCH: Final = "#microsoft.graph.mailSearchFolder"
_CLASS: Final = "String 0x3613"  # PidTagContainerClass
_MAIL: Final = ("", "ipf.note")
_LISTED: Final = {
    # Hidden ones too: Clutter is one, and may be full of mail.
    "includeHiddenFolders": "true",
    "$select": "id,displayName,childFolderCount,totalItemCount",
    "$expand": f"singleValueExtendedProperties($filter=id eq '{_CLASS}')",
    "$top": "100",
}


class Property(msgspec.Struct, frozen=True):
    """A property of MAPI (https://learn.microsoft.com/en-us/graph/api/singlevaluelegacyextendedproperty-get)."""

    id: str
    value: str | None = None


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Folder(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    display_name: str | None = None
    child_folder_count: int | None = None
    total_item_count: int | None = None
    type: str = msgspec.field(name="@odata.type", default="")
    properties: tuple[Property, ...] = msgspec.field(name="singleValueExtendedProperties", default=())


def list_folders(mailbox: Mailbox) -> tuple[Folder, ...]:
    """All folders, each behind the one that it is in. Raises RefusedError, UnavailableError."""
    roles = _roles(mailbox)
    found: dict[str, Folder] = {}
    level: list[tuple[Path, _Folder]] = [((), one) for one in _rest(mailbox, _first(mailbox))]
    while level:
        deeper: list[tuple[Path, str]] = []
        for above, one in level:
            if one.id in found:
                continue
            path = (*above, one.display_name or one.id)
            found[one.id] = Folder(
                one.id, path, roles.get(one.id, ""), holds_mail=_holds_mail(one), messages=one.total_item_count
            )
            # A search folder shows what lies elsewhere.
            if one.child_folder_count and one.type != _SEARCH:
                deeper.append((path, one.id))
        level = list(_below(mailbox, deeper))
    return tuple(found.values())


def _first(mailbox: Mailbox) -> Page[_Folder]:
    return mailbox.get("/mailFolders", Page[_Folder], _LISTED)


def _below(mailbox: Mailbox, above: Sequence[tuple[Path, str]]) -> Iterator[tuple[Path, _Folder]]:
    replies = mailbox.batch([(f"/mailFolders/{quote(id, safe='')}/childFolders", _LISTED) for _, id in above])
    for (path, _), reply in zip(above, replies, strict=True):
        if reply.status == HTTPStatus.NOT_FOUND:  # somebody has just deleted it
            continue
        for one in _rest(mailbox, _read(reply, Page[_Folder])):
            yield path, one


def _rest(mailbox: Mailbox, page: Page[_Folder]) -> Iterator[_Folder]:
    """A page's folders, and those of the pages that follow it."""
    been: set[str] = set()
    yield from page.value
    while page.next is not None and page.next not in been:
        been.add(page.next)
        page = mailbox.follow(page.next, Page[_Folder])
        yield from page.value


def _roles(mailbox: Mailbox) -> dict[str, Role]:
    """What folders are for, by their ids; not every mailbox has all of them."""
    replies = mailbox.batch([(f"/mailFolders/{name}", {"$select": "id"}) for name in _ROLES])
    return {
        _read(reply, _Id).id: role
        for role, reply in zip(_ROLES.values(), replies, strict=True)
        if reply.status != HTTPStatus.NOT_FOUND
    }


def _read(reply: Reply, type: type[T]) -> T:
    """What one part of a batch says. Raises RefusedError, UnavailableError."""
    if reply.status != HTTPStatus.OK:
        said = later("Microsoft Graph refused to list folders ({words}). Nothing was changed.")
        raise RefusedError(reply.status, reply.reason, said, words=f"{reply.status} {reply.reason}".strip())
    try:
        return from_values(reply.body, type)
    except msgspec.ValidationError as error:
        text = later("Microsoft Graph answered with something that cannot be read ({error}). Nothing was changed.")
        raise UnavailableError(text, error=error) from error


def _holds_mail(folder: _Folder) -> bool:
    if folder.type == _SEARCH:
        return False
    kind = next(((one.value or "").lower() for one in folder.properties), "")
    return kind in _MAIL or kind.startswith("ipf.note.")
