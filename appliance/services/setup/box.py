"""What set-up asks of the running archive: each step's decision put in force, whether it is made twice or once.

All of it goes over the box's own socket, where it is checked and audited as from any other face.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from appliance.errors import MailkeepError, UnavailableError
from appliance.language import _
from appliance.mail.addresses import normalise
from appliance.services import api
from appliance.services.box import RunningBox, running_box
from appliance.services.paths import Paths

OPEN_SECONDS = 180.0
PAUSE = 0.2
REASON = "set-up: the first journal report"
"""What the audit trail says of the look at the first report."""

T = TypeVar("T")


class Box:
    """The archive that set-up works on."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """One service's answer, on a connection of its own. Raises UnavailableError where nothing runs."""
        with self._connected() as box:
            return box.call(method, kind, **params)

    @contextmanager
    def _connected(self) -> Iterator[RunningBox]:
        box = running_box(self.paths)
        if box is None:
            raise UnavailableError(_("The archive is not running. Nothing was changed."))
        try:
            yield box
        finally:
            box.close()

    # -- the lock ---------------------------------------------------------------------------------------------

    def is_unlocked(self) -> bool:
        """Whether it can be read."""
        return self.call("lock_state", api.LockState).unlocked

    def unlock(self, passphrase: str) -> None:
        """Open it, and return when it is open. Raises KeyringError where the passphrase does not fit."""
        if not self.is_unlocked():
            self.call("unlock", api.LockState, passphrase=passphrase)
        self.await_open()

    def await_open(self) -> None:
        """Return when the archive answers what only an open one can. Raises UnavailableError."""
        deadline = time.monotonic() + OPEN_SECONDS
        while True:
            try:
                if self.is_unlocked():
                    return
            except UnavailableError:  # it is changing over from locked to open
                pass
            if time.monotonic() > deadline:
                raise UnavailableError(_("The archive was unlocked and is still being opened. Try again in a moment."))
            time.sleep(PAUSE)

    # -- who, where -------------------------------------------------------------------------------------------

    def has_administrator(self) -> bool:
        """Whether there is one."""
        return not self.call("first_administrator_needed", bool)

    def add_administrator(self, *, name: str, address: str, password: str) -> None:
        """The first administrator. Raises ForbiddenError where there is one, UsageError for what cannot be."""
        self.call("first_administrator", type(None), name=name, address=address, password=password)

    def set_host_name(self, name: str) -> None:
        """The name by which others reach the box."""
        self.call("gateway_set", type(None), hostname=name)

    # -- the first mailbox ------------------------------------------------------------------------------------

    def mailboxes(self) -> tuple[api.MailboxInfo, ...]:
        """All there are."""
        return self.call("mailboxes", tuple[api.MailboxInfo, ...])

    def find_mailbox(self, address: str) -> api.MailboxInfo | None:
        """The mailbox with that address; for an address without local part, any of that domain."""
        wanted = normalise(address)
        for one in self.mailboxes():
            if one.address == wanted or (wanted.startswith("@") and one.address.endswith(wanted)):
                return one
        return None

    def create_mailbox(self, *, name: str, address: str, domains: Sequence[str] = ()) -> api.MailboxCreated:
        """A new mailbox, and its password, which is shown this once."""
        return self.call("mailbox_create", api.MailboxCreated, name=name, address=address, domains=list(domains))

    def instructions(self, mailbox: str) -> tuple[api.SetupText, ...]:
        """What to type into Exchange, Google and others."""
        return self.call("mailbox_setup", tuple[api.SetupText, ...], id=mailbox)

    # -- the certificate --------------------------------------------------------------------------------------

    def certificate(self) -> api.Certificate:
        """The one in use."""
        return self.call("certificate", api.Certificate)

    def self_signed(self, names: Sequence[str] = ()) -> api.Certificate:
        """A new one of our own."""
        return self.call("certificate_self_signed", api.Certificate, names=list(names))

    def own_certificate(self, content: Sequence[bytes], password: str = "") -> api.Certificate:
        """The administrator's own: chain and key."""
        return self.call("certificate_own", api.Certificate, content=list(content), password=password)

    def acme(self, *, contact: str, names: Sequence[str] = (), directory: str = "") -> api.JobInfo:
        """Order one; follow the job with ``job``."""
        where = {"directory": directory} if directory else {}
        return self.call("certificate_acme", api.JobInfo, contact=contact, names=list(names), agree=True, **where)

    def acme_terms(self, directory: str = "") -> str:
        """Where the authority's terms are to be read; empty where it has none."""
        return self.call("certificate_acme_terms", str, **({"directory": directory} if directory else {}))

    def job(self, id: str) -> api.JobInfo:
        """How far a job is."""
        return self.call("job", api.JobInfo, id=id)

    def follow(self, job: api.JobInfo, seconds: float = 300.0) -> api.JobInfo:
        """The job when it is over. Raises UnavailableError where it takes too long."""
        deadline = time.monotonic() + seconds
        while job.finished_at is None:
            if time.monotonic() > deadline:
                raise UnavailableError(_("This takes longer than it should. It goes on by itself; look again later."))
            time.sleep(PAUSE)
            job = self.job(job.id)
        return job

    # -- the first remote -------------------------------------------------------------------------------------

    def remotes(self) -> tuple[api.RemoteInfo, ...]:
        """All there are."""
        return self.call("remotes", tuple[api.RemoteInfo, ...])

    def test_remote(self, *, type: str, options: Mapping[str, str], path: str) -> api.RemoteTested:
        """Write, read, compare and delete a probe there."""
        return self.call("remote_test", api.RemoteTested, type=type, options=dict(options), path=path)

    def add_remote(self, *, name: str, type: str, options: Mapping[str, str], path: str) -> api.RemoteInfo:
        """Replicate there from now on."""
        return self.call("remote_add", api.RemoteInfo, name=name, type=type, options=dict(options), path=path)

    # -- the first report -------------------------------------------------------------------------------------

    def arrivals(self) -> Arrivals:
        """What has come in so far, in numbers."""
        now = self.call("status", api.Status)
        return Arrivals(now.records, now.messages, now.accepted, now.deferred, now.refused, now.last_message_at)

    def latest(self) -> api.Hit | None:
        """The newest message, once it can be found; audited."""
        try:
            page = self.call("local_search", api.SearchPage, query="", limit=1, reason=REASON)
        except MailkeepError:  # an empty archive has no index yet
            return None
        return page.hits[0] if page.hits else None


class Arrivals(msgspec.Struct, frozen=True):
    """Mail in numbers: in the log, readable, and what the gateway did since it started."""

    records: int
    messages: int
    accepted: int
    deferred: int
    refused: int
    last_at: int | None
