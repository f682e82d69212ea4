"""What the rest of the product may ask of the keys, wherever they are: in this process, or in the key agent.

``keyring.Unlocked`` has them in its own memory; ``agent_client.AgentKeys`` asks the process that has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from appliance.keys.envelope import derive


class Keys(Protocol):
    """The keys of an unlocked archive. Threads may share it. Any call raises LockedError once it is locked."""

    @property
    def archive_id(self) -> UUID:
        """The archive's id."""
        ...

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key that belongs to ``sign``."""
        ...

    @property
    def mailboxes(self) -> Mapping[bytes, bytes]:
        """Public key of each mailbox by its id, as of the last ``refresh``."""
        ...

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose ("settings", "index", …), always the same for this archive."""
        ...

    def public_key(self, mailbox_id: bytes) -> bytes:
        """A mailbox's public key. Raises NotFoundError."""
        ...

    def is_sealed(self, mailbox_id: bytes) -> bool:
        """Whether only the mailbox's own password opens its mail. Raises NotFoundError."""
        ...

    def content_key(self, mailbox_id: bytes) -> bytes:
        """The 32-byte key of a mailbox's content hashes. Raises NotFoundError, DamageError, SealedError."""
        ...

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The data key sealed in a volume's header. Raises DamageError, NotFoundError, SealedError."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (64 bytes, RFC 8032)."""
        ...

    def refresh(self) -> None:
        """Learn of mailboxes that another process has made. Raises KeyringError where the file was altered."""
        ...


def collector_key(service: bytes, archive: UUID) -> bytes:
    """What the collector has in place of the key of purpose ``service``: 32 bytes that open neither mail nor anything
    of a replica."""
    return derive(service, info=b"mailkeep collector v1\x00" + archive.bytes)
