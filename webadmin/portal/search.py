"""The search page: box, facets, result list, and beside it on wide screens the opened message."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from appliance.errors import NotFoundError, QueryError
from appliance.services import api
from webadmin.page import page
from webadmin.portal.folders import branches
from webadmin.portal.opened import Opened, open_message
from webadmin.portal.place import PAGE_SIZES, Place, place_of
from webadmin.problems import status_of
from webadmin.session import Visit


@get("/")
async def search(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """A page of results; a query that cannot be understood is shown with the place where it goes wrong."""
    place = place_of(request, visit)
    problem: QueryError | None = None
    found = api.SearchPage(query=place.q, total=0, offset=0, hits=())
    try:
        found = await visit.archive.search(
            visit.token,
            query=place.q or "*",
            sort=place.sort,
            offset=place.offset,
            limit=place.limit,
            folder=place.folder,
            below=place.below,
            trees=not place.all,
            **place.scope,
        )
        trees = found.trees
    except QueryError as error:
        problem = error
        trees = () if place.all else await visit.archive.folders(visit.token, whose=place.archive)
    return page(
        request,
        "portal/search.html",
        status_code=status_of(problem) if problem else 200,
        visit=visit,
        place=place,
        found=found,
        problem=problem,
        branches=branches(trees, place),
        opened=await _opened(visit, place),
        page_sizes=PAGE_SIZES,
    )


async def _opened(visit: Visit, place: Place) -> Opened | None:
    if not place.open:
        return None
    try:
        return await open_message(visit, place.open, place=place)
    except NotFoundError:
        return None


HANDLERS = [search]
