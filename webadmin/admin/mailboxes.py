"""Mailboxes: the doors that mail servers send to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from appliance.errors import ConflictError, NotFoundError, UsageError
from appliance.services import api
from appliance.services.client import MailboxSettings
from webadmin.forms import Form, items
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class MailboxForm:
    """A mailbox's settings as typed; ``networks``, ``aliases`` and ``catch_all`` are lists, the others that are no
    text ticks and a number of days."""

    name: str = ""
    address: str = ""
    description: str = ""
    aliases: str = ""
    catch_all: str = ""
    unknown: str = "keep"
    networks: str = ""
    tls_required: str = ""
    sealed: str = ""
    delete_after_pull: str = ""
    retention_days: str = ""

    def settings(self) -> MailboxSettings:
        """What the archiver is told, but for the address. Raises UsageError for days that are no number."""
        days = self.retention_days.strip() or "0"
        if not days.isascii() or not days.isdigit():
            raise UsageError("Enter the days as a number, or leave them empty to keep mail for ever.")
        return {
            "name": self.name.strip(),
            "description": self.description.strip(),
            "aliases": items(self.aliases),
            "catch_all": items(self.catch_all),
            "unknown": self.unknown,
            "networks": items(self.networks),
            "tls_required": bool(self.tls_required),
            "delete_after_pull": bool(self.delete_after_pull),
            "retention_days": int(days),
        }


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
    """Create it and show its password, once; else the form again with the reason."""
    try:
        made = await visit.archive.mailbox_create(
            visit.token, address=data.address.strip(), sealed=bool(data.sealed), **data.settings()
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
    return page(
        request,
        "admin/mailbox_created.html",
        status_code=200,
        visit=visit,
        mailbox=made.mailbox,
        password=made.password,
    )


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
        await visit.archive.mailbox_change(visit.token, id=id, address=data.address.strip() or None, **data.settings())
    except (UsageError, ConflictError) as error:
        return await _mailbox_page(request, visit, id, data, error.message, status_of(error))
    return Redirect(f"/admin/mailboxes/{id}?note=mailbox-changed", status_code=303)


@post("/mailboxes/{id:str}/suspend")
async def suspend(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Have senders try again later."""
    return await _set_state(visit, id, "suspended", "mailbox-suspended")


@post("/mailboxes/{id:str}/disable")
async def disable(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Have senders try again later, and nobody pull."""
    return await _set_state(visit, id, "disabled", "mailbox-disabled")


@post("/mailboxes/{id:str}/resume")
async def resume(visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Receive mail again."""
    return await _set_state(visit, id, "active", "mailbox-resumed")


@post("/mailboxes/{id:str}/delete")
async def delete(request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[str]) -> Response[Any]:
    """Delete an empty mailbox; else the page again with the reason."""
    try:
        await visit.archive.mailbox_delete(visit.token, id=id)
    except ConflictError as error:
        return await _mailbox_page(request, visit, id, None, error.message, status_of(error))
    return Redirect("/admin/mailboxes?note=mailbox-deleted", status_code=303)


async def find_mailbox(visit: Visit, id: str) -> api.MailboxInfo:
    """The mailbox with this id. Raises NotFoundError."""
    for known in await visit.archive.mailboxes(visit.token):
        if known.id == id:
            return known
    raise NotFoundError("There is no such mailbox. It may have been deleted; the list shows those there are.")


async def _set_state(visit: Visit, id: str, state: str, note: str) -> Response[Any]:
    await visit.archive.mailbox_change(visit.token, id=id, state=state)
    return Redirect(f"/admin/mailboxes/{id}?note={note}", status_code=303)


async def _mailbox_page(
    request: Request[Any, Any, Any],
    visit: Visit,
    id: str,
    form: MailboxForm | None,
    problem: str,
    status: int,
) -> Response[Any]:
    found = await find_mailbox(visit, id)
    return page(
        request,
        "admin/mailbox.html",
        status_code=status,
        visit=visit,
        mailbox=found,
        setup=await visit.archive.mailbox_setup(visit.token, id=id),
        pull=await visit.archive.mailbox_pulling(visit.token, id=id),
        tokens=await visit.archive.mailbox_tokens(visit.token, id=id),
        form=form or _form_of(found),
        problem=problem,
    )


def _form_of(found: api.MailboxInfo) -> MailboxForm:
    return MailboxForm(
        name=found.name,
        address=found.address,
        description=found.description,
        aliases="\n".join(found.aliases),
        catch_all="\n".join(found.catch_all),
        unknown=found.unknown,
        networks="\n".join(found.networks),
        tls_required="1" if found.tls_required else "",
        sealed="1" if found.sealed else "",
        delete_after_pull="1" if found.delete_after_pull else "",
        retention_days=str(found.retention_days or ""),
    )


HANDLERS = [mailboxes, new_mailbox, create_mailbox, mailbox, change_mailbox, suspend, disable, resume, delete]
