"""A locked archive: the page on which somebody who knows the passphrase, or has the recovery key, unlocks it.

Nobody can be signed in while the archive is locked, so the page is open to all; the archiver slows down who guesses
and writes the tries into the audit trail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.response import Redirect

from appliance.errors import KeyringError, SignInError
from webadmin.forms import Form
from webadmin.page import local_path, page
from webadmin.session import address_of, archive_of, token_of


@dataclass(frozen=True, slots=True)
class UnlockForm:
    """One of the two secrets, and the page to go on to."""

    passphrase: str = ""
    recovery_key: str = ""
    back: str = "/"


@get("/unlock")
async def unlock_page(request: Request[Any, Any, Any]) -> Response[Any]:
    """The form, as long as the archive is locked."""
    back = local_path(request.query_params.get("back", "/"))
    state = await archive_of(request).lock_state()
    if state.unlocked:
        return Redirect(back, status_code=303)
    return page(request, "auth/unlock.html", passphrase=state.passphrase, by="", back=back, problem="")


@post("/unlock")
async def unlock(request: Request[Any, Any, Any], data: Form[UnlockForm]) -> Response[Any]:
    """Unlock and go on to where the visitor was; else the form again with the reason."""
    archive, back = archive_of(request), local_path(data.back)
    try:
        await archive.unlock(
            passphrase=data.passphrase, recovery_key=data.recovery_key.strip(), client=address_of(request)
        )
    except (KeyringError, SignInError) as error:
        state = await archive.lock_state()
        by = "recovery" if data.recovery_key else "passphrase"
        return page(
            request, "auth/unlock.html", status_code=400,
            passphrase=state.passphrase, by=by, back=back, problem=error.message,
        )  # fmt: skip
    return Redirect(back if token_of(request) else "/sign-in?note=unlocked", status_code=303)


@get("/unlock/state")
async def unlock_state(request: Request[Any, Any, Any]) -> Response[Any]:
    """What an open page asks every few seconds: on, as soon as somebody has unlocked the archive."""
    state = await archive_of(request).lock_state()
    headers = {"HX-Redirect": local_path(request.query_params.get("back", "/"))} if state.unlocked else {}
    return Response("", status_code=204, headers=headers)


HANDLERS = [unlock_page, unlock, unlock_state]
