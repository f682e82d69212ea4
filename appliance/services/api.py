"""The values that services return and faces show. A face knows these structs and ``services.client``, no more.

All times are seconds since 1970-01-01 UTC. Ids are opaque strings that are safe in a URL. What a struct holds
has already been reduced to what the caller may see.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from appliance.framing import Failure
from appliance.mail.folders import Role as FolderRole

ALL = "all"
"""Stands for each archive that the caller may read, where a call takes the id of one; no id is that word."""

Role = Literal["user", "auditor", "admin"]
Sort = Literal["date", "date-asc", "relevance"]


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """A name and an address for display; either may be empty."""

    name: str = ""
    address: str = ""


class OtherArchive(msgspec.Struct, frozen=True):
    """Somebody else's archive, by the id, the name and the primary address of its user."""

    id: str
    name: str
    address: str


class Caller(msgspec.Struct, frozen=True):
    """Who a session belongs to. ``opened`` are the others' archives that they may read, by name."""

    user_id: str
    name: str
    address: str
    roles: tuple[Role, ...]
    totp_enabled: bool = False
    totp_required: bool = False  # administrators and auditors set TOTP up at their first sign-in
    content_roles: bool = False  # an active auditor: may search all archives
    opened: tuple[OtherArchive, ...] = ()


class SignedIn(msgspec.Struct, frozen=True):
    """A new session; ``token`` goes into the cookie and nowhere else."""

    token: str
    caller: Caller
    expires_at: int


class FolderPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A folder by itself: where a message lay, or where is searched. ``archive`` and ``name`` are its owner's id and
    name."""

    id: str
    archive: str
    name: str
    path: tuple[str, ...]
    role: FolderRole = ""


class FolderInfo(msgspec.Struct, frozen=True):
    """A folder in a tree; ``messages`` lay in itself, not in those that are in it."""

    id: str
    path: tuple[str, ...]  # names from the top
    role: FolderRole
    messages: int
    children: tuple[FolderInfo, ...] = ()


class FolderTree(msgspec.Struct, frozen=True):
    """The folders of one archive, by its owner's id and name; those at the top."""

    archive: str
    name: str
    folders: tuple[FolderInfo, ...]


class Hit(msgspec.Struct, frozen=True):
    """One line of a result list."""

    id: str
    subject: str
    from_: tuple[Person, ...] = msgspec.field(name="from", default=())
    to: tuple[Person, ...] = ()
    date: int = 0
    size: int = 0
    attachments: int = 0
    unparsed: bool = False
    snippet: str = ""  # plain text
    marks: tuple[tuple[int, int], ...] = ()  # (start, end) of the found words in ``snippet``
    thread_size: int = 0
    archives: tuple[str, ...] = ()  # ids of those of the searched archives that it is in, where these are several


class Bucket(msgspec.Struct, frozen=True):
    """One value of a facet, how many hits have it, and the words that narrow the query to it."""

    label: str
    count: int
    query: str


class Idle(msgspec.Struct, frozen=True):
    """Whether all accepted mail is searchable, and how many records are not."""

    idle: bool
    backlog: int


MOST_HITS = 500
"""Hits on one page."""


class SearchPage(msgspec.Struct, frozen=True):
    """One page of results. ``total`` is exact."""

    query: str
    total: int
    offset: int
    hits: tuple[Hit, ...]
    years: tuple[Bucket, ...] = ()
    senders: tuple[Bucket, ...] = ()
    attachments: tuple[Bucket, ...] = ()  # with and without
    milliseconds: float = 0.0
    everywhere: bool = False  # an auditor's search over all archives
    folder: FolderPlace | None = None  # the folder that it was kept to
    trees: tuple[FolderTree, ...] = ()  # of the archives that it is about, where they were asked for


class PartInfo(msgspec.Struct, frozen=True):
    """One attachment as listed under a message."""

    part: int
    name: str
    content_type: str
    size: int
    inline: bool = False
    text_status: str = "none"
    within: int | None = None
    """The part that it lies in, a winmail.dat (TNEF)."""


class EnvelopeLine(msgspec.Struct, frozen=True):
    """One recipient of the journal envelope that this caller may know of."""

    address: str
    kind: str  # to, cc, bcc, recipient
    name: str = ""
    expanded: str = ""
    forwarded: str = ""


class EnvelopeView(msgspec.Struct, frozen=True):
    """What the journal report said, reduced to what this caller may see."""

    sender: str = ""
    on_behalf_of: str = ""
    recipients: tuple[EnvelopeLine, ...] = ()
    groups: tuple[str, ...] = ()
    reduced: bool = False  # whoever this caller may not know of is left out, if there is anybody


class ThreadItem(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    id: str
    subject: str
    from_: tuple[Person, ...] = msgspec.field(name="from", default=())
    date: int = 0
    current: bool = False


class CopyInfo(msgspec.Struct, frozen=True):
    """One stored original of the message: when and how it came in, and its fingerprint."""

    record: str
    received_at: int
    source: str
    mailbox: str
    sha256: str
    size: int
    report: bool = False


class MessageView(msgspec.Struct, frozen=True):
    """One message, opened. HTML is fetched apart (``message_html``) and shown in a sandboxed frame."""

    id: str
    subject: str
    from_: tuple[Person, ...] = msgspec.field(name="from", default=())
    to: tuple[Person, ...] = ()
    cc: tuple[Person, ...] = ()
    bcc: tuple[Person, ...] = ()  # only what this caller may see
    reply_to: tuple[Person, ...] = ()
    date: int = 0
    received_at: int = 0
    size: int = 0
    text: str = ""
    has_html: bool = False
    attachments: tuple[PartInfo, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()  # all headers in their order, Bcc only where it may be seen
    envelope: EnvelopeView | None = None
    thread: tuple[ThreadItem, ...] = ()
    copies: tuple[CopyInfo, ...] = ()
    unparsed: bool = False
    defects: tuple[str, ...] = ()
    may_report: bool = False  # auditors: the journal report as received can be downloaded
    others: tuple[str, ...] = ()  # ids of the others' archives that it was opened in
    folders: tuple[FolderPlace, ...] = ()  # in which it lay, of mail that was fetched


class HtmlView(msgspec.Struct, frozen=True):
    """Sanitised HTML of a message. ``blocked`` counts remote things left out."""

    html: str
    blocked: int = 0


class Download(msgspec.Struct, frozen=True):
    """Bytes for a file; ``name`` is what the file should be called."""

    name: str
    content_type: str
    content: bytes


class MailboxInfo(msgspec.Struct, frozen=True):
    """A mailbox: the door that mail servers send to."""

    id: str
    name: str
    address: str
    state: Literal["active", "suspended", "disabled", "deleted"]
    unknown: Literal["keep", "create", "ignore"] = "keep"
    networks: tuple[str, ...] = ()
    tls_required: bool = False
    description: str = ""
    aliases: tuple[str, ...] = ()
    catch_all: tuple[str, ...] = ()  # domains
    sealed: bool = False  # only its password opens its mail
    delete_after_pull: bool = False
    retention_days: int = 0  # 0 is for ever
    records: int = 0
    bytes: int = 0  # of the originals; of a sealed mailbox, and of what waits for the projector, as they are stored
    first_at: int | None = None  # the oldest message that is still there
    last_at: int | None = None
    created_at: int = 0


class PullInfo(msgspec.Struct, frozen=True):
    """With what a mailbox is fetched over POP3 with TLS; the password is the mailbox's own."""

    host: str
    port: int
    user: str


class MailboxCreated(msgspec.Struct, frozen=True):
    """A new mailbox, and the password that opens its mail; shown once."""

    mailbox: MailboxInfo
    password: str


class PullMessage(msgspec.Struct, frozen=True):
    """A message that can be fetched by its id (32 hex digits)."""

    id: str
    received_at: int  # microseconds


class PullPage(msgspec.Struct, frozen=True):
    """Messages behind a cursor, and the cursor behind them; ``more`` says that there are others behind that now."""

    messages: tuple[PullMessage, ...]
    cursor: str
    more: bool


class PullAcknowledged(msgspec.Struct, frozen=True):
    """What an acknowledgement led to: messages erased, and the cursor that is kept for the token, if one was given."""

    erased: int
    kept: str


class TokenInfo(msgspec.Struct, frozen=True):
    """A secret with which a program pulls from a mailbox over HTTPS."""

    id: str
    name: str
    created_at: int


class TokenCreated(msgspec.Struct, frozen=True):
    """A new token; shown once."""

    info: TokenInfo
    token: str


class SlotInfo(msgspec.Struct, frozen=True):
    """One way to the appliance key."""

    id: str
    kind: Literal["passphrase", "recovery", "keyfile", "credential"]
    name: str
    created_at: int


class UserInfo(msgspec.Struct, frozen=True):
    """A person (or shared mailbox) whose mail is kept."""

    id: str
    name: str
    primary: str
    aliases: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ("user",)
    state: Literal["active", "disabled"] = "active"
    sign_in: Literal["none", "invited", "password"] = "none"
    totp_enabled: bool = False
    messages: int = 0


class AccessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """That a user may read another's archive: ids, names and primary addresses, why, by whose leave and since when."""

    user: str
    user_name: str
    user_address: str
    archive: str
    archive_name: str
    archive_address: str
    reason: str
    opened_by: str
    since: int


class ArchiveReader(msgspec.Struct, frozen=True):
    """Somebody who may read the caller's archive, and since when."""

    name: str
    address: str
    since: int


class UserPage(msgspec.Struct, frozen=True):
    """A slice of the user list; ``total`` counts all that match."""

    total: int
    users: tuple[UserInfo, ...]


class Invitation(msgspec.Struct, frozen=True):
    """A one-time code with which a person sets a password; shown once."""

    user_id: str
    address: str
    code: str
    expires_at: int


class ImportResult(msgspec.Struct, frozen=True):
    """What a user import did, line by line where something was wrong."""

    created: int
    changed: int
    unchanged: int
    errors: tuple[tuple[int, str], ...] = ()  # (line number, sentence)


class RoleRequest(msgspec.Struct, frozen=True):
    """A wish to make somebody an auditor that a second auditor has to approve."""

    id: str
    user_id: str
    address: str
    reason: str
    asked_by: str
    asked_at: int


class AuditLine(msgspec.Struct, frozen=True):
    """One line of the audit trail."""

    number: int
    at: int
    who: str
    action: str
    what: str
    reason: str = ""


class AuditPage(msgspec.Struct, frozen=True):
    """A slice of the audit trail, newest first."""

    total: int
    lines: tuple[AuditLine, ...]


class RunInfo(msgspec.Struct, frozen=True):
    """A run of the replicator, as the history shows it; with ``done`` and what follows while it is under way."""

    id: int
    remote: str  # empty for what concerns all remotes together
    kind: Literal["replicate", "sample", "check", "rehearse", "release", "fill"]
    asked: bool  # by somebody; else it was due
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    queued_at: int
    begun_at: int | None = None
    ended_at: int | None = None
    words: str = ""  # how it ended
    bytes: int = 0
    rate: float = 0.0  # bytes a second
    times: int = 1  # how often it failed like this, one after the other
    lines: tuple[str, ...] = ()  # its log
    done: int = 0  # bytes
    total: int = 0  # 0 where it is not known yet
    eta: float | None = None  # seconds that are left
    what: str = ""  # what it is at


class ReplicaState(msgspec.Struct, frozen=True):
    """How far a remote is."""

    name: str
    state: Literal["new", "current", "behind", "failing", "paused", "superseded"]
    interval: int = 300  # seconds
    reached_at: int | None = None  # everything confirmed before is there
    first_at: int | None = None  # when that was first so
    lag_seconds: float = 0.0  # since then; 0 where nothing has come in since
    waiting: int = 0  # messages that are not there yet
    waiting_bytes: int = 0
    last_at: int | None = None  # when a run last ended well
    next_at: int | None = None  # when the next one begins by itself
    epoch: int = 0
    generation: int = 0
    records: int = 0  # in that generation
    objects: int = 0  # that it needs there
    free: int | None = None  # bytes on the remote, where it tells
    used: int | None = None
    trouble: str = ""  # why the last run failed, or why nothing is written there any more
    failures: int = 0
    unsound: str = ""  # what a check found last that is not as it should be
    checked_at: int | None = None  # when it was last checked in full and found whole
    rehearsed_at: int | None = None  # when a restore from it was last rehearsed and went well
    run: RunInfo | None = None  # under way


class RemoteOption(msgspec.Struct, frozen=True):
    """One of a remote's options; ``value`` is empty where it is a secret, which nobody is shown."""

    key: str
    value: str
    secret: bool = False


class RemoteInfo(msgspec.Struct, frozen=True):
    """A remote as it is set up, and how far it is."""

    name: str
    type: str
    path: str
    options: tuple[RemoteOption, ...]
    paused: bool
    interval: int  # seconds between runs: what can be lost at most with the box
    snapshot_interval: int
    bandwidth: str
    transfers: int
    lock_days: int
    lock_mode: Literal["GOVERNANCE", "COMPLIANCE"]
    keep_daily: int
    keep_weekly: int
    erased_stay_days: int  # the longest time that an erased message can survive there
    replica: ReplicaState


class RemoteTested(msgspec.Struct, frozen=True):
    """What trying a remote showed. Bytes a second, 0 where it did not come so far."""

    passed: bool
    written: bool
    read: bool
    deleted: bool
    up: float
    down: float
    free: int | None
    words: str
    failure: Failure | None = None
    """The error that ended it, for who tells of it in another language than English."""


class RemoteEntry(msgspec.Struct, frozen=True):
    """A file or folder that lies beside a replica. ``path`` counts from the top of the remote; ``size`` is -1 where it
    is not known, ``modified`` in seconds."""

    path: str
    folder: bool
    size: int
    modified: int


class RemoteListing(msgspec.Struct, frozen=True):
    """What is in a folder of a remote, folders first; ``unlisted`` more entries are there."""

    remote: str
    folder: str
    entries: tuple[RemoteEntry, ...]
    unlisted: int = 0


class ReplicationSettings(msgspec.Struct, frozen=True):
    """What holds for all remotes together."""

    keep_local_days: int  # volumes that are older may be on replicas only; 0: all stay here
    rehearsal: bool  # once a week


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Something an administrator should look at, or should have.

    ``text`` is in English; ``services.alarms.words`` says ``kind`` and ``figures`` in any language.
    """

    level: Literal["warning", "error"]
    text: str
    since: int
    id: str = ""
    kind: str = ""
    about: str = ""  # what tells two alarms of one kind apart
    title: str = ""
    figures: dict[str, str | int | float] = {}
    until: int | None = None  # when it was over
    acknowledged_by: str = ""  # a name
    acknowledged_at: int | None = None


class AlarmPage(msgspec.Struct, frozen=True):
    """The alarms that stand, gravest first, and those that are over, the last one first."""

    standing: tuple[Alarm, ...]
    over: tuple[Alarm, ...] = ()


class WatchRule(msgspec.Struct, frozen=True):
    """How long a mailbox may get no mail in working time before there is an alarm; 0 hours: it is never missed."""

    mailbox: str  # id; empty for all that have no rule of their own
    address: str
    own: bool
    hours: int
    days: tuple[int, ...]  # 0 is Monday
    begins: int  # minutes after midnight
    ends: int
    zone: str  # IANA name; empty for the box's own


class NotifyingSettings(msgspec.Struct, frozen=True):
    """How alarms are told; secrets are only told to be there."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str
    has_password: bool
    sender: str
    recipients: tuple[str, ...]
    language: str
    level: Literal["warning", "error"]
    daily_hour: int | None
    url: str
    has_secret: bool
    while_locked: bool  # whether it goes on while the archive is locked


class NotifyTested(msgspec.Struct, frozen=True):
    """What trying to tell somebody showed, by way (mail, webhook)."""

    way: str
    passed: bool
    words: str


class Health(msgspec.Struct, frozen=True):
    """Whether mail is taken in and can be read now; ``reasons`` are codes of what is not so, ``words`` say them."""

    ready: bool
    reasons: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """How the product is, in numbers; nothing in it is anybody's mail."""

    version: str
    started_at: int
    unlocked: bool
    unlocks_itself: bool
    records: int  # message records in the log
    projected: int  # of those, in the catalogue
    messages: int  # distinct messages in the catalogue
    indexed: int  # of those, searchable
    unassigned: int
    unparsed: int
    users: int
    mailboxes: int
    volumes: int
    volumes_signed: int
    backlog: int  # records not searchable yet
    oldest_unsearchable_seconds: float
    last_message_at: int | None
    per_minute: tuple[int, ...]  # messages received in each of the last 60 minutes, oldest first
    log_bytes: int
    index_bytes: int  # of the search index on disk, sealed
    disk_free: int
    disk_total: int
    accepted: int  # since start
    refused: int
    deferred: int
    alarms: tuple[Alarm, ...] = ()
    agrees: bool = True  # log, catalogue and index count the same
    sealed: int = 0  # of the records, in sealed mailboxes: never searchable
    erased: int = 0  # records beside them that are erased, their ciphertext not yet dropped
    memory_locked: bool = True  # no key can be swapped out
    slots: tuple[str, ...] = ()  # the kinds of ways to the appliance key
    index_live_bytes: int = 0  # of the search index in memory
    replicas: tuple[ReplicaState, ...] = ()
    only_here: int = 0  # messages that no replica has


class Trends(msgspec.Struct, frozen=True):
    """Samples of the last hour, oldest first; as many as there are since the archiver began."""

    seconds: int  # between two samples
    backlog: tuple[int, ...]  # records not searchable
    disk_used: tuple[int, ...]  # bytes
    replica_lag: tuple[float, ...]  # seconds, of the remote that is furthest behind


class JobInfo(msgspec.Struct, frozen=True):
    """Long work with its progress."""

    id: str
    kind: str
    title: str
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    done: int = 0
    total: int = 0
    message: str = ""
    started_at: int = 0
    finished_at: int | None = None
    download: str = ""  # file name, when there is something to fetch
    failure: Failure | None = None
    """The error that it failed with, for who tells of it in another language than English."""


class LockState(msgspec.Struct, frozen=True):
    """Whether the archive can be read; ``passphrase`` says that there is one that opens it (else the recovery key)."""

    unlocked: bool
    passphrase: bool = True


class NewCredential(msgspec.Struct, frozen=True):
    """A new slot for systemd, and the secret that systemd is to keep encrypted."""

    slot: SlotInfo
    secret: bytes

    def __repr__(self) -> str:
        return "NewCredential(…)"


class ProofState(msgspec.Struct, frozen=True):
    """Whether a message can be proven yet: its volume is sealed."""

    record: str
    sealed: bool


class PublicKey(msgspec.Struct, frozen=True):
    """The key with which seals and proofs are checked, and its SHA-256; all in hex."""

    archive: str
    key: str
    fingerprint: str


class TimestampInfo(msgspec.Struct, frozen=True):
    """A timestamp (RFC 3161) of the chain of seals; ``at`` is the authority's time, 0 where it cannot be read."""

    seal: int
    file: str
    at: int
    size: int


class FirstRun(msgspec.Struct, frozen=True):
    """Whether an administrator still has to be created."""

    needed: bool
    host: str = ""


class SetupText(msgspec.Struct, frozen=True):
    """What an administrator types into Exchange or Google for a mailbox, with the real values."""

    title: str
    steps: tuple[str, ...]


class TotpSetup(msgspec.Struct, frozen=True):
    """A new TOTP secret: as text, as otpauth URI and as an SVG QR code."""

    secret: str
    uri: str
    qr_svg: str


class AcmeState(msgspec.Struct, frozen=True):
    """How certificates are got from an authority (ACME), and how the last try went.

    ``next_try`` is set after a try that failed; ``problem`` says why it did.
    """

    directory: str
    contact: str
    names: tuple[str, ...]
    terms: str = ""
    next_try: int | None = None
    problem: str = ""


class Certificate(msgspec.Struct, frozen=True):
    """The certificate that gateway, POP3 and web show.

    ``source`` is "issued" where only an unlocked archive could say whether it is the administrator's own or from an
    authority that is asked again. ``days_left`` is negative once it has ended; ``chain`` counts its certificates;
    ``fingerprint`` is SHA-256 in hexadecimal with colons. ``problems`` are sentences; none means that it is fit.
    """

    source: Literal["self-signed", "own", "acme", "issued"]
    names: tuple[str, ...]
    subject: str
    issuer: str
    not_before: int
    not_after: int
    days_left: float
    key: str
    fingerprint: str
    chain: int
    host_name: str
    problems: tuple[str, ...] = ()
    acme: AcmeState | None = None


class Finding(msgspec.Struct, frozen=True):
    """One thing that the doctor looked at: what, how it is, and how to mend it where it is not as it should be.

    A *problem* keeps mail from coming in, from being safe, or from being found; a *warning* may be meant so.
    """

    what: str
    state: Literal["ok", "warning", "problem"]
    text: str
    mend: str = ""


class DirectoryCounts(msgspec.Struct, frozen=True):
    """What became of a directory's entries. ``disabled`` are users whose entry is listed no more; all others are
    entries, each counted once: ``left_out`` could not be taken, ``excluded`` are not wanted."""

    created: int
    changed: int
    unchanged: int
    refused: int
    disabled: int
    left_out: int
    excluded: int


class DirectoryInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A directory that users come from. Times are seconds; ``trouble`` says why the last try did not work."""

    name: str
    kind: str
    options: tuple[RemoteOption, ...]
    interval: int
    signs_in: bool
    users: int
    synchronised_at: int | None
    next_at: int | None
    trouble: str
    result: DirectoryCounts | None


class DirectoryStep(msgspec.Struct, frozen=True):
    """What became of one entry, or would become of it."""

    what: Literal["created", "changed", "unchanged", "refused", "disabled", "left-out"]
    name: str
    text: str


class DirectorySynchronised(msgspec.Struct, frozen=True):
    """What a synchronisation did, or would do; ``waits`` says why it waits for a person's word. ``losing`` are those
    who could sign in before and cannot afterwards."""

    counts: DirectoryCounts
    steps: tuple[DirectoryStep, ...]
    words: str
    waits: str = ""
    losing: int = 0


class ProfileCounts(msgspec.Struct, frozen=True):
    """What became of the messages that a run came upon: ``seen`` is the sum of new, already, filtered and failed.

    ``seen`` are those that the source told of in this run, and those of earlier runs that were tried again; ``already``
    were in the archive before. ``deleted`` at the source counts for itself. ``bytes`` are of the new ones.
    """

    seen: int = 0
    new: int = 0
    already: int = 0
    filtered: int = 0
    failed: int = 0
    deleted: int = 0
    bytes: int = 0


class ProfileAccountRun(msgspec.Struct, frozen=True, kw_only=True):
    """One account in a run. ``archive`` is the user whose archive its mail goes to, empty where there is none: then
    ``words`` say so, and nothing is fetched. ``expected`` is how many messages there are to look at, None unknown."""

    account: str
    address: str
    archive: str
    state: Literal["waiting", "running", "done", "failed", "stopped", "left-out"]
    counts: ProfileCounts
    expected: int | None = None
    folder: str = ""  # where it is just now
    words: str = ""


class ProfileFailure(msgspec.Struct, frozen=True):
    """A message that could not be fetched, and why; it is tried again by the next run."""

    account: str
    folder: str
    item: str
    why: str


class ProfileRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an archiving profile. Times are seconds. ``accounts`` and ``failures`` come with a single run only;
    ``unlisted`` failures are counted and not listed. ``expected`` as of an account, over all."""

    id: int
    profile: str
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    asked: bool
    queued: int
    begun: int | None
    ended: int | None
    counts: ProfileCounts
    words: str = ""
    expected: int | None = None
    accounts_done: int = 0
    accounts_all: int = 0
    accounts: tuple[ProfileAccountRun, ...] = ()
    failures: tuple[ProfileFailure, ...] = ()
    unlisted: int = 0


class ProfileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An archiving profile. The fields are those of ``settings.events.ProfilePut``, secrets left out; ``archive`` and
    ``chosen`` are addresses. ``next_at`` in seconds. ``run`` is the one under way, else the last one."""

    name: str
    kind: str
    options: tuple[RemoteOption, ...]
    archive: str
    users: Literal["all", "only", "except"]
    chosen: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    since: str
    before: str
    older_than_days: int
    largest: int
    only_read: bool
    sender: str
    subject: str
    delete_after_days: int
    directory: str
    interval: int
    cron: str
    parallel: int
    rate: int
    timeout: int
    paused: bool
    next_at: int | None = None
    run: ProfileRun | None = None
    trouble: str = ""


class ProfileDeletion(msgspec.Struct, frozen=True):
    """A message that would be deleted at the source; ``received`` in seconds, ``size`` as the source reckons."""

    account: str
    folder: str
    item: str
    received: int
    size: int


class ProfileDeletions(msgspec.Struct, frozen=True):
    """What a profile's deletion rule applies to now: how many messages, their bytes, and the oldest of them."""

    count: int
    bytes: int
    items: tuple[ProfileDeletion, ...]


class ProfileBegun(msgspec.Struct, frozen=True, kw_only=True):
    """What asking for a run has led to: its number; or, where a directory is synchronised first, the job that does
    that and then begins the run."""

    run: int | None = None
    job: JobInfo | None = None


IMPORT_CHUNK = 1024 * 1024
"""Most bytes of a file that one call brings."""


class ImportCounts(msgspec.Struct, frozen=True):
    """What became of the items of imported files: ``found`` is the sum of archived, already, skipped and failed.

    ``already`` were in the archive before; ``skipped`` are those that are not wanted (a calendar item, a draft of
    another kind). ``bytes`` are of the archived ones.
    """

    found: int = 0
    archived: int = 0
    already: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0


ImportState = Literal["arriving", "waiting", "running", "done", "failed", "stopped"]


class ImportFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an import. ``arrived`` bytes of ``size`` are kept on the box until it has been read; ``sha256`` (hex)
    is known once all have arrived. ``expected`` items as the file says, None where it does not; ``folder`` is the one
    that is being read; ``words`` say why it failed, or what is to be known."""

    number: int
    name: str
    size: int
    arrived: int
    state: ImportState
    counts: ImportCounts
    archive: str = ""  # address; empty where each message's addresses say whose it is
    target: tuple[str, ...] = ()
    sha256: str = ""
    format: str = ""
    expected: int | None = None
    folder: str = ""
    words: str = ""


class ImportProblem(msgspec.Struct, frozen=True):
    """An item that was not archived, or not whole: ``failed`` with its reason, ``skipped`` because it is not wanted,
    ``warning`` where something of it could not be taken over."""

    file: int
    folder: str
    item: str
    what: Literal["failed", "skipped", "warning"]
    why: str


class ImportInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An import. Times are seconds. ``owners``: all of it goes to one archive, or each message to those whose addresses
    it has. ``files`` and ``problems`` come with a single import only; ``unlisted`` problems are counted and not listed.
    With ``dry_run`` nothing is archived: ``archived`` is what would have been."""

    id: int
    title: str
    owners: Literal["archive", "addresses"]
    archive: str  # address
    folder: tuple[str, ...]
    dry_run: bool
    recovered: bool
    others: bool
    state: ImportState
    by: str
    queued: int
    begun: int | None
    ended: int | None
    counts: ImportCounts
    size: int = 0  # bytes of all files
    files_done: int = 0
    files_all: int = 0
    awaited: int = 0  # files that the archive is to fetch by itself and has not begun to
    words: str = ""
    files: tuple[ImportFile, ...] = ()
    problems: tuple[ImportProblem, ...] = ()
    unlisted: int = 0


class ImportWatchEntry(msgspec.Struct, frozen=True):
    """What lies in the watched folder, by its path there: it changed just now (``settling``), waits for others, is
    being imported (``running``, as ``run``), waits to be moved away, or cannot be taken in, which ``words`` explain."""

    name: str
    state: Literal["settling", "waiting", "running", "moving", "refused"]
    words: str = ""
    run: int | None = None


class ImportWatch(msgspec.Struct, frozen=True):
    """The watched folder, empty where there is none; ``trouble`` says why nothing is taken in just now."""

    folder: str
    trouble: str = ""
    entries: tuple[ImportWatchEntry, ...] = ()
