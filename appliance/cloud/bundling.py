"""What becomes an object: large files as they are, small ones one after the other in bundles.

A bundle is put together beside the archive and holds 64 MiB at most, so what is staged stays small. Every file is
hashed as it is read, and one that is not what its seal says is left out.

Seals have bundles of their own, and so have the system log's volumes: a restore needs all of these before the archive
works, and nothing of the mail.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from appliance.cloud.manifests import read_placed
from appliance.cloud.objects import LARGEST_OBJECT, Placed, object_name
from appliance.cloud.remote import Moved
from appliance.cloud.upload import Item, Outcome, Task, Uploads
from appliance.errors import DamageError, NotFoundError
from appliance.files import file_digest, read_file, read_pieces, write_all
from appliance.store.names import SEAL_SUFFIX

ALONE: Final = 16 * 1024 * 1024
"""Bytes from which on a file is an object of its own."""

_SALT: Final = 32
_SYSTEM_LOG: Final = f"volumes/{bytes(16).hex()}/"


class Alone(NamedTuple):
    """A file that is an object of its own."""

    item: Item

    @property
    def size(self) -> int:
        """Bytes."""
        return self.item.size

    def upload(self, to: Uploads, moved: Moved) -> Outcome:
        """Nothing is read where its object is there already."""
        item = self.item
        if item.expected is not None and to.has(item.expected, item.size):
            return Outcome((_whole(item, item.expected),))
        with _held(to, to.source(item)) as source:
            if source is None:
                return Outcome(gone=(item.path,))
            try:
                digest = file_digest(to.files, source)
            except FileNotFoundError:
                return Outcome(gone=(item.path,))
            if item.expected not in (None, digest):
                return Outcome(damaged=(item.path,))
            to.put(source, digest, item.size, moved)
        return Outcome((_whole(item, digest),))


class Bundle(NamedTuple):
    """Small files, one after the other in an object; ``salted`` has 32 random bytes before them, and so another name
    than every object before."""

    items: Sequence[Item]
    salted: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(item.size for item in self.items)

    def upload(self, to: Uploads, moved: Moved) -> Outcome:
        """Files that are gone, or not what they should be, are left out."""
        gone: list[str] = []
        damaged: list[str] = []
        with _Bundling(to, self.size) as bundle:
            if self.salted:
                bundle.add([os.urandom(_SALT)])
            for item in self.items:
                try:
                    offset, digest, size = bundle.add(read_pieces(to.files, to.source(item)))
                except FileNotFoundError:
                    gone.append(item.path)
                    continue
                if item.expected not in (None, digest):
                    damaged.append(item.path)
                else:
                    bundle.hold(item.path, digest, offset, size, item.records)
            return Outcome(bundle.finish(moved), tuple(gone), tuple(damaged))


class Merge(NamedTuple):
    """Files out of small objects, put together anew: from the disk where they are there, else from the remote."""

    placed: Sequence[Placed]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(one.size for one in self.placed)

    def upload(self, to: Uploads, moved: Moved) -> Outcome:
        """What cannot be read stays where it is."""
        with _Bundling(to, self.size) as bundle:
            for one in self.placed:
                content = self._content(to, one)
                if content is not None:
                    offset, digest, size = bundle.add([content])
                    bundle.hold(one.path, digest, offset, size, one.records)
            return Outcome(bundle.finish(moved))

    def _content(self, to: Uploads, one: Placed) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            content = read_file(to.files, to.data / one.path)
            if sha256(content).digest() == one.hash:
                return content
        with contextlib.suppress(DamageError, NotFoundError):
            return read_placed(to.remote, one)
        return None


def tasks_of(items: Iterable[Item]) -> list[Task]:
    """Large files alone, the others in bundles, in their order: so a longer list gives the same bundles but for the
    last, and what was uploaded before a crash is found to be there."""
    tasks: list[Task] = []
    small: list[Item] = []
    for item in items:
        if item.size >= ALONE:
            tasks.append(Alone(item))
        else:
            small.append(item)
    return [*tasks, *(Bundle(group) for group in grouped(small))]


def grouped(small: Iterable[Item]) -> Iterator[list[Item]]:
    """Items in groups of at most ``LARGEST_OBJECT`` bytes: seals, the system log's volumes, all others."""
    kinds: tuple[list[Item], ...] = ([], [], [])
    for item in small:
        kinds[_kind(item.path)].append(item)
    for kind in kinds:
        group: list[Item] = []
        size = 0
        for item in kind:
            if group and size + item.size > LARGEST_OBJECT:
                yield group
                group, size = [], 0
            group.append(item)
            size += item.size
        if group:
            yield group


def _kind(path: str) -> int:
    if path.endswith(SEAL_SUFFIX):
        return 0
    return 1 if path.startswith(_SYSTEM_LOG) else 2


def merges_of(placed: Iterable[Placed]) -> list[Merge]:
    """The files in bundles."""
    by_path = {one.path: one for one in placed}
    groups = grouped(Item(one.path, one.size) for one in by_path.values())
    return [Merge([by_path[item.path] for item in group]) for group in groups]


class _Bundling:
    """A bundle being put together in the staging folder."""

    def __init__(self, to: Uploads, size: int) -> None:
        self._to = to
        self._size = size
        self._path = to.staged()
        self._descriptor = -1
        self._end = 0
        self._digest = sha256()
        self._held: list[tuple[str, bytes, int, int, int]] = []

    def __enter__(self) -> _Bundling:
        self._to.check_room(self._size)
        self._descriptor = self._to.files.create(self._path, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        with contextlib.suppress(FileNotFoundError):
            self._to.files.unlink(self._path)

    def add(self, pieces: Iterable[bytes]) -> tuple[int, bytes, int]:
        """Put a file behind the others; its offset, SHA-256 and size."""
        offset, digest = self._end, sha256()
        for piece in pieces:
            digest.update(piece)
            self._digest.update(piece)
            self._end = write_all(self._to.files, self._descriptor, [piece], self._end)
        return offset, digest.digest(), self._end - offset

    def hold(self, path: str, digest: bytes, offset: int, size: int, records: int) -> None:
        """The bundle is where that file is found."""
        self._held.append((path, digest, offset, size, records))

    def finish(self, moved: Moved) -> tuple[Placed, ...]:
        """Upload it, if there is anything in it."""
        self._close()
        if not self._held:
            return ()
        name = self._to.put(self._path, self._digest.digest(), self._end, moved)
        return tuple(
            Placed(path, size, digest, name, offset, count) for path, digest, offset, size, count in self._held
        )

    def _close(self) -> None:
        if self._descriptor >= 0:
            self._to.files.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def _held(to: Uploads, source: Path) -> Iterator[Path | None]:
    """A name under which a file stays, though the archive may replace it meanwhile; None where it is gone already."""
    held = to.staged()
    try:
        to.files.link(source, held)
    except FileNotFoundError:
        yield None
        return
    except OSError:  # another file system, or one without links
        yield source
        return
    try:
        yield held
    finally:
        to.files.unlink(held)


def _whole(item: Item, digest: bytes) -> Placed:
    return Placed(item.path, item.size, digest, object_name(digest), 0, item.records)
