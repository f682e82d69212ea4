"""A record on its way from where it lies to who reads it: alone with frames of its own, or in a compacted group."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from appliance.errors import DamageError, NotFoundError, StorageError
from appliance.mail.facts import Provenance
from appliance.store.group import Member
from appliance.store.record import RecordOpener, decode_provenance
from appliance.store.refs import RecordRef

_PIECE: Final = 256 * 1024


class Record(msgspec.Struct, frozen=True):
    """An opened record. ``salt`` is what its commitment is salted with: 32 bytes that prove the original."""

    ref: RecordRef
    provenance: Provenance
    original: bytes
    salt: bytes


Found = Record | DamageError | NotFoundError | StorageError
"""A record, or why it cannot be had."""


class OpenRecord:
    """A record being opened: iterating gives the original once, in pieces of at most 256 KiB."""

    def __init__(self, ref: RecordRef, provenance: Provenance, pieces: Iterator[bytes]) -> None:
        self.ref = ref
        self.provenance = provenance
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


class Opening(Protocol):
    """A record that was found and can be opened once."""

    ref: RecordRef
    provenance: Provenance

    @property
    def size(self) -> int | None:
        """Bytes of the original; None where that is not known yet."""
        ...

    def whole(self) -> Record:
        """The record, every check made. Raises DamageError."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """The original in pieces; that it is complete is known when they end without DamageError."""
        ...


class Alone:
    """A record with frames of its own."""

    __slots__ = ("_leaf", "_opener", "provenance", "ref")

    def __init__(self, ref: RecordRef, opener: RecordOpener, leaf: bytes) -> None:
        self.ref = ref
        self.provenance = opener.provenance
        self._opener = opener
        self._leaf = leaf

    @property
    def size(self) -> int | None:
        """Bytes of the original, of a record with one frame."""
        return self._opener.size

    def whole(self) -> Record:
        """The record, every check made. Raises DamageError."""
        return Record(self.ref, self.provenance, self._opener.original(self._leaf), self._opener.salt)

    def pieces(self) -> Iterator[bytes]:
        """The original in pieces."""
        return self._opener.stream(self._leaf)


class Grouped:
    """A record in a group; ``pieces`` are what its original is put together from."""

    def __init__(self, ref: RecordRef, member: Member, leaf: bytes, pieces: Iterator[bytes]) -> None:
        self.ref = ref
        self.provenance = decode_provenance(member.provenance)
        self._member = member
        self._leaf = leaf
        self._pieces = pieces

    @property
    def size(self) -> int | None:
        """Bytes of the original."""
        return self._member.size

    def whole(self) -> Record:
        """The record, every check made. Raises DamageError."""
        return Record(self.ref, self.provenance, b"".join(self.pieces()), self._member.salt)

    def pieces(self) -> Iterator[bytes]:
        """The original in pieces."""
        commitment, size = sha256(self._member.salt), 0
        for piece in self._pieces:
            commitment.update(piece)
            size += len(piece)
            for start in range(0, len(piece), _PIECE):
                yield piece[start : start + _PIECE]
        if size != self._member.size or commitment.digest() != self._leaf:
            raise DamageError("A record's original is not the one that its commitment names.")
