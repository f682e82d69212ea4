"""The faces' side of the archiver's socket: every service as an awaitable method.

The web process holds nothing but this client and the session tokens that people's browsers send. What a session
may see and do is decided on the other side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack

import msgspec

from appliance import decoding
from appliance.checks import Check
from appliance.errors import UnavailableError
from appliance.services import api
from appliance.services.wire import LARGEST_FRAME, LENGTH, Call, Reply, error_of, pack

T = TypeVar("T")

_decoder = msgspec.msgpack.Decoder(Reply)
_IDLE_CONNECTIONS = 8


class StreamHead(msgspec.Struct, frozen=True):
    """What is known of a download before its first byte; ``size`` is -1 where it is not known."""

    name: str
    content_type: str
    size: int = -1


class MailboxSettings(TypedDict, total=False):
    """What is set for a mailbox beside its address, its state and whether it is sealed."""

    name: str
    unknown: str
    networks: Sequence[str]
    tls_required: bool
    domains: Sequence[str]
    description: str
    aliases: Sequence[str]
    catch_all: Sequence[str]
    delete_after_pull: bool
    retention_days: int


class RemoteSettings(TypedDict, total=False):
    """What is set for a remote beside its name and its type. Of ``options`` those that are given change, and an empty
    value takes one away."""

    options: Mapping[str, str]
    path: str
    paused: bool
    interval: int
    snapshot_interval: int
    bandwidth: str
    transfers: int
    lock_days: int
    lock_mode: str
    keep_daily: int
    keep_weekly: int


class ProfileSettings(TypedDict, total=False):
    """What is set for an archiving profile beside its name and its kind: the fields of ``events.ProfilePut``, but that
    ``archive`` and ``chosen`` are addresses. Of ``options`` those that are given change, and an empty value takes one
    away."""

    options: Mapping[str, str]
    archive: str
    users: Literal["all", "only", "except"]
    chosen: Sequence[str]
    include: Sequence[str]
    exclude: Sequence[str]
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


class WatchSettings(TypedDict, total=False):
    """When a mailbox (id; empty for all) that gets no mail is an alarm."""

    mailbox: str
    own: bool
    hours: int
    days: Sequence[int]
    begins: int
    ends: int
    zone: str


class NotifyingChanges(TypedDict, total=False):
    """What can be set of how alarms are told. A password or secret that is not given stays."""

    host: str
    port: int
    security: str
    user: str
    password: str
    sender: str
    recipients: Sequence[str]
    language: str
    level: str
    daily_hour: int
    url: str
    secret: str


class Stream:
    """A download on its way: its head, then its bytes by ``async for``."""

    def __init__(self, head: StreamHead, chunks: AsyncIterator[bytes]) -> None:
        self.head = head
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


class ImportSettings(TypedDict, total=False):
    """What an import is to do; ``archive`` is an address, "" with ``owners`` "addresses"."""

    archive: str
    owners: Literal["archive", "addresses"]
    folder: tuple[str, ...]
    dry_run: bool
    recovered: bool
    others: bool
    code_page: str


class ArchiveClient:
    """Calls to the archiver over its Unix socket. Methods raise the ``MailkeepError`` that the service raised,
    and ``UnavailableError`` where the archiver does not answer."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def close(self) -> None:
        """Give up the kept connections."""
        while self._idle:
            self._idle.pop()[1].close()

    # -- the lock ---------------------------------------------------------------------------------------------

    async def lock_state(self) -> api.LockState:
        """Whether the archive can be read."""
        return await self._call("lock_state", api.LockState)

    async def unlock(self, *, passphrase: str = "", recovery_key: str = "", client: str) -> api.LockState:
        """Unlock the archive with either; the answer comes when it is open.

        Raises KeyringError where the secret does not fit, SignInError (code ``sign-in``) after too many tries.
        """
        return await self._call(
            "unlock", api.LockState, client=client, passphrase=passphrase, recovery_key=recovery_key
        )

    # -- signing in -------------------------------------------------------------------------------------------

    async def first_run(self) -> api.FirstRun:
        """Whether the first administrator still has to be created."""
        return await self._call("first_run", api.FirstRun)

    async def create_administrator(
        self, *, code: str, name: str, address: str, password: str, client: str
    ) -> api.SignedIn:
        """The first administrator, with the set-up code that ``serve`` printed on the box."""
        return await self._call(
            "create_administrator",
            api.SignedIn,
            client=client,
            code=code,
            name=name,
            address=address,
            password=password,
        )

    async def sign_in(self, *, address: str, password: str, totp: str, client: str) -> api.SignedIn:
        """A new session. Raises SignInError (code ``sign-in``) for anything wrong, also after too many tries."""
        return await self._call("sign_in", api.SignedIn, client=client, address=address, password=password, totp=totp)

    async def sign_out(self, token: str) -> None:
        """End a session."""
        await self._call("sign_out", None, token)

    async def caller(self, token: str) -> api.Caller:
        """Who this session is. Raises SignInError when it has ended."""
        return await self._call("caller", api.Caller, token)

    async def accept_invitation(self, *, code: str, password: str, client: str) -> api.SignedIn:
        """Set the first (or a new) password with a one-time code."""
        return await self._call("accept_invitation", api.SignedIn, client=client, code=code, password=password)

    async def change_password(self, token: str, *, old: str, new: str) -> None:
        """Change one's own password; other sessions of the same person end."""
        await self._call("change_password", None, token, old=old, new=new)

    async def totp_begin(self, token: str) -> api.TotpSetup:
        """A new TOTP secret, not in force before ``totp_confirm``."""
        return await self._call("totp_begin", api.TotpSetup, token)

    async def totp_confirm(self, token: str, *, code: str) -> api.Caller:
        """Put the new TOTP secret in force."""
        return await self._call("totp_confirm", api.Caller, token, code=code)

    # -- finding and reading ----------------------------------------------------------------------------------

    async def search(
        self,
        token: str,
        *,
        query: str,
        sort: api.Sort = "date",
        offset: int = 0,
        limit: int = 25,
        everywhere: bool = False,
        whose: str = "",
        folder: str = "",
        below: bool = False,
        trees: bool = False,
    ) -> api.SearchPage:
        """A page of results. ``everywhere`` (auditors only) looks in all archives, ``whose`` in another that is open to
        the caller, by its id, or with ``api.ALL`` in each that they may read. ``folder`` (an id)
        keeps the search to a folder and, with ``below``, to those in it. With ``trees`` come the folders beside it, as
        ``folders`` gives them: one look, one line of the audit trail. Raises QueryError, ForbiddenError, for a
        folder NotFoundError."""
        return await self._call(
            "search",
            api.SearchPage,
            token,
            query=query,
            sort=sort,
            offset=offset,
            limit=limit,
            everywhere=everywhere,
            whose=whose,
            folder=folder,
            below=below,
            trees=trees,
        )

    async def folders(self, token: str, *, whose: str = "") -> tuple[api.FolderTree, ...]:
        """The folders of fetched mail, archive by archive; ``whose`` as in ``search``. Raises ForbiddenError."""
        return await self._call("folders", tuple[api.FolderTree, ...], token, whose=whose)

    async def message(self, token: str, *, id: str, everywhere: bool = False, whose: str = "") -> api.MessageView:
        """One message, opened; ``whose`` here and below as in ``search``. Raises NotFoundError also where the caller
        may not see it."""
        return await self._call("message", api.MessageView, token, id=id, everywhere=everywhere, whose=whose)

    async def message_html(
        self, token: str, *, id: str, remote: bool = False, everywhere: bool = False, whose: str = ""
    ) -> api.HtmlView:
        """The message's HTML, sanitised; with remote images only when ``remote``."""
        return await self._call(
            "message_html", api.HtmlView, token, id=id, remote=remote, everywhere=everywhere, whose=whose
        )

    async def part(self, token: str, *, id: str, part: int, everywhere: bool = False, whose: str = "") -> Stream:
        """One attachment."""
        return await self._stream("part", token, id=id, part=part, everywhere=everywhere, whose=whose)

    async def original(
        self, token: str, *, id: str, report: bool = False, everywhere: bool = False, whose: str = ""
    ) -> Stream:
        """The original, bit for bit; with ``report`` (auditors) the journal report as it was received."""
        return await self._stream("original", token, id=id, report=report, everywhere=everywhere, whose=whose)

    async def export_begin(
        self,
        token: str,
        *,
        query: str = "",
        ids: tuple[str, ...] = (),
        everywhere: bool = False,
        whose: str = "",
        folder: str = "",
        below: bool = False,
    ) -> api.JobInfo:
        """A ZIP of EML with manifest.csv, of all hits of ``query`` or of ``ids``; made by a job."""
        return await self._call(
            "export_begin",
            api.JobInfo,
            token,
            query=query,
            ids=list(ids),
            everywhere=everywhere,
            whose=whose,
            folder=folder,
            below=below,
        )

    async def jobs(self, token: str, *, kind: str = "") -> tuple[api.JobInfo, ...]:
        """The jobs that the caller may see, newest first; with ``kind`` those of that kind."""
        return await self._call("jobs", tuple[api.JobInfo, ...], token, kind=kind)

    async def job(self, token: str, *, id: str) -> api.JobInfo:
        """One of the jobs that the caller may see."""
        return await self._call("job", api.JobInfo, token, id=id)

    async def job_stop(self, token: str, *, id: str) -> api.JobInfo:
        """Stop a job."""
        return await self._call("job_stop", api.JobInfo, token, id=id)

    async def job_download(self, token: str, *, id: str) -> Stream:
        """What a finished job made."""
        return await self._stream("job_download", token, id=id)

    # -- administration ---------------------------------------------------------------------------------------

    async def status(self, token: str) -> api.Status:
        """The numbers of the status page (administrators)."""
        return await self._call("status", api.Status, token, recent=True)

    async def mailboxes(self, token: str) -> tuple[api.MailboxInfo, ...]:
        """All mailboxes."""
        return await self._call("mailboxes", tuple[api.MailboxInfo, ...], token)

    async def mailbox_create(
        self, token: str, *, address: str, sealed: bool = False, **settings: Unpack[MailboxSettings]
    ) -> api.MailboxCreated:
        """A new mailbox, and its password, shown once. An empty local part of ``address`` is filled with one that
        nobody can guess."""
        return await self._call("mailbox_create", api.MailboxCreated, token, address=address, sealed=sealed, **settings)

    async def mailbox_change(
        self,
        token: str,
        *,
        id: str,
        address: str | None = None,
        state: str | None = None,
        **settings: Unpack[MailboxSettings],
    ) -> api.MailboxInfo:
        """Change what is given; ``state`` is active, suspended or disabled."""
        return await self._call(
            "mailbox_change", api.MailboxInfo, token, id=id, address=address, state=state, **settings
        )

    async def mailbox_delete(self, token: str, *, id: str) -> None:
        """Delete an empty mailbox; ConflictError where it holds mail."""
        await self._call("mailbox_delete", None, token, id=id)

    async def mailbox_setup(self, token: str, *, id: str) -> tuple[api.SetupText, ...]:
        """The set-up texts (Exchange Online, Google Workspace, others) with this mailbox's values."""
        return await self._call("mailbox_setup", tuple[api.SetupText, ...], token, id=id)

    async def mailbox_pulling(self, token: str, *, id: str) -> api.PullInfo:
        """With what a mail program fetches this mailbox's mail."""
        return await self._call("mailbox_pulling", api.PullInfo, token, id=id)

    async def mailbox_proposed_password(self, token: str) -> str:
        """A strong password to be written down before it is given to ``mailbox_password``."""
        return await self._call("mailbox_proposed_password", str, token)

    async def mailbox_password(self, token: str, *, id: str, new: str, old: str = "") -> None:
        """Change a mailbox's password; ``old`` is needed where it is sealed or the caller is no auditor."""
        await self._call("mailbox_password", None, token, id=id, new=new, old=old)

    async def mailbox_tokens(self, token: str, *, id: str) -> tuple[api.TokenInfo, ...]:
        """A mailbox's tokens for the pull API."""
        return await self._call("mailbox_tokens", tuple[api.TokenInfo, ...], token, id=id)

    async def mailbox_token_add(self, token: str, *, id: str, name: str, password: str = "") -> api.TokenCreated:
        """A new token, shown once; ``password`` as ``old`` in ``mailbox_password``."""
        return await self._call("mailbox_token_add", api.TokenCreated, token, id=id, name=name, password=password)

    async def mailbox_token_remove(self, token: str, *, id: str, which: str) -> None:
        """Take the token with the id ``which`` away."""
        await self._call("mailbox_token_remove", None, token, id=id, which=which)

    async def users(self, token: str, *, find: str = "", offset: int = 0, limit: int = 50) -> api.UserPage:
        """Users whose name or address contains ``find``."""
        return await self._call("users", api.UserPage, token, find=find, offset=offset, limit=limit)

    async def user(self, token: str, *, id: str) -> api.UserInfo:
        """One user."""
        return await self._call("user", api.UserInfo, token, id=id)

    async def user_create(self, token: str, *, name: str, primary: str, aliases: tuple[str, ...] = ()) -> api.UserInfo:
        """A new user; receives the unassigned mail of the addresses."""
        return await self._call("user_create", api.UserInfo, token, name=name, primary=primary, aliases=list(aliases))

    async def user_change(
        self,
        token: str,
        *,
        id: str,
        name: str | None = None,
        primary: str | None = None,
        aliases: tuple[str, ...] | None = None,
        state: str | None = None,
    ) -> api.UserInfo:
        """Change what is given; ``state`` is active or disabled (sign-in; the archive stays)."""
        return await self._call(
            "user_change",
            api.UserInfo,
            token,
            id=id,
            name=name,
            primary=primary,
            aliases=None if aliases is None else list(aliases),
            state=state,
        )

    async def user_import(self, token: str, *, csv: bytes) -> api.ImportResult:
        """Users from a CSV file with the columns primary, aliases (;-separated), name."""
        return await self._call("user_import", api.ImportResult, token, csv=csv)

    async def user_invite(self, token: str, *, ids: tuple[str, ...] = ()) -> tuple[api.Invitation, ...]:
        """One-time codes for these users, or, with none given, for all who never signed in."""
        return await self._call("user_invite", tuple[api.Invitation, ...], token, ids=list(ids))

    async def role_grant(self, token: str, *, id: str, role: str, reason: str) -> api.UserInfo:
        """Give a role; an auditor's takes effect when a second auditor has approved it."""
        return await self._call("role_grant", api.UserInfo, token, id=id, role=role, reason=reason)

    async def role_revoke(self, token: str, *, id: str, role: str) -> api.UserInfo:
        """Take a role away."""
        return await self._call("role_revoke", api.UserInfo, token, id=id, role=role)

    async def role_requests(self, token: str) -> tuple[api.RoleRequest, ...]:
        """Appointments of auditors that wait for a second auditor."""
        return await self._call("role_requests", tuple[api.RoleRequest, ...], token)

    async def role_decide(self, token: str, *, id: str, approve: bool) -> None:
        """Approve or refuse an appointment (auditors, not the one who asked)."""
        await self._call("role_decide", None, token, id=id, approve=approve)

    async def user_by_address(self, token: str, *, address: str) -> api.UserInfo:
        """The user who holds an address. Raises NotFoundError."""
        return await self._call("user_by_address", api.UserInfo, token, address=address)

    async def access_list(self, token: str, *, user: str = "", whose: str = "") -> tuple[api.AccessInfo, ...]:
        """Who may read which other archive: what ``user`` may read, or by whom that of ``whose`` may be read."""
        return await self._call("access_list", tuple[api.AccessInfo, ...], token, user=user, whose=whose)

    async def access_open(self, token: str, *, user: str, whose: str, reason: str) -> api.AccessInfo:
        """Let a user read another's archive. Raises ForbiddenError where that user is the caller."""
        return await self._call("access_open", api.AccessInfo, token, user=user, whose=whose, reason=reason)

    async def access_close(self, token: str, *, user: str, whose: str) -> None:
        """Let a user read that archive no more. Raises NotFoundError."""
        await self._call("access_close", None, token, user=user, whose=whose)

    async def access_mine(self, token: str) -> tuple[api.ArchiveReader, ...]:
        """Who may read the caller's own archive."""
        return await self._call("access_mine", tuple[api.ArchiveReader, ...], token)

    async def audit(self, token: str, *, find: str = "", offset: int = 0, limit: int = 50) -> api.AuditPage:
        """The audit trail (auditors; administrators see it without what was searched for)."""
        return await self._call("audit", api.AuditPage, token, find=find, offset=offset, limit=limit)

    # -- imports ----------------------------------------------------------------------------------------------

    async def imports(self, token: str, *, limit: int = 50) -> tuple[api.ImportInfo, ...]:
        """The imports that are remembered, newest first, without their files."""
        return await self._call("imports", tuple[api.ImportInfo, ...], token, limit=limit)

    async def import_get(self, token: str, *, id: int, problems: int = 1000) -> api.ImportInfo:
        """One import, with its files and at most so many of what was not archived, or not whole, what failed first.
        Raises NotFoundError."""
        return await self._call("import_get", api.ImportInfo, token, id=id, problems=problems)

    async def import_begin(self, token: str, *, title: str, **settings: Unpack[ImportSettings]) -> api.ImportInfo:
        """A new import, which files are given to afterwards. Raises UsageError, NotFoundError for an archive."""
        return await self._call("import_begin", api.ImportInfo, token, title=title, **settings)

    async def import_file(
        self, token: str, *, id: int, name: str, size: int, archive: str = "", folder: tuple[str, ...] = (),
        password: str = "",
    ) -> api.ImportFile:  # fmt: skip
        """A file that is to arrive. ``archive`` (an address) and ``folder`` where they are others than the import's.
        Raises DiskFullError where there is no room for it, ConflictError where the import takes no more files, and
        UnavailableError while two that came before have not been read: try again shortly."""
        return await self._call(
            "import_file", api.ImportFile, token, id=id, name=name, size=size, archive=archive, folder=folder,
            password=password,
        )  # fmt: skip

    async def import_write(self, token: str, *, id: int, file: int, offset: int, data: bytes) -> int:
        """Some bytes of a file, at most ``api.IMPORT_CHUNK`` and, but for its end, at least 64 KiB; how many have
        arrived now, which is where to go on. What arrived before is passed over. Raises ConflictError where there is a
        gap before ``offset``."""
        return await self._call("import_write", int, token, id=id, file=file, offset=offset, data=data)

    async def import_arrived(self, token: str, *, id: int, file: int, sha256: str = "") -> api.ImportFile:
        """All of the file has arrived; it is read as soon as those before it are. Raises ConflictError where bytes are
        missing, DamageError where its SHA-256 (hex) is another: then it arrives anew."""
        return await self._call("import_arrived", api.ImportFile, token, id=id, file=file, sha256=sha256)

    async def import_complete(self, token: str, *, id: int) -> api.ImportInfo:
        """No more files come; the import ends when all are read."""
        return await self._call("import_complete", api.ImportInfo, token, id=id)

    async def import_from_remote(
        self, token: str, *, id: int, remote: str, paths: Sequence[str], archive: str = "",
        folder: tuple[str, ...] = (), password: str = "", last: bool = False,
    ) -> api.ImportInfo:  # fmt: skip
        """Have the archive fetch files of a remote (paths from its top) into an import, one after the other; with
        ``last`` no more come, and the import ends when all are read. Raises NotFoundError for what is not there,
        ConflictError where the import takes no more, and what the remote raises."""
        return await self._call(
            "import_from_remote", api.ImportInfo, token, id=id, remote=remote, paths=tuple(paths), archive=archive,
            folder=folder, password=password, last=last,
        )  # fmt: skip

    async def import_watch(self, token: str) -> api.ImportWatch:
        """Which folder of the box is watched, and what of it waits, and why."""
        return await self._call("import_watch", api.ImportWatch, token)

    async def import_watch_set(self, token: str, *, folder: str) -> api.ImportWatch:
        """Import from now on what is put into a folder of the box; with an empty name into none. Raises UsageError."""
        return await self._call("import_watch_set", api.ImportWatch, token, folder=folder)

    async def import_stop(self, token: str, *, id: int) -> api.ImportInfo:
        """Ask an import to end. What was archived stays; who imports the files again goes on from there."""
        return await self._call("import_stop", api.ImportInfo, token, id=id)

    async def import_report(self, token: str, *, id: int, form: Literal["csv", "html"]) -> bytes:
        """The report of an import, as a file (UTF-8). Raises NotFoundError."""
        return await self._call("import_report", bytes, token, id=id, form=form)

    # -- replicas ---------------------------------------------------------------------------------------------

    async def directories(self, token: str) -> tuple[api.DirectoryInfo, ...]:
        """All directories that users come from, by name."""
        return await self._call("directories", tuple[api.DirectoryInfo, ...], token)

    async def directory_add(
        self, token: str, *, name: str, kind: str, options: Mapping[str, str], interval: int, signs_in: bool
    ) -> api.DirectoryInfo:
        """A new directory. Raises ConflictError for a name that is taken."""
        return await self._call(
            "directory_add", api.DirectoryInfo, token, name=name, kind=kind, options=options, interval=interval,
            signs_in=signs_in,
        )  # fmt: skip

    async def directory_change(
        self, token: str, *, name: str, options: Mapping[str, str], interval: int, signs_in: bool
    ) -> api.DirectoryInfo:
        """Change its settings; of the options those that are given."""
        return await self._call(
            "directory_change", api.DirectoryInfo, token, name=name, options=options, interval=interval,
            signs_in=signs_in,
        )  # fmt: skip

    async def directory_remove(self, token: str, *, name: str) -> None:
        """Take nothing from there any more."""
        await self._call("directory_remove", None, token, name=name)

    async def directory_test(self, token: str, *, name: str) -> tuple[Check, ...]:
        """Try everything that a synchronisation needs."""
        return await self._call("directory_test", tuple[Check, ...], token, name=name)

    async def directory_sync_begin(self, token: str, *, name: str, dry_run: bool, confirmed: bool) -> api.JobInfo:
        """Begin to make users as they are there; with ``dry_run`` only to find out what that would change."""
        return await self._call(
            "directory_sync_begin", api.JobInfo, token, name=name, dry_run=dry_run, confirmed=confirmed
        )

    async def directory_synchronised(self, token: str, *, id: str) -> api.DirectorySynchronised:
        """What a finished synchronisation did."""
        return await self._call("directory_synchronised", api.DirectorySynchronised, token, id=id)

    # -- archiving profiles -----------------------------------------------------------------------------------

    async def profiles(self, token: str) -> tuple[api.ProfileInfo, ...]:
        """All archiving profiles, by name, each with its last run or the one under way."""
        return await self._call("profiles", tuple[api.ProfileInfo, ...], token)

    async def profile_add(
        self, token: str, *, name: str, kind: str, **settings: Unpack[ProfileSettings]
    ) -> api.ProfileInfo:
        """A new profile. Raises UsageError, ConflictError for a name that is taken."""
        return await self._call("profile_add", api.ProfileInfo, token, name=name, kind=kind, **settings)

    async def profile_change(self, token: str, *, name: str, **settings: Unpack[ProfileSettings]) -> api.ProfileInfo:
        """Change what is given."""
        return await self._call("profile_change", api.ProfileInfo, token, name=name, **settings)

    async def profile_remove(self, token: str, *, name: str) -> None:
        """Fetch nothing by it any more; what was fetched stays."""
        await self._call("profile_remove", None, token, name=name)

    async def profile_test(self, token: str, *, name: str) -> tuple[Check, ...]:
        """Try everything that a run needs, and fetch nothing."""
        return await self._call("profile_test", tuple[Check, ...], token, name=name)

    async def profile_deletions(self, token: str, *, name: str, after_days: int | None = None) -> api.ProfileDeletions:
        """What the profile's rule would have deleted at the source if it ran now, or if it were another one; nothing
        is."""
        return await self._call("profile_deletions", api.ProfileDeletions, token, name=name, after_days=after_days)

    async def profile_run(self, token: str, *, name: str) -> api.ProfileBegun:
        """Begin a run, after a synchronisation where the profile has a directory."""
        return await self._call("profile_run", api.ProfileBegun, token, name=name)

    async def profile_stop(self, token: str, *, name: str) -> None:
        """Ask what is under way to end. Raises ConflictError where nothing is."""
        await self._call("profile_stop", None, token, name=name)

    async def profile_runs(self, token: str, *, name: str | None = None, limit: int = 50) -> tuple[api.ProfileRun, ...]:
        """The runs that are remembered of one profile, or of all, newest first."""
        return await self._call("profile_runs", tuple[api.ProfileRun, ...], token, name=name, limit=limit)

    async def profile_run_get(self, token: str, *, id: int) -> api.ProfileRun:
        """One run, with its accounts and what could not be fetched. Raises NotFoundError."""
        return await self._call("profile_run_get", api.ProfileRun, token, id=id)

    # -- replicas ---------------------------------------------------------------------------------------------

    async def remotes(self, token: str) -> tuple[api.RemoteInfo, ...]:
        """All remotes, by name, with how far they are."""
        return await self._call("remotes", tuple[api.RemoteInfo, ...], token)

    async def remote_add(
        self, token: str, *, name: str, type: str, **settings: Unpack[RemoteSettings]
    ) -> api.RemoteInfo:
        """A new remote; it is replicated to from now on. Raises ConflictError for a name that is taken."""
        return await self._call("remote_add", api.RemoteInfo, token, name=name, type=type, **settings)

    async def remote_change(self, token: str, *, name: str, **settings: Unpack[RemoteSettings]) -> api.RemoteInfo:
        """Change what is given."""
        return await self._call("remote_change", api.RemoteInfo, token, name=name, **settings)

    async def remote_remove(self, token: str, *, name: str) -> None:
        """Replicate there no more. What lies there stays."""
        await self._call("remote_remove", None, token, name=name)

    async def remote_test(
        self,
        token: str,
        *,
        name: str = "",
        type: str = "",
        options: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> api.RemoteTested:
        """Try a remote that is set up, with these changes; or, with ``type``, one that is not set up yet."""
        return await self._call(
            "remote_test", api.RemoteTested, token, name=name, type=type, options=options, path=path
        )

    async def remote_files(self, token: str, *, name: str, folder: str = "") -> api.RemoteListing:
        """What is in a folder of a remote, beside the replica. Raises NotFoundError, ForbiddenError for the replica's
        own, UsageError for what is no path or too much, and what the remote raises."""
        return await self._call("remote_files", api.RemoteListing, token, name=name, folder=folder)

    async def replicate_begin(self, token: str, *, remote: str = "") -> tuple[api.RunInfo, ...]:
        """Bring one remote, or all that are not paused, up to date. Raises UsageError where there is none."""
        return await self._call("replicate_begin", tuple[api.RunInfo, ...], token, remote=remote)

    async def replica_verify_begin(
        self, token: str, *, remote: str = "", full: bool = False
    ) -> tuple[api.RunInfo, ...]:
        """Check one replica, or all: some files of it or, with ``full``, whether all of it is there and whole."""
        return await self._call("replica_verify_begin", tuple[api.RunInfo, ...], token, remote=remote, full=full)

    async def replica_stop(self, token: str, *, id: int) -> None:
        """Ask a run to end; what it has uploaded is used by the next."""
        await self._call("replica_stop", None, token, id=id)

    async def replica_history(
        self, token: str, *, remote: str | None = None, limit: int = 50
    ) -> tuple[api.RunInfo, ...]:
        """The runs that are remembered, newest first; with ``remote`` that remote's."""
        return await self._call("replica_history", tuple[api.RunInfo, ...], token, remote=remote, limit=limit)

    async def replica_settings(self, token: str) -> api.ReplicationSettings:
        """What holds for all remotes together."""
        return await self._call("replica_settings", api.ReplicationSettings, token)

    async def replica_settings_set(
        self, token: str, *, keep_local_days: int | None = None, rehearsal: bool | None = None
    ) -> api.ReplicationSettings:
        """Change what is given."""
        return await self._call(
            "replica_settings_set", api.ReplicationSettings, token, keep_local_days=keep_local_days,
            rehearsal=rehearsal,
        )  # fmt: skip

    # -- the certificate, and the box -------------------------------------------------------------------------

    async def certificate(self, token: str) -> api.Certificate:
        """The certificate in use. Raises NotFoundError, DamageError where it cannot be used."""
        return await self._call("certificate", api.Certificate, token)

    async def certificate_self_signed(self, token: str, *, names: Sequence[str] = ()) -> api.Certificate:
        """Use one that nobody vouches for, for these names or the archive's. Raises UsageError."""
        return await self._call("certificate_self_signed", api.Certificate, token, names=list(names))

    async def certificate_own(self, token: str, *, content: Sequence[bytes], password: str = "") -> api.Certificate:
        """Use the pair in these files. Raises UsageError where it is none, or none for this archive."""
        return await self._call("certificate_own", api.Certificate, token, content=list(content), password=password)

    async def certificate_acme_terms(self, token: str, *, directory: str) -> str:
        """Where an authority's terms are; empty where it has none. Raises UsageError, UnavailableError."""
        return await self._call("certificate_acme_terms", str, token, directory=directory)

    async def certificate_acme(
        self, token: str, *, contact: str, agree: bool, names: Sequence[str], directory: str
    ) -> api.JobInfo:
        """Begin to get one from an authority. Raises UsageError."""
        return await self._call(
            "certificate_acme", api.JobInfo, token, contact=contact, agree=agree, names=list(names), directory=directory
        )

    async def certificate_renew(self, token: str) -> api.JobInfo:
        """Begin to renew the one in use. Raises UsageError where only its owner can."""
        return await self._call("certificate_renew", api.JobInfo, token)

    async def doctor_begin(self, token: str) -> api.JobInfo:
        """Begin to look at everything round the archive."""
        return await self._call("doctor_begin", api.JobInfo, token)

    async def doctor_findings(self, token: str, *, id: str) -> tuple[api.Finding, ...]:
        """What a finished examination found."""
        return await self._call("doctor_findings", tuple[api.Finding, ...], token, id=id)

    # -- alarms, and telling of them --------------------------------------------------------------------------

    async def health(self) -> api.Health:
        """Whether mail is taken in and can be read; anybody may ask."""
        return await self._call("health", api.Health)

    async def metrics(self, *, secret: str, on_the_box: bool) -> bytes:
        """The metrics in Prometheus' text format. Raises SignInError for who may not read them."""
        return await self._call("metrics", bytes, secret=secret, on_the_box=on_the_box)

    async def metrics_token_is_set(self, token: str) -> bool:
        """Whether there is a token for metrics."""
        return await self._call("metrics_token_is_set", bool, token)

    async def metrics_token_make(self, token: str) -> str:
        """A new token for metrics, shown once."""
        return await self._call("metrics_token_make", str, token)

    async def metrics_token_remove(self, token: str) -> None:
        """Metrics are read on the box only from now on."""
        await self._call("metrics_token_remove", None, token)

    async def alarms(self, token: str) -> api.AlarmPage:
        """The alarms that stand, and those that are over."""
        return await self._call("alarms", api.AlarmPage, token, recent=True)

    async def alarm_acknowledge(self, token: str, *, id: str) -> api.Alarm:
        """Say that somebody has seen an alarm. Raises NotFoundError where it is over."""
        return await self._call("alarm_acknowledge", api.Alarm, token, id=id)

    async def watch_rules(self, token: str) -> tuple[api.WatchRule, ...]:
        """When a mailbox that gets no mail is an alarm: for all first, then for each."""
        return await self._call("watch_rules", tuple[api.WatchRule, ...], token)

    async def watch_set(self, token: str, **rule: Unpack[WatchSettings]) -> None:
        """Set that for one mailbox, or for all without a rule of their own."""
        await self._call("watch_set", None, token, **rule)

    async def notifying(self, token: str) -> api.NotifyingSettings:
        """How alarms are told."""
        return await self._call("notifying", api.NotifyingSettings, token)

    async def notifying_set(self, token: str, **changes: Unpack[NotifyingChanges]) -> api.NotifyingSettings:
        """Change what is given."""
        return await self._call("notifying_set", api.NotifyingSettings, token, **changes)

    async def notify_test(self, token: str, *, way: str = "") -> tuple[api.NotifyTested, ...]:
        """Really tell somebody. Raises UsageError where no way is set."""
        return await self._call("notify_test", tuple[api.NotifyTested, ...], token, way=way)

    async def support_begin(self, token: str) -> api.JobInfo:
        """Start to make a support bundle."""
        return await self._call("support_begin", api.JobInfo, token)

    async def support_download(self, token: str, *, id: str) -> Stream:
        """The finished bundle."""
        return await self._stream("support_download", token, id=id)

    # -- pulling mail ------------------------------------------------------------------------------------------

    async def pull_list(self, *, secret: str, client: str, cursor: str, limit: int) -> api.PullPage:
        """Messages of the mailbox that the token ``secret`` opens. Raises SignInError, TooManyTriesError."""
        return await self._call("pull_list", api.PullPage, client=client, secret=secret, cursor=cursor, limit=limit)

    async def pull_fetch(self, *, secret: str, client: str, id: str) -> Stream:
        """One of them, bit for bit."""
        return await self._stream("pull_fetch", "", client=client, secret=secret, id=id)

    async def pull_acknowledge(
        self, *, secret: str, client: str, ids: tuple[str, ...], cursor: str
    ) -> api.PullAcknowledged:
        """Say what was pulled."""
        return await self._call(
            "pull_acknowledge", api.PullAcknowledged, client=client, secret=secret, ids=list(ids), cursor=cursor
        )

    # -- the wire ---------------------------------------------------------------------------------------------

    async def _call(self, method: str, kind: type[T] | None, token: str = "", /, client: str = "", **params: Any) -> T:
        connection = await self._send(Call(method=method, token=token, client=client, params=params))
        reply = await self._receive(connection)
        self._keep(connection)
        if reply.error is not None:
            raise error_of(reply.error)
        if kind is None:
            return None  # type: ignore[return-value]
        return decoding.from_msgpack(reply.result, kind)

    async def _stream(self, method: str, token: str, /, client: str = "", **params: Any) -> Stream:
        connection = await self._send(Call(method=method, token=token, client=client, params=params))
        first = await self._receive(connection)
        if first.error is not None:
            self._keep(connection)
            raise error_of(first.error)
        head = decoding.from_msgpack(first.chunk or b"", StreamHead)
        return Stream(head, self._chunks(connection))

    async def _chunks(self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> AsyncIterator[bytes]:
        try:
            while True:
                reply = await self._receive(connection)
                if reply.error is not None:
                    raise error_of(reply.error)
                if reply.chunk is None:
                    self._keep(connection)
                    return
                yield reply.chunk
        except BaseException:
            connection[1].close()
            raise

    async def _send(self, call: Call) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        frame = pack(call)
        while self._idle:
            reader, writer = self._idle.pop()
            if reader.at_eof() or writer.is_closing():
                writer.close()
                continue
            writer.write(frame)
            return reader, writer
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError as error:
            raise UnavailableError(
                "The archive is not answering just now. Mail is still received; try again shortly."
            ) from error
        writer.write(frame)
        return reader, writer

    async def _receive(self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> Reply:
        reader, writer = connection
        try:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if length > LARGEST_FRAME:
                raise UnavailableError("The archive's answer could not be read.")
            return _decoder.decode(await reader.readexactly(length))
        except (OSError, EOFError, msgspec.DecodeError) as error:
            writer.close()
            raise UnavailableError("The archive broke off its answer. Try again shortly.") from error

    def _keep(self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        if len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection[1].close()
