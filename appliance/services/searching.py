"""Searching: a query, a view, a page of hits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime

import msgspec

from appliance.errors import UsageError
from appliance.index.search import Found, Scope
from appliance.mail.facts import Mailbox
from appliance.mail.query import And, Node, parse
from appliance.services import api, folders
from appliance.services.archive import Archive
from appliance.services.auditing import note_look
from appliance.services.principal import Principal, View


def search(
    archive: Archive,
    principal: Principal,
    *,
    query: str,
    sort: api.Sort = "date",
    offset: int = 0,
    limit: int = 25,
    everywhere: bool = False,
    whose: str = "",
    folder: str = "",
    below: bool = False,
    trees: bool = False,
) -> api.SearchPage:
    """A page of what the caller may see. Raises QueryError with the place where the query cannot be understood.

    ``whose`` as in ``Principal.looking``; where that is several archives, each hit names those it is in. With
    ``folder`` (an id) only what lay there counts and, with ``below``, in the folders in it; with ``trees`` come the
    folders beside it. Raises NotFoundError where the caller has no such folder.
    """
    view = principal.looking(everywhere=everywhere, whose=whose)
    page = search_view(archive, view, query=query, sort=sort, offset=offset, limit=limit, folder=folder, below=below)
    if trees:
        page = msgspec.structs.replace(page, trees=folders.own_first(archive, principal, view))
    action = "search.everywhere" if everywhere else "search"
    asked = f"{query} in {' / '.join(page.folder.path)}" if page.folder else query
    note_look(archive, principal, action, f"{asked} → {page.total}", view.others)
    return page


def search_view(
    archive: Archive,
    view: View,
    *,
    query: str,
    sort: api.Sort = "date",
    offset: int = 0,
    limit: int = 25,
    folder: str = "",
    below: bool = False,
) -> api.SearchPage:
    """The search itself; who may ask for this view has been decided."""
    if sort not in ("date", "date-asc", "relevance"):
        raise UsageError("Results are sorted by date, date-asc or relevance.")
    if offset < 0 or not 0 <= limit <= api.MOST_HITS:
        raise UsageError(f"A page has up to {api.MOST_HITS} hits.")
    started = time.perf_counter()
    chosen = folders.chosen(archive, view, folder=folder, below=below)
    node = asked_for(archive, query, chosen)
    results = archive.index.search(node, scope_of(view), sort=sort, offset=offset, limit=limit, facets=True)
    found_in = _archives_of(archive, view, results.hits)
    return api.SearchPage(
        query=query,
        total=results.total,
        offset=offset,
        hits=tuple(hit_of(one, found_in.get(one.id, ())) for one in results.hits),
        years=tuple(api.Bucket(str(year), count, f"on:{year:04}") for year, count in results.facets.years),
        senders=tuple(api.Bucket(address, count, f'from:"{address}"') for address, count in results.facets.senders),
        attachments=tuple(
            api.Bucket(label, count, words)
            for label, count, words in (
                ("With attachment", results.facets.with_attachment, "has:attachment"),
                ("Without", results.facets.without_attachment, "-has:attachment"),
            )
        ),
        milliseconds=(time.perf_counter() - started) * 1000,
        everywhere=view.archives is None,
        folder=chosen.place if chosen else None,
    )


def asked_for(archive: Archive, query: str, chosen: folders.Chosen | None) -> Node:
    """What a query asks for, in the chosen folder if one is. Raises QueryError."""
    node = parse(query, today=today(archive))
    return And((node, chosen.within)) if chosen else node


def today(archive: Archive) -> date:
    """The day that "last week" counts from. Days are UTC throughout, as in the index."""
    return datetime.fromtimestamp(archive.clock(), UTC).date()


def scope_of(view: View) -> Scope:
    """The view in the index's terms."""
    return Scope(
        archives=None if view.archives is None else tuple(sorted(view.archives)), hidden=tuple(sorted(view.knows))
    )


def _archives_of(archive: Archive, view: View, hits: Sequence[Found]) -> dict[str, tuple[str, ...]]:
    """Which of the view's archives each hit is in, where there are several to be in."""
    if view.archives is None or len(view.archives) < 2:
        return {}
    found = archive.catalogue.archives_of_messages([bytes.fromhex(one.id) for one in hits])
    return {id.hex(): tuple(sorted(archives & view.archives)) for id, archives in found.items()}


def hit_of(found: Found, archives: tuple[str, ...] = ()) -> api.Hit:
    """One line of a result list."""
    return api.Hit(
        id=found.id, subject=found.subject, from_=people(found.from_), to=people(found.to), date=found.date,
        size=found.size, attachments=found.attachments, unparsed=found.unparsed, snippet=found.snippet,
        marks=found.marks, archives=archives,
    )  # fmt: skip


def people(mailboxes: tuple[Mailbox, ...]) -> tuple[api.Person, ...]:
    """Mailboxes as faces show them."""
    return tuple(api.Person(one.name, one.address) for one in mailboxes)
