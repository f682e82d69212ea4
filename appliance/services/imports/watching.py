"""Taking in what is put into the watched folder, as soon as nobody writes to it any more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from appliance.errors import MailkeepError, NotFoundError
from appliance.language import _
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.imports.managing import ImportServices
from appliance.services.imports.supplies import Supplies
from appliance.services.imports.watched import DONE, FAILED, Found, check_folder, contents, look, put_away
from appliance.services.principal import SYSTEM, Principal
from appliance.services.repeating import Repeating
from appliance.services.users import find_user
from appliance.settings import events

log = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 60.0
"""For so long nothing may have changed before something is taken in."""
ROUND_SECONDS: Final = 10.0
AT_ONCE: Final = 2
"""What was put there and is being imported at one time."""


class Watching:
    """The watched folder of one open archive."""

    def __init__(
        self, archive: Archive, imports: ImportServices, supplies: Callable[[], Supplies], *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._archive = archive
        self._imports = imports
        self._supplies = supplies
        self.clock = clock
        self._seen: dict[Path, tuple[bytes, float]] = {}
        self._entries: tuple[api.ImportWatchEntry, ...] = ()
        self._trouble = ""
        self._has_swept = False
        self._rounds = Repeating("import-watch", self.round, ROUND_SECONDS)

    def methods(self) -> Mapping[str, Callable[..., object]]:
        """The services by name."""
        return {"import_watch": self.get, "import_watch_set": self.set}

    def start(self) -> None:
        """Look from now on."""
        self._rounds.start()

    def close(self) -> None:
        """End. What is under way goes on at the next start."""
        self._rounds.close()

    # -- services ---------------------------------------------------------------------------------------------

    def get(self, principal: Principal) -> api.ImportWatch:
        """Which folder is watched, and what of it waits, and why."""
        principal.require("admin")
        return api.ImportWatch(self._archive.settings.import_folder(), self._trouble, self._entries)

    def set(self, principal: Principal, *, folder: str) -> api.ImportWatch:
        """Watch a folder of the box from now on; with an empty name none. Raises UsageError."""
        principal.require("admin")
        if folder:
            check_folder(Path(folder), self._archive.paths.data)
            folder = str(Path(folder))
        if folder != self._archive.settings.import_folder():
            self._archive.record(principal, events.ImportFolderSet(folder))
            self._seen, self._entries, self._trouble = {}, (), ""
        return self.get(principal)

    # -- what goes on beside ----------------------------------------------------------------------------------

    def round(self) -> None:
        """Put away what has been imported, and begin with what is finished."""
        folder = self._archive.settings.import_folder()
        if not folder:
            return
        try:
            check_folder(Path(folder), self._archive.paths.data)
            busy = self._put_away(Path(folder))
            self._entries = tuple(self._looked_at(Path(folder), busy))
            self._trouble = ""
        except (MailkeepError, OSError) as error:
            words = error.message if isinstance(error, MailkeepError) else str(error)
            if words != self._trouble:
                log.error("the watched folder: %s", words)
            self._trouble = words

    def _put_away(self, folder: Path) -> dict[str, api.ImportInfo]:
        """Move what is over; what is still being imported, by its path in the folder."""
        if not self._archive.paths.ledger.exists():
            return {}
        supplies = self._supplies()
        watched = supplies.watched()
        self._sweep(watched)
        busy: dict[str, api.ImportInfo] = {}
        for run, name in watched.items():
            try:
                one = self._imports.get(SYSTEM, id=run, problems=0)
            except NotFoundError:  # the ledger was made anew: it is imported again, and all of it is there already
                supplies.put_away(run)
                continue
            if one.ended is None:
                busy[name] = one
                continue
            try:
                report = self._imports.report(SYSTEM, id=run, form="html")
                put_away(folder, name, DONE if one.state == "done" else FAILED, report)
                supplies.put_away(run)
            except MailkeepError as error:  # it stays where it is, and is not imported again
                busy[name] = one
                log.error("%s", error.message)
        return busy

    def _sweep(self, watched: Mapping[int, str]) -> None:
        """Once: end imports that were begun just before a crash, and have no files."""
        if self._has_swept:
            return
        self._has_swept = True
        for one in self._imports.ledger().list(1000):
            if one.by == SYSTEM.id and one.ended is None and not one.files_all and one.id not in watched:
                self._imports.stop(SYSTEM, id=one.id)

    def _looked_at(self, folder: Path, busy: Mapping[str, api.ImportInfo]) -> list[api.ImportWatchEntry]:
        seen, entries, room = {}, [], AT_ONCE - len(busy)
        for found in look(folder):
            name = found.name if found.address else found.path.name
            if found.address and name in busy:
                one = busy[name]
                words = _("It was imported and cannot be moved away.") if one.ended is not None else ""
                entries.append(api.ImportWatchEntry(name, "moving" if words else "running", words, one.id))
                continue
            trouble = found.trouble or self._unknown(found.address)
            if trouble:
                entries.append(api.ImportWatchEntry(name, "refused", trouble))
                continue
            stamp, since = self._seen.get(found.path, (b"", 0.0))
            if stamp != found.stamp:
                since = self.clock()
            seen[found.path] = found.stamp, since
            if self.clock() - since < SETTLE_SECONDS:
                entries.append(api.ImportWatchEntry(name, "settling"))
            elif room <= 0:
                entries.append(api.ImportWatchEntry(name, "waiting"))
            else:
                room -= 1
                entries.append(self._begin(found))
        self._seen = seen
        return entries

    def _unknown(self, address: str) -> str:
        try:
            find_user(self._archive, address)
        except NotFoundError:
            return _("No user has the address {address}.").format(address=address)
        return ""

    def _begin(self, found: Found) -> api.ImportWatchEntry:
        try:
            files = contents(found)
            made = self._imports.begin(SYSTEM, title=found.name, archive=found.address)
            self._supplies().watch(made.id, found.name, files)
        except MailkeepError as error:
            return api.ImportWatchEntry(found.name, "refused", error.message)
        return api.ImportWatchEntry(found.name, "running", "", made.id)
