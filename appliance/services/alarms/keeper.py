"""The book of alarms in its file, ``DATA/alarms.json``: it outlives a restart, and a locked archive can read it.

It is in the clear: kinds, times, ids, mailboxes' addresses, names of remotes and sentences about their runs. Whoever
loses it loses the history of alarms; what is wrong is seen anew.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path

import msgspec

from appliance import decoding
from appliance.errors import NotFoundError
from appliance.files import FILES, Files, read_file, replace_file
from appliance.services.alarms.book import Alarm, Book, Told
from appliance.services.alarms.trouble import Level, Trouble

log = logging.getLogger(__name__)


class Alarms:
    """The alarms of one data folder. Threads may share it.

    Where ``keeps`` is not set, as on a box where nothing is served, a look shows what is wrong and changes nothing:
    a stopped product is no alarm. A disk that takes nothing is no reason not to tell of it: the book is in memory then,
    and is written down by a later look.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], files: Files = FILES) -> None:
        self._path = path
        self._clock = clock
        self._files = files
        self._lock = threading.RLock()
        self._book = self._written = _load(path, files)
        self.keeps = False

    @property
    def book(self) -> Book:
        """The alarms as they were at the last look."""
        with self._lock:
            return self._book

    @property
    def standing(self) -> tuple[Alarm, ...]:
        """Those that stand: errors first, then the newest first."""
        return _ranked(self.book)

    def level(self, kind: str, about: str) -> Level | None:
        """At which level a trouble is held to be wrong; None where it is not."""
        return self.book.level(kind, about)

    def see(self, troubles: Iterable[Trouble], kinds: Set[str] | None = None) -> tuple[Alarm, ...]:
        """The alarms that stand after a look that found ``troubles``: errors first, then the newest first. A look that
        can only see some ``kinds`` leaves the others be.
        """
        found = tuple(troubles)
        with self._lock:
            after = self._book.seen(found, self._clock(), kinds)
            if self.keeps:
                self._become(after)
        return _ranked(after)

    def acknowledge(self, id: str, by: str) -> Alarm:
        """Write down that somebody has seen an alarm. Raises NotFoundError for one that does not stand."""
        with self._lock:
            if all(one.id != id for one in self._book.standing):
                raise NotFoundError("There is no such alarm any more: it may be over already.")
            self._become(self._book.acknowledged(id, by, self._clock()))
            return next(one for one in self._book.standing if one.id == id)

    def tell(self, way: str, alarms: Mapping[str, Told]) -> None:
        """Remember what was told of alarms, by id."""
        with self._lock:
            self._become(self._book.told(way, alarms))

    def report(self, kind: str, trouble: Trouble | None, about: str = "") -> None:
        """A trouble of ``kind`` stands until it is reported anew; None takes it back."""
        with self._lock:
            self._become(self._book.report(kind, about, trouble))

    def told_today(self, day: str) -> None:
        """Remember that the daily mail of a day is out."""
        with self._lock:
            self._become(msgspec.structs.replace(self._book, daily=day))

    def _become(self, after: Book) -> None:
        self._book = after
        if not after.differs(self._written):
            return
        try:
            replace_file(self._files, self._path, msgspec.json.format(msgspec.json.encode(after)) + b"\n", 0o640)
            self._written = after
        except OSError as error:
            log.warning("the alarms could not be written down, which is tried again: %s", error)


def _ranked(book: Book) -> tuple[Alarm, ...]:
    return tuple(sorted(book.standing, key=lambda one: (one.level != "error", -one.since)))


def _load(path: Path, files: Files) -> Book:
    try:
        return decoding.from_json(read_file(files, path), Book)
    except FileNotFoundError:
        return Book()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("the history of alarms begins anew, the old one cannot be read: %s", error)
        return Book()
