"""What can happen to settings, and what people do that must be remembered: the entries of the system log.

Settings and audit share one log and one numbering. Every change of a setting is therefore an audit line by
construction, and a look into mail is an entry that changes nothing. An ``Entry`` is stored as MessagePack in a
record of a system volume; ``settings.db`` is what results from applying all of them in order.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from appliance.mail.folders import LEFT_OUT

Unknown = Literal["keep", "create", "ignore"]
State = Literal["active", "suspended", "disabled", "deleted"]


class UserPut(msgspec.Struct, frozen=True, tag=True):
    """A user is created or renamed, and holds exactly these addresses from now on (the first is the primary)."""

    user: str
    name: str
    addresses: tuple[str, ...]
    state: Literal["active", "disabled"] = "active"
    origin: str = "admin"  # admin, import, directory, mail (the mailbox's rule for unknown addresses)


class PasswordSet(msgspec.Struct, frozen=True, tag=True):
    """A password hash in PHC form; empty takes the password away."""

    user: str
    phc: str


class TotpSet(msgspec.Struct, frozen=True, tag=True):
    """A TOTP secret in base32; empty takes it away."""

    user: str
    secret: str


class InvitationMade(msgspec.Struct, frozen=True, tag=True):
    """A one-time code was handed out; only its hash is kept."""

    user: str
    code_hash: bytes
    expires: int  # seconds


class InvitationUsed(msgspec.Struct, frozen=True, tag=True):
    """A one-time code set a password."""

    code_hash: bytes


class RoleAsked(msgspec.Struct, frozen=True, tag=True):
    """Somebody is to become an auditor; a second auditor decides."""

    request: str
    user: str
    role: str
    reason: str


class RoleGranted(msgspec.Struct, frozen=True, tag=True):
    """A role is in force; ``request`` names the wish that was approved, if there was one."""

    user: str
    role: str
    reason: str
    request: str = ""


class RoleRefused(msgspec.Struct, frozen=True, tag=True):
    """A wish was refused."""

    request: str


class RoleRevoked(msgspec.Struct, frozen=True, tag=True):
    """A role is no longer in force."""

    user: str
    role: str


class ArchiveOpened(msgspec.Struct, frozen=True, tag=True):
    """A user may read another's archive from now on; ``archive`` is the id of whose it is."""

    user: str
    archive: str
    reason: str


class ArchiveClosed(msgspec.Struct, frozen=True, tag=True):
    """A user may not read that archive any more."""

    user: str
    archive: str


class MailboxPut(msgspec.Struct, frozen=True, tag=True):
    """A mailbox is created or changed. The id is 16 bytes; its keys are in the keyring under that id.

    ``sealed`` never changes: the archive has no key of such a mailbox. ``delete_after_pull`` and ``retention_days``
    (0 is for ever) are for sealed mailboxes.
    """

    mailbox: bytes
    name: str
    address: str
    state: State = "active"
    unknown: Unknown = "keep"
    networks: tuple[str, ...] = ()
    tls_required: bool = False
    domains: tuple[str, ...] = ()
    description: str = ""
    aliases: tuple[str, ...] = ()
    catch_all: tuple[str, ...] = ()
    sealed: bool = False
    delete_after_pull: bool = False
    retention_days: int = 0


class RecordsErased(msgspec.Struct, frozen=True, tag=True):
    """Records of a sealed mailbox count as gone; their ciphertext is dropped when their volume is closed."""

    mailbox: bytes
    records: tuple[bytes, ...]
    why: Literal["pulled", "retention"]


class TimestampingSet(msgspec.Struct, frozen=True, tag=True):
    """Where each day's chain head is sent for a timestamp (RFC 3161); empty for nowhere."""

    url: str


class CertificateSet(msgspec.Struct, frozen=True, tag=True):
    """Where the certificate of gateway, POP3 and web comes from; the certificate itself lies in ``tls/``.

    ``names`` are those it is for, none meaning the archive's host name. For an authority (acme): its directory, whom it
    may write to, the terms that were agreed to and the private key (PEM) of the account there.
    """

    source: Literal["self-signed", "own", "acme"]
    names: tuple[str, ...] = ()
    directory: str = ""
    contact: str = ""
    terms: str = ""
    account: str = ""

    def __repr__(self) -> str:
        return f"CertificateSet({self.source}, {self.names}, {self.directory}, …)"


class RemotePut(msgspec.Struct, frozen=True, tag=True):
    """A remote is added or changed. The fields are those of ``cloud.remote.RemoteConfig``, ``kind`` being its type;
    ``options`` hold secrets."""

    name: str
    kind: str
    options: dict[str, str] = {}
    path: str = ""
    paused: bool = False
    interval: int = 300
    snapshot_interval: int = 86_400
    bandwidth: str = ""
    transfers: int = 4
    lock_days: int = 0
    lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] = "GOVERNANCE"
    keep_daily: int = 7
    keep_weekly: int = 4

    def __repr__(self) -> str:
        return f"RemotePut({self.name}, {self.kind}, …)"


class RemoteRemoved(msgspec.Struct, frozen=True, tag=True):
    """Nothing is replicated there any more; what lies there stays."""

    name: str


class ReplicationSet(msgspec.Struct, frozen=True, tag=True):
    """What holds for all remotes together.

    Volumes older than ``keep_local_days`` (0: none) may be dropped here once two verified replicas have them.
    """

    keep_local_days: int = 0
    rehearsal: bool = True  # once a week


class DirectoryPut(msgspec.Struct, frozen=True, tag=True):
    """A directory that users come from is added or changed. ``options`` hold secrets; ``interval`` is seconds between
    two synchronisations, 0 for by hand only. ``signs_in``: its people may sign in with their password there."""

    name: str
    kind: str
    options: dict[str, str] = {}
    interval: int = 3600
    signs_in: bool = False

    def __repr__(self) -> str:
        return f"DirectoryPut({self.name}, {self.kind}, …)"


class DirectoryRemoved(msgspec.Struct, frozen=True, tag=True):
    """Nothing is taken from there any more; the users that came from it stay as they are."""

    name: str


class Link(msgspec.Struct, frozen=True):
    """That an entry of a directory is a user here, and the state it was last seen in; ``gone`` is listed no more."""

    person: str
    user: str
    state: Literal["active", "disabled", "deleted", "gone"]
    kind: Literal["user", "shared"] = "user"


class PeopleLinked(msgspec.Struct, frozen=True, tag=True):
    """Entries of a directory are users from now on, or have come into another state."""

    directory: str
    links: tuple[Link, ...]


class DirectorySynchronised(msgspec.Struct, frozen=True, tag=True):
    """All of a directory was read and users were changed after it: how many entries led to what."""

    name: str
    created: int
    changed: int
    unchanged: int
    refused: int
    disabled: int  # because they are listed no more
    left_out: int
    excluded: int


class ProfilePut(msgspec.Struct, frozen=True, tag=True):
    """An archiving profile is added or changed: from where mail is fetched, which, whose it becomes, how often.

    ``options`` are the source's and hold secrets. ``archive`` is the user whose archive all of it goes to; empty: each
    account's mail goes to the user who has its address. Of the users ``only`` or all ``except`` those ``chosen`` (ids).
    ``include`` and ``exclude`` are patterns of folders (``mail.folders.Selection``). Of the messages those received
    from ``since`` and before ``before`` (dates, ISO 8601; empty: open), at least ``older_than_days`` old, of at most
    ``largest`` bytes (0: any), whose sender and subject contain what is given. ``delete_after_days`` (0: never): after
    so many days a message is deleted at the source, once its archived copy was read back. ``interval`` is seconds
    between two runs, or ``cron`` five fields of crontab(5), or neither: by hand. ``parallel`` accounts at a time,
    ``rate`` bytes a second at most (0: any), ``timeout`` seconds for an answer (0: the source's own).
    """

    name: str
    kind: str
    options: dict[str, str] = {}
    archive: str = ""
    users: Literal["all", "only", "except"] = "all"
    chosen: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = LEFT_OUT
    since: str = ""
    before: str = ""
    older_than_days: int = 0
    largest: int = 0
    only_read: bool = False
    sender: str = ""
    subject: str = ""
    delete_after_days: int = 0
    directory: str = ""  # synchronised before each run
    interval: int = 0
    cron: str = ""
    parallel: int = 4
    rate: int = 0
    timeout: int = 0
    paused: bool = False

    def __repr__(self) -> str:
        return f"ProfilePut({self.name}, {self.kind}, …)"


class ProfileRemoved(msgspec.Struct, frozen=True, tag=True):
    """Nothing is fetched by it any more; what was fetched stays."""

    name: str


class GatewaySet(msgspec.Struct, frozen=True, tag=True):
    """Host name and limits of the gateway."""

    hostname: str
    size_limit: int


class WatchSet(msgspec.Struct, frozen=True, tag=True):
    """When a mailbox (empty: any that has no rule of its own) that gets no mail raises an alarm.

    The fields are those of ``services.alarms.working_time.WorkingTime``. ``own`` false takes a mailbox's own rule away.
    """

    mailbox: bytes = b""
    own: bool = True
    hours: int = 6
    days: tuple[int, ...] = (0, 1, 2, 3, 4)
    begins: int = 480
    ends: int = 1080
    zone: str = ""


class NotifyingSet(msgspec.Struct, frozen=True, tag=True):
    """How alarms are told: by mail through a server (no host: not at all), by a webhook (no URL: not at all).

    ``daily_hour`` is the hour at which the daily mail goes out, None for never. ``password`` and ``secret`` are
    secrets.
    """

    host: str = ""
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    language: str = "en"
    level: Literal["warning", "error"] = "warning"
    daily_hour: int | None = 7
    url: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"NotifyingSet({self.host}, {self.url}, …)"


class MetricsTokenSet(msgspec.Struct, frozen=True, tag=True):
    """The token with which metrics are read; only its SHA-256 is kept. Empty: they are read on the box only."""

    token_hash: bytes = b""


class HoldPlaced(msgspec.Struct, frozen=True, tag=True):
    """Nothing of this archive (empty: of any archive) received in the period may be erased."""

    hold: str
    reason: str
    archive: str = ""
    since: int = 0  # microseconds
    until: int = 0  # microseconds, 0 for open


class ImportFolderSet(msgspec.Struct, frozen=True, tag=True):
    """The folder of the box whose files are imported by themselves; empty where there is none."""

    path: str


class HoldReleased(msgspec.Struct, frozen=True, tag=True):
    """The hold is no longer in force."""

    hold: str


class Noted(msgspec.Struct, frozen=True, tag=True):
    """Something was done that changes no setting: a sign-in, a search, a look, an export."""

    action: str
    what: str = ""
    reason: str = ""


Event = (
    UserPut | PasswordSet | TotpSet | InvitationMade | InvitationUsed | RoleAsked | RoleGranted | RoleRefused
    | RoleRevoked | ArchiveOpened | ArchiveClosed | MailboxPut | RecordsErased | TimestampingSet | CertificateSet
    | RemotePut | RemoteRemoved | ReplicationSet | DirectoryPut | DirectoryRemoved | PeopleLinked
    | DirectorySynchronised | ProfilePut | ProfileRemoved | GatewaySet | WatchSet | NotifyingSet | MetricsTokenSet
    | ImportFolderSet | HoldPlaced | HoldReleased | Noted
)  # fmt: skip


class Entry(msgspec.Struct, frozen=True):
    """One entry of the system log.

    ``previous`` is the SHA-256 of the entry before it, so that none can be taken out or changed unnoticed. Where
    two entries carry the same number the later one counts: the first was written by a try whose confirmation
    failed, and nobody was told that it had happened.
    """

    number: int
    at: int  # microseconds
    by: str  # user id, local:<unix user>, or system
    client: str  # address of the browser, empty for the box itself
    previous: bytes
    event: Event


GENESIS = bytes(32)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """The stored form."""
    return _encoder.encode(entry)


def decode(raw: bytes) -> Entry:
    """Reverse of ``encode``; raises msgspec.DecodeError."""
    return _decoder.decode(raw)


def digest(raw: bytes) -> bytes:
    """What the next entry names as ``previous``."""
    return hashlib.sha256(raw).digest()
