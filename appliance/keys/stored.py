"""``keyring.json`` as it lies on the disk: its members, its bytes, and the MAC that keeps others from changing it.

docs/format.md specifies it. Nothing here opens anything but the MAC; ``slots`` and ``mailbox_keys`` do.
"""

from __future__ import annotations

import hmac
import time
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from appliance import decoding
from appliance.errors import KeyringError, NotFoundError
from appliance.files import Files, read_file
from appliance.keys.envelope import KEY_SIZE, derive
from appliance.keys.management import SlotKind

FORMAT_VERSION = 1
SALT_SIZE = 32

_INFO = b"mailkeep key v1\x00"
_ID_BYTES = 4


class Argon2(msgspec.Struct, frozen=True):
    """Cost of trying one passphrase (RFC 9106): memory in KiB, passes, lanes."""

    memory: int = 64 * 1024
    passes: int = 3
    lanes: int = 1

    def derive(self, secret: bytes, salt: bytes) -> bytes:
        """32 bytes that cost that much to compute (Argon2id, version 0x13)."""
        return Argon2id(
            salt=salt, length=KEY_SIZE, iterations=self.passes, lanes=self.lanes, memory_cost=self.memory
        ).derive(secret)


class Slot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to the appliance key."""

    kind: SlotKind
    salt: bytes
    wrapped: bytes  # the appliance key
    created: int  # microseconds since 1970-01-01 UTC
    argon2: Argon2 | None = None  # for what a person thought of
    name: str = ""

    @property
    def id(self) -> str:
        """8 hex digits, unlike those of any other slot."""
        return id_of(self.salt)


class PasswordWrap(msgspec.Struct, frozen=True):
    """A mailbox's private key under its password."""

    salt: bytes
    wrapped: bytes
    created: int
    argon2: Argon2


class TokenWrap(msgspec.Struct, frozen=True):
    """A mailbox's private key under a token."""

    salt: bytes
    wrapped: bytes
    created: int
    name: str

    @property
    def id(self) -> str:
        """8 hex digits, unlike those of any other token of the mailbox."""
        return id_of(self.salt)


class MailboxKeys(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One mailbox's keys: what seals, and, wrapped, what opens and what its content hashes are keyed with."""

    public: bytes
    private: bytes = b""  # under the appliance key; a sealed mailbox has neither this nor ``content``
    content: bytes = b""
    created: int
    password: PasswordWrap | None = None
    tokens: tuple[TokenWrap, ...] = ()

    @property
    def is_sealed(self) -> bool:
        """Whether the appliance key does not open it."""
        return not self.private


class KeyringData(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The content of the file. Byte strings are base64 in the JSON."""

    version: int
    archive: UUID
    slots: tuple[Slot, ...]
    verify_key: bytes
    signing_key: bytes
    base: bytes = b""  # what purposes' keys are derived from; without it, the appliance key
    mailboxes: dict[str, MailboxKeys]

    def mailbox(self, mailbox_id: bytes) -> MailboxKeys:
        """One mailbox's keys. Raises NotFoundError."""
        keys = self.mailboxes.get(mailbox_id.hex())
        if keys is None:
            raise NotFoundError(f"The keyring has no keys for the mailbox {mailbox_id.hex()}.")
        return keys

    def with_mailbox(self, mailbox_id: bytes, keys: MailboxKeys) -> KeyringData:
        """The same with other keys of one mailbox."""
        return msgspec.structs.replace(self, mailboxes={**self.mailboxes, mailbox_id.hex(): keys})

    def aad(self, what: str, mailbox_id: bytes = b"") -> bytes:
        """What binds a wrapped value to its archive, its meaning and its mailbox."""
        return aad(self.archive, what, mailbox_id)


class KeyringFile(msgspec.Struct, frozen=True):
    """The whole file."""

    keyring: KeyringData
    mac: bytes
    recovery_mac: bytes  # as ``mac``, of the keyring with no other slots than the recovery key's

    def is_authentic(self, appliance_key: bytes) -> bool:
        """Whether somebody with the appliance key wrote it."""
        return hmac.compare_digest(_mac(self.keyring, appliance_key), self.mac) and hmac.compare_digest(
            _mac(recovery_only(self.keyring), appliance_key), self.recovery_mac
        )

    def for_replica(self) -> bytes:
        """The bytes of a keyring that the recovery key alone opens; no key is needed to make it of the whole one.

        A passphrase may be guessed and a keyfile copied: neither is to open what lies on somebody else's storage.
        """
        return _bytes(KeyringFile(recovery_only(self.keyring), self.recovery_mac, self.recovery_mac))


def purpose_key(key: bytes, purpose: str) -> bytes:
    """What is derived from the appliance key (or from the base) for one purpose."""
    return derive(key, info=_INFO + purpose.encode())


def secret_key(secret: bytes, salt: bytes, argon2: Argon2 | None, purpose: str) -> bytes:
    """The wrapping key that a slot's, a password's or a token's secret stands for."""
    if argon2 is not None:
        secret = argon2.derive(secret, salt)
    return derive(secret, salt=salt, info=_INFO + purpose.encode())


def aad(archive: UUID, what: str, mailbox_id: bytes = b"") -> bytes:
    """As ``KeyringData.aad``."""
    return _INFO + archive.bytes + what.encode() + mailbox_id


def id_of(salt: bytes) -> str:
    """The id of what has this salt."""
    return salt[:_ID_BYTES].hex()


def encode(data: KeyringData, appliance_key: bytes) -> bytes:
    """The file's bytes."""
    return _bytes(KeyringFile(data, _mac(data, appliance_key), _mac(recovery_only(data), appliance_key)))


def recovery_only(data: KeyringData) -> KeyringData:
    """The same with no other slots than the recovery key's."""
    return msgspec.structs.replace(data, slots=tuple(slot for slot in data.slots if slot.kind == "recovery"))


def load(path: Path, files: Files) -> KeyringFile:
    """What the file holds; its MAC is not checked. Raises KeyringError where it is missing or cannot be read."""
    try:
        content = read_file(files, path)
    except FileNotFoundError as error:
        raise KeyringError(
            f"There is no keyring at {path}. `mailkeep init` makes a new archive; an existing one needs its "
            "keyring back before anything in it can be read."
        ) from error
    except OSError as error:
        raise KeyringError(f"The keyring {path} cannot be read ({error.strerror}).") from error
    return parse(content, path)


def parse(content: bytes, path: Path) -> KeyringFile:
    """As ``load``, of bytes that lie, or are to lie, at ``path``."""
    try:
        stored = decoding.from_json(content, KeyringFile)
    except msgspec.DecodeError as error:
        raise KeyringError(
            f"The keyring {path} is damaged. Put back a copy of it: without it no mail can be read."
        ) from error
    if stored.keyring.version != FORMAT_VERSION:
        raise KeyringError(
            f"The keyring {path} has format version {stored.keyring.version}; this program reads {FORMAT_VERSION}."
        )
    return stored


def digest(data: KeyringData) -> bytes:
    """SHA-256 of what the MAC covers."""
    return sha256(msgspec.json.encode(data)).digest()


def now() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def _bytes(file: KeyringFile) -> bytes:
    return msgspec.json.format(msgspec.json.encode(file)) + b"\n"


def _mac(data: KeyringData, appliance_key: bytes) -> bytes:
    return hmac.digest(purpose_key(appliance_key, "keyring"), msgspec.json.encode(data), "sha256")
