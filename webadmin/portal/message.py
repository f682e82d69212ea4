"""One message: its page, its HTML in a frame of its own, its attachments, its original."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from markupsafe import Markup

from webadmin.download import download
from webadmin.page import local_path, page
from webadmin.portal.opened import open_message
from webadmin.portal.place import scoped
from webadmin.security import mail_headers
from webadmin.session import Visit

# A message is shown on white paper whatever the theme: its colours were chosen for that.
_FRAME = Markup(
    '<!doctype html><html><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<base target="_blank"><style>:root{{color-scheme:light}}body{{margin:20px 24px;background:#fff;color:#1c1b19;'
    "font:15px/1.55 system-ui,sans-serif;overflow-wrap:anywhere}}img{{max-width:100%;height:auto}}"
    "table{{max-width:100%}}pre{{white-space:pre-wrap}}blockquote{{margin:0 0 0 8px;padding-left:12px;"
    "border-left:2px solid #d6d2c9;color:#55524b}}a{{color:#0b6153}}</style></head><body>{}</body></html>"
)


@get("/m/{id:str}")
async def message(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """A message: as a page of its own, or for htmx as what goes into the reading pane."""
    place = scoped(request.query_params, visit)
    remote = request.query_params.get("remote") == "1"
    back = request.query_params.get("from", "")
    return page(
        request,
        "portal/reader.html" if "hx-request" in request.headers else "portal/message.html",
        visit=visit,
        opened=await open_message(visit, id, place=place, remote=remote),
        place=place,
        back=local_path(f"/?{back}") if back else "/",
    )


@get("/m/{id:str}/html")
async def message_html(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]
) -> Response[Any]:
    """The message's HTML, sanitised, as a document in which nothing can run; with remote images if asked for."""
    remote = request.query_params.get("remote") == "1"
    scope = scoped(request.query_params, visit).scope
    view = await visit.archive.message_html(visit.token, id=id, remote=remote, **scope)
    document = _FRAME.format(Markup(view.html))  # noqa: S704  the archiver sanitised it, and the policy holds besides
    return Response(str(document), media_type=MediaType.HTML, headers=mail_headers(remote=remote))


@get("/m/{id:str}/part/{part:int}")
async def part(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], part: FromPath[int]
) -> Response[Any]:
    """One attachment, as a download."""
    scope = scoped(request.query_params, visit).scope
    return download(await visit.archive.part(visit.token, id=id, part=part, **scope))


@get("/m/{id:str}/original")
async def original(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """The message bit for bit."""
    scope = scoped(request.query_params, visit).scope
    return download(await visit.archive.original(visit.token, id=id, **scope))


@get("/m/{id:str}/report")
async def report(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """The journal report as it was received (auditors)."""
    scope = scoped(request.query_params, visit).scope
    return download(await visit.archive.original(visit.token, id=id, report=True, **scope))


HANDLERS = [message, message_html, part, original, report]
