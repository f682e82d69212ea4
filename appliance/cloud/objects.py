"""What lies on a remote, and what names it.

::

    objects/<2 hex>/<64 hex>     bytes named by their SHA-256: a volume, an archive volume, or a bundle of small files
    keyrings/<64 hex>            the keyring with its recovery slot only, by the SHA-256 of its bytes
    generations/<epoch, 4 digits>-<number, 10 digits>    sealed Manifest, written last
    epochs/<epoch, 4 digits>     sealed, made by a restore: whoever works for an earlier epoch stops writing

An object is never overwritten, and goes only when no kept generation names it and its lock has run out. A *file* is
named by its path in the data folder; several small files lie in one object, one after the other (a *bundle*), so
fetching one is reading a range. docs/format.md specifies the bytes.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

import msgspec

VERSION: Final = 1
LARGEST_OBJECT: Final = 64 * 1024 * 1024
"""Bytes that a bundle has at most; a single larger file is an object of its own."""

_GENERATION = re.compile(r"generations/([0-9]{4})-([0-9]{10})")
_EPOCH = re.compile(r"epochs/([0-9]{4})")
_OBJECT = re.compile(r"objects/([0-9a-f]{2})/\1[0-9a-f]{62}")


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """A file of the data folder, and where its bytes are on the remote."""

    path: str  # from the data folder: volumes/<mailbox>/<name>.mkv, .mka or .seal
    size: int
    hash: bytes  # SHA-256 of the file
    object: str  # name on the remote
    offset: int  # of the file in the object
    records: int = 0  # in a volume, or that an archive volume stands for


class Inventory(msgspec.Struct, frozen=True):
    """All files of one moment; sealed in an object of its own, since it is long and changes little."""

    version: int
    files: tuple[Placed, ...]


class EpochMark(msgspec.Struct, frozen=True):
    """A restore has begun: whoever works for an earlier epoch stops writing."""

    version: int
    archive: UUID
    epoch: int
    at: int  # microseconds


class Snapshot(msgspec.Struct, frozen=True):
    """Catalogue and sealed index of one moment, so that a restored archive can be searched before its mail is there.

    ``files`` are ``projections/<generation>/catalogue.db`` (sealed object of its own) and the sealed index's
    manifests and packs as they lie on disk.
    """

    at: int  # microseconds
    generation: str  # name of the projections' generation
    change: int  # the catalogue's last change number
    files: tuple[Placed, ...]


class Manifest(msgspec.Struct, frozen=True):
    """One generation of a replica: everything that a restore needs to know. Sealed with the replica key."""

    version: int
    archive: UUID
    epoch: int  # raised by each restore, from 1
    number: int  # of the generation, from 1; grows across epochs
    at: int  # microseconds: everything acknowledged before is in it
    chain_number: int  # newest seal in it
    chain_head: bytes  # SHA-256 of that seal's file
    records: int  # in all its volumes
    keyring: str  # object
    inventory: str  # object: sealed Inventory
    added: tuple[Placed, ...]  # since the inventory
    removed: tuple[str, ...]  # paths, since the inventory
    settings: Placed | None  # sealed copy of settings.db; the system log's volumes go beyond it
    box: Placed | None  # sealed BoxFiles
    snapshot: Snapshot | None


class BoxFiles(msgspec.Struct, frozen=True):
    """Small files of the data folder that the log cannot bring back: tls/, timestamps/, positions/, gateway/erased/."""

    files: dict[str, bytes]  # path from the data folder → content


def generation_name(epoch: int, number: int) -> str:
    """The name of a manifest."""
    return f"generations/{epoch:04d}-{number:010d}"


def parse_generation(name: str) -> tuple[int, int] | None:
    """Epoch and number in a manifest's name."""
    found = _GENERATION.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]))


def epoch_name(epoch: int) -> str:
    """The name of an epoch's mark."""
    return f"epochs/{epoch:04d}"


def parse_epoch(name: str) -> int | None:
    """The epoch in a mark's name."""
    found = _EPOCH.fullmatch(name)
    return None if found is None else int(found[1])


def object_name(digest: bytes) -> str:
    """The name of the object that has this SHA-256."""
    return f"objects/{digest[:1].hex()}/{digest.hex()}"


def is_object_name(name: str) -> bool:
    """Whether a name is one that ``object_name`` gives."""
    return _OBJECT.fullmatch(name) is not None
