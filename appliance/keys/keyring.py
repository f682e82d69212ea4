"""The keyring: one file that holds every key of the archive, wrapped.

``keyring.json`` has the appliance key in slots (passphrase, recovery key, keyfile), each of which opens it alone;
under the appliance key lie the key that signs seals and, for each mailbox, its private key and its content key. A
``Keyring`` is what can be known without opening it, an ``Unlocked`` what can be done afterwards. docs/format.md
specifies the file.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from appliance.errors import ConflictError, DamageError, KeyringError, NotFoundError
from appliance.files import FILES, Files, create_file, read_file, replace_file
from appliance.keys import recovery
from appliance.keys.envelope import KEY_SIZE, MailboxKeyPair, derive, unwrap, wrap

FORMAT_VERSION = 1
SlotKind = Literal["passphrase", "recovery", "keyfile"]

_INFO = b"mailkeep key v1\x00"
_KEYFILE_MODE = 0o600


class Argon2(msgspec.Struct, frozen=True):
    """Cost of trying one passphrase (RFC 9106): memory in KiB, passes, lanes."""

    memory: int = 64 * 1024
    passes: int = 3
    lanes: int = 1


class Slot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to the appliance key."""

    kind: SlotKind
    salt: bytes
    wrapped: bytes  # the appliance key
    created: int  # microseconds since 1970-01-01 UTC
    argon2: Argon2 | None = None  # for what a person thought of


class MailboxKeys(msgspec.Struct, frozen=True):
    """One mailbox's keys: what seals, and, wrapped, what opens and what its content hashes are keyed with."""

    public: bytes
    private: bytes
    content: bytes
    created: int


class KeyringData(msgspec.Struct, frozen=True):
    """The content of the file. Byte strings are base64 in the JSON."""

    version: int
    archive: UUID
    slots: tuple[Slot, ...]
    verify_key: bytes
    signing_key: bytes
    mailboxes: dict[str, MailboxKeys]


class _File(msgspec.Struct, frozen=True):
    keyring: KeyringData
    mac: bytes


class Keyring:
    """A locked keyring: public knowledge only."""

    def __init__(self, path: Path, data: KeyringData, mac: bytes, *, files: Files = FILES) -> None:
        """Made by ``load``."""
        self._path = path
        self._data = data
        self._mac = mac
        self._files = files

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        passphrase: str | None = None,
        keyfile: Path | None = None,
        argon2: Argon2 = Argon2(),  # noqa: B008 - frozen
        files: Files = FILES,
    ) -> tuple[Unlocked, str]:
        """A new keyring at ``path``, durable, and its recovery key as text, which is kept nowhere.

        ``keyfile`` is where to write a new keyfile that opens the keyring unattended. Raises ConflictError where
        one of the files exists, KeyringError where the disk does not take them.
        """
        if files.exists(path):
            raise ConflictError(f"There is a keyring at {path} already; it is left as it is.")
        appliance_key = os.urandom(KEY_SIZE)
        archive = uuid4()
        secret = recovery.new_secret()
        slots = [_make_slot("recovery", secret, appliance_key, archive, None)]
        if passphrase is not None:
            slots.append(_make_slot("passphrase", _spelled(passphrase), appliance_key, archive, argon2))
        key = os.urandom(KEY_SIZE)
        if keyfile is not None:
            slots.append(_make_slot("keyfile", key, appliance_key, archive, None))
        signing = Ed25519PrivateKey.generate()
        data = KeyringData(
            version=FORMAT_VERSION,
            archive=archive,
            slots=tuple(slots),
            verify_key=signing.public_key().public_bytes_raw(),
            signing_key=wrap(_derived(appliance_key, "wrap"), signing.private_bytes_raw(), _aad(archive, "signing")),
            mailboxes={},
        )
        text = _encode(data, appliance_key)
        try:
            # The keyfile first: a keyring whose keyfile was lost in a power cut would not start unattended.
            if keyfile is not None:
                create_file(files, keyfile, key.hex().encode() + b"\n", _KEYFILE_MODE)
            try:
                create_file(files, path, text)
            except OSError:
                if keyfile is not None:
                    files.unlink(keyfile)
                raise
        except FileExistsError as error:
            raise ConflictError(f"There is a file {error.filename} already; it is left as it is.") from error
        except OSError as error:
            raise _not_written(error) from error
        return Unlocked(path, data, appliance_key, files=files), recovery.to_text(secret)

    @classmethod
    def load(cls, path: Path, *, files: Files = FILES) -> Keyring:
        """The keyring at ``path``. Raises KeyringError where it is missing or cannot be read."""
        data = _decode(path, files)
        return cls(path, data.keyring, data.mac, files=files)

    @property
    def archive_id(self) -> UUID:
        """The archive's id."""
        return self._data.archive

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key that seals are checked with."""
        return self._data.verify_key

    @property
    def slots(self) -> tuple[SlotKind, ...]:
        """The ways there are to unlock it."""
        return tuple(slot.kind for slot in self._data.slots)

    @property
    def mailboxes(self) -> Mapping[bytes, bytes]:
        """Public key of each mailbox by its id."""
        return {bytes.fromhex(name): keys.public for name, keys in self._data.mailboxes.items()}

    def public_key(self, mailbox_id: bytes) -> bytes:
        """A mailbox's public key. Raises NotFoundError."""
        return _keys_of(self._data, mailbox_id).public

    def unlock_with_passphrase(self, passphrase: str) -> Unlocked:
        """Raises KeyringError where it does not fit."""
        return self._unlock("passphrase", _spelled(passphrase), "The passphrase is not right.")

    def unlock_with_recovery_key(self, text: str) -> Unlocked:
        """Raises KeyringError where it is mistyped or does not fit."""
        return self._unlock(
            "recovery",
            recovery.from_text(text),
            "The recovery key is well-formed, but belongs to another archive.",
        )

    def unlock_with_keyfile(self, path: Path) -> Unlocked:
        """Raises KeyringError where the keyfile is missing, is none, or does not fit."""
        try:
            key = bytes.fromhex(read_file(self._files, path).decode("ascii").strip())
        except OSError as error:
            raise KeyringError(
                f"The keyfile {path} cannot be read ({error.strerror}). The passphrase or the recovery key opens "
                "the archive too."
            ) from error
        except ValueError as error:
            raise KeyringError(f"{path} is no keyfile of mailkeep.") from error
        return self._unlock("keyfile", key, f"The keyfile {path} belongs to another archive.")

    def _unlock(self, kind: SlotKind, secret: bytes, refusal: str) -> Unlocked:
        slots = [slot for slot in self._data.slots if slot.kind == kind]
        if not slots:
            raise KeyringError(f"This archive cannot be unlocked by {kind}: it was not set up so.")
        for slot in slots:
            try:
                appliance_key = unwrap(
                    _slot_key(secret, slot.salt, slot.argon2), slot.wrapped, _aad(self._data.archive, kind)
                )
            except DamageError:
                continue
            if not hmac.compare_digest(_mac(self._data, appliance_key), self._mac):
                raise KeyringError(
                    "The keyring opens, but somebody or something has changed it. No mail was lost by that; put "
                    f"back a copy of {self._path} from before."
                )
            return Unlocked(self._path, self._data, appliance_key, files=self._files)
        raise KeyringError(refusal)


class Unlocked:
    """An unlocked keyring. Threads may share it; secrets do not show in its repr."""

    def __init__(self, path: Path, data: KeyringData, appliance_key: bytes, *, files: Files = FILES) -> None:
        """Made by ``Keyring``. Raises KeyringError where the keyring's signing key does not open."""
        self._path = path
        self._data = data
        self._appliance_key = appliance_key
        self._files = files
        self._lock = threading.Lock()
        self._wrapping = _derived(appliance_key, "wrap")
        self._pairs: dict[bytes, MailboxKeyPair] = {}
        self._signing = Ed25519PrivateKey.from_private_bytes(
            unwrap(self._wrapping, data.signing_key, _aad(data.archive, "signing"))
        )

    @property
    def archive_id(self) -> UUID:
        """The archive's id."""
        return self._data.archive

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key that belongs to ``sign``."""
        return self._data.verify_key

    @property
    def mailboxes(self) -> Mapping[bytes, bytes]:
        """Public key of each mailbox by its id."""
        return {bytes.fromhex(name): keys.public for name, keys in self._data.mailboxes.items()}

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose ("settings", "catalogue-lookup", …), always the same for this archive."""
        return _derived(self._appliance_key, "purpose " + purpose)

    def public_key(self, mailbox_id: bytes) -> bytes:
        """A mailbox's public key. Raises NotFoundError."""
        return _keys_of(self._data, mailbox_id).public

    def content_key(self, mailbox_id: bytes) -> bytes:
        """The 32-byte key of a mailbox's content hashes. Raises NotFoundError, DamageError."""
        return unwrap(
            self._wrapping,
            _keys_of(self._data, mailbox_id).content,
            _mailbox_aad(self._data.archive, "content", mailbox_id),
        )

    def create_mailbox(self, mailbox_id: bytes) -> bytes:
        """Make a mailbox's keys, durable on return; the public key. Raises ConflictError, KeyringError."""
        if len(mailbox_id) != 16:
            raise ValueError("a mailbox id has 16 bytes")
        pair = MailboxKeyPair.generate()
        name = mailbox_id.hex()
        with self._lock:
            # Another process may have added a mailbox since this one read the file.
            stored = self._stored()
            if name in stored.mailboxes:
                raise ConflictError("This mailbox has its keys already.")
            archive = self._data.archive
            keys = MailboxKeys(
                public=pair.public,
                private=wrap(self._wrapping, pair.private, _mailbox_aad(archive, "private", mailbox_id)),
                content=wrap(self._wrapping, os.urandom(KEY_SIZE), _mailbox_aad(archive, "content", mailbox_id)),
                created=_now(),
            )
            data = msgspec.structs.replace(stored, mailboxes={**stored.mailboxes, name: keys})
            try:
                replace_file(self._files, self._path, _encode(data, self._appliance_key))
            except OSError as error:
                raise _not_written(error) from error
            self._data = data
        return pair.public

    def refresh(self) -> None:
        """Learn of mailboxes that another process has made. Raises KeyringError where the file was altered."""
        with self._lock:
            self._data = self._stored()

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The data key sealed in a volume's header (``store.reader.KeyOpener``).

        Raises DamageError where it does not open, NotFoundError where the mailbox has no keys here.
        """
        pair = self._pairs.get(mailbox_id)
        if pair is None:
            keys = _keys_of(self._data, mailbox_id)
            pair = MailboxKeyPair(
                unwrap(self._wrapping, keys.private, _mailbox_aad(self._data.archive, "private", mailbox_id))
            )
            self._pairs[mailbox_id] = pair
        key = pair.open_sealed(sealed, info)
        if len(key) != KEY_SIZE:
            raise DamageError("A volume's data key has another length than a key has.")
        return key

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (64 bytes, RFC 8032)."""
        return self._signing.sign(message)

    def _stored(self) -> KeyringData:
        """What the file holds now. Raises KeyringError where it was altered."""
        stored = _decode(self._path, self._files)
        if not hmac.compare_digest(_mac(stored.keyring, self._appliance_key), stored.mac):
            raise KeyringError(
                f"{self._path} has been altered by somebody who does not have its keys. Nothing was changed now; "
                "put back a copy from before."
            )
        return stored.keyring


def _make_slot(kind: SlotKind, secret: bytes, appliance_key: bytes, archive: UUID, argon2: Argon2 | None) -> Slot:
    salt = os.urandom(32)
    wrapped = wrap(_slot_key(secret, salt, argon2), appliance_key, _aad(archive, kind))
    return Slot(kind=kind, salt=salt, wrapped=wrapped, created=_now(), argon2=argon2)


def _slot_key(secret: bytes, salt: bytes, argon2: Argon2 | None) -> bytes:
    if argon2 is not None:
        secret = Argon2id(
            salt=salt, length=KEY_SIZE, iterations=argon2.passes, lanes=argon2.lanes, memory_cost=argon2.memory
        ).derive(secret)
    return derive(secret, salt=salt, info=_INFO + b"slot")


def _spelled(passphrase: str) -> bytes:
    # One passphrase, typed on two keyboards, may come composed or decomposed (RFC 8265 asks for NFC).

    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")


def _derived(appliance_key: bytes, purpose: str) -> bytes:
    return derive(appliance_key, info=_INFO + purpose.encode())


def _aad(archive: UUID, what: str) -> bytes:
    return _INFO + archive.bytes + what.encode()


def _mailbox_aad(archive: UUID, what: str, mailbox_id: bytes) -> bytes:
    return _aad(archive, "mailbox " + what) + mailbox_id


def _keys_of(data: KeyringData, mailbox_id: bytes) -> MailboxKeys:
    keys = data.mailboxes.get(mailbox_id.hex())
    if keys is None:
        raise NotFoundError(f"The keyring has no keys for the mailbox {mailbox_id.hex()}.")
    return keys


def _mac(data: KeyringData, appliance_key: bytes) -> bytes:
    return hmac.digest(_derived(appliance_key, "keyring"), msgspec.json.encode(data), "sha256")


def _encode(data: KeyringData, appliance_key: bytes) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_File(data, _mac(data, appliance_key)))) + b"\n"


def _decode(path: Path, files: Files) -> _File:
    try:
        stored = msgspec.json.decode(read_file(files, path), type=_File)
    except FileNotFoundError as error:
        raise KeyringError(
            f"There is no keyring at {path}. `mailkeep init` makes a new archive; an existing one needs its "
            "keyring back before anything in it can be read."
        ) from error
    except OSError as error:
        raise KeyringError(f"The keyring {path} cannot be read ({error.strerror}).") from error
    except msgspec.DecodeError as error:
        raise KeyringError(
            f"The keyring {path} is damaged. Put back a copy of it: without it no mail can be read."
        ) from error
    if stored.keyring.version != FORMAT_VERSION:
        raise KeyringError(
            f"The keyring {path} has format version {stored.keyring.version}; this program reads {FORMAT_VERSION}."
        )
    return stored


def _not_written(error: OSError) -> KeyringError:
    return KeyringError(f"The keyring could not be written ({error.strerror}). What it held before is unchanged.")


def _now() -> int:
    return time.time_ns() // 1000
