"""Opening a message for reading, with what its HTML would have fetched from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.services import api
from webadmin.portal.place import Place
from webadmin.session import Visit

_LINE = 90  # characters that fit on a line of the reading pane


@dataclass(frozen=True, slots=True)
class Opened:
    """A message on the screen. ``blocked`` counts remote things left out of its HTML; ``remote`` lets them in."""

    message: api.MessageView
    blocked: int = 0
    remote: bool = False

    @property
    def length(self) -> Literal["short", "medium", "long"]:
        """How tall its frame should be. The page cannot look into the frame to measure, so its text has to tell."""
        lines = sum(1 + len(line) // _LINE for line in self.message.text.splitlines())
        return "short" if lines <= 10 else "medium" if lines <= 22 else "long"


async def open_message(visit: Visit, id: str, *, place: Place, remote: bool = False) -> Opened:
    """Open a message of the mail that ``place`` is about. Raises NotFoundError also where the caller may not see it."""
    message = await visit.archive.message(visit.token, id=id, **place.scope)
    if not message.has_html or remote:
        return Opened(message, remote=remote)
    html = await visit.archive.message_html(visit.token, id=id, **place.scope)
    return Opened(message, blocked=html.blocked)
