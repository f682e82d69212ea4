"""Slots: each wraps the appliance key with one secret, alone. Pure functions on the keyring's data.

Secrets are bytes here: a passphrase as ``spelled`` gives it, a recovery key's 22, a keyfile's or a credential's 32.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from appliance.errors import ConflictError, DamageError, NotFoundError
from appliance.keys.envelope import unwrap, wrap
from appliance.keys.management import SlotInfo, SlotKind
from appliance.keys.stored import SALT_SIZE, Argon2, KeyringData, Slot, aad, id_of, now, secret_key

_PURPOSE = "slot"


def make(
    archive: UUID, taken: Iterable[Slot], kind: SlotKind, secret: bytes, appliance_key: bytes, *,
    argon2: Argon2 | None = None, name: str = "",
) -> Slot:  # fmt: skip
    """A new slot of an archive, with an id that none of the ``taken`` has."""
    salt = new_salt(slot.id for slot in taken)
    return _wrapped(archive, Slot(kind, salt, b"", now(), argon2, name), secret, appliance_key)


def opened(data: KeyringData, kind: SlotKind, secret: bytes) -> tuple[Slot, bytes] | None:
    """The slot of that kind that the secret opens, and the appliance key; None where it opens none."""
    for slot in data.slots:
        if slot.kind != kind:
            continue
        key = secret_key(secret, slot.salt, slot.argon2, _PURPOSE)
        try:
            return slot, unwrap(key, slot.wrapped, data.aad(kind))
        except DamageError:
            continue
    return None


def find(data: KeyringData, id: str) -> Slot:
    """The slot of that id. Raises NotFoundError."""
    for slot in data.slots:
        if slot.id == id:
            return slot
    raise NotFoundError(f"There is no slot {id}. `mailkeep slot list` shows those there are.")


def added(data: KeyringData, slot: Slot) -> KeyringData:
    """One more slot."""
    return msgspec.structs.replace(data, slots=(*data.slots, slot))


def removed(data: KeyringData, id: str) -> KeyringData:
    """Without the slot of that id. Raises NotFoundError, and ConflictError where it has to stay."""
    going = find(data, id)
    left = tuple(slot for slot in data.slots if slot is not going)
    if not left:
        raise ConflictError("This is the last slot: without it nothing could be read any more. Add another one first.")
    if going.kind == "recovery":
        raise ConflictError(
            "The recovery key stays: it is what opens the archive when everything else is lost. "
            "`mailkeep slot rotate` puts a new one in its place."
        )
    return msgspec.structs.replace(data, slots=left)


def with_recovery(data: KeyringData, slot: Slot) -> KeyringData:
    """``slot`` in place of the recovery keys before."""
    return msgspec.structs.replace(data, slots=(*(one for one in data.slots if one.kind != "recovery"), slot))


def with_passphrase(data: KeyringData, id: str, secret: bytes, appliance_key: bytes, argon2: Argon2) -> KeyringData:
    """The slot of that id with another passphrase. Raises NotFoundError."""
    slot = msgspec.structs.replace(find(data, id), argon2=argon2)
    changed = _wrapped(data.archive, slot, secret, appliance_key)
    return msgspec.structs.replace(data, slots=tuple(changed if one.id == id else one for one in data.slots))


def rewrapped(data: KeyringData, kept: Mapping[str, bytes], appliance_key: bytes) -> tuple[Slot, ...]:
    """The slots whose secrets are given by id, around another appliance key; the others are not among them."""
    return tuple(_wrapped(data.archive, slot, kept[slot.id], appliance_key) for slot in data.slots if slot.id in kept)


def infos(data: KeyringData) -> tuple[SlotInfo, ...]:
    """What anybody may know of the slots."""
    return tuple(SlotInfo(slot.id, slot.kind, slot.name, slot.created) for slot in data.slots)


def spelled(passphrase: str) -> bytes:
    """The bytes of a passphrase, however it is typed."""
    # One passphrase, typed on two keyboards, may come composed or decomposed (RFC 8265 asks for NFC).
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")


def new_salt(taken: Iterable[str]) -> bytes:
    """A random salt whose id (its first bytes) is not among ``taken``."""
    ids = set(taken)
    while True:
        salt = os.urandom(SALT_SIZE)
        if id_of(salt) not in ids:
            return salt


def _wrapped(archive: UUID, slot: Slot, secret: bytes, appliance_key: bytes) -> Slot:
    key = secret_key(secret, slot.salt, slot.argon2, _PURPOSE)
    return msgspec.structs.replace(slot, wrapped=wrap(key, appliance_key, aad(archive, slot.kind)))
