"""Laying out what a replica has copies of: settings.db, box files, catalogue and index.

None of these is the only copy of anything but the box files: where one cannot be had, the restored archive makes it
anew from the log, and the restore says so.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from appliance.cloud.download import Fetched, download
from appliance.cloud.manifests import Kind, ReplicaKeys, get_placed, kind_place, read_box
from appliance.cloud.objects import Placed, Snapshot
from appliance.cloud.remote import Remote
from appliance.cloud.sorting import is_box_file, is_pack_of, projections_of
from appliance.cloud.upload import Progress
from appliance.errors import DamageError, NotFoundError
from appliance.files import Files, create_directory, create_file, replace_file, write_file
from appliance.keys.access import Keys
from appliance.sealing import read_sealed
from appliance.settings.store import LogPosition, Settings
from appliance.sqlite import error_in_words

SETTINGS: Final = "settings.db"
CATALOGUE: Final = "catalogue.db"

_MODE: Final = 0o640


class Laying:
    """The way from one remote into one data folder."""

    def __init__(
        self, data: Path, staging: Path, remote: Remote, keys: ReplicaKeys, progress: Progress, *, files: Files
    ) -> None:
        self._data = data
        self._staging = staging
        self._remote = remote
        self._keys = keys
        self._progress = progress
        self._files = files

    def settings(self, placed: Placed) -> None:
        """settings.db, where it is not there yet. Raises DamageError, NotFoundError, OSError."""
        if not self._files.exists(self._data / SETTINGS):
            self.opened(placed, "settings", self._data / SETTINGS)

    def remove_settings(self) -> None:
        """Take settings.db away again. Raises OSError."""
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(self._data / (SETTINGS + suffix))

    def box(self, placed: Placed) -> list[str]:
        """The box files; those that have no place in an archive. Raises DamageError, NotFoundError, OSError."""
        strange = []
        for path, content in sorted(read_box(self._remote, self._keys, placed).files.items()):
            if not is_box_file(path):
                strange.append(path)
                continue
            target = self._data / path
            self._folders(target)
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(target)
            create_file(self._files, target, content, 0o600 if path.startswith("tls/") else _MODE)
        return strange

    def projections(self, snapshot: Snapshot, known: Collection[str]) -> list[str]:
        """Catalogue and index; sentences about what could not be had of the index.

        ``known`` are the volumes (paths below volumes/) that the generation has. Raises DamageError, NotFoundError,
        OSError; then none is in use.
        """
        name = projections_of(snapshot)
        if name is None:
            raise DamageError("The copy of catalogue and search index has files that do not belong there.")
        current, catalogue = self._data / "projections" / "current", self._data / "projections" / name / CATALOGUE
        if self._files.exists(current):
            return []
        self._folders(catalogue)
        packs = [one for one in snapshot.files if is_pack_of(one.path, name)]
        if not self._files.exists(catalogue):
            # Under another name until it was looked at: what is there under its own was.
            beside = catalogue.with_name(CATALOGUE + ".looked-at")
            self.opened(next(one for one in snapshot.files if one.path.endswith(CATALOGUE)), "catalogue", beside)
            strange = volumes_of(beside) - set(known)
            if strange:
                self._files.unlink(beside)
                raise DamageError(
                    f"The copy of the catalogue was made later than this generation's mail: it knows {len(strange)} "
                    "volumes more."
                )
            self._files.rename(beside, catalogue)
            self._files.sync_directory(catalogue.parent)
        notes = self._packs(packs)
        replace_file(self._files, current, f"{name}\n".encode("ascii"))
        return notes

    def _packs(self, packs: list[Placed]) -> list[str]:
        notes: list[str] = []
        touched: set[Path] = set()

        def take(fetched: Fetched) -> None:
            if fetched.wrong is not None:
                notes.append(f"{fetched.wrong.message} That part of the search index is made anew from the log.")
                return
            target = self._data / fetched.placed.path
            self._folders(target)
            self._files.rename(fetched.path, target)
            touched.add(target.parent)

        wanted = [one for one in packs if not self._is_there(one)]
        download(self._remote, wanted, self._staging, take, self._progress, what="search index", files=self._files)
        for folder in sorted(touched):
            self._files.sync_directory(folder)
        return notes

    def _is_there(self, placed: Placed) -> bool:
        """Whether an interrupted run brought it: they are whole when they get their names, and packs never change."""
        path = self._data / placed.path
        return not path.name.startswith("manifest") and self._files.exists(path)

    def opened(self, placed: Placed, kind: Kind, target: Path) -> None:
        """A sealed copy, opened, as the new file ``target``. Raises DamageError, NotFoundError, OSError."""
        sealed = self._staging / kind
        beside = target.with_name(target.name + ".new")
        for path in (sealed, beside):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(path)
        get_placed(self._remote, placed, sealed, self._counting(placed, kind), files=self._files)
        write_file(self._files, beside, read_sealed(self._files, sealed, self._keys.sealing, kind_place(kind)), _MODE)
        self._files.unlink(sealed)
        self._files.rename(beside, target)
        self._files.sync_directory(target.parent)

    def _counting(self, placed: Placed, what: str) -> _Counting:
        return _Counting(self._progress, placed.size, what)

    def _folders(self, target: Path) -> None:
        for folder in reversed(target.relative_to(self._data).parents[:-1]):
            if not self._files.exists(self._data / folder):
                create_directory(self._files, self._data / folder)


class _Counting:
    """``Moved`` for one file by itself."""

    def __init__(self, progress: Progress, size: int, what: str) -> None:
        self._progress = progress
        self._size = size
        self._what = what

    def __call__(self, moved: int) -> None:
        self._progress.report(moved, self._size, self._what)


class SettingsLook:
    """What a copy of the settings says that a restore wants to know."""

    def __init__(self, data: Path, keys: Keys) -> None:
        """Raises DamageError, StorageError where it cannot be opened."""
        settings = Settings(data / SETTINGS, column_key=keys.key("settings"), lookup_key=keys.key("settings-lookup"))
        try:
            self.position: LogPosition = settings.position()
            self._mailboxes: Mapping[str, bytes] = {
                address: put.mailbox
                for put, _, _ in settings.all_mailboxes()
                for address in (put.address, *put.aliases)
            }
        finally:
            settings.close()

    def mailbox(self, wanted: str) -> bytes:
        """The id of the mailbox with that address, or that is it (32 hex digits). Raises NotFoundError."""
        found = self._mailboxes.get(wanted.strip().lower())
        if found is None and wanted in {one.hex() for one in self._mailboxes.values()}:
            found = bytes.fromhex(wanted)
        if found is None:
            raise NotFoundError(f"There was no mailbox {wanted} when this generation was made.")
        return found


def volumes_of(catalogue: Path) -> set[str]:
    """The volumes that a catalogue knows, by their paths below volumes/. Raises DamageError."""
    return {path for (path,) in _ask(catalogue, "SELECT path FROM volume")}


def times_of(catalogue: Path, *, in_use: bool) -> dict[str, tuple[int, int]]:
    """When the first and the last record of each volume came in (microseconds). Raises DamageError."""
    rows = _ask(
        catalogue,
        "SELECT volume.path, min(record.received_at), max(record.received_at) "
        "FROM record JOIN volume ON volume.id = record.volume GROUP BY volume.id",
        in_use=in_use,
    )
    return {path: (first, last) for path, first, last in rows}


def is_sound(catalogue: Path) -> bool:
    """Whether SQLite finds nothing wrong with a database. Raises DamageError."""
    return _ask(catalogue, "PRAGMA integrity_check") == [("ok",)]


def _ask(catalogue: Path, question: str, *, in_use: bool = False) -> list[tuple[Any, ...]]:
    # A copy that nobody writes to is left as it is: SQLite would put files of its own beside it.
    how = "mode=ro" if in_use else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(catalogue))}?{how}", uri=True)) as connection:
            return connection.execute(question).fetchall()
    except sqlite3.Error as error:
        raise error_in_words(error, catalogue.name) or DamageError(
            "The copy of the catalogue cannot be read. It is made anew from the log."
        ) from error
