"""A group: the records that an archive volume compresses together. No input or output, no keys.

A group's plaintext is a table of its members, then their texts one after the other. A member is a record as it was,
in other words: commitment salt, provenance, and an original of which runs of base64 may be cut out (``parts``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec

from appliance.errors import DamageError
from appliance.store.parts import Run

_LENGTH: Final = 4


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One record of a group."""

    salt: bytes  # 32, of its commitment
    provenance: bytes  # as it was
    size: int  # bytes of the original
    text: int  # bytes of its text in this group
    runs: tuple[Run, ...]


_table_of = msgspec.msgpack.Decoder(tuple[Member, ...]).decode


class Group:
    """A group as it was read."""

    def __init__(self, plaintext: bytes) -> None:
        """Raises DamageError."""
        start = _LENGTH + int.from_bytes(plaintext[:_LENGTH], "big")
        try:
            self._members = _table_of(plaintext[_LENGTH:start])
        except msgspec.DecodeError as error:
            raise DamageError("A group of records cannot be read.") from error
        self._starts = tuple(accumulate((member.text for member in self._members), initial=start))
        self._plaintext = plaintext
        if self._starts[-1] != len(plaintext):
            raise DamageError("A group of records has another length than its members.")

    def __len__(self) -> int:
        return len(self._members)

    def member(self, number: int) -> tuple[Member, bytes]:
        """A member and its text. Raises DamageError where there is none of that number."""
        if number >= len(self._members):
            raise DamageError("A group of records has fewer members than the directory says.")
        return self._members[number], self._plaintext[self._starts[number] : self._starts[number + 1]]


def pack(members: Sequence[Member], texts: Sequence[bytes]) -> bytes:
    """The plaintext of a group."""
    table = msgspec.msgpack.encode(members)
    return b"".join((len(table).to_bytes(_LENGTH, "big"), table, *texts))
