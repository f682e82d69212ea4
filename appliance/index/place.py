"""Where an index is: sealed on the disk, live in memory."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The two folders of one index, and what its files are sealed with."""

    root: Path
    """The archive's own folder on a tmpfs, which ``live`` lies in; nobody else can look into it."""
    sealed: Path
    """On the disk, encrypted: what is left when nothing runs."""
    live: Path
    """What Tantivy works on."""
    key: bytes
    """The archive's key for the index, 32 bytes."""
    identity: bytes
    """Of the catalogue whose change sequence the index follows: with another one its files do not open."""

    def __repr__(self) -> str:
        return f"Place({self.sealed}, {self.live})"

    @property
    def written(self) -> Path:
        """Where the writer's shards are."""
        return self.live / "w"

    @property
    def restored(self) -> Path:
        """Where a reader puts the shards that it has opened from the disk."""
        return self.live / "r"
