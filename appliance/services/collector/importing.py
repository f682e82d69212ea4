"""Imports in the collector: files that have arrived are read, two imports side by side, each file after file.

What arrives is the archiver's affair (``services.imports``); both say in the ledger how far they are. A file that was
being read when the process died goes on where the ledger says. A disk that is full, or that refuses a write, puts a
file off for a while: nothing of it is lost, and it goes on by itself.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing, suppress
from pathlib import PurePath
from typing import Final, Protocol

from appliance.errors import DiskFullError, MailkeepError, StorageError, UnavailableError
from appliance.files import FILES, Files
from appliance.framing import in_words
from appliance.imports.base import FileError
from appliance.imports.nursery import Nursery
from appliance.imports.reading import Opened, Reading
from appliance.language import _
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.importing_file import ClosingError, FileRun, Readings, StoppedError, Surroundings
from appliance.services.collector.importing_ledger import Imports, Task
from appliance.services.collector.told import CollectorKeys, read_told
from appliance.services.paths import Paths

log = logging.getLogger(__name__)

SIDE_BY_SIDE: Final = 2
"""Imports of which a file is read at one time."""
LOOK_SECONDS: Final = 2.0
"""Until a thread that nobody wakes looks whether a file has arrived."""
AGAIN_SECONDS: Final = 30.0
"""Before a file is tried again that the disk had no room for."""
CLOSE_SECONDS: Final = 15.0


class Opener(Protocol):
    """What reads a file that has arrived: a child of the nursery, or a double in tests."""

    def __call__(self, task: Task, opened: Opened) -> Readings: ...


def by_children_of(nursery: Nursery) -> Opener:
    """Files are read by children of that nursery."""

    def read(task: Task, opened: Opened) -> Reading:
        return Reading(nursery, opened, PurePath(task.name).name, task.options, skip=task.dealt)

    return read


class Importing:
    """The imports of one data folder. ``look`` may be called by any thread."""

    def __init__(
        self, paths: Paths, keys: CollectorKeys, collecting: Collecting, opener: Opener, *, files: Files = FILES,
        again: float = AGAIN_SECONDS,
    ) -> None:  # fmt: skip
        """Raises StorageError, UnavailableError."""
        self._paths = paths
        self._keys = keys
        self._collecting = collecting
        self._opener = opener
        self._files = files
        self._again = again
        self.imports = Imports(collecting.ledger)
        self._closing = threading.Event()
        self._wanted = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=self._run, name=f"import-{number}", daemon=True) for number in range(SIDE_BY_SIDE)
        ]

    def start(self) -> None:
        """Take up what a former process left, and read what arrives from now on."""
        self.imports.recover()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End; a file that is being read goes on where it is, in another process."""
        self._closing.set()
        for _thread in self._threads:
            self._wanted.release()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CLOSE_SECONDS)

    def look(self) -> None:
        """A file has arrived, or somebody wants an import to end."""
        self._wanted.release()

    # -- files ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        told = ""
        while not self._closing.is_set():
            try:
                task = self.imports.take()
                told = ""
            except (MailkeepError, OSError) as error:
                if str(error) != told:  # once, not every few seconds
                    told = str(error)
                    log.error("files to be imported could not be looked for: %s", error)
                task = None
            if task is None:
                self._wanted.acquire(timeout=LOOK_SECONDS)
            else:
                self._perform(task)

    def _perform(self, task: Task) -> None:
        """Read a file, whatever comes of it."""
        try:
            self._end(task, *self._read(task))
        except ClosingError:
            return
        except (MailkeepError, OSError) as error:
            # The ledger does not take how it ended: it is read on once that works again.
            log.error("import %d, file %d: %s", task.id, task.number, error)
            self._closing.wait(self._again)
            with suppress(MailkeepError, OSError):
                self.imports.put_off(task, "", 0)

    def _read(self, task: Task) -> tuple[str, str]:
        """How reading ended: done, failed, stopped, or "later", and in words what is to be known."""
        try:
            return self._read_on(task)
        except StoppedError:
            text = _("Stopped. What was archived stays; who imports the file again goes on from there.")
            return "stopped", text
        except DiskFullError:
            return "later", _("There is no room on the disk of the archive. What was archived is safe; it goes on by "
                              "itself when there is room.")  # fmt: skip
        except UnavailableError as error:
            return "later", in_words(error)
        except (StorageError, OSError) as error:
            log.error("import %d, file %d: %s", task.id, task.number, error)
            return "later", _("The disk of the archive did not take the mail. What was archived is safe; it is tried "
                              "again.")  # fmt: skip
        except FileError as error:
            return "failed", str(error)
        except MailkeepError as error:
            return "failed", in_words(error)
        except ClosingError:
            raise
        except Exception:
            log.exception("import %d, file %d failed", task.id, task.number)
            return "failed", _("Something went wrong inside mailkeep; the log has the details.")

    def _read_on(self, task: Task) -> tuple[str, str]:
        if self.imports.stopping(task.id):
            raise StoppedError
        told = read_told(self._paths.collecting, self._keys)
        if told is None:
            raise UnavailableError("The collector was not told yet where imported mail goes.")
        deposit = self._collecting.ready_deposit(told)
        around = Surroundings(self.imports, self._collecting.stock, deposit, told, self._closing.is_set)
        try:
            descriptor = self._files.open(self._paths.scratch / task.scratch)
        except FileNotFoundError:
            return "failed", _("What had arrived of this file is not on the disk any more. Import it again; nothing is "
                               "archived twice.")  # fmt: skip
        try:
            opened = Opened(descriptor, task.size, self._keys.scratch_key(task.scratch))
            with closing(self._opener(task, opened)) as reading:
                return FileRun(task, around).read(reading)
        finally:
            self._files.close(descriptor)

    def _end(self, task: Task, state: str, words: str) -> None:
        match state:
            case "later":
                self.imports.put_off(task, words, self._again)
            case "done" | "failed" | "stopped":
                self.imports.end_file(task, state, words)
                with suppress(FileNotFoundError):
                    self._files.unlink(self._paths.scratch / task.scratch)
