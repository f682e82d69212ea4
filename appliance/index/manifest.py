"""What is written down of a shard: sealed beside its files on the disk, and of all shards in the live folder."""

from __future__ import annotations

import array
import bisect
import hashlib
import re
import sys
from collections.abc import Iterable

import msgspec

MANIFEST = "manifest"
_STORE = ".store"  # the ending of Tantivy's document stores
MARK = re.compile(r"[0-9a-f]{32}")
"""A pack's name, and what tells one manifest of a shard from the next: 16 random bytes in hex."""


class Pack(msgspec.Struct, frozen=True, array_like=True):
    """One sealed file: some of a segment's files one after the other."""

    name: str
    size: int  # bytes on disk
    files: tuple[tuple[str, int], ...]  # name and bytes of each

    @property
    def live_bytes(self) -> int:
        """What its files take in memory."""
        return sum(size for _, size in self.files)

    @property
    def is_shown(self) -> bool:
        """Whether it is a document store: what is shown of a hit, and nothing that finding and counting need."""
        return len(self.files) == 1 and self.files[0][0].endswith(_STORE)


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """A shard as of one commit. Whatever the sealed files hold beyond it does not count."""

    version: int  # schema.SCHEMA_VERSION
    mark: str
    sequence: int  # every change of this shard's messages up to this number is in it
    documents: int
    oldest: int  # dates of its documents, seconds; any documents lie within
    newest: int
    archives: frozenset[str]  # all that its documents belong to
    meta: bytes  # Tantivy's meta.json
    packs: tuple[Pack, ...]
    threads: bytes  # ``key_set`` of what conversations are found by; empty where it is not known

    @property
    def live_bytes(self) -> int:
        """What it takes in memory."""
        return sum(pack.live_bytes for pack in self.packs) + len(self.meta)

    @property
    def sealed_bytes(self) -> int:
        """What its packs take on disk."""
        return sum(pack.size for pack in self.packs)


class Hot(msgspec.Struct, frozen=True):
    """A shard that the writer has open."""

    shard: int
    folder: str  # below ``Place.written``
    sequence: int
    documents: int
    live_bytes: int


class Cold(msgspec.Struct, frozen=True):
    """A shard that lies sealed on the disk."""

    shard: int
    mark: str


class State(msgspec.Struct, frozen=True):
    """What a reader finds where, as of the writer's last commit."""

    version: int
    hot: tuple[Hot, ...]
    cold: tuple[Cold, ...]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Manifest).decode


def key_set(keys: Iterable[str]) -> bytes:
    """32 bits of the digest of each key, sorted, big-endian: tells for sure that a key is not among them."""
    return b"".join(sorted({_digest(key) for key in keys})) or _NONE


_NONE = b"\xff" * 4  # an empty set, where an empty string says that nothing is known


class KeySet:
    """What ``key_set`` made, to ask."""

    def __init__(self, packed: bytes) -> None:
        self._known = bool(packed)
        self._keys = array.array("I", packed[: len(packed) // 4 * 4])
        if sys.byteorder == "little":
            self._keys.byteswap()

    def may_hold(self, keys: Iterable[str]) -> bool:
        """Whether one of ``keys`` may be in it."""
        if not self._known:
            return True
        return any(self._holds(int.from_bytes(_digest(key))) for key in keys)

    def _holds(self, key: int) -> bool:
        place = bisect.bisect_left(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=4).digest()
