"""The part of the double that has folders of fetched mail: Anna Berg's, and those of Tomás Ferreira."""

from __future__ import annotations

from typing import Any

from appliance.errors import NotFoundError
from appliance.mail.folders import Role
from appliance.services import api

ANNAS: tuple[tuple[str, tuple[str, ...], Role], ...] = (
    ("f-inbox", ("INBOX",), "inbox"),
    ("f-sent", ("Sent Items",), "sent"),
    ("f-projects", ("Projects",), ""),
    ("f-roof", ("Projects", "Warehouse roof"), ""),
    ("f-year", ("Projects", "Warehouse roof", "2026"), ""),
    ("f-long", ("Projects", "A folder with a name that is longer than there is room for"), ""),
    ("f-mueller", ("Müller & Söhne <Angebote>",), ""),
    ("f-bin", ("Deleted Items",), "trash"),
)
EMPTY = "f-projects"


class FoldersDouble:
    """Folders in memory; mixed into ``ArchiveDouble``."""

    state: Any

    def _caller(self, token: str) -> api.Caller:
        raise NotImplementedError

    def archives(self, caller: api.Caller, whose: str) -> frozenset[str]:
        raise NotImplementedError

    def begin_folders(self) -> None:
        """Each of Anna's messages lay in one of her folders, but for one that is empty; every tenth in two."""
        filled = [id for id, _, _ in ANNAS if id != EMPTY]
        self.lain: dict[str, frozenset[str]] = {
            id: frozenset(
                f"m-{number}" for number in range(140) if number % 7 == place or (number % 10 == 0 and place == 0)
            )
            for place, id in enumerate(filled)
        } | {EMPTY: frozenset(), "f-tomas": frozenset({"m-1", "m-2", "m-3"})}

    async def folders(self, token: str, *, whose: str = "") -> tuple[api.FolderTree, ...]:
        archives = self.archives(self._caller(token), whose)
        found = []
        if "u-0" in archives:
            found.append(api.FolderTree("u-0", "Anna Berg", self._level(())))
        if "u-3" in archives:
            inbox = api.FolderInfo("f-tomas", ("INBOX",), "inbox", len(self.lain["f-tomas"]))
            found.append(api.FolderTree("u-3", "Tomás Ferreira", (inbox,)))
        return tuple(found)

    def chosen(self, folder: str, below: bool) -> tuple[api.FolderPlace, frozenset[str]]:
        """A folder, and the messages that lay there."""
        for one in self._places():
            if one.id == folder:
                inside = [
                    other.id
                    for other in self._places()
                    if below and other.archive == one.archive and other.path[: len(one.path)] == one.path
                ]
                return one, frozenset[str]().union(*(self.lain[id] for id in (folder, *inside)))
        raise NotFoundError("There is no such folder in your archive.")

    def lain_in(self, message: str, archives: frozenset[str] | None) -> tuple[api.FolderPlace, ...]:
        """The folders of these archives, or of all, in which a message lay."""
        return tuple(
            one
            for one in self._places()
            if message in self.lain[one.id] and (archives is None or one.archive in archives)
        )

    def _places(self) -> list[api.FolderPlace]:
        annas = [
            api.FolderPlace(id=id, archive="u-0", name="Anna Berg", path=path, role=role) for id, path, role in ANNAS
        ]
        return [
            *annas,
            api.FolderPlace(id="f-tomas", archive="u-3", name="Tomás Ferreira", path=("INBOX",), role="inbox"),
        ]

    def _level(self, path: tuple[str, ...]) -> tuple[api.FolderInfo, ...]:
        return tuple(
            api.FolderInfo(id, own, role, len(self.lain[id]), self._level(own))
            for id, own, role in ANNAS
            if own[:-1] == path
        )
