"""Journal mailboxes: the doors that mail servers send to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from appliance.errors import ConflictError, NotFoundError, UsageError
from appliance.services import api
from webadmin.forms import Form, items
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class MailboxForm:
    """A mailbox's settings as typed; ``networks`` is a list, ``tls_required`` a tick."""

    name: str = ""
    address: str = ""
    unknown: str = "keep"
    networks: str = ""
    tls_required: str = ""


@get("/mailboxes")
async def mailboxes(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """All mailboxes."""
    return page(request, "admin/mailboxes.html", visit=visit, mailboxes=await visit.archive.mailboxes(visit.token))


@get("/mailboxes/new")
async def new_mailbox(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The form for a new mailbox."""
    return page(request, "admin/mailbox_new.html", visit=visit, form=MailboxForm(), problem="")


@post("/mailboxes/new")
async def create_mailbox(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[MailboxForm]
) -> Response[Any]:
    """Create it and show its set-up; else the form again with the reason."""
    try:
        made = await visit.archive.mailbox_create(
            visit.token,
            name=data.name.strip(),
            address=data.address.strip(),
            unknown=data.unknown,
            networks=items(data.networks),
            tls_required=bool(data.tls_required),
        )
    except (UsageError, ConflictError) as error:
        return page(
            request,
            "admin/mailbox_new.html",
            status_code=status_of(error),
            visit=visit,
            form=data,
            problem=error.message,
        )
    return Redirect(f"/admin/mailboxes/{made.id}?note=mailbox-created", status_code=303)


@get("/mailboxes/{id:str}")
async def mailbox(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """A mailbox: its address, set-up texts, numbers and settings."""
    return await _mailbox_page(request, visit, id, None, "", 200)


@post("/mailboxes/{id:str}")
async def change_mailbox(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str], data: Form[MailboxForm]
) -> Response[Any]:
    """Change the settings; else the page again with the reason."""
    try:
        await visit.archive.mailbox_change(
            visit.token,
            id=id,
            name=data.name.strip(),
            unknown=data.unknown,
            networks=items(data.networks),
            tls_required=bool(data.tls_required),
        )
    except (UsageError, ConflictError) as error:
        return await _mailbox_page(request, visit, id, data, error.message, status_of(error))
    return Redirect(f"/admin/mailboxes/{id}?note=mailbox-changed", status_code=303)


@post("/mailboxes/{id:str}/suspend")
async def suspend(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Have senders try again later."""
    await visit.archive.mailbox_change(visit.token, id=id, state="suspended")
    return Redirect(f"/admin/mailboxes/{id}?note=mailbox-suspended", status_code=303)


@post("/mailboxes/{id:str}/resume")
async def resume(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Receive mail again."""
    await visit.archive.mailbox_change(visit.token, id=id, state="active")
    return Redirect(f"/admin/mailboxes/{id}?note=mailbox-resumed", status_code=303)


@post("/mailboxes/{id:str}/delete")
async def delete(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Delete an empty mailbox; else the page again with the reason."""
    try:
        await visit.archive.mailbox_delete(visit.token, id=id)
    except ConflictError as error:
        return await _mailbox_page(request, visit, id, None, error.message, status_of(error))
    return Redirect("/admin/mailboxes?note=mailbox-deleted", status_code=303)


async def _mailbox_page(
    request: Request[Any, Any, Any],
    visit: Visit,
    id: str,
    form: MailboxForm | None,
    problem: str,
    status: int,
) -> Response[Any]:
    found = await _find(visit, id)
    return page(
        request,
        "admin/mailbox.html",
        status_code=status,
        visit=visit,
        mailbox=found,
        setup=await visit.archive.mailbox_setup(visit.token, id=id),
        form=form or _form_of(found),
        problem=problem,
    )


async def _find(visit: Visit, id: str) -> api.MailboxInfo:
    for known in await visit.archive.mailboxes(visit.token):
        if known.id == id:
            return known
    raise NotFoundError("There is no such mailbox. It may have been deleted; the list shows those there are.")


def _form_of(found: api.MailboxInfo) -> MailboxForm:
    return MailboxForm(
        name=found.name,
        address=found.address,
        unknown=found.unknown,
        networks="\n".join(found.networks),
        tls_required="1" if found.tls_required else "",
    )


HANDLERS = [mailboxes, new_mailbox, create_mailbox, mailbox, change_mailbox, suspend, resume, delete]
