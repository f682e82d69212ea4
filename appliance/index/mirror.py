"""The sealed copy of an index: one folder a shard, with a manifest and the packs that it names.

A shard is written like this: new packs, their names made durable, the manifest replaced, packs that no manifest names
removed. Whenever that ends, the manifest on the disk is the old or the new one and all packs that it names are whole.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance import decoding
from appliance.errors import DamageError, UnavailableError
from appliance.files import FILES, Files, create_directory, write_all
from appliance.index import manifest as m
from appliance.index import schema
from appliance.index.place import Place
from appliance.sealing import BLOCK, read_sealed, replace_sealed, write_sealed

_SHARD = re.compile(r"\d{5}")
_PARTS = 6  # files that every segment has
_TRIES = 20
_LARGE = 2**21  # bytes of a file that has a pack of its own
_AT_A_TIME = 2  # packs that are restored side by side
_END, _LEAST_END = 16, 4096  # of a document store: where in it the documents are is at most a twentieth
_NEW = ".new"
_INFO = b"mailkeep index v1\x00"

Stamp = tuple[int, int, int]
"""What tells that a file was replaced: time, inode, size."""


class Facts(NamedTuple):
    """What the writer knows of a shard as of the commit that is saved; named as in ``Manifest``."""

    sequence: int
    documents: int
    oldest: int
    newest: int
    archives: frozenset[str]
    threads: bytes


class _Segment(msgspec.Struct, frozen=True):
    segment_id: str
    deletes: dict[str, int] | None


class _Meta(msgspec.Struct, frozen=True):
    """What is of interest here in Tantivy's meta.json."""

    segments: tuple[_Segment, ...]


class Mirror:
    """The sealed folder of one index. Its writer saves and drops; readers restore."""

    def __init__(self, place: Place, *, files: Files = FILES) -> None:
        self._place = place
        self._files = files

    def shards(self) -> tuple[int, ...]:
        """The shards that there is something of."""
        return tuple(int(name) for name in self._files.names(self._place.sealed) if _SHARD.fullmatch(name))

    def stamp(self, shard: int) -> Stamp | None:
        """Changes whenever the shard's manifest does; None where there is none."""
        try:
            status = (self._folder(shard) / m.MANIFEST).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def manifest(self, shard: int) -> m.Manifest | None:
        """The shard's manifest; None where there is none. Raises DamageError, also for one of another version."""
        try:
            packed = b"".join(self._read(shard, m.MANIFEST))
        except FileNotFoundError:
            return None
        try:
            found = m.decode(packed)
        except msgspec.DecodeError as error:
            raise DamageError("The manifest is of another version.") from error
        if found.version != schema.SCHEMA_VERSION:
            raise DamageError("The manifest is of another version.")
        return found

    def size(self) -> int:
        """Bytes that all of it takes on disk."""
        total = 0
        for path in self._place.sealed.rglob("*"):
            with contextlib.suppress(OSError):  # what is replaced meanwhile
                total += path.stat().st_size if path.is_file() else 0
        return total

    # -- saving -----------------------------------------------------------------------------------------------

    def save(self, shard: int, live: Path, before: m.Manifest | None, facts: Facts) -> m.Manifest:
        """Write what the shard in ``live`` has beyond ``before``, as of its last commit, durably.

        Raises OSError as the disk gives it; the manifest is the one from before, or the new one, then.
        """
        folder = self._folder(shard)
        create_directory(self._files, self._place.sealed)
        create_directory(self._files, folder)
        with _snapshot(live) as (meta, segments):
            wanted = {name for segment in segments.values() for name in segment}
            packs = [pack for pack in (before.packs if before else ()) if any(name in wanted for name, _ in pack.files)]
            have = {name for pack in packs for name, _ in pack.files}
            for segment in segments.values():
                missing = {name: descriptor for name, descriptor in segment.items() if name not in have}
                packs += [self._pack(shard, members) for members in self._groups(missing)]
        if before is None or before.packs != tuple(packs):
            self._files.sync_directory(folder)
        saved = m.Manifest(
            version=schema.SCHEMA_VERSION, mark=os.urandom(16).hex(), meta=meta, packs=tuple(packs), **facts._asdict()
        )
        path, place = self._folder(shard) / m.MANIFEST, self._where(shard, m.MANIFEST)
        replace_sealed(self._files, path, self._place.key, place, [m.encode(saved)])
        self._tidy(shard, saved)
        return saved

    def drop(self, shard: int) -> None:
        """Remove a shard, its manifest first: without it there is no shard."""
        folder = self._folder(shard)
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(folder / m.MANIFEST)
            self._files.sync_directory(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def disown(self, shard: int, mark: str) -> None:
        """Take the manifest away that named files which are not there or not what was written, so that the writer
        makes the shard anew; not one that has taken its place meanwhile."""
        with contextlib.suppress(DamageError):
            found = self.manifest(shard)
            if found is None or found.mark != mark:
                return
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(self._folder(shard) / m.MANIFEST)

    def drop_strangers(self) -> None:
        """Remove whatever is no shard's folder: an index of an earlier version above all, which was readable."""
        for path in self._place.sealed.iterdir():
            if path.is_dir() and not path.is_symlink() and not _SHARD.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
            elif not path.is_dir() and path.name != LOCK:
                self._files.unlink(path)

    def _groups(self, members: dict[str, int]) -> list[dict[str, int]]:
        """What goes into one pack each: a large file alone, so that several are restored at a time, others together."""
        large = [name for name, descriptor in members.items() if self._files.size(descriptor) >= _LARGE]
        small = {name: descriptor for name, descriptor in members.items() if name not in large}
        return [*({name: members[name]} for name in large), *([small] if small else [])]

    def _pack(self, shard: int, members: dict[str, int]) -> m.Pack:
        name = os.urandom(16).hex()
        sizes = tuple((member, self._files.size(descriptor)) for member, descriptor in members.items())
        size = write_sealed(
            self._files,
            self._folder(shard) / name,
            self._place.key,
            self._where(shard, name),
            self._contents(members.values()),
        )
        return m.Pack(name, size, sizes)

    def _contents(self, descriptors: Iterable[int]) -> Iterator[bytes]:
        for descriptor in descriptors:
            offset = 0
            while piece := self._files.read(descriptor, BLOCK, offset):
                yield piece
                offset += len(piece)

    def _tidy(self, shard: int, saved: m.Manifest) -> None:
        keep = {m.MANIFEST, *(pack.name for pack in saved.packs)}
        for name in self._files.names(self._folder(shard)):
            if name not in keep:
                self._files.unlink(self._folder(shard) / name)

    # -- restoring --------------------------------------------------------------------------------------------

    def restore(self, shard: int, found: m.Manifest, folder: Path, *, shown: bool = True) -> None:
        """Lay the shard's files out in the new folder ``folder``, for Tantivy to open.

        Not ``shown``, the large document stores are hollow: no hit can be shown until ``restore_shown``. They are half
        of an index, and counting does without them.

        Raises DamageError where a pack is missing or not what was written, OSError where the disk or the memory does
        not play along; there is no folder then.
        """
        folder.mkdir(mode=0o700)
        try:
            hollow = [] if shown else [pack for pack in found.packs if pack.is_shown]
            self._unpack_all(shard, [pack for pack in found.packs if pack not in hollow], folder)
            for pack in hollow:
                self._hollow(shard, pack, folder)
            names = [name for pack in found.packs for name, _ in pack.files]
            self._lay(folder / "meta.json", [found.meta])
            # Tantivy removes only files that it knows to be its own.
            self._lay(folder / ".managed.json", [msgspec.json.encode([*names, "meta.json"])])
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def restored_bytes(self, found: m.Manifest, *, shown: bool) -> int:
        """What ``restore`` takes in memory."""
        return found.live_bytes - (0 if shown else sum(_hole(pack) for pack in found.packs if pack.is_shown))

    def restore_shown(self, shard: int, found: m.Manifest, folder: Path) -> None:
        """Lay out what ``restore`` left out, for whoever opens ``folder`` from now on: who has it open already goes on
        with hollow stores. Raises as ``restore`` does; the folder is of no use then."""
        stores = [pack for pack in found.packs if pack.is_shown]
        for name in (name for pack in stores for name, _ in pack.files):
            self._files.unlink(folder / name)
        self._unpack_all(shard, stores, folder)

    def _unpack_all(self, shard: int, packs: Iterable[m.Pack], folder: Path) -> None:
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            largest_first = sorted(packs, key=lambda pack: -pack.size)
            for done in [threads.submit(self._unpack, shard, pack, folder) for pack in largest_first]:
                done.result()

    def _unpack(self, shard: int, pack: m.Pack, folder: Path) -> None:
        with _present():
            stream = _Stream(self._read(shard, pack.name))
            for name, size in pack.files:
                self._lay(folder / name, stream.take(size))
            stream.end()

    def _hollow(self, shard: int, pack: m.Pack, folder: Path) -> None:
        """A store of which only the end is there, which is all that Tantivy looks at when it opens it. The rest is a
        hole, which takes no memory."""
        ((name, size),) = pack.files
        hole = _hole(pack)
        with _present():
            stream = _Stream(self._read(shard, pack.name, skip=hole // BLOCK))
            for _ in stream.take(hole % BLOCK):
                pass
            self._lay(folder / name, stream.take(size - hole), hole)
            stream.end()

    def _lay(self, path: Path, pieces: Iterable[bytes | memoryview], offset: int = 0) -> None:
        descriptor = self._files.create(path, 0o600)
        try:
            for piece in pieces:
                offset = write_all(self._files, descriptor, [piece], offset)
        finally:
            self._files.close(descriptor)

    def _read(self, shard: int, name: str, *, skip: int = 0) -> Iterator[bytes]:
        path, where = self._folder(shard) / name, self._where(shard, name)
        return read_sealed(self._files, path, self._place.key, where, skip=skip)

    def _folder(self, shard: int) -> Path:
        return self._place.sealed / f"{shard:05}"

    def _where(self, shard: int, name: str) -> bytes:
        return _INFO + self._place.identity + shard.to_bytes(4) + name.encode("ascii")


LOCK = "writer.lock"
"""Held by the one process that writes the index."""


def _hole(pack: m.Pack) -> int:
    """Bytes of a document store that are left out for counting: all but the end of it, in pages of memory."""
    size = pack.live_bytes
    return max(0, size - max(size // _END, _LEAST_END)) // mmap.PAGESIZE * mmap.PAGESIZE


@contextlib.contextmanager
def _present() -> Iterator[None]:
    """Turns the absence of a pack into a DamageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DamageError("A file of the sealed index is missing. It is made anew from the log.") from error


class _Stream:
    """The bytes of a pack, cut into files."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes, in pieces."""
        while size:
            if not self._held:
                self._held = memoryview(next(self._blocks, b""))
                if not self._held:
                    raise DamageError("A file of the sealed index is shorter than its manifest says.")
            piece, self._held = self._held[:size], self._held[size:]
            size -= len(piece)
            yield piece

    def end(self) -> None:
        """Raises DamageError where there is more."""
        if self._held or any(self._blocks):
            raise DamageError("A file of the sealed index is longer than its manifest says.")


@contextlib.contextmanager
def _snapshot(live: Path) -> Iterator[tuple[bytes, dict[str, dict[str, int]]]]:
    """meta.json of the index in ``live``, and open descriptors of its segments' files, by segment and name.

    Merges go on meanwhile, and take files away: an open one stays whole.
    """
    with contextlib.ExitStack() as opened:
        for _ in range(_TRIES):
            opened.close()
            meta = (live / "meta.json").read_bytes()
            try:
                segments = {
                    segment.segment_id: _open_all(live, segment, opened)
                    for segment in decoding.from_json(meta, _Meta).segments
                }
            except FileNotFoundError:
                continue
            if all(len(files) >= _PARTS for files in segments.values()):
                yield meta, segments
                return
        raise UnavailableError(
            "The search index changes faster than it can be copied. Nothing is lost; it is tried again."
        )


def _open_all(live: Path, segment: _Segment, opened: contextlib.ExitStack) -> dict[str, int]:
    stem = segment.segment_id.replace("-", "")
    deletes = f"{stem}.{segment.deletes['opstamp']}.del" if segment.deletes else ""
    files = {}
    for name in sorted(path.name for path in live.iterdir()):
        if name.startswith(stem) and (not name.endswith(".del") or name == deletes):
            descriptor = os.open(live / name, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, descriptor)
            files[name] = descriptor
    if deletes and deletes not in files:
        raise FileNotFoundError(deletes)
    return files
