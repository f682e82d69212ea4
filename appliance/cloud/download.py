"""Many files of a replica at once: large ones object by object, small ones by ranges of the bundles they lie in.

What arrives is compared with the hash that the manifest gives before anybody else sees it. A file that is missing or
another one is told of and does not keep the others.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from appliance.cloud.manifests import get_placed
from appliance.cloud.objects import Placed
from appliance.cloud.remote import Moved, Remote
from appliance.cloud.upload import Progress
from appliance.errors import DamageError, NotFoundError, UnavailableError
from appliance.files import FILES, Files, create_directory, read_exactly, write_file

RANGE: Final = 16 * 1024 * 1024
"""Bytes of a bundle that are held in memory, at most; of more the whole bundle is fetched."""

_GAP: Final = 4 * 1024 * 1024
"""Bytes nobody asked for that are read along, since another request would take longer."""
_LOOK_SECONDS: Final = 0.2
_MODE: Final = 0o640

Wrong = DamageError | NotFoundError
"""Why a file could not be had."""


class Range(NamedTuple):
    """Files that lie close together in one object."""

    object: str
    offset: int
    size: int
    files: tuple[Placed, ...]


class Fetched(NamedTuple):
    """What became of one file: where it is now, whole and synced, or why it is not."""

    placed: Placed
    path: Path
    wrong: Wrong | None = None


def ranges_of(wanted: Iterable[Placed]) -> list[Range]:
    """Requests that bring these files, in the order in which the files are wanted, as far as bundles allow."""
    order: dict[str, int] = {}
    by_object: dict[str, list[Placed]] = {}
    for place, one in enumerate(wanted):
        order.setdefault(one.path, place)
        by_object.setdefault(one.object, []).append(one)
    found = [run for files in by_object.values() for run in _close_together(files)]
    return sorted(found, key=lambda run: min(order[one.path] for one in run.files))


def download(
    remote: Remote, wanted: Sequence[Placed], staging: Path, take: Callable[[Fetched], None], progress: Progress, *,
    what: str, files: Files = FILES,
) -> None:  # fmt: skip
    """Bring files into ``staging``; ``take`` gets each in the calling thread, and moves it on.

    ``config.transfers`` requests are made at a time. The first error that is not about one file ends it. Raises as
    ``Remote.read`` does, UnavailableError when stopped, OSError.
    """
    create_directory(files, staging)
    names = itertools.count()
    total, done = sum(one.size for one in wanted), 0
    moved: dict[int, int] = {}
    pending: dict[Future[list[Fetched]], tuple[int, int]] = {}
    left = enumerate(ranges_of(wanted))
    error: BaseException | None = None
    lock = threading.Lock()

    def staged() -> Path:
        with lock:
            path = staging / f"{next(names):08d}"
        with contextlib.suppress(FileNotFoundError):
            files.unlink(path)
        return path

    at_a_time = max(1, remote.config.transfers)
    with ThreadPoolExecutor(at_a_time) as threads:
        try:
            while True:
                if error is None and progress.stopped():
                    remote.stop()
                    error = UnavailableError("It was stopped. What is here already is not fetched again.")
                for number, run in itertools.islice(left, at_a_time - len(pending) if error is None else 0):
                    counted = _counting(moved, number)
                    pending[threads.submit(_bring, remote, run, staged, files, counted)] = number, _wanted(run)
                if not pending:
                    break
                for future in wait(pending, _LOOK_SECONDS, FIRST_COMPLETED).done:
                    number, size = pending.pop(future)
                    moved.pop(number, None)
                    done += size
                    if (failure := future.exception()) is not None:
                        error = error or failure
                    elif error is None:
                        for one in future.result():
                            take(one)
                progress.report(min(total, done + sum(list(moved.values()))), total, what)
        except BaseException:
            remote.stop()
            raise
    if error is not None:
        raise error


def _close_together(files: list[Placed]) -> Iterator[Range]:
    run: list[Placed] = []
    start = end = 0
    for one in sorted(files, key=lambda one: (one.offset, one.size)):
        if run and one.offset > end + _GAP:
            yield Range(run[0].object, start, end - start, tuple(run))
            run = []
        if not run:
            start = end = one.offset
        run.append(one)
        end = max(end, one.offset + one.size)
    if run:
        yield Range(run[0].object, start, end - start, tuple(run))


def _wanted(run: Range) -> int:
    return sum(one.size for one in run.files)


def _bring(remote: Remote, run: Range, staged: Callable[[], Path], files: Files, moved: Moved) -> list[Fetched]:
    if len(run.files) == 1 and run.size > RANGE:
        return [_bring_one(remote, run.files[0], staged(), files, moved)]
    try:
        if run.size > RANGE:
            return _bring_bundle(remote, run, staged, files, moved)
        held = remote.read(run.object, run.offset, run.size) if run.size else b""
    except NotFoundError as error:
        return [Fetched(one, staged(), error) for one in run.files]
    moved(_wanted(run))
    return [_keep(one, held[one.offset - run.offset :][: one.size], staged(), files) for one in run.files]


def _bring_bundle(remote: Remote, run: Range, staged: Callable[[], Path], files: Files, moved: Moved) -> list[Fetched]:
    """Files out of an object that is fetched as a whole. Raises NotFoundError."""
    whole = staged()
    remote.get(run.object, whole, moved)
    descriptor = files.open(whole)
    try:
        return [_keep(one, read_exactly(files, descriptor, one.size, one.offset), staged(), files) for one in run.files]
    finally:
        files.close(descriptor)
        files.unlink(whole)


def _bring_one(remote: Remote, placed: Placed, target: Path, files: Files, moved: Moved) -> Fetched:
    try:
        get_placed(remote, placed, target, moved, files=files)
    except (DamageError, NotFoundError) as error:
        return Fetched(placed, target, error)
    return Fetched(placed, target)


def _keep(placed: Placed, content: bytes, target: Path, files: Files) -> Fetched:
    if sha256(content).digest() != placed.hash:
        return Fetched(
            placed, target,
            DamageError(f"{placed.object} of the replica does not hold {placed.path} as it was written there."),
        )  # fmt: skip
    write_file(files, target, [content], _MODE)
    return Fetched(placed, target)


def _counting(moved: dict[int, int], number: int) -> Moved:
    def count(size: int) -> None:
        moved[number] = size

    return count


def empty(staging: Path, files: Files = FILES) -> None:
    """Take away what an earlier run left in the folder. Raises OSError."""
    for name in files.names(staging):
        files.unlink(staging / name)
