"""Changing the keys: the ways to unlock the archive, and who may open a mailbox.

``keyring.Unlocked`` does it in this process, ``agent_client.AgentKeys`` has the key agent do it. Every change is
durable on return and rewrites no mail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import msgspec

from appliance.keys.access import Keys

SlotKind = Literal["passphrase", "recovery", "keyfile", "credential"]

SHORTEST_PASSWORD = 12
"""Characters of a mailbox password that somebody chose; generated ones have 100 random bits."""


class SlotInfo(msgspec.Struct, frozen=True):
    """One way to the appliance key. ``id`` is 8 hex digits, ``created`` microseconds since 1970-01-01 UTC."""

    id: str
    kind: SlotKind
    name: str
    created: int


class NewMailbox(msgspec.Struct, frozen=True):
    """A mailbox's public key, and the password that opens its mail; kept nowhere, empty where it has none."""

    public: bytes
    password: str

    def __repr__(self) -> str:
        return "NewMailbox(…)"


class TokenInfo(msgspec.Struct, frozen=True):
    """A secret with which a program opens a mailbox. ``id`` is 8 hex digits, ``created`` microseconds."""

    id: str
    name: str
    created: int


class NewToken(msgspec.Struct, frozen=True):
    """A new token: its id and its text, which is kept nowhere."""

    id: str
    token: str

    def __repr__(self) -> str:
        return f"NewToken({self.id}, …)"


class OpenedMailbox(Protocol):
    """One mailbox opened by its own password or token, until ``close``; the appliance key was not needed."""

    @property
    def mailbox_id(self) -> bytes:
        """Which."""
        ...

    @property
    def grant(self) -> str:
        """Random text that proves to ``KeyManagement.granted`` that the mailbox is open here."""
        ...

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The data key sealed in a volume's header (``store.reader.KeyOpener``).

        Raises DamageError, ForbiddenError for another mailbox, LockedError once it is closed.
        """
        ...

    def close(self) -> None:
        """Forget the private key. The grant is worth nothing afterwards."""
        ...


class KeyManagement(Keys, Protocol):
    """``Keys``, and the right to change them. What a wrong secret raises is said with each call."""

    # -- the ways to the appliance key -------------------------------------------------------------------------------

    def slots(self) -> tuple[SlotInfo, ...]:
        """All slots, in the order in which they were made."""
        ...

    def add_passphrase(self, passphrase: str, name: str = "") -> str:
        """One more passphrase; the slot's id. Raises UsageError for an empty one, KeyringError."""
        ...

    def add_keyfile(self, path: Path, name: str = "") -> str:
        """Write a new keyfile to ``path``; the slot's id. Raises ConflictError where the file exists, KeyringError."""
        ...

    def add_credential(self, name: str = "") -> tuple[str, bytes]:
        """A slot for a secret that systemd keeps: its id, and the 32 bytes for ``systemd-creds encrypt``."""
        ...

    def begin_recovery_key(self) -> str:
        """A new recovery key as text. It opens nothing until ``confirm_recovery_key`` has seen it typed back."""
        ...

    def confirm_recovery_key(self, text: str) -> str:
        """Put the begun recovery key in force in place of the one before; the slot's id.

        Raises UsageError where none was begun, KeyringError where ``text`` is not it; then the old one stays.
        """
        ...

    def change_passphrase(self, id: str, passphrase: str) -> None:
        """Another passphrase in the slot of that id. Raises NotFoundError, UsageError, KeyringError."""
        ...

    def remove_slot(self, id: str) -> None:
        """Take a slot away. Raises NotFoundError, and ConflictError for the last slot and the only recovery key.

        A copy of the keyring from before still opens with it; ``new_appliance_key`` says what helps.
        """
        ...

    def new_appliance_key(self, *, passphrase: str = "", keyfile: Path | None = None) -> str:
        """A new appliance key, and the text of the new recovery key that comes with it.

        Every key is wrapped anew, no mail is rewritten. The slots of the given secrets stay (at least one has to be
        given), all others go away, the old recovery key among them. Whoever has learned the old appliance key can
        open nothing that the keyring holds from now on; the mailboxes' key pairs stay, so what he copied before he
        can read. Raises UsageError, KeyringError.
        """
        ...

    # -- who opens a mailbox -----------------------------------------------------------------------------------------

    def create_mailbox(self, mailbox_id: bytes, *, sealed: bool = False, password: bool = True) -> NewMailbox:
        """Make the keys of a mailbox (16 bytes).

        Its private key is wrapped by a generated password and, unless ``sealed``, by the appliance key. The system's
        own mailbox has no ``password``. Raises ConflictError, KeyringError.
        """
        ...

    def set_mailbox_password(self, mailbox_id: bytes, *, old: str = "", new: str = "") -> str:
        """Another password, generated where ``new`` is empty; its text.

        A sealed mailbox needs ``old``. The one before opens the mailbox no more, tokens stay. Raises NotFoundError,
        UsageError for a password that is too short, SignInError where ``old`` is wrong, KeyringError.
        """
        ...

    def mailbox_tokens(self, mailbox_id: bytes) -> tuple[TokenInfo, ...]:
        """The tokens of a mailbox, oldest first. Raises NotFoundError."""
        ...

    def add_mailbox_token(self, mailbox_id: bytes, name: str, *, password: str = "") -> NewToken:
        """One more token; a sealed mailbox needs its ``password``. Raises NotFoundError, SignInError, KeyringError."""
        ...

    def remove_mailbox_token(self, mailbox_id: bytes, id: str) -> None:
        """Take a token away. Raises NotFoundError, KeyringError."""
        ...

    def open_mailbox(self, mailbox_id: bytes, secret: str, *, client: str = "") -> OpenedMailbox:
        """Open a mailbox by its password or one of its tokens.

        ``client`` is where the secret came from, for slowing down who guesses. Raises SignInError where it does not
        fit, where there is no such mailbox, and after too many wrong tries.
        """
        ...

    def granted(self, grant: str) -> bytes:
        """The id of the mailbox that is open under ``grant``. Raises ForbiddenError."""
        ...
