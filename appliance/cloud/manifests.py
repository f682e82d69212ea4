"""What names the files of a replica: manifests, inventories, epochs' marks; reading them, and files by them.

All of these are sealed (``appliance.sealing``) with a key of the replica's own. Nothing read from a remote is believed:
what is sealed opens under its own name and kind only, and what is not has the hash that something sealed gives.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from appliance import decoding
from appliance.cloud.objects import (
    VERSION,
    BoxFiles,
    EpochMark,
    Inventory,
    Manifest,
    Placed,
    epoch_name,
    generation_name,
    is_object_name,
    object_name,
    parse_epoch,
    parse_generation,
)
from appliance.cloud.remote import Moved, Remote
from appliance.cloud.sorting import log_name
from appliance.errors import ConflictError, DamageError, NotFoundError
from appliance.files import FILES, Files, file_digest, write_file
from appliance.keys.envelope import derive
from appliance.sealing import open_sealed, write_sealed

Kind = Literal["inventory", "settings", "box", "catalogue", "state", "restore", "checked", "remotes", "tokens"]
"""What a sealed object is whose name is not known before it is sealed."""

_INFO: Final = b"mailkeep replica v1\x00"
_PIECE: Final = 8 * 1024 * 1024
"""Bytes of an object that are read at a time."""
_READ_AT_A_TIME: Final = 8

T = TypeVar("T")


class ReplicaKeys(msgspec.Struct, frozen=True):
    """What a replica needs of an archive's keys: none of these opens mail."""

    archive: UUID
    service: bytes
    """``Keys.key("service")``."""
    verify_key: bytes
    """The Ed25519 public key that seals are checked with."""

    def __repr__(self) -> str:
        return f"ReplicaKeys({self.archive})"

    @property
    def sealing(self) -> bytes:
        """The key of everything sealed that lies on a remote."""
        return derive(self.service, info=_INFO + self.archive.bytes)


# -- sealed objects --------------------------------------------------------------------------------------------------


def named_place(name: str) -> bytes:
    """The place of what is known by its name on the remote: a manifest, an epoch's mark."""
    return _INFO + b"manifest" + name.encode("ascii")


def kind_place(kind: Kind) -> bytes:
    """The place of what has its hash for a name."""
    return _INFO + kind.encode("ascii")


def put_named(
    remote: Remote, keys: ReplicaKeys, name: str, content: msgspec.Struct, staging: Path, *, lock_until: int = 0,
    files: Files = FILES,
) -> None:  # fmt: skip
    """Seal and upload a manifest or an epoch's mark, by way of a file in ``staging``. Raises as ``Remote.put``."""
    path = staging / name.replace("/", "-")
    with contextlib.suppress(FileNotFoundError):
        files.unlink(path)
    write_sealed(files, path, keys.sealing, named_place(name), [msgspec.msgpack.encode(content)])
    try:
        remote.put(path, name, lock_until=lock_until)
    finally:
        files.unlink(path)


def _read_named(remote: Remote, keys: ReplicaKeys, name: str, type: type[T]) -> T:
    """Raises DamageError where it does not open, NotFoundError."""
    return _decoded(open_sealed(remote.read(name), keys.sealing, named_place(name), name), type, name)


def open_kind(sealed: bytes, keys: ReplicaKeys, kind: Kind) -> bytes:
    """What is in a sealed object that is known by its hash. Raises DamageError."""
    return open_sealed(sealed, keys.sealing, kind_place(kind), kind)


def _decoded(packed: bytes, type: type[T], name: str) -> T:
    try:
        return decoding.from_msgpack(packed, type)
    except msgspec.DecodeError as error:
        raise DamageError(f"{name} of the replica was written by another version of mailkeep.") from error


# -- generations and epochs ------------------------------------------------------------------------------------------


def generation_names(remote: Remote) -> list[tuple[int, int]]:
    """Epoch and number of each generation that is listed, the newest first."""
    found = (parse_generation(one.name) for one in remote.list("generations"))
    return sorted((one for one in found if one is not None), reverse=True)


def generation(remote: Remote, keys: ReplicaKeys, epoch: int, number: int) -> Manifest:
    """One generation. Raises NotFoundError, and DamageError where its manifest is not what was written."""
    name = generation_name(epoch, number)
    found = _read_named(remote, keys, name, Manifest)
    if (found.version, found.archive, found.epoch, found.number) != (VERSION, keys.archive, epoch, number):
        raise DamageError(f"{name} of the replica is of another archive, or of another version of mailkeep.")
    _require_names(name, found.added, (one for one in objects_of(found) if one != found.keyring))
    return found


class Newest(NamedTuple):
    """The newest generation that opens."""

    manifest: Manifest
    forged: tuple[str, ...]
    """Manifests with later names, which do not open: forged or altered."""


def newest(remote: Remote, keys: ReplicaKeys) -> Manifest:
    """The newest generation that opens. Raises as ``newest_of``."""
    return newest_of(remote, keys, generation_names(remote)).manifest


def newest_of(remote: Remote, keys: ReplicaKeys, listed: Sequence[tuple[int, int]]) -> Newest:
    """The first of these generations (epoch and number) that opens, and those before it that do not.

    Anybody who can write to the remote can put a file with the name of a later generation there, so one that does not
    open keeps nobody from the others. Raises NotFoundError where there is none, DamageError where none opens.
    """
    wrong: DamageError | None = None
    forged: list[str] = []
    for one in listed:
        try:
            return Newest(generation(remote, keys, *one), tuple(forged))
        except DamageError as error:
            wrong = wrong or error
            forged.append(generation_name(*one))
        except NotFoundError:  # cleared away since it was listed
            continue
    if wrong is not None:
        raise wrong
    raise NotFoundError(
        f"There is no replica of this archive at {remote.config.name}: no generation was ever finished there."
    )


def generations(remote: Remote, keys: ReplicaKeys) -> list[Manifest]:
    """All generations whose manifests open, the newest first."""

    def opened(one: tuple[int, int]) -> Manifest | None:
        with contextlib.suppress(DamageError, NotFoundError):
            return generation(remote, keys, *one)
        return None

    with ThreadPoolExecutor(_READ_AT_A_TIME) as threads:
        return [found for found in threads.map(opened, generation_names(remote)) if found is not None]


def newest_from(remote: Remote, keys: ReplicaKeys, epoch: int, number: int) -> Manifest | None:
    """The newest generation that opens, of those from an epoch and number on; None where there is none."""
    for one in generation_names(remote):
        if one < (epoch, number):
            break
        with contextlib.suppress(DamageError, NotFoundError):
            return generation(remote, keys, *one)
    return None


def highest_epoch(remote: Remote, keys: ReplicaKeys) -> int:
    """The epoch of the last restore; 1 where there was none. A mark that does not open is nobody's, and not heeded."""
    marked = {parse_epoch(one.name) for one in remote.list("epochs")} - {None}
    for epoch in sorted((epoch for epoch in marked if epoch is not None), reverse=True):
        with contextlib.suppress(DamageError):
            return epoch_mark(remote, keys, epoch).epoch
    return 1


def epoch_mark(remote: Remote, keys: ReplicaKeys, epoch: int) -> EpochMark:
    """An epoch's mark. Raises NotFoundError, and DamageError where this archive's key did not make it."""
    name = epoch_name(epoch)
    found = _read_named(remote, keys, name, EpochMark)
    if (found.version, found.archive, found.epoch) != (VERSION, keys.archive, epoch):
        raise DamageError(f"{name} of the replica is of another archive, or of another version of mailkeep.")
    return found


def next_epoch(remote: Remote, keys: ReplicaKeys) -> int:
    """The epoch after all that marks and generations tell of; those that do not open tell of nothing.

    Raises ConflictError where there is no number left for it.
    """
    marked = highest_epoch(remote, keys)
    found = newest_from(remote, keys, marked + 1, 0)
    epoch = (found.epoch if found is not None else marked) + 1
    taken = {one.name for one in remote.list("epochs")}
    while epoch_name(epoch) in taken:  # a forgery, which nothing can be written in the place of
        epoch += 1
    if parse_epoch(epoch_name(epoch)) is None:
        raise ConflictError(
            f"{remote.config.name} has a generation or a mark of the last epoch that there can be, which no restore "
            "has made. Nothing was changed there. Look into who had access to the box and to the remote, and restore "
            "from another replica."
        )
    return epoch


def raise_epoch(remote: Remote, keys: ReplicaKeys, staging: Path, *, now: int, files: Files = FILES) -> int:
    """Begin the next epoch at a remote; its number. ``staging`` is a folder for a file of a few bytes.

    Raises as ``next_epoch`` and ``Remote.put``.
    """
    epoch = next_epoch(remote, keys)
    mark = EpochMark(VERSION, keys.archive, epoch, now)
    put_named(remote, keys, epoch_name(epoch), mark, staging, files=files)
    return epoch


# -- files -----------------------------------------------------------------------------------------------------------


def files_of(manifest: Manifest, remote: Remote, keys: ReplicaKeys) -> dict[str, Placed]:
    """Where each file of a generation is, by its path in the data folder. Raises DamageError, NotFoundError."""
    files = read_inventory(manifest.inventory, remote, keys)
    for path in manifest.removed:
        files.pop(path, None)
    files.update((one.path, one) for one in manifest.added)
    return files


def read_inventory(name: str, remote: Remote, keys: ReplicaKeys) -> dict[str, Placed]:
    """The files in an inventory. Raises DamageError, NotFoundError."""
    return inventory(name, remote.read(name), keys)


def inventory(name: str, sealed: bytes, keys: ReplicaKeys) -> dict[str, Placed]:
    """The files in an inventory's bytes, which have to be those that its name says. Raises DamageError."""
    if object_name(sha256(sealed).digest()) != name:
        raise DamageError(f"{name} of the replica is not what was written there.")
    found = _decoded(open_kind(sealed, keys, "inventory"), Inventory, name)
    if found.version != VERSION:
        raise DamageError(f"{name} of the replica was written by another version of mailkeep.")
    _require_names(name, found.files, (one.object for one in found.files))
    return {one.path: one for one in found.files}


def _require_names(name: str, files: Iterable[Placed], objects: Iterable[str]) -> None:
    """Raise DamageError where ``name`` lists what mailkeep gives no such name to.

    A replica's key opens no mail, so whoever has it must not lead anybody out of the volumes folder by a path.
    """
    strange = next((one.path for one in files if log_name(one.path) is None), None)
    if strange is None:
        strange = next((one for one in objects if not is_object_name(one)), None)
    if strange is not None:
        raise DamageError(
            f"{name} of the replica lists {strange!r}, a name that mailkeep gives to no file. It is a forgery, and "
            "nothing of it is used."
        )


def read_placed(remote: Remote, placed: Placed) -> bytes:
    """A file's bytes, which have the hash that ``placed`` says. Raises DamageError, NotFoundError."""
    data = b"".join(_pieces(remote, placed))
    if sha256(data).digest() != placed.hash:
        raise _other(placed)
    return data


def get_placed(
    remote: Remote, placed: Placed, target: Path, moved: Moved | None = None, *, files: Files = FILES
) -> None:
    """Download a file to the new file ``target``: whole, checked and synced on return, else it is not there.

    Raises DamageError where it is not what was written, NotFoundError where its object is gone, OSError.
    """
    if placed.object == object_name(placed.hash):
        remote.get(placed.object, target, moved)
        found = file_digest(files, target)
    else:
        digest = sha256()
        write_file(files, target, _seen(_pieces(remote, placed), digest.update))
        found = digest.digest()
    if found != placed.hash:
        files.unlink(target)
        raise _other(placed)


def read_box(remote: Remote, keys: ReplicaKeys, placed: Placed) -> BoxFiles:
    """The box files of a generation. Raises DamageError, NotFoundError."""
    return _decoded(open_kind(read_placed(remote, placed), keys, "box"), BoxFiles, placed.path)


def _pieces(remote: Remote, placed: Placed) -> Iterator[bytes]:
    offset, end = placed.offset, placed.offset + placed.size
    while offset < end:
        piece = remote.read(placed.object, offset, min(_PIECE, end - offset))
        if not piece:
            raise _other(placed)
        offset += len(piece)
        yield piece


def _seen(pieces: Iterable[bytes], see: Callable[[bytes], object]) -> Iterator[bytes]:
    """The pieces as they are, each shown to ``see`` first: what is written need not be read again for its hash."""
    for piece in pieces:
        see(piece)
        yield piece


def _other(placed: Placed) -> DamageError:
    return DamageError(
        f"{placed.object} of the replica does not hold {placed.path} as it was written there. The other copies are not "
        "touched by that."
    )


def objects_of(manifest: Manifest) -> Sequence[str]:
    """The objects that a manifest names beside those of its inventory's files."""
    alone = [one for one in (manifest.settings, manifest.box) if one is not None]
    shown = manifest.snapshot.files if manifest.snapshot is not None else ()
    return [manifest.keyring, manifest.inventory, *(one.object for one in (*manifest.added, *alone, *shown))]
