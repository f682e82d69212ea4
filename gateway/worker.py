"""One gateway worker: its sockets, its event loop, what it does every so often, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from appliance.errors import MailkeepError
from appliance.host.notify import Notifier
from appliance.mail.published import roll_path
from appliance.store.rolling import RollRequests
from appliance.store.writer import LogWriter
from gateway.archiving import ArchivingHandler
from gateway.clients import Clients
from gateway.counters import Counters, publish
from gateway.doors import DoorKeeper
from gateway.intake import Intake
from gateway.smtp.protocol import SmtpProtocol
from gateway.tls import TlsKeeper

log = logging.getLogger(__name__)

_BACKLOG = 512  # connections that the kernel keeps waiting
_PUBLISH_EVERY = 1.0  # seconds
_SWEEP_EVERY = 5.0  # or four times in each idle time-out, where that is more often
_ROLL_EVERY = 30.0
_ALIVE_EVERY = 1.0
_LOOK_FOR_ROLL_EVERY = 0.2
_PATIENCE = 2.0  # with a client that came just before the end and says nothing


class Options(msgspec.Struct, frozen=True):
    """What a worker is started with. Times in seconds."""

    data: Path
    worker: int
    idle_timeout: float = 300.0  # RFC 5321 section 4.5.3.2.7: five minutes at least
    grace: float = 30.0  # for messages in transit when the worker is told to stop
    volume_age: float = 3600.0


class Worker:
    """Everything of one worker process that lives on its event loop."""

    def __init__(
        self,
        options: Options,
        writer: LogWriter,
        loop: asyncio.AbstractEventLoop,
        *,
        confined: bool = False,
        notifier: Notifier | None = None,
    ) -> None:
        """``notifier`` hears that the worker listens, that its loop goes round, and that it ends."""
        self.counters = Counters(options.worker, started_at=time.time_ns() // 1000)
        self.counters.confined = confined
        self._notifier = notifier or Notifier()
        self._options = options
        self._writer = writer
        self._loop = loop
        self._sessions: set[SmtpProtocol] = set()
        self._doors = DoorKeeper(options.data, loop.time)
        self._certificate = TlsKeeper(options.data, loop.time)
        self._roll_requests = RollRequests(roll_path(options.data))
        self._intake = Intake(writer, loop, self.counters)
        self._handler = ArchivingHandler(self._doors, self._intake, Clients(loop.time), self.counters, self._sessions)

    async def run(self, listeners: Sequence[socket.socket], stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then end every session in order and close the log."""
        servers = [await self._loop.create_server(self._protocol, sock=listener) for listener in listeners]
        duties = [
            self._loop.create_task(self._every(_PUBLISH_EVERY, self._publish)),
            self._loop.create_task(self._every(min(_SWEEP_EVERY, self._options.idle_timeout / 4), self._sweep)),
            self._loop.create_task(self._every(_ROLL_EVERY, self._roll)),
            self._loop.create_task(self._every(_LOOK_FOR_ROLL_EVERY, self._roll_if_asked)),
            self._loop.create_task(self._every(_ALIVE_EVERY, self._notifier.alive)),
        ]
        self._context()
        self._publish()
        log.info("worker %d listens", self._options.worker)
        self._notifier.ready()
        try:
            await stop.wait()
        finally:
            self._notifier.stopping()
            for server in servers:
                server.close()
            await self._drain()
            for duty in duties:
                duty.cancel()
            await self._loop.run_in_executor(None, self._close)
            self._publish()
            log.info("worker %d has stopped", self._options.worker)

    def _protocol(self) -> SmtpProtocol:
        return SmtpProtocol(self._handler, self._loop, self._context)

    def _context(self) -> ssl.SSLContext | None:
        return self._certificate.context(self._doors.settings.tls)

    async def _drain(self) -> None:
        """421 to whoever is between messages, an answer first to whoever is inside one or has just come, within
        the grace time."""
        for session in tuple(self._sessions):
            session.drain()
        await self._until_no_session(self._options.grace)
        for session in tuple(self._sessions):
            session.expire()
        await self._until_no_session(1.0)

    async def _until_no_session(self, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while self._sessions and self._loop.time() < deadline:
            self._notifier.alive()
            slow = self._loop.time() - _PATIENCE
            for session in tuple(self._sessions):
                session.drain(now=session.last_active < slow)
            await asyncio.sleep(0.02)

    def _close(self) -> None:
        self._intake.close()
        self._writer.close()

    # -- every so often ----------------------------------------------------------------------------------

    async def _every(self, seconds: float, duty: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                duty()
            except Exception:
                log.exception("a duty failed and is tried again in %g s", seconds)

    def _publish(self) -> None:
        doors = self._doors.doors()
        generation = doors.settings.generation if doors else None
        snapshot = self.counters.snapshot(now=time.time_ns() // 1000, generation=generation)
        with contextlib.suppress(OSError):  # a full disk shows in the counters of the mail it defers
            publish(self._options.data, snapshot)

    def _sweep(self) -> None:
        too_old = self._loop.time() - self._options.idle_timeout
        for session in tuple(self._sessions):
            if session.last_active < too_old and session.waiting_for_client:
                session.expire()

    def _roll(self) -> None:
        # Closing a volume writes and syncs, so not on the loop.
        self._loop.run_in_executor(None, self._close_volumes, self._options.volume_age)

    def _roll_if_asked(self) -> None:
        if self._roll_requests.asked():
            self._loop.run_in_executor(None, self._close_volumes, 0.0)

    def _close_volumes(self, older_than: float) -> None:
        try:
            self._writer.roll(older_than=older_than)
        except MailkeepError as error:
            log.error("a volume could not be closed: %s", error)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``, shared with the other workers (SO_REUSEPORT).

    Raises OSError with the address in it.
    """
    sockets = []
    places = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in dict.fromkeys(places):
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"{error.strerror}: {address[0]} port {port}") from error
        sockets.append(listener)
    return sockets


def stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set ``stop``."""
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
