"""Bringing objects to a remote, several at a time, and telling how far it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from appliance.cloud.objects import LARGEST_OBJECT, Placed, object_name
from appliance.cloud.remote import Moved, Remote
from appliance.cloud.state import ReplicaPaths
from appliance.errors import ConflictError, DiskFullError, UnavailableError
from appliance.files import Files

_LOOK_SECONDS: Final = 0.2


class Progress(Protocol):
    """Who is told how far it is, and may say that it is enough."""

    def report(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` bytes of ``what``."""
        ...

    def stopped(self) -> bool:
        """Whether to stop."""
        ...


class Item(NamedTuple):
    """A file to be uploaded."""

    path: str  # as the manifest names it
    size: int
    expected: bytes | None = None  # the SHA-256 that it has if it is whole
    records: int = 0
    staged: Path | None = None  # where it lies, if not in the data folder under its path


class Outcome(msgspec.Struct, frozen=True):
    """What became of some files."""

    placed: tuple[Placed, ...] = ()
    gone: tuple[str, ...] = ()  # not there any more
    damaged: tuple[str, ...] = ()  # there, and not what they should be


class Task(Protocol):
    """Some files that become one object."""

    @property
    def size(self) -> int:
        """Bytes, about."""
        ...

    def upload(self, to: Uploads, moved: Moved) -> Outcome:
        """Do it. Raises as ``Remote.put``, OSError."""
        ...


class Uploads:
    """The way to one remote during one run."""

    def __init__(
        self,
        remote: Remote,
        paths: ReplicaPaths,
        progress: Progress,
        *,
        files: Files,
        lock_until: int = 0,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """``before`` is called before anything goes up."""
        self.remote = remote
        self.files = files
        self.lock_until = lock_until
        self.present: dict[str, int] = {}
        """Sizes of objects that are known to be there, though no manifest may name them."""
        self.data = paths.data
        self._staging = paths.staging
        self._progress = progress
        self._before = before
        self._numbers = itertools.count()

    def has(self, digest: bytes, size: int) -> bool:
        """Whether an object of that hash is known to be there."""
        return self.present.get(object_name(digest)) == size

    def put(self, source: Path, digest: bytes, size: int, moved: Moved | None = None) -> str:
        """Upload a file under the name that its hash gives; the name."""
        name = object_name(digest)
        if not self.has(digest, size):
            self.put_as(source, name, moved)
        return name

    def put_as(self, source: Path, name: str, moved: Moved | None = None) -> None:
        """Upload a file under a name that its content gives. Raises as ``Remote.put``, ForbiddenError."""
        self._before()
        try:
            self.remote.put(source, name, moved, lock_until=self.lock_until)
        except ConflictError:
            # It is not what its name says: cut off once, or altered. Nobody can use it, and it is in the way.
            self.remote.delete(name)
            self.remote.put(source, name, moved, lock_until=self.lock_until)

    def source(self, item: Item) -> Path:
        """Where a file lies."""
        return item.staged or self.data / item.path

    def staged(self) -> Path:
        """A name in the staging folder that nobody else has."""
        return self._staging / f"{next(self._numbers):08d}"

    def check_room(self, size: int) -> None:
        """Raise DiskFullError where ``size`` bytes more than is well would not fit. Raises OSError."""
        if self.files.free(self._staging) < size + LARGEST_OBJECT:
            raise DiskFullError(
                "There is no room on the disk of the archive to get mail ready for the replica. All mail is safe on "
                "that disk; make room there, and replication goes on by itself."
            )

    def run(self, tasks: Iterable[Task], what: str, take: Callable[[Outcome], None]) -> None:
        """Do the tasks, ``transfers`` at a time; ``take`` gets each outcome, in the calling thread.

        The first error ends it once those that are under way have ended. Raises it, or UnavailableError when stopped.
        """
        tasks = list(tasks)
        total, done = sum(task.size for task in tasks), 0
        moved: dict[int, int] = {}
        pending: dict[Future[Outcome], tuple[int, int]] = {}
        left = enumerate(tasks)
        error: BaseException | None = None

        with ThreadPoolExecutor(max(1, self.remote.config.transfers)) as threads:
            try:
                while True:
                    if error is None and self._progress.stopped():
                        self.remote.stop()
                        error = UnavailableError(
                            "Replication was stopped. What was uploaded is not uploaded again by the next run."
                        )
                    room = max(1, self.remote.config.transfers) - len(pending) if error is None else 0
                    for number, task in itertools.islice(left, room):
                        counted = _counting(moved, number)
                        counted(0)
                        pending[threads.submit(task.upload, self, counted)] = number, task.size
                    if not pending:
                        break
                    for future in wait(pending, _LOOK_SECONDS, FIRST_COMPLETED).done:
                        number, size = pending.pop(future)
                        moved.pop(number, None)
                        done += size
                        if (failure := future.exception()) is None:
                            take(future.result())
                        else:
                            error = error or failure
                    self._progress.report(min(total, done + sum(list(moved.values()))), total, what)
            except BaseException:
                self.remote.stop()
                raise
        if error is not None:
            raise error


def _counting(moved: dict[int, int], number: int) -> Moved:
    def counted(size: int) -> None:
        moved[number] = size

    return counted
