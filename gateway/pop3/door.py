"""Who gets into which mailbox: the published settings, the password, one reader at a time.

The password goes to the key agent and nowhere else. Who is refused is not told why: an address that no mailbox has, a
wrong password and a disabled mailbox get the same answer after the same time.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import ssl
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final

from appliance.errors import ForbiddenError, MailkeepError, SignInError
from appliance.mail.published import GatewayMailbox, GatewaySettings, SealKey, address_key
from appliance.pull.maildrop import Maildrops
from appliance.store.reader import LogReader
from gateway.pop3.archiver import Archiver
from gateway.pop3.session import RefusedError
from gateway.pop3.syntax import Credentials
from gateway.pop3.throttle import Throttle
from gateway.pop3.visit import Opened, Reader, Visit

log = logging.getLogger(__name__)

LOCKS: Final = Path("run", "pull", "locks")
"""Below the data folder: a file for each mailbox, held (flock) by the one session that reads it."""
FAILURE_SECONDS: Final = 2.0
"""How long a refusal takes at least, so that its time does not tell what was wrong."""

_NO = "[AUTH] That address and password do not open a mailbox here"
_LATER = "[SYS/TEMP] Mailboxes cannot be opened just now, try again later"

OpenMailbox = Callable[[bytes, str, str], Opened]
"""From mailbox id, password and client's address to the open mailbox. Raises SignInError, MailkeepError."""


class Guest:
    """A reader in his mailbox (``session.Guest``)."""

    def __init__(
        self, visit: Visit, opened: Opened, lock: int, archiver: Archiver, *, reading: Executor, waiting: Executor,
        deletes: bool, client: str,
    ) -> None:  # fmt: skip
        self.reader = Reader(visit, reading)
        self.deletes = deletes
        self._client = client
        self._opened = opened
        self._lock = lock
        self._archiver = archiver
        self._waiting = waiting

    async def begin_reading(self) -> None:
        """Return when it is written down that mail is read, or when that cannot be had.

        A locked archive has no audit trail, and can be pulled from all the same. Raises ForbiddenError where the
        mailbox was disabled meanwhile.
        """
        try:
            await self._do(partial(self._archiver.reading, self._opened.grant, self._client))
        except ForbiddenError:
            raise
        except MailkeepError as error:
            log.warning("client %s reads a mailbox without an audit line: %s", self._client, error.message)

    async def may_delete(self) -> None:
        """Return if the archiver would erase now. Raises MailkeepError where it cannot."""
        await self._do(partial(self._archiver.may_erase, self._opened.grant))

    async def erase(self, numbers: Iterable[int]) -> None:
        """Return when these messages are erased for good. Raises MailkeepError where some may still be there."""
        records = [self.reader.visit.drop.record_id(number) for number in numbers]
        await self._do(partial(self._archiver.erase, self._opened.grant, records))

    async def leave(self) -> None:
        """Give the mailbox back to others, and have its private key forgotten."""
        await self.reader.close()
        await self._do(self._opened.close)
        os.close(self._lock)

    async def _do(self, work: Callable[[], None]) -> None:
        # Not on the threads that read: an archiver that is slow to answer keeps no other session from its mail.
        await asyncio.get_running_loop().run_in_executor(self._waiting, work)


class Door:
    """What sessions need of the process (``session.House``).

    ``settings`` gives the published settings, None while they cannot be read; ``look`` has them read anew and says
    whether they are others. ``reading`` and ``waiting`` are threads
    for work and for waiting on other processes.
    """

    def __init__(
        self,
        data: Path,
        *,
        settings: Callable[[], GatewaySettings | None],
        look: Callable[[], bool],
        tls: Callable[[], ssl.SSLContext | None],
        open_mailbox: OpenMailbox,
        archiver: Archiver,
        reading: Executor,
        waiting: Executor,
    ) -> None:
        self._data = data
        self._settings = settings
        self._look = look
        self._tls = tls
        self._open_mailbox = open_mailbox
        self._archiver = archiver
        self._reading = reading
        self._waiting = waiting
        self._drops: tuple[SealKey | None, Maildrops] | None = None
        self._loop = asyncio.get_running_loop()
        self._throttle = Throttle(self._loop.time)
        self._known: tuple[GatewaySettings, dict[str, GatewayMailbox]] | None = None

    @property
    def most_errors(self) -> int:
        """Wrong commands after which a session ends."""
        settings = self._settings()
        return (settings.limits if settings else GatewaySettings(version=0, hostname="").limits).errors_per_session

    def tls(self) -> ssl.SSLContext | None:
        """The context for STLS."""
        return self._tls()

    async def enter(self, credentials: Credentials, peer: str) -> Guest:
        """Let somebody in. Raises RefusedError with the reply's text."""
        name = address_key(credentials.name)
        keys = f"name {name}", f"peer {peer}"
        await asyncio.sleep(self._throttle.pause(*keys))
        began = self._loop.time()
        try:
            mailbox = self._mailbox(name)
            guest = await self._open(mailbox, credentials.password, peer)
        except RefusedError as refusal:
            if str(refusal) == _NO:
                self._throttle.failed(*keys)
                log.warning("client %s: refused", peer)
            await asyncio.sleep(max(began + FAILURE_SECONDS - self._loop.time(), 0.0))
            raise
        self._throttle.succeeded(keys[0])
        log.info("client %s: in mailbox %s, %d messages", peer, mailbox.id, len(guest.reader.visit))
        return guest

    def _mailbox(self, name: str) -> GatewayMailbox:
        settings = self._settings()
        if settings is None:
            raise RefusedError(_LATER)
        if self._known is None or self._known[0] is not settings:
            self._known = settings, {box.addresses[0]: box for box in settings.mailboxes if box.addresses}
        mailbox = self._known[1].get(name)
        if mailbox is None and self._look():  # it may have been made a moment ago
            return self._mailbox(name)
        if mailbox is None or mailbox.state == "disabled":
            raise RefusedError(_NO)
        return mailbox

    async def _open(self, mailbox: GatewayMailbox, password: str, peer: str) -> Guest:
        mailbox_id = bytes.fromhex(mailbox.id)
        try:
            opened = await self._loop.run_in_executor(self._waiting, self._open_mailbox, mailbox_id, password, peer)
        except SignInError as error:
            raise RefusedError(_NO) from error
        except MailkeepError as error:
            log.error("no mailbox can be opened: %s", error.message)
            raise RefusedError(_LATER) from error
        try:
            lock = self._take(mailbox.id)
            try:
                visit = await self._loop.run_in_executor(self._reading, self._visit, mailbox_id, opened)
            except BaseException:
                os.close(lock)
                raise
        except BaseException as error:
            await self._loop.run_in_executor(self._waiting, opened.close)
            if isinstance(error, (MailkeepError, OSError)):
                log.error("mailbox %s cannot be read: %s", mailbox.id, error)
                raise RefusedError(_LATER) from error
            raise
        return Guest(
            visit, opened, lock, self._archiver, reading=self._reading, waiting=self._waiting,
            deletes=mailbox.deletes, client=peer,
        )  # fmt: skip

    def _visit(self, mailbox_id: bytes, opened: Opened) -> Visit:
        settings = self._settings()
        seal_key = settings.seal_key if settings else None
        if self._drops is None or self._drops[0] != seal_key:
            self._drops = seal_key, Maildrops(self._data, seal_key)
        return Visit(self._drops[1].look(mailbox_id), LogReader(self._data / "volumes", opened, seal_key=seal_key))

    def _take(self, mailbox: str) -> int:
        """Have the mailbox to ourselves (RFC 1939 section 4). Raises RefusedError where somebody else has it."""
        descriptor = os.open(self._data / LOCKS / mailbox, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise RefusedError("[IN-USE] Another program is reading this mailbox; try again when it is done") from None
        return descriptor
