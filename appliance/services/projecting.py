"""The projector's process: one projection after another, whichever generation is in use, and the rebuild."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.catalogue.store import Catalogue
from appliance.cloud.fetching import Fetcher
from appliance.errors import ConflictError, LockedError, MailkeepError, StorageError
from appliance.extract.pool import ExtractPool
from appliance.files import FILES
from appliance.index.writer import IndexWriter
from appliance.ingest.project import Projector
from appliance.keys.access import Keys
from appliance.services.generations import Generation, Generations
from appliance.services.paths import Paths
from appliance.settings.store import Settings
from appliance.store.reader import LogReader

log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds between two looks at a log that had nothing new."""
SULK = 5.0
"""Seconds after something went wrong before it is tried again."""


class Projecting:
    """Keeps the generation in use up to date with the log."""

    def __init__(self, paths: Paths, keyring: Keys, *, create_user: Callable[[str], None]) -> None:
        self._create_user = create_user
        self._paths = paths
        self._keyring = keyring
        self._settings = Settings(
            paths.settings, column_key=keyring.key("settings"), lookup_key=keyring.key("settings-lookup")
        )
        self._pool = ExtractPool(workers=2)
        self._generations = Generations(paths)
        self._open: Generation | None = None
        self._catalogue: Catalogue | None = None
        self._index: IndexWriter | None = None
        self._projector: Projector | None = None

    def run(self, stop: threading.Event, alive: Callable[[], None] = lambda: None) -> None:
        """Project until ``stop``, or until the keys are taken away; ``alive`` is called after each step.

        What goes wrong is logged and tried again: the log is patient.
        """
        while not stop.is_set():
            alive()
            try:
                done = self._current().step()
            except LockedError:
                return
            except MailkeepError as error:
                log.error("projection: %s", error.message)
                self._leave()
                stop.wait(SULK)
                continue
            if done == 0:
                stop.wait(PAUSE)

    def finish(self) -> None:
        """Project all that the log holds now."""
        self._current().finish()

    def close(self) -> None:
        """Give everything back."""
        self._leave()
        self._pool.close()
        self._settings.close()

    def _current(self) -> Projector:
        generation = self._generations.current()
        if self._projector is None or generation != self._open:
            self._leave()
            self._generations.remove_others()
            self._open = generation
            self._catalogue = Catalogue(generation.catalogue)
            self._index = _index_writer(self._paths, self._keyring, generation, self._catalogue)
            self._projector = Projector(
                reader=_reader(self._paths, self._keyring),
                keyring=self._keyring,
                settings=self._settings,
                catalogue=self._catalogue,
                index=self._index,
                pool=self._pool,
                create_user=self._create_user,
            )
        return self._projector

    def _leave(self) -> None:
        if self._index is not None:
            self._index.close()
        if self._catalogue is not None:
            self._catalogue.close()
        self._projector = self._index = self._catalogue = None


def rebuild(paths: Paths, keyring: Keys, progress: Callable[[int], None]) -> int:
    """Make catalogue and index anew from the log, beside those in use, then swap. Returns the records.

    Searching goes on with the old state meanwhile. Mail that comes in during the rebuild is projected by whoever
    follows the new generation next. Raises ConflictError while another rebuild runs: of two, the second to end could
    put a generation in use that was removed as an old one.
    """
    with _one_at_a_time(paths.run / "rebuild.lock"):
        return _rebuild(paths, keyring, progress)


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch(mode=0o600)
    descriptor = FILES.open(lock)
    try:
        if not FILES.lock(descriptor):
            raise ConflictError("A rebuild is running already. Wait until it has ended.")
        yield
    finally:
        FILES.close(descriptor)


def _rebuild(paths: Paths, keyring: Keys, progress: Callable[[int], None]) -> int:
    settings = Settings(paths.settings, column_key=keyring.key("settings"), lookup_key=keyring.key("settings-lookup"))
    generations = Generations(paths)
    generation = generations.new()
    catalogue = Catalogue(generation.catalogue)
    index = _index_writer(paths, keyring, generation, catalogue)
    pool = ExtractPool(workers=2)
    projector = Projector(
        reader=_reader(paths, keyring), keyring=keyring, settings=settings, catalogue=catalogue,
        index=index, pool=pool, everything=True,
    )  # fmt: skip
    total = 0
    try:
        while done := projector.step():
            total += done
            progress(total)
        if projector.left_alone:
            raise StorageError(
                f"{', '.join(projector.left_alone)} cannot be read, so the rebuild would know less than what is in "
                "use. Nothing was changed. Look at the disk's health, and run `mailkeep verify`."
            )
    finally:
        index.close()
        catalogue.close()
        pool.close()
        settings.close()
    generations.use(generation)
    return total


def _reader(paths: Paths, keys: Keys) -> LogReader:
    return LogReader(paths.volumes, keys, fetch=Fetcher(paths.replica_socket))


def _index_writer(paths: Paths, keys: Keys, generation: Generation, catalogue: Catalogue) -> IndexWriter:
    """The writer of a generation's index. What the catalogue has is on disk before the index says that it has it."""
    place = generation.index(paths, keys, catalogue)
    return IndexWriter(place, newest=catalogue.value("change"), before_save=catalogue.sync)
