"""What a box remembers of a replica: the last generation that it wrote, and whether it was in the middle of one.

It lies in ``DATA/replicas/<remote>/`` and saves reading the remote; without it everything is found there again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from appliance import decoding
from appliance.cloud.backends import place_of
from appliance.cloud.manifests import ReplicaKeys, kind_place
from appliance.cloud.objects import VERSION, Manifest, epoch_name, parse_epoch
from appliance.cloud.remote import RemoteConfig
from appliance.errors import ConflictError, DamageError
from appliance.files import FILES, Files, create_directory, create_file, lock_held, read_file, replace_file
from appliance.sealing import open_sealed, replace_sealed

FIRST_EPOCH: Final = 1


class ReplicaPaths(msgspec.Struct, frozen=True):
    """Where a box has what concerns one remote."""

    data: Path
    state: Path
    """``DATA/replicas/<remote>``."""

    @classmethod
    def of(cls, data: Path, remote: str) -> ReplicaPaths:
        """Those of the remote of that name."""
        return cls(data, data / "replicas" / remote)

    @property
    def volumes(self) -> Path:
        """The log."""
        return self.data / "volumes"

    @property
    def staging(self) -> Path:
        """What is being uploaded; emptied at each run."""
        return self.state / "staging"


class Remembered(msgspec.Struct, frozen=True):
    """The last run that came to its end."""

    version: int
    manifest: Manifest
    settings: bytes = b""  # SHA-256 of settings.db's copy before it was sealed
    box: bytes = b""  # the same of the box files
    copied: int = 0  # microseconds: when settings or box files were last copied
    locked: int = 0  # microseconds: when a manifest was last locked
    collected: int = 0  # microseconds: when objects that nobody needs were last looked for
    objects: int = 0  # that this generation needs: those of its files, keyring, inventory and manifest


class State:
    """The folder of one remote."""

    def __init__(self, paths: ReplicaPaths, keys: ReplicaKeys, *, files: Files = FILES) -> None:
        self._folder = paths.state
        self._keys = keys
        self._files = files

    def settle(self, config: RemoteConfig) -> None:
        """Forget what is remembered of another place than where the remote lies now. Raises OSError."""
        place = place_of(config)
        if self.is_of(config):
            return
        create_directory(self._files, self._folder.parent)
        create_directory(self._files, self._folder)
        self.forget()
        replace_file(self._files, self._folder / "place", place)

    def is_of(self, config: RemoteConfig) -> bool:
        """Whether what is remembered is of the place where the remote lies now. Raises OSError."""
        try:
            return read_file(self._files, self._folder / "place") == place_of(config)
        except FileNotFoundError:
            return False

    def forget(self) -> None:
        """Remember nothing, durably: all is found on the remote again, and checked anew. Raises OSError."""
        if not self._files.exists(self._folder):
            return
        # The place is the last to go, so that a crash in between leaves nothing that counts for the next one.
        for name in ("state", "checked", "bad", "uploading", "inventory", "place"):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(self._folder / name)
        self._files.sync_directory(self._folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else replicates to this remote until the end of the block. Raises ConflictError, OSError."""
        create_directory(self._files, self._folder.parent)
        create_directory(self._files, self._folder)
        with lock_held(self._files, self._folder / "lock") as ours:
            if not ours:
                raise ConflictError("The archive is being replicated to this remote just now. Wait until that is done.")
            yield

    def load(self) -> Remembered | None:
        """What was saved last; None where nothing was, or where it is not this version's or this archive's."""
        with contextlib.suppress(FileNotFoundError, DamageError, msgspec.DecodeError):
            packed = open_sealed(
                read_file(self._files, self._folder / "state"), self._keys.sealing, kind_place("state"), "state"
            )
            found = decoding.from_msgpack(packed, Remembered)
            return found if found.version == VERSION else None
        return None

    def save(self, remembered: Remembered, *, bad: Collection[str] = ()) -> None:
        """Durable on return; nothing is under way, and nothing is bad any more but what ``bad`` names."""
        packed = msgspec.msgpack.encode(remembered)
        replace_sealed(self._files, self._folder / "state", self._keys.sealing, kind_place("state"), [packed])
        if bad:
            replace_file(self._files, self._folder / "bad", msgspec.json.encode(sorted(bad)))
        for name in ("uploading",) if bad else ("bad", "uploading"):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(self._folder / name)

    def inventory(self) -> bytes | None:
        """The sealed inventory of the last generation, as it lies on the remote; it may be another's after a crash."""
        with contextlib.suppress(FileNotFoundError):
            return read_file(self._files, self._folder / "inventory")
        return None

    def save_inventory(self, staged: Path) -> None:
        """Keep a sealed inventory, whose file is given away, durably."""
        self._files.rename(staged, self._folder / "inventory")
        self._files.sync_directory(self._folder)

    @property
    def is_unfinished(self) -> bool:
        """Whether a run may have uploaded what no manifest names."""
        return self._files.exists(self._folder / "uploading")

    def begin_uploading(self) -> None:
        """To be called before the first object of a run goes up."""
        with contextlib.suppress(FileExistsError):
            create_file(self._files, self._folder / "uploading", b"")

    def bad(self) -> frozenset[str]:
        """Objects that are not what they should be, as an audit found."""
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return decoding.from_json(read_file(self._files, self._folder / "bad"), frozenset[str])
        return frozenset()

    def add_bad(self, names: Iterable[str]) -> None:
        """Have the next run upload anew what is in these objects, under other names where they are still there."""
        every = sorted(self.bad().union(names))
        create_directory(self._files, self._folder.parent)
        create_directory(self._files, self._folder)
        replace_file(self._files, self._folder / "bad", msgspec.json.encode(every))


def own_epoch(data: Path, *, files: Files = FILES) -> int:
    """The epoch that this box works for: raised by the restore that made it. Raises DamageError, OSError."""
    try:
        text = read_file(files, data / "replicas" / "epoch")
    except FileNotFoundError:
        return FIRST_EPOCH
    try:
        epoch = int(text.decode("ascii"))
        if parse_epoch(epoch_name(epoch)) != epoch:
            raise ValueError(epoch)
    except ValueError as error:
        raise DamageError(
            "replicas/epoch in the data folder is not a number from 1 to 9999, so this box cannot tell whether another "
            "one was restored in its place. Nothing was uploaded. Write the epoch that the remote's newest generation "
            "has into that file."
        ) from error
    return epoch


def set_own_epoch(data: Path, epoch: int, *, files: Files = FILES) -> None:
    """Work for ``epoch`` from now on, durably. Raises OSError."""
    create_directory(files, data / "replicas")
    replace_file(files, data / "replicas" / "epoch", b"%d\n" % epoch)
