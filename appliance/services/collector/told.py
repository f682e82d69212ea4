"""What the archiver tells the collector: profiles with their credentials, whose which address is, where mail goes.

``DATA/collecting/told`` is sealed with a key that is made from the service key; whoever has it reads no mail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from appliance import decoding
from appliance.errors import DamageError
from appliance.files import FILES, Files, create_directory, read_file
from appliance.keys.access import collector_key
from appliance.keys.envelope import derive
from appliance.sealing import open_sealed, replace_sealed
from appliance.settings.events import ProfilePut

VERSION: Final = 1
_INFO: Final = b"mailkeep collector v1\x00"
_PLACE: Final = _INFO + b"told"
_MODE: Final = 0o640
"""Collector and archiver are users of their own, the folder's group is both."""


class CollectorKeys(msgspec.Struct, frozen=True):
    """What the collector holds: none of these opens mail, or anything of a replica."""

    sealing: bytes
    """Of its own files."""
    lookup: bytes
    """Of the keyed hashes by which it finds accounts, folders and places."""

    def __repr__(self) -> str:
        return "CollectorKeys(…)"

    @classmethod
    def of(cls, service: bytes, archive: UUID) -> CollectorKeys:
        """Those of an archive, from its key of purpose ``service``."""
        return cls.from_key(collector_key(service, archive))

    @classmethod
    def from_key(cls, key: bytes) -> CollectorKeys:
        """Those that follow from the one key that the key agent gives the collector (``access.collector_key``)."""
        return cls(derive(key, info=_INFO + b"sealing"), derive(key, info=_INFO + b"lookup"))

    def scratch_key(self, name: str) -> bytes:
        """That of a file that waits to be imported, by its name in the scratch folder."""
        return derive(self.sealing, info=_INFO + b"scratch " + name.encode("ascii"))


class Person(msgspec.Struct, frozen=True):
    """A user, by id, and the addresses that are theirs now, the first being the primary one."""

    user: str
    name: str
    addresses: tuple[str, ...]


class Holder(msgspec.Struct, frozen=True):
    """That a user held an address from ``since`` up to, not including, ``until`` (microseconds; None is open)."""

    address: str
    user: str
    since: int
    until: int | None


class Told(msgspec.Struct, frozen=True):
    """All that the collector is told. ``mailbox`` (16 bytes) and its public key are where fetched mail goes; by its
    content key, as the catalogue has it, equal mail is recognised. ``people`` are for what is fetched now, ``holders``
    for imported mail, which may be from long ago."""

    mailbox: bytes
    public_key: bytes
    content_key: bytes
    profiles: tuple[ProfilePut, ...] = ()
    people: tuple[Person, ...] = ()
    holders: tuple[Holder, ...] = ()
    version: int = VERSION

    def find(self, name: str) -> ProfilePut | None:
        """The profile of that name."""
        return next((one for one in self.profiles if one.name == name), None)


def write_told(folder: Path, keys: CollectorKeys, told: Told, *, files: Files = FILES) -> None:
    """Tell the collector, durably. Raises OSError."""
    create_directory(files, folder)
    replace_sealed(files, folder / "told", keys.sealing, _PLACE, [msgspec.msgpack.encode(told)], mode=_MODE)


def read_told(folder: Path, keys: CollectorKeys, *, files: Files = FILES) -> Told | None:
    """What was told last; None where nothing was yet. Raises DamageError, OSError."""
    try:
        sealed = read_file(files, folder / "told")
    except FileNotFoundError:
        return None
    packed = open_sealed(sealed, keys.sealing, _PLACE, "collecting/told")
    try:
        return decoding.from_msgpack(packed, Told)
    except msgspec.DecodeError as error:
        raise DamageError("collecting/told was written by another version of mailkeep.") from error
