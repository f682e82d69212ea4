"""What the log's readers give: volumes, places of records, and of bytes that are none."""

from __future__ import annotations

from typing import Literal

import msgspec

DamageKind = Literal["corruption", "unacknowledged"]


class VolumeInfo(msgspec.Struct, frozen=True):
    """One volume as listed."""

    path: str  # relative to the volumes folder
    mailbox: bytes
    writer: str
    sequence: int
    size: int
    closed: bool  # has a footer
    sealed: bool  # has a seal beside it
    created: int  # microseconds since 1970-01-01 UTC; 0 where the header is damaged, an absent one's seal's time
    damage: str = ""  # what is wrong with the header
    archived: bool = False  # an archive volume stands in its place; ``size`` is what it was
    stored: int = 0  # bytes on disk; an archive volume's count for the first volume that it stands for
    absent: bool = False  # not on this disk: replicas hold it; reading fetches it
    records: int = 0  # an absent one's, as its seal says


class RecordRef(msgspec.Struct, frozen=True):
    """Where a record lies and what its clear header says."""

    volume: str  # path relative to the volumes folder
    offset: int
    length: int
    record_id: bytes  # 16, UUIDv7
    type: int  # format.RecordType
    time: int  # microseconds since 1970-01-01 UTC
    mailbox: bytes  # 16

    @property
    def end(self) -> int:
        """Where a scan goes on after this record."""
        return self.offset + self.length


class Tombstone(msgspec.Struct, frozen=True):
    """Where a record stood whose original was erased: what its clear header said stays, and its commitment."""

    volume: str
    offset: int
    length: int
    record_id: bytes  # 16, UUIDv7
    type: int  # of the record that stood here
    time: int  # microseconds since 1970-01-01 UTC
    mailbox: bytes  # 16

    @property
    def end(self) -> int:
        """Where a scan goes on after it."""
        return self.offset + self.length


class Damage(msgspec.Struct, frozen=True):
    """Bytes that are no whole record. ``corruption`` was durable once, so something confirmed may be lost;
    ``unacknowledged`` was never known to be durable: cut off by a crash, or damaged, nobody can tell which."""

    volume: str
    offset: int
    length: int
    kind: DamageKind
    what: str
    record_id: bytes | None = None  # where the record's header is still whole

    @property
    def end(self) -> int:
        """Where a scan goes on after these bytes."""
        return self.offset + self.length


class Finding(msgspec.Struct, frozen=True):
    """One thing that verification found, and where."""

    file: str  # path relative to the volumes folder
    offset: int
    record_id: bytes | None
    what: str
