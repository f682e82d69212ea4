"""Opening a message for reading, with what its HTML would have fetched from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.services import api
from webadmin.session import Visit


@dataclass(frozen=True, slots=True)
class Opened:
    """A message on the screen. ``blocked`` counts remote things left out of its HTML; ``remote`` lets them in."""

    message: api.MessageView
    blocked: int = 0
    remote: bool = False


async def open_message(visit: Visit, id: str, *, everywhere: bool, remote: bool = False) -> Opened:
    """Open a message. Raises NotFoundError also where the caller may not see it."""
    message = await visit.archive.message(visit.token, id=id, everywhere=everywhere)
    if not message.has_html or remote:
        return Opened(message, remote=remote)
    html = await visit.archive.message_html(visit.token, id=id, everywhere=everywhere)
    return Opened(message, blocked=html.blocked)
