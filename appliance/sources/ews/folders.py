"""The folders of a mailbox at once, those of the public tree level by level.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/findfolder-operation: public folders
know no deep traversal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from appliance.errors import UnavailableError
from appliance.language import later
from appliance.mail.folders import Path, Role
from appliance.sources.base import Folder
from appliance.sources.ews.exchange import FINE, Exchange, about_all, code
from appliance.sources.ews.soap import Element, distinguished, folder_id

_ROLES: Final[Mapping[str, Role]] = {
    "inbox": "inbox",
    "sentitems": "sent",
    "drafts": "drafts",
    "deleteditems": "trash",
    "junkemail": "junk",
}
"""By the names of folders that are the same in every language."""
_PAGE: Final = 500
_DEEPEST: Final = 100
_MAIL: Final = ("", "ipf.note")
_PROPERTIES: Final = "".join(
    f'<t:FieldURI FieldURI="folder:{one}"/>'
    for one in ("DisplayName", "ParentFolderId", "FolderClass", "TotalCount", "ChildFolderCount")
)


def list_folders(exchange: Exchange) -> tuple[Folder, ...]:
    """All folders, each behind the one that it is in. Raises RemoteDeniedError, UnavailableError."""
    if exchange.whose.public:
        return tuple(_level(exchange, distinguished("publicfoldersroot"), ()))
    roles = _roles(exchange)
    root = distinguished("msgfolderroot", exchange.whose.mailbox)
    below: dict[str, list[Element]] = {}
    known: set[str] = set()
    for one in _found(exchange, root, "Deep"):
        if _id(one) not in known:
            known.add(_id(one))
            below.setdefault(_attribute(one, "ParentFolderId"), []).append(one)
    tops = [parent for parent in below if parent not in known]
    return tuple(folder for top in tops for folder in _tree(below, top, (), roles))


def _tree(below: Mapping[str, list[Element]], above: str, path: Path, roles: Mapping[str, Role]) -> Iterator[Folder]:
    for one in below.get(above, ()):
        folder = _folder(one, path, roles)
        yield folder
        if len(path) < _DEEPEST:
            yield from _tree(below, folder.id, folder.path, roles)


def _level(exchange: Exchange, parent: str, path: Path) -> Iterator[Folder]:
    for one in _found(exchange, parent, "Shallow"):
        folder = _folder(one, path, {})
        yield folder
        if one.said("ChildFolderCount") != "0" and len(path) < _DEEPEST:
            yield from _level(exchange, folder_id(folder.id), folder.path)


def _found(exchange: Exchange, parent: str, traversal: str) -> Iterator[Element]:
    """What is below a folder, page by page."""
    offset = 0
    while True:
        [message] = exchange.ask(
            f'<m:FindFolder Traversal="{traversal}"><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape>'
            f"<t:AdditionalProperties>{_PROPERTIES}</t:AdditionalProperties></m:FolderShape>"
            f'<m:IndexedPageFolderView MaxEntriesReturned="{_PAGE}" Offset="{offset}" BasePoint="Beginning"/>'
            f"<m:ParentFolderIds>{parent}</m:ParentFolderIds></m:FindFolder>"
        )
        root = exchange.well(message).find("RootFolder")
        folders = root.find("Folders") if root is not None else None
        if root is None or folders is None:
            raise UnavailableError(later("Exchange lists folders in a form that cannot be read. Nothing was changed."))
        yield from folders.children
        if root.attributes.get("IncludesLastItemInRange") == "true":
            return
        following = root.attributes.get("IndexedPagingOffset", "")
        if not following.isdecimal() or int(following) <= offset:
            raise UnavailableError(later("Exchange does not say where a list goes on. It is read again later."))
        offset = int(following)


def _roles(exchange: Exchange) -> dict[str, Role]:
    """What folders are for, by their ids; not every mailbox has all of them."""
    ids = "".join(distinguished(name, exchange.whose.mailbox) for name in _ROLES)
    messages = exchange.ask(
        f"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>{ids}</m:FolderIds>"
        "</m:GetFolder>"
    )
    found: dict[str, Role] = {}
    for role, message in zip(_ROLES.values(), messages, strict=False):
        if code(message) == FINE:
            found.update({_id(one): role for one in _folders_of(message)})
        elif about_all(code(message)):
            exchange.well(message)
    return found


def _folders_of(message: Element) -> list[Element]:
    folders = message.find("Folders")
    return folders.children if folders is not None else []


def _folder(one: Element, path: Path, roles: Mapping[str, Role]) -> Folder:
    id = _id(one)
    count = one.said("TotalCount")
    kind = one.said("FolderClass").lower()
    return Folder(
        id,
        (*path, one.said("DisplayName") or id),
        roles.get(id, ""),
        # Calendars, contacts, tasks have elements of their own, and so have search folders, which show what lies
        # elsewhere.
        holds_mail=one.name == "Folder" and (kind in _MAIL or kind.startswith("ipf.note.")),
        messages=int(count) if count.isdecimal() else None,
    )


def _id(one: Element) -> str:
    return _attribute(one, "FolderId")


def _attribute(one: Element, name: str) -> str:
    found = one.find(name)
    if found is None or not found.attributes.get("Id"):
        raise UnavailableError(later("Exchange lists folders in a form that cannot be read. Nothing was changed."))
    return found.attributes["Id"]
