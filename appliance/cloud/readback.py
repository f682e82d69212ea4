"""Volumes of a replica read back into a scratch folder, with their seals beside them, and looked into there.

Who reads them back has no key that opens mail. So they may be handed over, in a folder of the remote's, to who has.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance import decoding
from appliance.cloud.local import ROOT
from appliance.cloud.manifests import ReplicaKeys, get_placed, read_placed
from appliance.cloud.objects import Placed
from appliance.cloud.records import Looked, look_into, open_records
from appliance.cloud.remote import Remote
from appliance.cloud.state import ReplicaPaths
from appliance.errors import DamageError, NotFoundError, UnavailableError
from appliance.files import FILES, Files, create_directory, create_file, read_file
from appliance.store.absent import AbsentFile, AbsentFiles, held
from appliance.store.archived import SealKey
from appliance.store.names import is_mailbox_folder, parse_archive, seal_path
from appliance.store.reader import KeyOpener
from appliance.store.seal import Seal, read_seal

Handed = Literal["sample", "rehearsed"]
"""Folders below ``DATA/replicas/<remote>`` in which volumes are handed over: by a sample, by a rehearsed restore."""

_FOLDER: Final[Handed] = "sample"
_REHEARSED: Final[Handed] = "rehearsed"
_READY: Final = "ready"
"""Lists what was read back, once all of it is there."""


class SealOwner(NamedTuple):
    """Whose seals count."""

    archive_id: UUID
    verify_key: bytes


class ReadBack:
    """The scratch folder of one check, ``DATA/replicas/<remote>/sample``.

    It is empty before and afterwards, unless it is handed over to who has the keys (``open_handed``).
    """

    def __init__(
        self, paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, placed: Mapping[str, Placed], *,
        keep: bool, files: Files = FILES,
    ) -> None:  # fmt: skip
        """``placed`` are the generation's files; what is to be opened afterwards is to be kept."""
        self._folder = paths.state / _FOLDER
        self._volumes = paths.volumes
        self._remote = remote
        self._keys = keys
        self._key = Ed25519PublicKey.from_public_bytes(keys.verify_key)
        self._placed = placed
        self._keep = keep
        self._files = files
        self._taken: list[str] = []
        self._handed_over = False
        self._stack = ExitStack()

    def __enter__(self) -> ReadBack:
        create_directory(self._files, self._folder)
        self._stack.enter_context(held(self._folder.parent, files=self._files))
        _empty(self._folder, self._files)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if not self._handed_over:
                with contextlib.suppress(OSError):
                    _empty(self._folder, self._files)

    def take(self, placed: Placed) -> Looked:
        """Read one volume or archive volume back and compare it with its seal.

        Raises DamageError, NotFoundError where it is not there as it was written, and as ``Remote.read``, OSError.
        """
        path = placed.path.removeprefix(ROOT)
        create_directory(self._files, (self._folder / path).parent)
        get_placed(self._remote, placed, self._folder / path, files=self._files)
        looked = look_into(self._folder, path, self._seal(path), self._seal, files=self._files)
        if not self._keep or looked.wrong:
            self._files.unlink(self._folder / path)
        else:
            self._taken.append(path)
        return looked

    def open(self, opener: KeyOpener) -> Looked:
        """Decrypt all records of what was taken. Raises as ``open_records``, OSError."""
        self._lay_seals()

        def fetch(path: str) -> None:
            get_placed(self._remote, self._placed[ROOT + path], self._folder / path, files=self._files)

        owner = SealOwner(self._keys.archive, self._keys.verify_key)
        return open_records(self._folder, opener, owner, only=self._taken, fetch=fetch, files=self._files)

    def hand_over(self) -> None:
        """Leave what was taken for ``open_handed``. Raises OSError, StorageError."""
        self._lay_seals()
        if self._taken:
            create_file(self._files, self._folder / _READY, msgspec.json.encode(self._taken))
            self._handed_over = True

    def _lay_seals(self) -> None:
        """Beside what was taken; and what else of its mailboxes may be needed is listed as absent: parts of one archive
        volume may lie in another."""
        folders = {path.partition("/")[0] for path in self._taken}
        away = [
            AbsentFile(path, one.size, one.hash)
            for path, one in ((path.removeprefix(ROOT), one) for path, one in self._placed.items())
            if path not in self._taken and parse_archive(path) is not None and path.partition("/")[0] in folders
        ]
        AbsentFiles(self._folder, files=self._files).add(away)
        for path in (*self._taken, *(one.path for one in away)):
            raw = self._raw_seal(path)
            if raw is not None:
                create_file(self._files, self._folder / seal_path(path), raw)

    def _seal(self, path: str) -> Seal | None:
        raw = self._raw_seal(path)
        return None if raw is None else read_seal(seal_path(path), raw, self._key, self._keys.archive)

    def _raw_seal(self, path: str) -> bytes | None:
        """A good seal's file: this box's, or the replica's."""
        name = seal_path(path)
        with contextlib.suppress(FileNotFoundError, DamageError):
            raw = read_file(self._files, self._volumes / name)
            read_seal(name, raw, self._key, self._keys.archive)
            return raw
        placed = self._placed.get(ROOT + name)
        with contextlib.suppress(DamageError, NotFoundError):
            if placed is not None:
                raw = read_placed(self._remote, placed)
                read_seal(name, raw, self._key, self._keys.archive)
                return raw
        return None


def hand_over_rehearsed(paths: ReplicaPaths, volumes: Path, taken: Sequence[str], *, files: Files = FILES) -> None:
    """Leave ``taken`` of a rehearsed restore for ``open_handed``. Its folder ``volumes``, with their seals in it and
    the rest listed as absent, is given away. Raises OSError, StorageError, UnavailableError where the one before is
    being opened."""
    folder = paths.state / _REHEARSED
    create_directory(files, paths.state)
    with held(paths.state, files=files):
        if files.exists(folder / _READY):
            files.unlink(folder / _READY)
        shutil.rmtree(folder, ignore_errors=True)
        files.rename(volumes, folder)
        create_file(files, folder / _READY, msgspec.json.encode(taken))


def open_handed(
    paths: ReplicaPaths, handed: Handed, opener: KeyOpener, owner: SealKey, *, fetch: Callable[[str], None],
    files: Files = FILES,
) -> Looked | None:  # fmt: skip
    """Decrypt what was handed over, and remove it; None where there is nothing, or more is being handed over.

    Parts that lie in other archive volumes are taken from this box; ``fetch`` gets one that is absent here. Raises
    LockedError, StorageError, UnavailableError, OSError; then it is there still.
    """
    folder = paths.state / handed
    if not files.exists(folder / _READY):
        return None
    with ExitStack() as stack:
        try:
            stack.enter_context(held(paths.state, seconds=0, files=files))
        except UnavailableError:
            return None
        taken = decoding.from_json(read_file(files, folder / _READY), list[str])

        def bring(path: str) -> None:
            if not files.exists(paths.volumes / path):
                fetch(path)
            files.link(paths.volumes / path, folder / path)

        looked = open_records(folder, opener, owner, only=taken, fetch=bring, files=files)
        _empty(folder, files)
        return looked


def _empty(folder: Path, files: Files) -> None:
    # Without its mark, nobody takes what is half removed for a sample.
    for name in sorted(files.names(folder), key=lambda name: name != _READY):
        if is_mailbox_folder(name):
            for file in files.names(folder / name):
                files.unlink(folder / name / file)
        else:
            files.unlink(folder / name)
