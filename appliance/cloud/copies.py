"""Copies of what changes, as of one moment: settings.db, the catalogue, the sealed index, small files of the box.

Databases are copied beside the archive, sealed, and the copy is removed; it holds what they hold and no more.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from appliance.cloud.manifests import Kind, ReplicaKeys, kind_place
from appliance.cloud.objects import BoxFiles
from appliance.cloud.state import ReplicaPaths
from appliance.cloud.upload import Item, Uploads
from appliance.errors import UnavailableError
from appliance.files import Files, file_digest, read_file, read_pieces
from appliance.sealing import write_sealed
from appliance.sqlite import error_in_words
from appliance.store.names import UNFINISHED_SUFFIX

SETTINGS: Final = "settings.db"
BOX: Final = "box"
"""The path under which a manifest has the box files."""

_BOX_FOLDERS: Final = ("tls", "timestamps", "positions", "gateway/erased")
_SHARD: Final = re.compile(r"[0-9]{5}")
_PACK: Final = re.compile(r"[0-9a-f]{32}")
_MANIFEST: Final = "manifest"
_LOOKS: Final = 20
_BUSY_SECONDS: Final = 30.0


class Copied(msgspec.Struct, frozen=True):
    """Something sealed and ready to be uploaded, and the SHA-256 that it had before."""

    item: Item
    digest: bytes


def settings(paths: ReplicaPaths, uploads: Uploads, keys: ReplicaKeys, known: bytes) -> Copied | None:
    """A sealed copy of settings.db; None where it is the ``known`` one, or there is none.

    Raises StorageError, UnavailableError, DamageError as SQLite does, OSError.
    """
    source = paths.data / SETTINGS
    if not uploads.files.exists(source):
        return None
    with _database(source, uploads) as copy:
        digest = file_digest(uploads.files, copy)
        if digest == known:
            return None
        return Copied(_seal(uploads, keys, "settings", SETTINGS, read_pieces(uploads.files, copy)), digest)


def box(paths: ReplicaPaths, uploads: Uploads, keys: ReplicaKeys, known: bytes) -> Copied | None:
    """The sealed box files; None where they are the ``known`` ones. Raises OSError."""
    found: dict[str, bytes] = {}
    for folder in _BOX_FOLDERS:
        for name in uploads.files.names(paths.data / folder):
            if not name.endswith(UNFINISHED_SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    found[f"{folder}/{name}"] = read_file(uploads.files, paths.data / folder / name)
    packed = msgspec.msgpack.encode(BoxFiles(found))
    digest = sha256(packed).digest()
    if digest == known:
        return None
    return Copied(_seal(uploads, keys, "box", BOX, [packed]), digest)


def current_projections(paths: ReplicaPaths, files: Files) -> str | None:
    """The name of the generation of catalogue and index in use; None where there is none yet."""
    with contextlib.suppress(FileNotFoundError):
        name = read_file(files, paths.data / "projections" / "current").decode("ascii").strip()
        if name.isdigit() and files.exists(paths.data / "projections" / name / "catalogue.db"):
            return name
    return None


def change(paths: ReplicaPaths, generation: str) -> int:
    """The last number that a generation's catalogue has given out. Raises as SQLite does, in words."""
    path = paths.data / "projections" / generation / "catalogue.db"
    with _in_words(path), closing(_connect(path)) as connection:
        return _change(connection)


def catalogue(paths: ReplicaPaths, uploads: Uploads, keys: ReplicaKeys, generation: str) -> tuple[Item, int]:
    """A sealed copy of a generation's catalogue, and its last change number. Raises as ``settings``."""
    path = f"projections/{generation}/catalogue.db"
    with _database(paths.data / path, uploads) as copy:
        with _in_words(copy), closing(_connect(copy)) as connection:
            number = _change(connection)
        return _seal(uploads, keys, "catalogue", path, read_pieces(uploads.files, copy)), number


def index(paths: ReplicaPaths, uploads: Uploads, generation: str) -> list[Item]:
    """The sealed index's manifests and packs, held in the staging folder as of one moment each shard.

    To be called before ``catalogue``: a manifest must not be of a later change than that. Raises UnavailableError
    where the index changes too fast, OSError.
    """
    root = paths.data / "projections" / generation / "index"
    items: list[Item] = []
    for shard in filter(_SHARD.fullmatch, uploads.files.names(root)):
        prefix = f"projections/{generation}/index/{shard}/"
        items += [Item(prefix + name, held.stat().st_size, staged=held) for name, held in _shard(uploads, root / shard)]
    return items


def is_pack(path: str) -> bool:
    """Whether a file of the index never changes: it has a random name."""
    return _PACK.fullmatch(path.rpartition("/")[2]) is not None


def _shard(uploads: Uploads, folder: Path) -> list[tuple[str, Path]]:
    """A shard's manifest and the packs that it names, held.

    Its writer makes new packs, replaces the manifest, and removes packs that are named no more; so while the manifest
    is the same all that it names is there. Packs that are newer than it are not finished, or not named yet.
    """
    files = uploads.files
    for _ in range(_LOOKS):
        try:
            manifest = _hold(uploads, folder / _MANIFEST)
            written = manifest.stat().st_mtime_ns
            packs = [
                (name, _hold(uploads, folder / name))
                for name in filter(_PACK.fullmatch, files.names(folder))
                if (folder / name).stat().st_mtime_ns <= written
            ]
            if manifest.samefile(folder / _MANIFEST):
                return [(_MANIFEST, manifest), *packs]
        except FileNotFoundError:
            if not files.exists(folder / _MANIFEST):
                return []  # no shard, or none any more
    raise UnavailableError("The search index changes faster than it can be copied. It is tried again later.")


def _hold(uploads: Uploads, path: Path) -> Path:
    held = uploads.staged()
    uploads.files.link(path, held)
    return held


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_SECONDS)


def _change(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT value FROM meta WHERE key = 'change'").fetchone()
    return 0 if found is None else int(found[0])


@contextlib.contextmanager
def _database(source: Path, uploads: Uploads) -> Iterator[Path]:
    """A copy of a database as of one moment, until the end of the block."""
    _check_room(source, uploads)
    copy = uploads.staged()
    try:
        with _in_words(source), closing(_connect(source)) as read, closing(sqlite3.connect(copy)) as write:
            read.backup(write)
        yield copy
    finally:
        for name in (copy, copy.with_name(copy.name + "-wal"), copy.with_name(copy.name + "-shm")):
            with contextlib.suppress(FileNotFoundError):
                uploads.files.unlink(name)


def _check_room(source: Path, uploads: Uploads) -> None:
    size = sum(
        path.stat().st_size for path in (source, source.with_name(source.name + "-wal")) if uploads.files.exists(path)
    )
    uploads.check_room(2 * size)


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise error_in_words(error, path.name) or error from error


def _seal(uploads: Uploads, keys: ReplicaKeys, kind: Kind, path: str, pieces: Iterator[bytes] | list[bytes]) -> Item:
    staged = uploads.staged()
    size = write_sealed(uploads.files, staged, keys.sealing, kind_place(kind), pieces)
    return Item(path, size, staged=staged)
