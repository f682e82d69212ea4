"""Writing a support bundle to a file: where to, and what is in it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.errors import StorageError
from appliance.language import _
from tui import words
from tui.box import Box
from tui.widgets.dialog import Ask, Asked


def ask_for_file(now: float) -> Ask:
    """Asks where to; the answer's ``file`` goes to ``write``."""
    day = f"{datetime.fromtimestamp(now).astimezone():%Y-%m-%d-%H%M}"
    return Ask(
        _("A support bundle"),
        (Asked("file", _("Write it to"), value=str(Path.home() / f"mailkeep-support-{day}.zip")),),
        what=_(
            "It holds versions, states, numbers, logs and what the doctor finds. Addresses and host names are "
            "replaced by others; mail, keys and passwords are not in it. Look through it before you send it."
        ),
        yes=_("Write"),
    )


async def write(box: Box, file: str, method: str, /, **params: Any) -> str:
    """Fetch it into a new file. Returns a sentence that says so. Raises StorageError, and what the service raises."""
    place = Path(file).expanduser()
    try:
        written = await box.save(place, method, **params)
    except OSError as error:
        raise StorageError(
            _("{file} could not be written: {reason}.").format(file=place, reason=error.strerror or error)
        ) from error
    return _("{file} is written, {size}.").format(file=place, size=words.size(written))
