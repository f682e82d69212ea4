"""Where in the results a reader is, as the address of the page says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict, get_args
from urllib.parse import urlencode

from litestar import Request

from appliance.services import api
from webadmin.session import Visit

PAGE_SIZES = (25, 50, 100)
_SORTS: tuple[api.Sort, ...] = get_args(api.Sort)


class Scope(TypedDict):
    """Whose mail a call is about, as ``ArchiveClient`` takes it."""

    everywhere: bool
    whose: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the results the reader is; every link on the page is one of these.

    ``all`` is an auditor's look into all archives, ``archive`` one that is open to the reader beside their own, by its
    id, or ``api.ALL`` of these. ``folder`` (an id) keeps the results to what lay there and, with ``below``, in the
    folders in it.
    """

    q: str = ""
    sort: api.Sort = "date"
    offset: int = 0
    limit: int = PAGE_SIZES[0]
    all: bool = False
    archive: str = ""
    folder: str = ""
    below: bool = False
    open: str = ""

    @property
    def scope(self) -> Scope:
        """Whose mail this place is about."""
        return {"everywhere": self.all, "whose": self.archive}

    def at(self, **changes: Any) -> str:
        """The address of this place with some values changed; a new query or order starts at its beginning, and another
        archive has other folders."""
        if changes.keys() & {"q", "sort", "limit", "all", "archive", "folder", "below"}:
            changes = {"offset": 0, "open": "", **changes}
        if changes.keys() & {"all", "archive"}:
            changes = {"folder": "", **changes}
        place = replace(self, **changes)
        parts = {
            "q": place.q,
            "sort": "" if place.sort == "date" else place.sort,
            "offset": place.offset or "",
            "limit": "" if place.limit == PAGE_SIZES[0] else place.limit,
            "all": "1" if place.all else "",
            "archive": place.archive,
            "folder": place.folder,
            "below": "1" if place.folder and place.below else "",
            "open": place.open,
        }
        query = urlencode({name: value for name, value in parts.items() if value != ""})
        return f"/?{query}" if query else "/"

    def message(self, id: str) -> str:
        """The address of a message's own page, from which ``Back`` leads here."""
        back = self.at(open="").removeprefix("/?").removeprefix("/")
        parts = {"all": "1" if self.all else "", "archive": self.archive, "from": back}
        query = urlencode({name: value for name, value in parts.items() if value})
        return f"/m/{id}" + (f"?{query}" if query else "")


def scoped(given: Mapping[str, Any], visit: Visit) -> Place:
    """The beginning of the mail that an address or a form asks for, as far as the reader may."""
    everywhere = visit.everywhere(given.get("all") == "1")
    return Place(all=everywhere, archive="" if everywhere else visit.whose(str(given.get("archive") or "")))


def place_of(request: Request[Any, Any, Any], visit: Visit) -> Place:
    """The place that an address names; what makes no sense in it is as if it were not there."""
    given = request.query_params
    sort = given.get("sort", "date")
    return replace(
        scoped(given, visit),
        q=given.get("q", "")[:4000],
        sort=next((known for known in _SORTS if known == sort), "date"),
        offset=_whole(given.get("offset", "")),
        limit=_whole(given.get("limit", "")) if _whole(given.get("limit", "")) in PAGE_SIZES else PAGE_SIZES[0],
        folder=given.get("folder", "")[:200],
        below=given.get("below") == "1",
        open=given.get("open", "")[:200],
    )


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
