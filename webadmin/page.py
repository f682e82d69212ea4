"""Making a page: the templates, and what every page needs beside its own values."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request
from litestar.response import Template

from webadmin import cookies, formats
from webadmin.csrf import FIELD, form_token

HERE = Path(__file__).parent
STATIC = HERE / "static"
THEMES = ("auto", "light", "dark")

# Sentences that a page shows once after a change, by the word in the address ("?note=…"): only these can appear.
NOTES = {
    "mailbox-changed": "The mailbox was changed.",
    "mailbox-suspended": "The mailbox is suspended: senders are asked to try again later, nothing is lost.",
    "mailbox-resumed": "The mailbox receives mail again.",
    "mailbox-disabled": "The mailbox is disabled: senders are asked to try again later, and nobody pulls from it.",
    "mailbox-password": "The new password is in force; the one before opens nothing any more.",
    "token-removed": "The token opens nothing any more.",
    "mailbox-deleted": "The mailbox was deleted.",
    "user-created": "The user was created. Mail that was kept for these addresses is being assigned.",
    "user-changed": "The user was changed.",
    "user-disabled": "Sign-in is disabled. The archive of this person stays.",
    "user-enabled": "Sign-in is possible again.",
    "directory-added": "The directory was added. Test it, look at what would change, and then synchronise.",
    "directory-changed": "The directory’s settings were changed.",
    "directory-removed": "Nothing is taken from there any more. Its users stay as they are.",
    "archive-opened": "The archive is open to them from now on. Each look is recorded.",
    "archive-closed": "The archive is closed to them from this moment on.",
    "profile-added": "The profile was added. Test it, and then run it.",
    "profile-changed": "The profile’s settings were changed.",
    "profile-removed": "Nothing is fetched by it any more. What was fetched stays.",
    "profile-paused": "It begins no run by itself until you resume it. What is under way goes on.",
    "profile-resumed": "It runs by its schedule again.",
    "profile-stopped": "It was asked to stop. What was fetched is kept, and the next run goes on there.",
    "profile-idle": "Nothing was being fetched by it any more.",
    "import-begun": "The import has begun. Now choose its files.",
    "import-fetching": "The archive fetches the files that you chose, one after the other.",
    "import-watch": "Saved.",
    "import-complete": "That was all. The import ends when its files have been read.",
    "import-stopped": "It was asked to stop. What was archived stays; importing the same again goes on from there.",
    "file-sent": "The file is here. Choose the next one, or say that that was all.",
    "role-granted": "The role was given.",
    "role-asked": "The appointment waits for a second auditor.",
    "role-revoked": "The role was taken away.",
    "request-approved": "The appointment is in force.",
    "request-refused": "The appointment was refused.",
    "password-changed": "Your password was changed. Other sessions have ended.",
    "totp-on": "Two-step sign-in is on.",
    "signed-out": "You are signed out.",
    "unlocked": "The archive is unlocked. Mail that came in meanwhile can be found in a moment.",
    "job-stopped": "The job was stopped.",
    "remote-added": "The replica was added. All that the archive has is replicated there now, and then what is new.",
    "remote-changed": "The replica’s settings were changed.",
    "remote-paused": "The replica is paused: nothing is replicated there until you resume it.",
    "remote-resumed": "The replica is kept up to date again.",
    "remote-removed": "Nothing is replicated there any more. What lies there was not touched.",
    "run-begun": "It was begun, or begins as soon as what is under way there has ended.",
    "run-stopped": "It was asked to stop. What was uploaded is not uploaded again by the next run.",
    "replicas-changed": "The settings were changed.",
    "alarm-seen": "It is noted that you have seen it. You are told again if it gets worse, and when it is over.",
    "alarm-over": "That alarm is over by now.",
    "silence-set": "The rule was changed.",
    "notifications-set": "The settings were changed. Send a test to see whether it works.",
    "metrics-token-removed": "The token reads nothing any more. Metrics are read on the box only.",
    "certificate-changed": "The new certificate is in use within a minute; then this page may ask you to trust it.",
}


def environment() -> Environment:
    """The templates with their filters. A name that a page does not have is an error, not an empty place."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters.update(formats.FILTERS)
    templates.globals["asset"] = asset
    return templates


@cache
def asset(name: str) -> str:
    """The address of a static file with a mark of its content, so that it may be cached for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def page(request: Request[Any, Any, Any], template: str, *, status_code: int = 200, **values: object) -> Template:
    """A page from ``template`` with ``values``, the caller, the form token, the theme and the reader's zone."""
    theme = request.cookies.get(cookies.THEME, "auto")
    return Template(
        template,
        status_code=status_code,
        media_type=MediaType.HTML,
        context={
            "caller": request.state.get("caller"),
            "form_field": FIELD,
            "form_token": form_token(request),
            "theme": theme if theme in THEMES else "auto",
            "zone": formats.zone_of(request.cookies.get(cookies.ZONE, "")),
            "path": request.url.path,
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "note": NOTES.get(request.query_params.get("note", ""), ""),
            **values,
        },
    )


def local_path(wanted: str) -> str:
    """``wanted`` if it is a path on this site, else ``/``: nobody is sent elsewhere after signing in."""
    if not wanted.startswith("/") or wanted.startswith(("//", "/\\")) or any(sign < " " for sign in wanted):
        return "/"
    return wanted
