"""The keyring: one file that holds every key of the archive, wrapped.

``keyring.json`` has the appliance key in slots (passphrase, recovery key, keyfile, systemd credential), each of which
opens it alone; under the appliance key lie the key that signs seals and, for each mailbox that is not sealed, its
private key and its content key. Each mailbox's own password and tokens wrap its private key too. A ``Keyring`` is
what can be done without the appliance key, an ``Unlocked`` what can be done with it. docs/format.md specifies the
file.
"""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.errors import ConflictError, KeyringError, SignInError, UsageError
from appliance.files import FILES, Files, create_file, read_file, replace_file
from appliance.keys import mailbox_keys, recovery, slots, stored
from appliance.keys.envelope import KEY_SIZE, MailboxKeyPair, unwrap, wrap
from appliance.keys.mailbox_keys import Grants, UnlockedMailbox
from appliance.keys.management import NewMailbox, NewToken, SlotInfo, SlotKind, TokenInfo
from appliance.keys.stored import Argon2, KeyringData, KeyringFile, MailboxKeys, Slot, aad, purpose_key
from appliance.language import later

KEYRING_MODE = 0o640
"""The agent writes the file; the archive's other processes, its group, read public keys in it."""
_KEYFILE_MODE = 0o600


class Keyring:
    """A locked keyring: public knowledge, and the mailboxes that their own passwords open."""

    def __init__(self, path: Path, file: KeyringFile, *, argon2: Argon2, files: Files) -> None:
        """Made by ``load``."""
        self._path = path
        self._file = file
        self._data = file.keyring
        self._argon2 = argon2
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

        ``keyfile`` is where to write a new keyfile that opens the keyring unattended. ``argon2`` is what a try of a
        passphrase or a mailbox's password costs. Raises ConflictError where one of the files exists, KeyringError
        where the disk does not take them.
        """
        if files.exists(path):
            raise ConflictError(f"There is a keyring at {path} already; it is left as it is.")
        appliance_key = os.urandom(KEY_SIZE)
        archive = uuid4()
        secret = recovery.new_secret()
        made = [slots.make(archive, (), "recovery", secret, appliance_key)]
        if passphrase is not None:
            spelled = slots.spelled(passphrase)
            made.append(slots.make(archive, made, "passphrase", spelled, appliance_key, argon2=argon2))
        key = os.urandom(KEY_SIZE)
        if keyfile is not None:
            made.append(slots.make(archive, made, "keyfile", key, appliance_key))
        signing = Ed25519PrivateKey.generate()
        wrapping = purpose_key(appliance_key, "wrap")
        data = KeyringData(
            version=stored.FORMAT_VERSION,
            archive=archive,
            slots=tuple(made),
            verify_key=signing.public_key().public_bytes_raw(),
            signing_key=wrap(wrapping, signing.private_bytes_raw(), aad(archive, "signing")),
            base=wrap(wrapping, os.urandom(KEY_SIZE), aad(archive, "base")),
            mailboxes={},
        )
        text = stored.encode(data, appliance_key)
        try:
            # The keyfile first: a keyring whose keyfile was lost in a power cut would not start unattended.
            if keyfile is not None:
                _write_keyfile(files, keyfile, key)
            try:
                create_file(files, path, text, KEYRING_MODE)
            except OSError:
                if keyfile is not None:
                    files.unlink(keyfile)
                raise
        except OSError as error:
            raise _not_written(error) from error
        return Unlocked(path, data, appliance_key, argon2=argon2, files=files), recovery.to_text(secret)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        argon2: Argon2 = Argon2(),  # noqa: B008 - frozen
        files: Files = FILES,
    ) -> Keyring:
        """The keyring at ``path``. Raises KeyringError where it is missing or cannot be read."""
        return cls(path, stored.load(path, files), argon2=argon2, files=files)

    @classmethod
    def parse(
        cls,
        content: bytes,
        path: Path,
        *,
        argon2: Argon2 = Argon2(),  # noqa: B008 - frozen
        files: Files = FILES,
    ) -> Keyring:
        """As ``load``, of bytes that are to lie at ``path``, such as a replica's. Raises KeyringError."""
        return cls(path, stored.parse(content, path), argon2=argon2, files=files)

    @property
    def archive_id(self) -> UUID:
        """The archive's id."""
        return self._data.archive

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key that seals are checked with."""
        return self._data.verify_key

    @property
    def mailboxes(self) -> Mapping[bytes, bytes]:
        """Public key of each mailbox by its id; who can write the file can have put others there."""
        return _public_keys(self._data)

    @property
    def digest(self) -> bytes:
        """32 bytes that change with whatever the keyring holds."""
        return stored.digest(self._data)

    def slots(self) -> tuple[SlotInfo, ...]:
        """The ways there are to unlock it."""
        return slots.infos(self._data)

    def public_key(self, mailbox_id: bytes) -> bytes:
        """A mailbox's public key. Raises NotFoundError."""
        return self._data.mailbox(mailbox_id).public

    def is_sealed(self, mailbox_id: bytes) -> bool:
        """Whether only the mailbox's own password opens its mail. Raises NotFoundError."""
        return self._data.mailbox(mailbox_id).is_sealed

    def open_mailbox(self, mailbox_id: bytes, secret: str) -> UnlockedMailbox:
        """Open a mailbox by its password or one of its tokens. Raises SignInError where it does not fit."""
        return UnlockedMailbox(mailbox_id, MailboxKeyPair(self.open_private(mailbox_id, secret)))

    def open_private(self, mailbox_id: bytes, secret: str) -> bytes:
        """The mailbox's private key (96 bytes), as ``open_mailbox`` opens it. Raises SignInError."""
        return mailbox_keys.open_private(self._data, mailbox_id, secret)

    def unlock_with_passphrase(self, passphrase: str) -> Unlocked:
        """Raises KeyringError where it does not fit."""
        return self._unlock("passphrase", slots.spelled(passphrase), later("The passphrase is not right."))

    def unlock_with_recovery_key(self, text: str) -> Unlocked:
        """Raises KeyringError where it is mistyped or does not fit."""
        return self._unlock(
            "recovery",
            recovery.from_text(text),
            later(
                "The recovery key is well-formed, but belongs to another archive, or a newer one has taken its place."
            ),
        )

    def unlock_with_keyfile(self, path: Path) -> Unlocked:
        """Raises KeyringError where the keyfile is missing, is none, or does not fit."""
        return self._unlock(
            "keyfile",
            _read_keyfile(self._files, path),
            f"The keyfile {path} belongs to another archive, or its slot was removed.",
        )

    def unlock_with_credential(self, secret: bytes) -> Unlocked:
        """By the bytes that systemd has decrypted. Raises KeyringError where they do not fit."""
        return self._unlock(
            "credential", secret, "The systemd credential belongs to another archive, or its slot was removed."
        )

    def _unlock(self, kind: SlotKind, secret: bytes, refusal: str) -> Unlocked:
        if all(slot.kind != kind for slot in self._data.slots):
            raise KeyringError(f"This archive cannot be unlocked by {kind}: it was not set up so.")
        found = slots.opened(self._data, kind, secret)
        if found is None:
            raise KeyringError(refusal)
        if not self._file.is_authentic(found[1]):
            raise KeyringError(
                "The keyring opens, but somebody or something has changed it. No mail was lost by that; put "
                f"back a copy of {self._path} from before."
            )
        return Unlocked(self._path, self._data, found[1], argon2=self._argon2, files=self._files)


class Unlocked:
    """An unlocked keyring (``management.KeyManagement``). Threads may share it; secrets do not show in its repr."""

    def __init__(
        self, path: Path, data: KeyringData, appliance_key: bytes, *, argon2: Argon2, files: Files = FILES
    ) -> None:
        """Made by ``Keyring``. Raises DamageError where the keyring's own keys do not open."""
        self._path = path
        self._data = data
        self._appliance_key = appliance_key
        self._argon2 = argon2
        self._files = files
        self._lock = threading.Lock()
        self._wrapping = purpose_key(appliance_key, "wrap")
        self._base = unwrap(self._wrapping, data.base, data.aad("base")) if data.base else appliance_key
        self._signing = Ed25519PrivateKey.from_private_bytes(
            unwrap(self._wrapping, data.signing_key, data.aad("signing"))
        )
        self._pairs: dict[bytes, MailboxKeyPair] = {}
        self._begun: bytes | None = None
        self._grants = Grants()

    # -- using the keys (access.Keys) --------------------------------------------------------------------------------

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
        return _public_keys(self._data)

    @property
    def digest(self) -> bytes:
        """32 bytes that change with whatever the keyring holds."""
        return stored.digest(self._data)

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose ("settings", "catalogue-lookup", …), always the same for this archive."""
        return purpose_key(self._base, "purpose " + purpose)

    def public_key(self, mailbox_id: bytes) -> bytes:
        """A mailbox's public key. Raises NotFoundError."""
        return self._data.mailbox(mailbox_id).public

    def is_sealed(self, mailbox_id: bytes) -> bool:
        """Whether only the mailbox's own password opens its mail. Raises NotFoundError."""
        return self._data.mailbox(mailbox_id).is_sealed

    def content_key(self, mailbox_id: bytes) -> bytes:
        """The 32-byte key of a mailbox's content hashes. Raises NotFoundError, DamageError, SealedError."""
        return mailbox_keys.content_key(self._data, mailbox_id, self._wrapping)

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The data key sealed in a volume's header. Raises DamageError, NotFoundError, SealedError."""
        pair = self._pairs.get(mailbox_id)
        if pair is None:
            pair = MailboxKeyPair(mailbox_keys.private_key(self._data, mailbox_id, self._wrapping))
            self._pairs[mailbox_id] = pair
        return mailbox_keys.data_key(pair, sealed, info)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (64 bytes, RFC 8032)."""
        return self._signing.sign(message)

    def refresh(self) -> None:
        """Learn of mailboxes that another process has made. Raises KeyringError where the file was altered."""
        with self._lock:
            self._data = self._stored()

    # -- the ways to the appliance key (management.KeyManagement) ----------------------------------------------------

    def slots(self) -> tuple[SlotInfo, ...]:
        """All slots, in the order in which they were made."""
        return slots.infos(self._data)

    def add_passphrase(self, passphrase: str, name: str = "") -> str:
        """One more passphrase; the slot's id. Raises UsageError for an empty one, KeyringError."""
        return self._add_slot("passphrase", _required(passphrase), argon2=self._argon2, name=name)

    def add_keyfile(self, path: Path, name: str = "") -> str:
        """Write a new keyfile to ``path``; the slot's id. Raises ConflictError where the file exists, KeyringError."""
        key = os.urandom(KEY_SIZE)
        try:
            _write_keyfile(self._files, path, key)
        except OSError as error:
            raise _not_written(error) from error
        try:
            return self._add_slot("keyfile", key, name=name)
        except KeyringError:
            self._files.unlink(path)
            raise

    def add_credential(self, name: str = "") -> tuple[str, bytes]:
        """A slot for a secret that systemd keeps: its id, and the 32 bytes for ``systemd-creds encrypt``."""
        secret = os.urandom(KEY_SIZE)
        return self._add_slot("credential", secret, name=name), secret

    def begin_recovery_key(self) -> str:
        """A new recovery key as text. It opens nothing until ``confirm_recovery_key`` has seen it typed back."""
        self._begun = recovery.new_secret()
        return recovery.to_text(self._begun)

    def confirm_recovery_key(self, text: str) -> str:
        """Put the begun recovery key in force in place of the one before; the slot's id.

        Raises UsageError where none was begun, KeyringError where ``text`` is not it; then the old one stays.
        """
        secret, begun = recovery.from_text(text), self._begun
        if begun is None:
            raise UsageError("No new recovery key waits to be confirmed. Begin again.")
        if not hmac.compare_digest(secret, begun):
            raise KeyringError(
                later("That is not the new recovery key. The one before stays in force; type the new one.")
            )
        with self._lock:
            data = self._stored()
            slot = slots.make(data.archive, data.slots, "recovery", secret, self._appliance_key)
            self._replace(slots.with_recovery(data, slot))
        self._begun = None
        return slot.id

    def change_passphrase(self, id: str, passphrase: str) -> None:
        """Another passphrase in the slot of that id. Raises NotFoundError, UsageError, KeyringError."""
        secret = _required(passphrase)
        with self._lock:
            data = self._stored()
            if slots.find(data, id).kind != "passphrase":
                raise UsageError(f"The slot {id} is no passphrase.")
            self._replace(slots.with_passphrase(data, id, secret, self._appliance_key, self._argon2))

    def remove_slot(self, id: str) -> None:
        """Take a slot away. Raises NotFoundError, and ConflictError for the last slot and the only recovery key."""
        with self._lock:
            self._replace(slots.removed(self._stored(), id))

    def new_appliance_key(self, *, passphrase: str = "", keyfile: Path | None = None) -> str:
        """A new appliance key, and the new recovery key's text; see ``management.KeyManagement``."""
        given: list[tuple[SlotKind, bytes]] = []
        if passphrase:
            given.append(("passphrase", slots.spelled(passphrase)))
        if keyfile is not None:
            given.append(("keyfile", _read_keyfile(self._files, keyfile)))
        if not given:
            raise UsageError("Give the passphrase or the keyfile that is to open the archive afterwards.")
        secret = recovery.new_secret()
        appliance_key = os.urandom(KEY_SIZE)
        with self._lock:
            data = self._stored()
            kept = {_fitting(data, kind, one).id: one for kind, one in given}
            ways = slots.rewrapped(data, kept, appliance_key)
            recovery_slot = slots.make(data.archive, ways, "recovery", secret, appliance_key)
            self._adopt(data, (*ways, recovery_slot), appliance_key)
        return recovery.to_text(secret)

    # -- who opens a mailbox (management.KeyManagement) --------------------------------------------------------------

    def create_mailbox(self, mailbox_id: bytes, *, sealed: bool = False, password: bool = True) -> NewMailbox:
        """Make a mailbox's keys, durable on return. Raises ConflictError, KeyringError."""
        if sealed and not password:
            raise UsageError("Nothing would open a sealed mailbox without a password.")
        text = mailbox_keys.new_password() if password else ""
        with self._lock:
            # Another process may have added a mailbox since this one read the file.
            data = self._stored()
            keys, private = mailbox_keys.new(data, mailbox_id, self._wrapping, sealed=sealed)
            if text:
                keys = mailbox_keys.with_password(data, mailbox_id, keys, private, text, self._argon2)
            self._replace(data.with_mailbox(mailbox_id, keys))
        return NewMailbox(keys.public, text)

    def set_mailbox_password(self, mailbox_id: bytes, *, old: str = "", new: str = "") -> str:
        """Another password; its text. Raises NotFoundError, UsageError, SignInError, KeyringError."""
        if new:
            mailbox_keys.require_good(new)
        text = new or mailbox_keys.new_password()
        with self._lock:
            data = self._stored()
            keys, private = self._private(data, mailbox_id, old)
            keys = mailbox_keys.with_password(data, mailbox_id, keys, private, text, self._argon2)
            self._replace(data.with_mailbox(mailbox_id, keys))
        return text

    def mailbox_tokens(self, mailbox_id: bytes) -> tuple[TokenInfo, ...]:
        """The tokens of a mailbox, oldest first. Raises NotFoundError."""
        return mailbox_keys.tokens(self._data.mailbox(mailbox_id))

    def add_mailbox_token(self, mailbox_id: bytes, name: str, *, password: str = "") -> NewToken:
        """One more token; a sealed mailbox needs its ``password``. Raises NotFoundError, SignInError, KeyringError."""
        with self._lock:
            data = self._stored()
            keys, private = self._private(data, mailbox_id, password)
            keys, token = mailbox_keys.with_token(data, mailbox_id, keys, private, name)
            self._replace(data.with_mailbox(mailbox_id, keys))
        return token

    def remove_mailbox_token(self, mailbox_id: bytes, id: str) -> None:
        """Take a token away. Raises NotFoundError, KeyringError."""
        with self._lock:
            data = self._stored()
            self._replace(data.with_mailbox(mailbox_id, mailbox_keys.without_token(data.mailbox(mailbox_id), id)))

    def open_mailbox(self, mailbox_id: bytes, secret: str, *, client: str = "") -> UnlockedMailbox:  # noqa: ARG002
        """Open a mailbox by its password or one of its tokens. Raises SignInError."""
        return UnlockedMailbox(mailbox_id, MailboxKeyPair(self.open_private(mailbox_id, secret)), self._grants)

    def open_private(self, mailbox_id: bytes, secret: str) -> bytes:
        """The mailbox's private key (96 bytes), as ``open_mailbox`` opens it. Raises SignInError."""
        return mailbox_keys.open_private(self._data, mailbox_id, secret)

    def granted(self, grant: str) -> bytes:
        """The id of the mailbox that is open under ``grant``. Raises ForbiddenError."""
        return self._grants.mailbox(grant)

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _add_slot(self, kind: SlotKind, secret: bytes, *, argon2: Argon2 | None = None, name: str = "") -> str:
        with self._lock:
            data = self._stored()
            slot = slots.make(data.archive, data.slots, kind, secret, self._appliance_key, argon2=argon2, name=name)
            self._replace(slots.added(data, slot))
        return slot.id

    def _private(self, data: KeyringData, mailbox_id: bytes, password: str) -> tuple[MailboxKeys, bytes]:
        """A mailbox's keys and its private key: by its own secret where one is given, else by the appliance key."""
        keys = data.mailbox(mailbox_id)
        if password:
            return keys, mailbox_keys.open_private(data, mailbox_id, password)
        if keys.is_sealed:
            raise SignInError("The mailbox is sealed. Give its password: only that opens it.")
        return keys, mailbox_keys.private_key(data, mailbox_id, self._wrapping)

    def _adopt(self, data: KeyringData, ways: tuple[Slot, ...], appliance_key: bytes) -> None:
        """Wrap everything with another appliance key, on the disk and then here."""
        wrapping = purpose_key(appliance_key, "wrap")
        ids = [bytes.fromhex(name) for name in data.mailboxes]
        data = msgspec.structs.replace(
            data,
            slots=ways,
            signing_key=wrap(wrapping, self._signing.private_bytes_raw(), data.aad("signing")),
            base=wrap(wrapping, self._base, data.aad("base")),
            mailboxes={one.hex(): mailbox_keys.rewrapped(data, one, self._wrapping, wrapping) for one in ids},
        )
        try:
            self._write(data, appliance_key)
        except KeyringError:
            # The rename may have happened all the same. Then the file opens with the new key only, and so do we.
            if not stored.load(self._path, self._files).is_authentic(appliance_key):
                raise
            self._appliance_key, self._wrapping, self._data = appliance_key, wrapping, data
            raise
        self._appliance_key, self._wrapping, self._data = appliance_key, wrapping, data

    def _replace(self, data: KeyringData) -> None:
        self._write(data, self._appliance_key)
        self._data = data

    def _write(self, data: KeyringData, appliance_key: bytes) -> None:
        try:
            replace_file(self._files, self._path, stored.encode(data, appliance_key), KEYRING_MODE)
        except OSError as error:
            raise _not_written(error) from error

    def _stored(self) -> KeyringData:
        """What the file holds now. Raises KeyringError where it was altered."""
        file = stored.load(self._path, self._files)
        if not file.is_authentic(self._appliance_key):
            raise KeyringError(
                f"{self._path} has been altered by somebody who does not have its keys. Nothing was changed now; "
                "put back a copy from before."
            )
        return file.keyring


def _public_keys(data: KeyringData) -> dict[bytes, bytes]:
    return {bytes.fromhex(name): keys.public for name, keys in data.mailboxes.items()}


def _fitting(data: KeyringData, kind: SlotKind, secret: bytes) -> Slot:
    found = slots.opened(data, kind, secret)
    if found is None:
        raise KeyringError(f"The {kind} is not right. Nothing was changed.")
    return found[0]


def _required(passphrase: str) -> bytes:
    if not passphrase:
        raise UsageError("A passphrase is not empty.")
    return slots.spelled(passphrase)


def _read_keyfile(files: Files, path: Path) -> bytes:
    try:
        return bytes.fromhex(read_file(files, path).decode("ascii").strip())
    except OSError as error:
        raise KeyringError(
            f"The keyfile {path} cannot be read ({error.strerror}). The passphrase or the recovery key opens "
            "the archive too."
        ) from error
    except ValueError as error:
        raise KeyringError(f"{path} is no keyfile of mailkeep.") from error


def _write_keyfile(files: Files, path: Path, key: bytes) -> None:
    create_file(files, path, key.hex().encode() + b"\n", _KEYFILE_MODE)


def _not_written(error: OSError) -> ConflictError | KeyringError:
    if isinstance(error, FileExistsError):
        return ConflictError(f"There is a file {error.filename} already; it is left as it is.")
    return KeyringError(
        f"The keyring could not be written ({error.strerror}). It is whole and holds what it held before, or the "
        "change already; look which, and try again."
    )
