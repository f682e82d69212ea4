"""The certificate that mail servers, mail programs and browsers are shown, and where it comes from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.response import Redirect

from appliance.errors import DamageError, MailkeepError, NotFoundError, UnavailableError, UsageError
from appliance.services import api
from webadmin.forms import Form, Upload, items
from webadmin.page import page
from webadmin.problems import status_of
from webadmin.session import Visit

PAGE = "/admin/certificate"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LARGEST_FILE = 1024 * 1024  # bytes; a chain with its key has some thousands
RUNNING = ("waiting", "running")
TOLD_SECONDS = 600
"""How long the page says how a try went."""


@dataclass(frozen=True, slots=True)
class NamesForm:
    """Host names as typed; none for the archive's own."""

    names: str = ""


@dataclass(frozen=True, slots=True)
class AcmeForm:
    """An authority, whom it may write to, and that its terms are agreed to."""

    directory: str = LETS_ENCRYPT
    contact: str = ""
    names: str = ""
    agree: str = ""


@dataclass
class OwnForm:
    """A certificate with its key, in one file or two."""

    certificate: UploadFile
    key: UploadFile | None = None
    password: str = ""


@get("/certificate")
async def certificate(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """The certificate in use; for htmx, which asks while one is being got, only how far that is."""
    if "hx-request" not in request.headers:
        return await _page(request, visit)
    job = await _job(visit)
    answer = page(request, "admin/certificate_job.html", visit=visit, job=job)
    if job is None or job.state not in RUNNING:
        answer.headers["HX-Refresh"] = "true"  # everything on the page is of the certificate before
    return answer


@post("/certificate/self-signed")
async def self_signed(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[NamesForm]
) -> Response[Any]:
    """Make one that nobody vouches for."""
    try:
        await visit.archive.certificate_self_signed(visit.token, names=items(data.names))
    except UsageError as error:
        return await _page(request, visit, error)
    return Redirect(f"{PAGE}?note=certificate-changed", status_code=303)


@post("/certificate/own")
async def own(request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Upload[OwnForm]) -> Response[Any]:
    """Use one that was brought."""
    try:
        content = [await _read(file) for file in (data.certificate, data.key) if file is not None]
        given = tuple(one for one in content if one)  # a browser sends a file that was not chosen as an empty one
        await visit.archive.certificate_own(visit.token, content=given, password=data.password)
    except UsageError as error:
        return await _page(request, visit, error)
    return Redirect(f"{PAGE}?note=certificate-changed", status_code=303)


@post("/certificate/acme")
async def acme(request: Request[Any, Any, Any], visit: NamedDependency[Visit], data: Form[AcmeForm]) -> Response[Any]:
    """Begin to get one from an authority; where its terms are not agreed to yet, say where they are."""
    directory = data.directory.strip() or LETS_ENCRYPT
    try:
        if not data.agree:
            terms = await visit.archive.certificate_acme_terms(visit.token, directory=directory)
            return await _page(request, visit, form=data, terms=terms or "none")
        await visit.archive.certificate_acme(
            visit.token, contact=data.contact.strip(), agree=True, names=items(data.names), directory=directory
        )
    except (UsageError, UnavailableError) as error:
        return await _page(request, visit, error, form=data)
    return Redirect(PAGE, status_code=303)


@post("/certificate/renew")
async def renew(request: Request[Any, Any, Any], visit: NamedDependency[Visit]) -> Response[Any]:
    """Renew it now."""
    try:
        await visit.archive.certificate_renew(visit.token)
    except UsageError as error:
        return await _page(request, visit, error)
    return Redirect(PAGE, status_code=303)


async def _page(
    request: Request[Any, Any, Any], visit: Visit, error: MailkeepError | None = None, *,
    form: AcmeForm | None = None, terms: str = "",
) -> Response[Any]:  # fmt: skip
    now: api.Certificate | None = None
    missing = ""
    try:
        now = await visit.archive.certificate(visit.token)
    except (NotFoundError, DamageError) as broken:
        missing = broken.message
    return page(
        request, "admin/certificate.html", status_code=status_of(error) if error else 200, visit=visit, now=now,
        missing=missing, problem=error.message if error else "", job=await _job(visit), form=form or _typed(now),
        terms=terms, asking=form is not None,
    )  # fmt: skip


def _typed(now: api.Certificate | None) -> AcmeForm:
    if now is None or now.acme is None:
        return AcmeForm()
    others = () if now.acme.names == (now.host_name,) else now.acme.names  # the archive's name need not be said
    return AcmeForm(now.acme.directory, now.acme.contact, " ".join(others))


async def _job(visit: Visit) -> api.JobInfo | None:
    """What is under way, or how a try went that somebody may still wait for."""
    jobs = await visit.archive.jobs(visit.token, kind="certificate")
    return next((job for job in jobs if job.finished_at is None or job.finished_at > time.time() - TOLD_SECONDS), None)


async def _read(file: UploadFile) -> bytes:
    content = await file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise UsageError("That file is too large to be a certificate. Nothing was changed.")
    return content


HANDLERS = [certificate, self_signed, own, acme, renew]
