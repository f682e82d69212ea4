"""Files for an import from a browser: in pieces, which a script sends and sends again, or a small one by a form.

The archive says after each piece how many bytes it has, and what it has is on its disk: so an upload goes on after a
lost connection, another page or a restart, from there. The script checks the whole with SHA-256
(docs/decisions/0195). Answers are JSON; one that is an error has its sentence in ``message``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Redirect
from litestar.types import ExceptionHandlersMap

from appliance.errors import DamageError, MailkeepError, UsageError
from appliance.services import api
from webadmin import cookies, security
from webadmin.admin.imports import PAGE, import_page
from webadmin.forms import Upload
from webadmin.problems import status_of
from webadmin.session import Visit

LARGEST_PIECE = 4 * api.IMPORT_CHUNK
"""Most bytes of one request."""


class NewFile(msgspec.Struct, frozen=True):
    """A file that is to arrive."""

    name: str
    size: int
    password: str = ""


class Whole(msgspec.Struct, frozen=True):
    """The SHA-256 (hex) of all of a file."""

    sha256: str


@dataclass(slots=True)
class SmallForm:
    """A file in a form, and its password."""

    file: UploadFile
    password: str = ""


def _in_json(request: Request[Any, Any, Any], error: MailkeepError) -> Response[Any]:
    """An error's sentence with its status, for the script; what arrived with another SHA-256 is a clash."""
    status = 409 if error.code == DamageError.code else status_of(error)
    answer = Response({"code": error.code, "message": error.message}, status_code=status)
    return security.add_headers(secure=cookies.of_app(request).secure)(answer)


_SCRIPTED: Final[ExceptionHandlersMap] = {MailkeepError: _in_json}


@get("/imports/{id:int}/files", exception_handlers=_SCRIPTED)
async def files(visit: NamedDependency[Visit], id: FromPath[int]) -> dict[str, Any]:
    """The files of an import and how far each has arrived."""
    one = await visit.archive.import_get(visit.token, id=id)
    return {"state": one.state, "files": [_told(file) for file in one.files]}


@post("/imports/{id:int}/files", exception_handlers=_SCRIPTED)
async def add_file(visit: NamedDependency[Visit], id: FromPath[int], data: JSONBody[NewFile]) -> dict[str, Any]:
    """A file that is to arrive; status 503 where those before it have to be read first."""
    return _told(await _begin(visit, id, data))


@post("/imports/{id:int}/files/{file:int}/bytes", exception_handlers=_SCRIPTED, request_max_body_size=LARGEST_PIECE)
async def add_bytes(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[int], file: FromPath[int],
    offset: FromQuery[int],
) -> dict[str, Any]:  # fmt: skip
    """Some bytes of a file; how many have arrived now."""
    try:
        content = await request.body()
    except InternalServerException as error:  # Litestar's word for a browser that has gone
        raise UsageError("The connection broke off. What had arrived before stays.") from error
    return {"arrived": await _write(visit, id, file, offset, content)}


@post("/imports/{id:int}/files/{file:int}/arrived", exception_handlers=_SCRIPTED)
async def arrived(
    visit: NamedDependency[Visit], id: FromPath[int], file: FromPath[int], data: JSONBody[Whole]
) -> dict[str, Any]:
    """All of a file has been sent; status 409 where it is not what it should be, and arrives anew."""
    return _told(await visit.archive.import_arrived(visit.token, id=id, file=file, sha256=data.sha256))


@post("/imports/{id:int}/upload")
async def upload(
    request: Request[Any, Any, Any], visit: NamedDependency[Visit], id: FromPath[int], data: Upload[SmallForm]
) -> Response[Any]:
    """A small file by a form, for browsers without scripts."""
    content = await data.file.read()
    try:
        if not content:
            raise UsageError("Choose a file that is not empty.")
        made = await _begin(visit, id, NewFile(data.file.filename, len(content), data.password))
        await _write(visit, id, made.number, 0, content)
        await visit.archive.import_arrived(visit.token, id=id, file=made.number)
    except MailkeepError as error:
        return await import_page(request, visit, id, problem=error)
    return Redirect(f"{PAGE}/{id}?note=file-sent", status_code=303)


async def _begin(visit: Visit, id: int, file: NewFile) -> api.ImportFile:
    return await visit.archive.import_file(visit.token, id=id, name=file.name, size=file.size, password=file.password)


async def _write(visit: Visit, id: int, file: int, offset: int, content: bytes) -> int:
    """Write bytes in as many chunks as it takes."""
    have = offset
    for at in range(0, len(content), api.IMPORT_CHUNK):
        chunk = content[at : at + api.IMPORT_CHUNK]
        have = await visit.archive.import_write(visit.token, id=id, file=file, offset=offset + at, data=chunk)
    return have


def _told(file: api.ImportFile) -> dict[str, Any]:
    return {
        "number": file.number, "name": file.name, "size": file.size, "arrived": file.arrived, "state": file.state,
        "sha256": file.sha256,
    }  # fmt: skip


HANDLERS = [files, add_file, add_bytes, arrived, upload]
