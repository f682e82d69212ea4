"""Whether one object of a replica, or one file of this box, is what it was written as; and if not, what became of it.

An object has the SHA-256 of its bytes for a name. Where the remote tells that hash it is compared; where it tells
another one, that counts which it told when the object was last found whole, or which the same bytes have on this box;
in all other cases the object is read back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from appliance.cloud.checked import Mark
from appliance.cloud.findings import Kind, ReplicaFinding, about_object
from appliance.cloud.local import ROOT, Log
from appliance.cloud.manifests import ReplicaKeys, read_placed
from appliance.cloud.named import Known
from appliance.cloud.objects import Placed, object_name
from appliance.cloud.remote import Moved, Remote, RemoteObject, TellsHashes
from appliance.errors import DamageError, NotFoundError, UnavailableError
from appliance.files import Files, file_digest, read_pieces
from appliance.store.absent import AbsentFiles
from appliance.store.names import SEAL_SUFFIX, parse_archive, parse_volume, sealed_by
from appliance.store.seal import Chain

PIECE: Final = 8 * 1024 * 1024
_LOCAL: Final = frozenset({"md5", "sha1", "sha512"})
"""Hashes that remotes tell and that can be made here."""

Stopped = Callable[[], bool]


class Compared(NamedTuple):
    """What became of an object: a mark where it is whole, else a finding."""

    mark: Mark | None
    finding: ReplicaFinding | None = None
    read: int = 0  # bytes that came over the network


class Objects:
    """The objects of one remote. Threads may share it."""

    def __init__(
        self, data: Path, remote: Remote, *, files: Files, stopped: Stopped, now: int,
        sizes: Mapping[str, RemoteObject] = MappingProxyType({}),
        told: Mapping[str, tuple[str, str]] = MappingProxyType({}), marks: Mapping[str, Mark] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """``sizes`` is the listing, ``told`` are the remote's own hashes, ``marks`` what was found whole before;
        without them everything is read."""
        self._data = data
        self._remote = remote
        self._files = files
        self._stopped = stopped
        self._now = now
        self._sizes = sizes
        self._told = told
        self._marks = marks

    def compare(self, known: Known, moved: Moved) -> Compared:
        """Look at one object. Raises as ``Remote.read``, UnavailableError when stopped, OSError."""
        listed = self._sizes.get(known.name)
        if listed is not None and listed.size < known.end:
            what = f"has {listed.size} bytes; what was written there had {known.end} or more."
            return Compared(None, self._finding("truncated", known, what, self._hit(known)))
        kind, told = self._told.get(known.name) or self._ask(known.name) or ("", "")
        if listed is not None and self._is_told(known, listed.size, kind, told):
            return Compared(Mark(listed.size, self._now, kind, told))
        try:
            digest, size = self._read(known.name, moved)
        except NotFoundError:
            return Compared(None, self._finding("missing", known, "is not there any more.", known.placed))
        if digest == name_digest(known.name):
            return Compared(Mark(size, self._now, kind, told), read=size)
        return Compared(None, self._other(known, digest), size)

    def _ask(self, name: str) -> tuple[str, str] | None:
        """What the remote says of one object, where it is worth asking: whoever trusts no listing reads."""
        return self._remote.hash_of(name) if name in self._sizes and isinstance(self._remote, TellsHashes) else None

    def _is_told(self, known: Known, size: int, kind: str, told: str) -> bool:
        if not told:
            return False
        if kind == "sha256":
            return bytes.fromhex(told) == name_digest(known.name)
        mark = self._marks.get(known.name)
        if mark is not None and (mark.size, mark.kind, mark.hash) == (size, kind, told):
            return True
        return kind in _LOCAL and self._hash_here(known, size, kind) == told

    def _hash_here(self, known: Known, size: int, kind: str) -> str:
        """The hash that an object has to have, made of this box's files; empty where they do not make it up."""
        digest, other, end = sha256(), hashlib.new(kind, usedforsecurity=False), 0
        try:
            for one in sorted(known.placed, key=lambda one: one.offset):
                if one.offset != end or not one.path.startswith(ROOT):
                    return ""
                for piece in read_pieces(self._files, self._data / one.path):
                    digest.update(piece)
                    other.update(piece)
                    end += len(piece)
                    self._check_stopped()
        except OSError:
            return ""
        return other.hexdigest() if (end, digest.digest()) == (size, name_digest(known.name)) else ""

    def _read(self, name: str, moved: Moved) -> tuple[bytes, int]:
        digest, size, listed = sha256(), 0, self._sizes.get(name)
        while piece := self._remote.read(name, size, PIECE):
            digest.update(piece)
            size += len(piece)
            moved(size)
            self._check_stopped()
            if len(piece) < PIECE or (listed is not None and size >= listed.size):
                break
        return digest.digest(), size

    def _other(self, known: Known, digest: bytes) -> ReplicaFinding:
        hit = self._hit(known)
        twin = object_name(digest)
        if twin != known.name and twin in self._sizes:
            return self._finding("swapped", known, f"holds the bytes of {twin} instead of its own.", hit)
        what = f"does not hold the bytes that were written there, but others (SHA-256 {digest.hex()})."
        return self._finding("altered", known, what, hit)

    def _hit(self, known: Known) -> list[Placed]:
        """Of the files in a bad object, those that cannot be had from it."""
        hit = []
        for one in known.placed:
            self._check_stopped()
            try:
                read_placed(self._remote, one)
            except (DamageError, NotFoundError):
                hit.append(one)
        return hit

    def _finding(self, kind: Kind, known: Known, what: str, hit: list[Placed]) -> ReplicaFinding:
        is_spare = not any(one.path.startswith(ROOT) for one in known.placed)
        return about_object(kind, known.name, what, hit, known.labels, is_spare=is_spare)

    def _check_stopped(self) -> None:
        if self._stopped():
            raise UnavailableError("The check was stopped. What was found whole is not read again by the next one.")


class Here:
    """This box's own copies of a generation's files."""

    def __init__(self, volumes: Path, keys: ReplicaKeys, *, files: Files) -> None:
        self._volumes = volumes
        self._files = files
        self._keys = keys
        self._log = Log(volumes, keys, files)
        self._absent = AbsentFiles(volumes, files=files)
        self._chain: Chain | None = None

    def compare(self, placed: Placed) -> ReplicaFinding | None:
        """What is wrong with a file here, if anything. Raises OSError, StorageError, DamageError."""
        name = placed.path.removeprefix(ROOT)
        try:
            found = file_digest(self._files, self._volumes / name)
        except FileNotFoundError:
            return self._lost(placed, name) if self.belongs_here(name) else None
        except OSError as error:
            return _hurt(placed, f"cannot be read ({error.strerror or error})")
        if found == placed.hash:
            return None
        if name.endswith(SEAL_SUFFIX):
            return self._other_seal(placed)
        seal = self._log.seal_of(placed.path)
        if seal is not None and seal.file_hash == found:
            what = f"{placed.path} is whole here, but what the replica was given of it is not what was signed."
            return ReplicaFinding("unreadable", placed.object, what, (placed.path,), placed.records)
        if not self._files.exists(self._volumes / name):
            return None  # replaced just now
        return _hurt(placed, "is not what was written: bytes of it have changed on this disk")

    def _other_seal(self, placed: Placed) -> ReplicaFinding | None:
        if self._log.seal(placed.path) is None:
            return _hurt(placed, "is not the seal that was signed")
        what = (
            f"{placed.path} is signed, here as on the replica, and they are two different seals: this one was made "
            "anew. A restore would tell of a break in the chain of seals at this place; no mail is hit."
        )
        return ReplicaFinding("differs", placed.object, what, (placed.path,))

    def belongs_here(self, name: str) -> bool:
        """Whether a file, by its path below volumes/, is to be on this disk: not let go of, and not replaced.

        Raises StorageError, DamageError.
        """
        if name in self._absent.all():
            return False
        if self._chain is None:
            self._chain = Chain.load(
                self._volumes, archive_id=self._keys.archive, verify_key=self._keys.verify_key, files=self._files
            )
        if parse_volume(name) is not None:
            return self._chain.archive_of(name) is None
        if parse_archive(name) is not None:
            return any(seal.volume == name for seal in self._chain.archives)
        return sealed_by(name) is not None

    def _lost(self, placed: Placed, name: str) -> ReplicaFinding | None:
        if self._files.exists(self._volumes / name) or not self.belongs_here(name):
            return None
        what = f"{placed.path} is not on this disk any more, though nobody let it go."
        return ReplicaFinding("lost-here", placed.path, what, (placed.path,), placed.records)


def name_digest(name: str) -> bytes:
    """The SHA-256 that is the end of an object's or a keyring's name."""
    return bytes.fromhex(name.rpartition("/")[2])


def _hurt(placed: Placed, what: str) -> ReplicaFinding:
    return ReplicaFinding("damaged-here", placed.path, f"{placed.path} {what}.", (placed.path,), placed.records)
