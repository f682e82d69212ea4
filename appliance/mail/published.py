"""What archiver and gateway tell each other: two small JSON files, no database.

The gateway faces the internet, so it opens neither databases nor the keyring. The archiver writes
``settings_path(data)`` by atomic replace after every change; each gateway worker writes ``stats_path(data,
worker)`` the same way each second. Both lie in folders of their own because the gateway's file access is
granted by folder (Landlock binds to the folder, and an atomically replaced file is a new file each time).

Addresses are compared by ``address_key``. Times are microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from appliance import decoding

VERSION = 1
DEFAULT_SIZE_LIMIT = 350 * 1024 * 1024
"""Bytes. A journal report is larger than the message in it, and holds it twice where Exchange adds the
decrypted form of a protected one: twice the 150 MB that Exchange Online sends, and room for encoding."""


ALL_OF = "*@"
"""Before a domain: every address in it that nobody has by name."""


class GatewayMailbox(msgspec.Struct, frozen=True, omit_defaults=True):
    """A door that is open, or closed for maintenance.

    A suspended mailbox puts mail off and can be pulled from; a disabled one puts mail off and nobody pulls from it.
    """

    id: str  # 16 bytes as 32 hex digits
    addresses: tuple[str, ...]  # as ``address_key`` gives them; the first is the mailbox's own, and its POP3 name
    public_key: bytes  # base64 in the JSON
    state: Literal["active", "suspended", "disabled"] = "active"
    catch_all: tuple[str, ...] = ()  # domains of which it takes every address that no other mailbox has
    deletes: bool = False  # what a reader has pulled and deletes is erased
    networks: tuple[str, ...] = ()  # CIDR; none means from anywhere
    tls_required: bool = False


class RetiredAddress(msgspec.Struct, frozen=True):
    """An address, or all of a domain (``ALL_OF``), that lately led to a mailbox: answered 451 until then, so that
    haste loses nothing."""

    address: str
    until: int


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one client may use. Each worker process counts for itself; beyond a limit the answer is 421."""

    connections: int = 1000
    connections_per_client: int = 100
    errors_per_session: int = 20
    errors_per_client: int = 200  # in ten minutes, over all its sessions


class TlsFiles(msgspec.Struct, frozen=True, omit_defaults=True):
    """Certificate chain and private key, PEM, below the data folder's ``tls`` folder and named from DATA."""

    certificate: str = "tls/certificate.pem"
    key: str = "tls/key.pem"


class SealKey(msgspec.Struct, frozen=True):
    """Whose seals count: an archive volume that this key did not sign does not stand for anything."""

    archive_id: UUID
    verify_key: bytes  # Ed25519; base64 in the JSON


class GatewaySettings(msgspec.Struct, frozen=True):
    """All that a gateway worker needs to know. ``generation`` grows with each change of the settings."""

    version: int
    hostname: str
    generation: int = 0
    size_limit: int = DEFAULT_SIZE_LIMIT
    limits: Limits = Limits()
    tls: TlsFiles = TlsFiles()
    mailboxes: tuple[GatewayMailbox, ...] = ()
    retired: tuple[RetiredAddress, ...] = ()
    seal_key: SealKey | None = None


class WorkerStats(msgspec.Struct, frozen=True, omit_defaults=True):
    """One gateway worker's counters since it started. Messages, but for ``connections`` and ``open``.

    ``refused`` and ``deferred`` count commands answered 5xx and 4xx for a reason that ``reasons`` names;
    ``turned_away`` counts, by published address, mail that a mailbox's own state or rules sent back with 4xx:
    an administrator has to look at every one.
    """

    worker: int
    pid: int
    started_at: int
    updated_at: int
    generation: int | None = None  # of the settings in use; None while they cannot be read
    accepted: int = 0
    refused: int = 0
    deferred: int = 0
    bytes: int = 0  # of accepted originals, each counted once
    connections: int = 0
    open: int = 0
    last_accepted_at: int | None = None
    confined: bool = False  # the kernel enforces which files this worker can open
    reasons: dict[str, int] = {}
    turned_away: dict[str, int] = {}


def settings_path(data: Path) -> Path:
    """Where the archiver publishes ``GatewaySettings``."""
    return data / "gateway" / "gateway.json"


def erased_folder(data: Path) -> Path:
    """Where the archiver lists, for each mailbox, the ids of records that are erased (docs/format.md)."""
    return data / "gateway" / "erased"


def roll_path(data: Path) -> Path:
    """What whoever wants all volumes closed now replaces; the workers and the archiver look at it (docs/format.md)."""
    return data / "gateway" / "roll"


def stats_folder(data: Path) -> Path:
    """Where the workers publish; the one folder besides ``volumes`` that they may write to."""
    return data / "run" / "gateway"


def stats_path(data: Path, worker: int) -> Path:
    """Where gateway worker number ``worker`` publishes its ``WorkerStats``."""
    return stats_folder(data) / f"gateway-{worker}.json"


def encode(value: GatewaySettings | WorkerStats) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def decode_settings(content: bytes) -> GatewaySettings:
    """The settings in a file's content. Raises ValueError where it is not settings, or of another version."""
    settings = decoding.from_json(content, GatewaySettings)
    if settings.version != VERSION:
        raise ValueError(f"settings of version {settings.version}, this program reads version {VERSION}")
    return settings


def decode_stats(content: bytes) -> WorkerStats:
    """The counters in a file's content. Raises ValueError where it is not counters."""
    return decoding.from_json(content, WorkerStats)


def address_key(address: str) -> str:
    """The form in which two spellings of one address are equal.

    Lower case, Unicode NFC, the domain in its ASCII form (RFC 5891 A-labels; RFC 6531 section 3.2 lets a
    client send either). RFC 5321 section 2.4 would let local parts differ by case; no system that sends to
    an archive relies on it, and Exchange does not keep case.
    """
    address = unicodedata.normalize("NFC", address).lower()
    local, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    try:
        return f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        return address
