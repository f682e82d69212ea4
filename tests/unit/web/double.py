"""A double of ``ArchiveClient``: an archive in memory with made-up mail, people, groups and threads.

It answers every call of the client with the values of ``services.api`` and the errors of
``appliance.errors``, so that the web face can be tested and looked at without a box behind it. Its search
knows words, ``field:word`` and ``-word``, no more.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import (
    ConflictError,
    ForbiddenError,
    KeyringError,
    LockedError,
    NotFoundError,
    QueryError,
    SignInError,
    UnavailableError,
    UsageError,
)
from appliance.services import api
from appliance.services.client import ArchiveClient, Stream, StreamHead
from tests.unit.web.access_double import AccessDouble
from tests.unit.web.alarms_double import AlarmsDouble
from tests.unit.web.box_double import BoxDouble
from tests.unit.web.directories_double import DirectoriesDouble
from tests.unit.web.folders_double import FoldersDouble
from tests.unit.web.imports_double import WebImportsDouble
from tests.unit.web.profiles_double import ProfilesDouble
from tests.unit.web.replicas_double import ReplicasDouble

PASSWORD = "correct horse battery"
SETUP_CODE = "SETUP-1234"
TOTP_CODE = "123456"
PASSPHRASE = "three words of four"
MAILBOX_PASSWORD = "9F3K-2XQW-7MTA-H0ZD-5CRB"
MAILBOX_TOKEN = "mkp_" + "k3" * 40
RECOVERY_KEY = "7Q2FD-M0XKA-9TB5W-3HNRC-V8JE1-K6PYG-4DZSA-W2M7T"
NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)

QR = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 29 29">{}</svg>'


@dataclass
class Message:
    """One made-up message and who may see it."""

    id: str
    subject: str
    sender: api.Person
    to: tuple[api.Person, ...]
    cc: tuple[api.Person, ...]
    date: int
    text: str
    html: str = ""
    blocked: int = 0
    files: tuple[tuple[str, str, bytes], ...] = ()
    thread: str = ""
    envelope: api.EnvelopeView | None = None
    unparsed: bool = False
    raw: bytes = b""
    owners: frozenset[str] = frozenset()

    def words(self) -> str:
        """All that a bare word is looked for in."""
        people = [self.sender, *self.to, *self.cc]
        names = " ".join(f"{who.name} {who.address}" for who in people)
        return f"{self.subject} {self.text} {names} {' '.join(name for name, _, _ in self.files)}".casefold()


@dataclass
class Account:
    """Somebody who may sign in."""

    user: api.UserInfo
    password: str = PASSWORD
    totp: bool = False
    totp_required: bool = False
    invitation: str = ""


@dataclass
class State:
    """What the double remembers."""

    messages: list[Message] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    mailboxes: dict[str, api.MailboxInfo] = field(default_factory=dict)
    mailbox_passwords: dict[str, str] = field(default_factory=dict)
    mailbox_tokens: dict[str, dict[str, api.TokenInfo]] = field(default_factory=dict)
    requests: dict[str, api.RoleRequest] = field(default_factory=dict)
    jobs: list[api.JobInfo] = field(default_factory=list)
    trail: list[api.AuditLine] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class ArchiveDouble(
    ReplicasDouble,
    BoxDouble,
    AlarmsDouble,
    DirectoriesDouble,
    ProfilesDouble,
    WebImportsDouble,
    AccessDouble,
    FoldersDouble,
    ArchiveClient,
):
    """The archive in memory.

    ``first`` starts it without an administrator; ``down`` makes every call fail, ``locked`` all that need the key.
    """

    def __init__(self, *, first: bool = False) -> None:
        super().__init__(Path("/nonexistent"))
        self.state = State()
        self.down = False
        self.locked = False
        self.has_passphrase = True
        self.numbers: dict[str, Any] = {}
        self.begin_replicas()
        self.begin_alarms()
        self.begin_box()
        self.begin_directories()
        self.begin_profiles()
        self.begin_imports()
        self.begin_access()
        self.begin_folders()
        if not first:
            _fill(self.state)

    # -- the lock -------------------------------------------------------------------------------------------

    async def lock_state(self) -> api.LockState:
        self.state.calls.append(("lock_state", {}))
        return api.LockState(unlocked=not self.locked, passphrase=self.has_passphrase)

    async def unlock(self, *, passphrase: str = "", recovery_key: str = "", client: str) -> api.LockState:
        self.state.calls.append(("unlock", {"client": client}))
        if passphrase != PASSPHRASE and recovery_key.upper().replace(" ", "-") != RECOVERY_KEY:
            raise KeyringError("The passphrase is not right." if passphrase else "The recovery key has a slip in it.")
        self.locked = False
        return api.LockState(unlocked=True)

    # -- signing in -----------------------------------------------------------------------------------------

    async def first_run(self) -> api.FirstRun:
        self._note("first_run")
        needed = not any("admin" in account.user.roles for account in self.state.accounts.values())
        return api.FirstRun(needed=needed, host="archive.example.org")

    async def create_administrator(
        self, *, code: str, name: str, address: str, password: str, client: str
    ) -> api.SignedIn:
        self._note("create_administrator", client=client)
        if code != SETUP_CODE:
            raise SignInError("The set-up code is not right. It stands in the log of mailkeep on the box.")
        user = api.UserInfo(id="u-first", name=name, primary=address, roles=("user", "admin"), sign_in="password")
        self.state.accounts[user.id] = Account(user, password=password)
        return self._session(user.id)

    async def sign_in(self, *, address: str, password: str, totp: str, client: str) -> api.SignedIn:
        self._note("sign_in", client=client)
        for account in self.state.accounts.values():
            if address in (account.user.primary, *account.user.aliases) and password == account.password:
                if account.totp and totp != TOTP_CODE:
                    break
                return self._session(account.user.id)
        raise SignInError("Address, password or code is not right. After ten tries there is a pause of 15 minutes.")

    async def sign_out(self, token: str) -> None:
        self._note("sign_out")
        self.state.sessions.pop(token, None)

    async def caller(self, token: str) -> api.Caller:
        self._note("caller")
        return self._caller(token)

    async def accept_invitation(self, *, code: str, password: str, client: str) -> api.SignedIn:
        self._note("accept_invitation", client=client)
        for account in self.state.accounts.values():
            if code and account.invitation == code:
                account.invitation, account.password = "", password
                return self._session(account.user.id)
        raise SignInError("This code is not good any more. Ask your administrator for a new one.")

    async def change_password(self, token: str, *, old: str, new: str) -> None:
        account = self._account(token)
        if old != account.password:
            raise SignInError("The present password is not right. Nothing was changed.")
        account.password = new

    async def totp_begin(self, token: str) -> api.TotpSetup:
        self._account(token)
        secret = "JBSWY3DPEHPK3PXP"
        return api.TotpSetup(secret=secret, uri=f"otpauth://totp/mailkeep?secret={secret}", qr_svg=_qr(secret))

    async def totp_confirm(self, token: str, *, code: str) -> api.Caller:
        account = self._account(token)
        if code != TOTP_CODE:
            raise SignInError("This code is not right. Is the phone's clock right? Scan the new picture and try again.")
        account.totp = True
        return self._caller(token)

    # -- finding and reading --------------------------------------------------------------------------------

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
        kept = {"folder": folder, "below": below} if folder else {}
        self._note(
            "search", query=query, sort=sort, offset=offset, limit=limit, everywhere=everywhere, whose=whose, **kept
        )
        place, lain = self.chosen(folder, below) if folder else (None, None)
        found = [
            one
            for one in self._visible(token, everywhere, whose)
            if _matches(one, query) and (lain is None or one.id in lain)
        ]
        several = self.archives(self._caller(token), whose) if whose == api.ALL else frozenset[str]()
        found.sort(key=lambda one: (one.date, one.id), reverse=sort != "date-asc")
        threads = Counter(one.thread for one in self.state.messages)
        word = next((part.rpartition(":")[2] for part in query.split() if part[0] not in "-*"), "")
        years = Counter(datetime.fromtimestamp(one.date, UTC).year for one in found)
        senders = Counter(one.sender for one in found)
        with_files = sum(bool(one.files) for one in found)
        return api.SearchPage(
            query=query,
            total=len(found),
            offset=offset,
            hits=tuple(_hit(one, word, threads[one.thread], several) for one in found[offset : offset + limit]),
            years=tuple(
                api.Bucket(str(year), count, f"on:{year}") for year, count in sorted(years.items(), reverse=True)
            ),
            senders=tuple(api.Bucket(who.name, count, f"from:{who.address}") for who, count in senders.most_common(10)),
            attachments=tuple(
                bucket
                for bucket in (
                    api.Bucket("With attachments", with_files, "has:attachment"),
                    api.Bucket("Without", len(found) - with_files, "-has:attachment"),
                )
                if bucket.count
            ),
            milliseconds=1.8,
            everywhere=everywhere,
            folder=place,
            trees=await self.folders(token, whose=whose) if trees and not everywhere else (),
        )

    async def message(self, token: str, *, id: str, everywhere: bool = False, whose: str = "") -> api.MessageView:
        self._note("message", id=id, everywhere=everywhere, whose=whose)
        one = self._one(token, id, everywhere, whose)
        thread = [other for other in self._visible(token, everywhere, whose) if other.thread == one.thread]
        caller = self._caller(token)
        others = frozenset() if everywhere else self.archives(caller, whose) - {caller.user_id}
        return api.MessageView(
            id=one.id,
            subject=one.subject,
            from_=(one.sender,),
            to=one.to,
            cc=one.cc,
            date=one.date,
            received_at=one.date + 4,
            size=len(one.raw),
            text=one.text,
            has_html=bool(one.html),
            attachments=tuple(
                api.PartInfo(part=number, name=name, content_type=kind, size=len(content))
                for number, (name, kind, content) in enumerate(one.files, start=1)
            ),
            headers=_headers(one),
            envelope=one.envelope,
            thread=tuple(
                api.ThreadItem(
                    id=other.id,
                    subject=other.subject,
                    from_=(other.sender,),
                    date=other.date,
                    current=other.id == one.id,
                )
                for other in sorted(thread, key=lambda other: other.date)
            ),
            copies=(
                api.CopyInfo(
                    record=f"r-{one.id}",
                    received_at=one.date + 4,
                    source="smtp",
                    mailbox="Microsoft 365 journal",
                    sha256=hashlib.sha256(one.raw).hexdigest(),
                    size=len(one.raw),
                    report=one.envelope is not None,
                ),
            ),
            unparsed=one.unparsed,
            defects=("a date that cannot be read",) if one.unparsed else (),
            may_report=caller.content_roles and one.envelope is not None,
            others=tuple(sorted(others & one.owners)),
            folders=self.lain_in(one.id, None if everywhere else self.archives(caller, whose)),
        )

    async def message_html(
        self, token: str, *, id: str, remote: bool = False, everywhere: bool = False, whose: str = ""
    ) -> api.HtmlView:
        self._note("message_html", id=id, remote=remote, everywhere=everywhere, whose=whose)
        one = self._one(token, id, everywhere, whose)
        return api.HtmlView(html=one.html, blocked=0 if remote else one.blocked)

    async def part(self, token: str, *, id: str, part: int, everywhere: bool = False, whose: str = "") -> Stream:
        self._note("part", id=id, part=part, whose=whose)
        files = self._one(token, id, everywhere, whose).files
        if not 1 <= part <= len(files):
            raise NotFoundError("There is no such attachment.")
        name, kind, content = files[part - 1]
        return _stream(name, kind, content)

    async def original(
        self, token: str, *, id: str, report: bool = False, everywhere: bool = False, whose: str = ""
    ) -> Stream:
        self._note("original", id=id, report=report, whose=whose)
        one = self._one(token, id, everywhere, whose)
        if report:
            if not self._caller(token).content_roles:
                raise ForbiddenError("The journal report is for auditors: it names recipients that others may not see.")
            return _stream(f"{one.id}-report.eml", "message/rfc822", b"X-MS-Journal-Report:\r\n\r\n" + one.raw)
        return _stream(f"{one.subject}.eml", "message/rfc822", one.raw)

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
        kept = {"folder": folder, "below": below} if folder else {}
        self._note("export_begin", query=query, ids=ids, everywhere=everywhere, whose=whose, **kept)
        self._caller(token)
        total = len(ids) or sum(_matches(one, query) for one in self._visible(token, everywhere, whose))
        number = len(self.state.jobs) + 1
        job = api.JobInfo(
            id=f"j-{number}",
            kind="export",
            title=f"Search “{query}”" if query else f"{total} selected messages",
            state="running",
            done=total // 3,
            total=total,
            started_at=int(NOW.timestamp()),
        )
        self.state.jobs.insert(0, job)
        return job

    async def jobs(self, token: str, *, kind: str = "") -> tuple[api.JobInfo, ...]:
        self._note("jobs")
        self._caller(token)
        return tuple(job for job in self.state.jobs if kind in ("", job.kind))

    async def job(self, token: str, *, id: str) -> api.JobInfo:
        self._caller(token)
        return next(job for job in self.state.jobs if job.id == id)

    async def job_stop(self, token: str, *, id: str) -> api.JobInfo:
        self._caller(token)
        return self.finish_job(id, state="stopped", download="")

    async def job_download(self, token: str, *, id: str) -> Stream:
        job = await self.job(token, id=id)
        if not job.download:
            raise NotFoundError("This job has made no file.")
        return _stream(job.download, "application/zip", b"PK\x05\x06" + bytes(18))

    def finish_job(self, id: str, *, state: str = "done", download: str = "export.zip") -> api.JobInfo:
        """Bring a job to its end."""
        index = next(index for index, job in enumerate(self.state.jobs) if job.id == id)
        job = self.state.jobs[index]
        done = job.total if state == "done" else job.done
        finished = msgspec.structs.replace(job, state=state, done=done, download=download)
        self.state.jobs[index] = finished
        return finished

    # -- administration -------------------------------------------------------------------------------------

    async def status(self, token: str) -> api.Status:
        self._admin(token)
        count = len(self.state.messages)
        chance = random.Random(5)
        numbers: dict[str, Any] = {
            "version": "0.1.0",
            "started_at": int(NOW.timestamp()) - 200_000,
            "unlocked": True,
            "unlocks_itself": True,
            "records": count + 6,
            "projected": count + 6,
            "messages": count,
            "indexed": count,
            "unassigned": 3,
            "unparsed": 1,
            "users": len(self.state.accounts),
            "mailboxes": len(self.state.mailboxes),
            "volumes": 12,
            "volumes_signed": 11,
            "backlog": 0,
            "oldest_unsearchable_seconds": 0.0,
            "last_message_at": int(NOW.timestamp()) - 12,
            "per_minute": tuple(chance.randint(4, 24) + (30 if 20 < n < 28 else 0) for n in range(60)),
            "log_bytes": 1_940_000_000,
            "index_bytes": 310_000_000,
            "disk_free": 71_000_000_000,
            "disk_total": 120_000_000_000,
            "accepted": 48_113,
            "refused": 4,
            "deferred": 17,
            "replicas": tuple(one.replica for one in self.remotes_by_name.values()),
            "only_here": self.only_here(count + 6),
        }
        return api.Status(**{**numbers, **self.numbers})

    async def mailboxes(self, token: str) -> tuple[api.MailboxInfo, ...]:
        self._admin(token)
        return tuple(self.state.mailboxes.values())

    async def mailbox_create(
        self, token: str, *, name: str, address: str, sealed: bool = False, **settings: object
    ) -> api.MailboxCreated:
        self._admin(token)
        if "@" not in address:
            raise UsageError(f"{address!r} is not a mail address. Write it as journal@archive.example.org.")
        if any(box.address == address for box in self.state.mailboxes.values()):
            raise ConflictError(f"There is a mailbox with the address {address} already.")
        if address.startswith("@"):
            address = f"j-7f3k9q2m{address}"
        made = msgspec.convert(
            {
                "id": f"b-{len(self.state.mailboxes) + 1}",
                "name": name,
                "address": address,
                "state": "active",
                "sealed": sealed,
                **settings,
            },
            api.MailboxInfo,
        )
        self.state.mailboxes[made.id] = made
        return api.MailboxCreated(made, MAILBOX_PASSWORD)

    async def mailbox_change(self, token: str, *, id: str, **settings: object) -> api.MailboxInfo:
        self._admin(token)
        changes = {key: value for key, value in settings.items() if value is not None}
        box = msgspec.structs.replace(self._box(id), **changes)
        self.state.mailboxes[id] = box
        return box

    async def mailbox_delete(self, token: str, *, id: str) -> None:
        self._admin(token)
        if self._box(id).records:
            raise ConflictError("This mailbox holds mail. Only an empty mailbox can be deleted; suspend it instead.")
        del self.state.mailboxes[id]

    async def mailbox_setup(self, token: str, *, id: str) -> tuple[api.SetupText, ...]:
        self._admin(token)
        address = self._box(id).address
        return (
            api.SetupText(
                "Exchange Online",
                (
                    "In the Microsoft Purview portal, open Exchange (legacy), Journal rules.",
                    f"Create a rule that sends journal reports to {address}, for everyone, for all messages.",
                    "Set an alternate journaling mailbox that is not itself journaled.",
                ),
            ),
            api.SetupText(
                "Google Workspace",
                (
                    "In the Admin console, open Gmail, Routing, Third-party email archiving.",
                    f"Add the address {address}.",
                ),
            ),
        )

    async def mailbox_pulling(self, token: str, *, id: str) -> api.PullInfo:
        self._admin(token)
        return api.PullInfo("archive.example.org", 995, self._box(id).address)

    async def mailbox_proposed_password(self, token: str) -> str:
        self._admin(token)
        return MAILBOX_PASSWORD

    async def mailbox_password(self, token: str, *, id: str, new: str, old: str = "") -> None:
        self._admin(token)
        self._opening(id, old)
        if len(new) < 12:
            raise UsageError("A password of one's own has at least 12 characters.")
        self.state.mailbox_passwords[id] = new

    async def mailbox_tokens(self, token: str, *, id: str) -> tuple[api.TokenInfo, ...]:
        self._admin(token)
        return tuple(self.state.mailbox_tokens.get(id, {}).values())

    async def mailbox_token_add(self, token: str, *, id: str, name: str, password: str = "") -> api.TokenCreated:
        self._admin(token)
        self._opening(id, password)
        if not name.strip():
            raise UsageError("Give the token a name that tells what it is for.")
        known = self.state.mailbox_tokens.setdefault(id, {})
        info = api.TokenInfo(f"{len(known) + 1:08x}", name.strip(), int(NOW.timestamp()))
        known[info.id] = info
        return api.TokenCreated(info, MAILBOX_TOKEN)

    async def mailbox_token_remove(self, token: str, *, id: str, which: str) -> None:
        self._admin(token)
        del self.state.mailbox_tokens[id][which]

    def _opening(self, id: str, password: str) -> None:
        if self._box(id).sealed and password != self.state.mailbox_passwords.get(id, MAILBOX_PASSWORD):
            raise SignInError("The password is not right.")

    async def users(self, token: str, *, find: str = "", offset: int = 0, limit: int = 50) -> api.UserPage:
        self._admin(token)
        found = [
            account.user
            for account in self.state.accounts.values()
            if find.casefold() in f"{account.user.name} {account.user.primary}".casefold()
        ]
        return api.UserPage(total=len(found), users=tuple(found[offset : offset + limit]))

    async def user(self, token: str, *, id: str) -> api.UserInfo:
        self._admin(token)
        return self._user(id).user

    async def user_create(self, token: str, *, name: str, primary: str, aliases: tuple[str, ...] = ()) -> api.UserInfo:
        self._admin(token)
        if any(account.user.primary == primary for account in self.state.accounts.values()):
            raise ConflictError(f"{primary} belongs to somebody already.")
        user = api.UserInfo(id=f"u-{len(self.state.accounts) + 1}", name=name, primary=primary, aliases=aliases)
        self.state.accounts[user.id] = Account(user)
        return user

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
        self._admin(token)
        given = {"name": name, "primary": primary, "aliases": aliases, "state": state}
        return self._set_user(id, **{key: value for key, value in given.items() if value is not None})

    async def user_import(self, token: str, *, csv: bytes) -> api.ImportResult:
        self._admin(token)
        lines = csv.decode().splitlines()[1:]
        errors = [
            (number, f"“{line}” has no address in its first column.")
            for number, line in enumerate(lines, start=2)
            if "@" not in line.split(",")[0]
        ]
        return api.ImportResult(created=len(lines) - len(errors), changed=0, unchanged=0, errors=tuple(errors))

    async def user_invite(self, token: str, *, ids: tuple[str, ...] = ()) -> tuple[api.Invitation, ...]:
        self._admin(token)
        chosen = ids or tuple(id for id, account in self.state.accounts.items() if account.user.sign_in != "password")
        made = []
        for id in chosen:
            account = self._user(id)
            account.invitation = f"KEEP-{id.upper()}-4821"
            expires = int((NOW + timedelta(days=7)).timestamp())
            made.append(api.Invitation(id, account.user.primary, account.invitation, expires))
        return tuple(made)

    async def role_grant(self, token: str, *, id: str, role: str, reason: str) -> api.UserInfo:
        self._admin(token)
        user = self._user(id).user
        if role == "auditor":
            wish = api.RoleRequest(
                id=f"q-{len(self.state.requests) + 1}",
                user_id=id,
                address=user.primary,
                reason=reason,
                asked_by=self._caller(token).address,
                asked_at=int(NOW.timestamp()),
            )
            self.state.requests[wish.id] = wish
            return user
        return self._set_user(id, roles=(*user.roles, role))

    async def role_revoke(self, token: str, *, id: str, role: str) -> api.UserInfo:
        self._admin(token)
        return self._set_user(id, roles=tuple(has for has in self._user(id).user.roles if has != role))

    async def role_requests(self, token: str) -> tuple[api.RoleRequest, ...]:
        self._caller(token)
        return tuple(self.state.requests.values())

    async def role_decide(self, token: str, *, id: str, approve: bool) -> None:
        self._auditor(token)
        wish = self.state.requests.pop(id)
        if approve:
            self._set_user(wish.user_id, roles=(*self._user(wish.user_id).user.roles, "auditor"))

    async def audit(self, token: str, *, find: str = "", offset: int = 0, limit: int = 50) -> api.AuditPage:
        self._caller(token)
        found = [line for line in self.state.trail if find in f"{line.who} {line.action} {line.what}"]
        return api.AuditPage(total=len(found), lines=tuple(found[offset : offset + limit]))

    # -- inside ---------------------------------------------------------------------------------------------

    def _note(self, method: str, **params: Any) -> None:
        self.state.calls.append((method, params))
        if self.down:
            raise UnavailableError("The archive is not answering just now. Mail is still received; try again shortly.")
        self._require_unlocked()

    def _require_unlocked(self) -> None:
        if self.locked:
            raise LockedError("The archive is locked. Mail is received and stored safely.")

    def _session(self, user_id: str) -> api.SignedIn:
        token = hashlib.sha256(f"{user_id}{len(self.state.sessions)}".encode()).hexdigest()
        self.state.sessions[token] = user_id
        return api.SignedIn(token, self._caller(token), int(NOW.timestamp()) + 3600)

    def _account(self, token: str) -> Account:
        self._require_unlocked()
        if token not in self.state.sessions:
            raise SignInError("This session has ended. Sign in again.")
        return self.state.accounts[self.state.sessions[token]]

    def _caller(self, token: str) -> api.Caller:
        account = self._account(token)
        user = account.user
        return api.Caller(
            user_id=user.id,
            name=user.name,
            address=user.primary,
            roles=user.roles,
            totp_enabled=account.totp,
            totp_required=account.totp_required,
            content_roles="auditor" in user.roles,
            opened=self.opened(user.id),
        )

    def _admin(self, token: str) -> None:
        if "admin" not in self._caller(token).roles:
            raise ForbiddenError("This is for administrators.")

    def _auditor(self, token: str) -> None:
        if not self._caller(token).content_roles:
            raise ForbiddenError("This is for auditors.")

    def _user(self, id: str) -> Account:
        if id not in self.state.accounts:
            raise NotFoundError("There is no such user.")
        return self.state.accounts[id]

    def _set_user(self, id: str, **changes: Any) -> api.UserInfo:
        account = self._user(id)
        account.user = msgspec.structs.replace(account.user, **changes)
        return account.user

    def _box(self, id: str) -> api.MailboxInfo:
        if id not in self.state.mailboxes:
            raise NotFoundError("There is no such mailbox.")
        return self.state.mailboxes[id]

    def _visible(self, token: str, everywhere: bool, whose: str) -> list[Message]:
        caller = self._caller(token)
        if everywhere:
            self._auditor(token)
            return self.state.messages
        archives = self.archives(caller, whose)
        return [one for one in self.state.messages if archives & one.owners]

    def _one(self, token: str, id: str, everywhere: bool, whose: str) -> Message:
        for one in self._visible(token, everywhere, whose):
            if one.id == id:
                return one
        raise NotFoundError("There is no such message, or it is not yours.")


def _matches(one: Message, query: str) -> bool:
    if query.count('"') % 2:
        raise QueryError("A phrase begins here and has no closing quotation mark.", query.rindex('"'))
    for part in query.replace("(", " ").replace(")", " ").split():
        wanted = not part.startswith("-")
        field_name, colon, word = part.removeprefix("-").casefold().rpartition(":")
        if not colon:
            found = word.strip('"*') in one.words()
        elif field_name == "from":
            found = word in f"{one.sender.name} {one.sender.address}".casefold()
        elif field_name == "subject":
            found = word in one.subject.casefold()
        elif field_name == "has":
            found = bool(one.files)
        elif field_name == "on":
            found = datetime.fromtimestamp(one.date, UTC).isoformat().startswith(word)
        elif field_name == "is":
            found = one.unparsed
        else:
            raise QueryError(f"“{field_name}:” is not something that can be searched in.", query.index(part))
        if found is not wanted:
            return False
    return True


def _hit(one: Message, word: str, thread: int, several: frozenset[str]) -> api.Hit:
    text = " ".join(one.text.split())
    at = text.casefold().find(word.casefold()) if word else -1
    start = max(0, at - 40) if at >= 0 else 0
    snippet = text[start : start + 160]
    marks = ((at - start, at - start + len(word)),) if at >= 0 else ()
    return api.Hit(
        id=one.id,
        subject=one.subject,
        from_=(one.sender,),
        to=one.to,
        date=one.date,
        size=len(one.raw),
        attachments=len(one.files),
        unparsed=one.unparsed,
        snippet=snippet,
        marks=marks,
        thread_size=thread,
        archives=tuple(sorted(several & one.owners)),
    )


def _headers(one: Message) -> tuple[tuple[str, str], ...]:
    return (
        ("Received", "from mail.example.org (mail.example.org [192.0.2.10]) by mx1.example.org with ESMTPS"),
        ("From", f"{one.sender.name} <{one.sender.address}>"),
        ("To", ", ".join(f"{who.name} <{who.address}>" for who in one.to)),
        ("Subject", one.subject),
        ("Date", datetime.fromtimestamp(one.date, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")),
        ("Message-ID", f"<{one.id}.{one.date}@example.org>"),
        ("MIME-Version", "1.0"),
    )


def _stream(name: str, kind: str, content: bytes) -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 1000):
            yield content[at : at + 1000]

    return Stream(StreamHead(name, kind, len(content)), chunks())


def _qr(secret: str) -> str:
    dots = random.Random(secret)
    squares = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1"/>' for x in range(29) for y in range(29) if dots.random() < 0.5
    )
    return QR.format(squares)


# -- made-up mail -----------------------------------------------------------------------------------------------

ANNA = api.Person("Anna Berg", "anna.berg@example.org")
PEOPLE = (
    ANNA,
    api.Person("Jonas Müller", "jonas.mueller@example.org"),
    api.Person("Priya Raman", "priya.raman@example.org"),
    api.Person("Tomás Ferreira", "tomas.ferreira@example.org"),
    api.Person("Mei Lin", "mei.lin@example.org"),
    api.Person("Owen Clarke", "owen.clarke@example.org"),
    api.Person("Harbour & Sons", "office@harbour.example.com"),
    api.Person("Northwind Freight", "dispatch@northwind.example.net"),
)
_TOPICS = (
    ("Budget for the spring campaign", "The figures for the spring campaign are in. We stay below the budget of"
     " last year by four percent, mostly because printing became cheaper."),
    ("Delivery 4711 is late", "The truck is held up at the border. The new estimate is Thursday before noon;"
     " the customer knows and has moved the installation."),
    ("Minutes of Tuesday’s meeting", "Thanks for the lively hour. The minutes are below; please send corrections"
     " by Friday. Open points: the lease, the new phones, who feeds the fish."),
    ("Re: Offer for the warehouse roof", "We compared the three offers. Harbour & Sons is not the cheapest, but"
     " the only one that includes the insulation that the insurance asks for."),
    ("Holiday list 2027", "Please enter your holidays until the end of the month. Two people of each team stay."),
    ("Invoice 2026-1187", "Please find our invoice attached. It is payable within 30 days."),
    ("Access to the old drawings", "The drawings of building C are in the archive room, third shelf. I scanned the"
     " ones that are not faded."),
    ("Quarterly report, second draft", "Second draft with the comments of the board. Pages 4 and 9 are new; the"
     " table on page 12 still waits for the numbers from Lisbon."),
    ("Lunch on Friday?", "The place by the river has a table for eight at half past twelve. Who is in?"),
    ("Password reset for the scanner", "The scanner on the second floor has a new administrator password. It is in"
     " the safe; please do not mail it."),
)  # fmt: skip

_NEWSLETTER = """<div style="max-width:620px;margin:0 auto;font-family:Georgia,serif">
<p style="color:#777;font-size:13px;letter-spacing:.04em">Harbour &amp; Sons · Roofs since 1921</p>
<h1 style="font-size:30px;line-height:1.2;margin:.2em 0">A dry winter, with less to heat</h1>
<p>Dear Anna,</p><p>thank you for walking the warehouse with us on Monday. As promised, here is what we would do,
in the order in which we would do it, with prices that hold until the end of January.</p>
<table style="border-collapse:collapse;width:100%;font-size:14px"><tr><th align="left" style="border-bottom:2px
solid #333;padding:6px 0">Work</th><th align="right" style="border-bottom:2px solid #333">Price</th></tr>
<tr><td style="padding:6px 0;border-bottom:1px solid #ddd">Scaffolding and safety</td><td align="right"
style="border-bottom:1px solid #ddd">8,400</td></tr><tr><td style="padding:6px 0;border-bottom:1px solid #ddd">
Insulation, 1,240 m², as the insurance asks</td><td align="right" style="border-bottom:1px solid #ddd">61,900</td>
</tr><tr><td style="padding:6px 0">Sheet roof, standing seam</td><td align="right">104,300</td></tr></table>
<p>The drawings are attached. We could begin in the second week of February.</p><p>Kind regards<br>Ida Harbour</p>
<p style="font-size:12px;color:#777"><a href="https://harbour.example.com/terms">Terms</a></p></div>"""


def _fill(state: State) -> None:
    roles: dict[int, tuple[api.Role, ...]] = {0: ("user", "auditor"), 1: ("user", "admin")}
    for number, who in enumerate(PEOPLE[:6]):
        user = api.UserInfo(
            id=f"u-{number}",
            name=who.name,
            primary=who.address,
            aliases=(f"{who.address.split('.')[0]}@example.org",),
            roles=roles.get(number, ("user",)),
            sign_in="password" if number < 3 else "none",
            messages=40 + 7 * number,
        )
        state.accounts[user.id] = Account(user)
    state.mailboxes["b-1"] = api.MailboxInfo(
        id="b-1",
        name="Microsoft 365 journal",
        address="j-4c91f0aa27@archive.example.org",
        state="active",
        records=48_113,
        bytes=1_940_000_000,
        first_at=int(NOW.timestamp()) - 410 * 24 * 3600,
        last_at=int(NOW.timestamp()) - 12,
        description="Everybody in Lisbon and Berlin.",
        aliases=("journal@archive.example.org",),
        catch_all=("old.archive.example.org",),
    )
    state.mailbox_tokens["b-1"] = {"0000000a": api.TokenInfo("0000000a", "nightly copy", int(NOW.timestamp()) - 9000)}
    state.mailboxes["b-2"] = api.MailboxInfo(
        id="b-2", name="Google, Lisbon office", address="j-90bd113c5e@archive.example.org", state="suspended"
    )
    state.mailboxes["b-3"] = api.MailboxInfo(
        id="b-3",
        name="Works council",
        address="council@archive.example.org",
        state="active",
        sealed=True,
        delete_after_pull=True,
        retention_days=365,
        records=214,
        bytes=9_300_000,
        first_at=int(NOW.timestamp()) - 90 * 24 * 3600,
        last_at=int(NOW.timestamp()) - 3600,
    )
    chance = random.Random(20261120)
    for number in range(140):
        state.messages.append(_made_up(chance, number))
    state.messages[1] = _offer(state.messages[1])
    actions = (("search", "query: budget"), ("open", "message m-12"), ("sign-in", ""), ("export", "23 messages"))
    for number in range(120, 0, -1):
        action, what = actions[number % 4]
        who = PEOPLE[number % 3].address
        state.trail.append(api.AuditLine(number, int(NOW.timestamp()) - (120 - number) * 700, who, action, what))


def _made_up(chance: random.Random, number: int) -> Message:
    topic = number % len(_TOPICS)
    subject, text = _TOPICS[topic]
    sender = chance.choice(PEOPLE)
    others = [who for who in PEOPLE[:6] if who != sender]
    to = tuple(chance.sample(others, 1 + number % 3))
    cc = (ANNA,) if ANNA not in to and sender != ANNA else ()
    when = NOW - timedelta(minutes=11 + 53 * number**1.9)
    files: tuple[tuple[str, str, bytes], ...] = ()
    if number % 5 == 0:
        files = (("Zahlen für März №3.xlsx", "application/vnd.ms-excel", b"PK" + bytes(36_000)),)
    group = "everybody@example.org"
    lines = tuple(api.EnvelopeLine(who.address, "to", who.name) for who in to)
    members = tuple(api.EnvelopeLine(who.address, "to", who.name, group) for who in PEOPLE[2:5])
    raw = f"From: {sender.address}\r\nSubject: message {number}\r\n\r\n{text}\r\n".encode() + bytes([0, 255, 10])
    return Message(
        id=f"m-{number}",
        subject=subject,
        sender=sender,
        to=to,
        cc=cc,
        date=int(when.timestamp()),
        text=f"Hello {to[0].name.split()[0]},\n\n{text}\n\nSee https://intranet.example.org/notes/{number} for"
        f" the rest.\n\nBest regards\n{sender.name}\n",
        files=files,
        thread=f"t-{topic}-{number // 40}",
        envelope=api.EnvelopeView(
            sender=sender.address, recipients=(*lines, *members), groups=(group,), reduced=number % 2 == 0
        ),
        raw=raw,
        owners=frozenset({"u-0", f"u-{number % 6}"}),
    )


def _offer(plain: Message) -> Message:
    plain.subject = "Your roof: our offer, and what the insurance asks for"
    plain.sender, plain.to, plain.cc = PEOPLE[6], (ANNA, PEOPLE[1]), ()
    plain.text = "Dear Anna, thank you for walking the warehouse with us on Monday. Here is what we would do.\n" * 12
    plain.html, plain.blocked = _NEWSLETTER, 2
    plain.files = (
        ("Offer 2026-088.pdf", "application/pdf", b"%PDF-1.7" + bytes(412_000)),
        ("Drawings building C.zip", "application/zip", b"PK" + bytes(2_000_000)),
    )
    return plain
