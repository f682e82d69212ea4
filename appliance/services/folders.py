"""Folders: where fetched mail lay in the mailboxes it came from, as a tree for each archive.

A folder is one of one archive. Whoever may not read that archive learns nothing of it: not its name, not that it is
there, and no search is answered by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from appliance.catalogue.folders import FolderNames
from appliance.catalogue.placing import FolderRow
from appliance.errors import NotFoundError
from appliance.language import later
from appliance.mail import query
from appliance.mail.folders import ROLES, Path, Role
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.auditing import note_look
from appliance.services.principal import Principal, View

_ID = 16
_ORDER: Final[tuple[Role, ...]] = (
    *("inbox", "sent", "drafts", "archive"),
    "",
    *("flagged", "important", "all", "junk", "trash"),
)
"""What people look for most comes first, what they threw away last."""


class Chosen(msgspec.Struct, frozen=True):
    """A folder that a search is kept to."""

    place: api.FolderPlace
    within: query.InFolder


def folders(archive: Archive, principal: Principal, *, whose: str = "") -> tuple[api.FolderTree, ...]:
    """The folders of each archive that ``whose`` names (as in ``Principal.looking``) and that has any, by the archives'
    names, the caller's own first. No mail that was fetched, no tree."""
    view = principal.looking(everywhere=False, whose=whose)
    found = own_first(archive, principal, view)
    if view.others and found:
        note_look(archive, principal, "folders", "", view.others)
    return found


def own_first(archive: Archive, principal: Principal, view: View) -> tuple[api.FolderTree, ...]:
    """As ``trees``, the caller's own first."""
    return tuple(sorted(trees(archive, view), key=lambda one: one.archive != principal.id))


def trees(archive: Archive, view: View) -> tuple[api.FolderTree, ...]:
    """The folders of each archive of a view that has any, by the archives' names; who may ask has been decided."""
    names = FolderNames(archive.keyring)
    found: dict[str, list[FolderRow]] = {}
    for row in archive.catalogue.folders(view.archives or frozenset()):
        found.setdefault(row.archive, []).append(row)
    people = archive.settings.people(found)
    made = (
        api.FolderTree(id, people[id].name if id in people else "", _tree(of_one, names))
        for id, of_one in found.items()
    )
    return tuple(sorted(made, key=lambda one: (one.name.casefold(), one.archive)))


def chosen(archive: Archive, view: View, *, folder: str, below: bool) -> Chosen | None:
    """What keeps a search to a folder and, with ``below``, to all that are in it; None where no folder is named.

    Raises NotFoundError where the view has no such folder.
    """
    if not folder:
        return None
    row = archive.catalogue.folder(_raw_id(folder))
    if row is None or not view.sees(frozenset({row.archive})):
        raise _unknown()
    ids = archive.catalogue.folder_with_those_in(row) if below else (row.id,)
    (place,) = _places(archive, [row])
    return Chosen(place, query.InFolder(row.archive, tuple(id.hex() for id in ids)))


def places(archive: Archive, view: View, records: Collection[bytes]) -> tuple[api.FolderPlace, ...]:
    """The folders in which these records (by id) lay, as far as they are within the view."""
    rows = archive.catalogue.folders_of_records(list(records))
    return _places(archive, [row for row in rows if view.sees(frozenset({row.archive}))])


def _places(archive: Archive, rows: Sequence[FolderRow]) -> tuple[api.FolderPlace, ...]:
    if not rows:
        return ()
    names = FolderNames(archive.keyring)
    people = archive.settings.people({row.archive for row in rows})
    found = (
        api.FolderPlace(
            id=row.id.hex(),
            archive=row.archive,
            name=people[row.archive].name if row.archive in people else "",
            path=names.open(row.id, row.path),
            role=_role(row.role),
        )
        for row in rows
    )
    return tuple(sorted(found, key=lambda one: (one.name.casefold(), one.archive, _rank(one.role, one.path))))


def _tree(rows: Iterable[FolderRow], names: FolderNames) -> tuple[api.FolderInfo, ...]:
    """The folders at the top, with those in them. Each of ``rows`` comes after the one that it is in."""
    paths: dict[int, Path] = {}
    inside: dict[int | None, list[FolderRow]] = {}
    for row in rows:
        paths[row.n] = names.open(row.id, row.path)
        inside.setdefault(row.parent, []).append(row)
    return _level(None, inside, paths)


def _level(
    parent: int | None, inside: Mapping[int | None, Sequence[FolderRow]], paths: Mapping[int, Path]
) -> tuple[api.FolderInfo, ...]:
    here = sorted(inside.get(parent, ()), key=lambda row: _rank(_role(row.role), paths[row.n]))
    return tuple(
        api.FolderInfo(row.id.hex(), paths[row.n], _role(row.role), row.messages, _level(row.n, inside, paths))
        for row in here
    )


def _rank(role: Role, path: Path) -> tuple[int, tuple[str, ...], Path]:
    """By what a folder is for, then by name."""
    return _ORDER.index(role), tuple(name.casefold() for name in path), path


def _role(text: str) -> Role:
    return text if text in ROLES else ""  # type: ignore[return-value]


def _raw_id(folder: str) -> bytes:
    try:
        found = bytes.fromhex(folder)
    except ValueError:
        raise _unknown() from None
    if len(found) != _ID:
        raise _unknown()
    return found


def _unknown() -> NotFoundError:
    return NotFoundError(later("There is no such folder in your archive."))
