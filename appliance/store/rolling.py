"""Asking every writer to close its volumes now, whatever their age, so that what they hold can be copied.

A replica holds closed volumes only. Whoever makes one writes a moment into one file that all writers look at; each
closes what it has open, and begins fresh volumes with the next mail.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from appliance.files import FILES, Files, create_directory, read_file, replace_file


class RollRequests:
    """Looks for requests; one for each writer. For use in one thread."""

    def __init__(self, path: Path, *, files: Files = FILES) -> None:
        """A request that is there already is acted on too: there may be volumes by now that it was meant for."""
        self._path = path
        self._files = files
        self._seen: int | None = None

    def asked(self) -> bool:
        """Whether there is a request that was not there at the last look."""
        found = self._read()
        if found in (None, self._seen):
            return False
        self._seen = found
        return True

    def _read(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(read_file(self._files, self._path))
        return None


def ask_to_roll(path: Path, at: int, *, files: Files = FILES) -> None:
    """Ask for it as of ``at`` (microseconds), or of a later moment where that was asked for before. Raises OSError."""
    before: int | None = None
    with contextlib.suppress(FileNotFoundError, ValueError):
        before = int(read_file(files, path))
    if before is not None and before >= at:
        at = before + 1  # the clock was set back: writers tell requests apart by their moment
    create_directory(files, path.parent)
    replace_file(files, path, b"%d\n" % at, 0o640)
