"""One worker of the pull server: its sockets, its sessions, what it does every so often, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from appliance.host.notify import Notifier
from appliance.host.sockets import plain_ip
from appliance.mail.published import GatewaySettings
from gateway.clients import Clients
from gateway.doors import DoorKeeper
from gateway.pop3.archiver import Archiver
from gateway.pop3.connection import HANDSHAKE_SECONDS, Connection
from gateway.pop3.door import Door, OpenMailbox
from gateway.pop3.session import Session
from gateway.tls import TlsKeeper

log = logging.getLogger(__name__)

READING_THREADS = 4
WAITING_THREADS = 32
"""Threads that wait for the key agent: it answers who guesses slowly."""

_ACCEPT_PAUSE = 0.2
_SWEEP_EVERY = 5.0


class Options(msgspec.Struct, frozen=True):
    """What a worker is started with. Times in seconds."""

    data: Path
    worker: int
    idle_timeout: float = 600.0  # RFC 1939 section 3: ten minutes at least
    login_timeout: float = 120.0  # for those who have not said who they are
    grace: float = 20.0  # for deletions in transit when the worker is told to stop


class Worker:
    """Everything of one worker process that lives on its event loop."""

    def __init__(
        self, options: Options, open_mailbox: OpenMailbox, archiver: Archiver, notifier: Notifier | None = None
    ) -> None:
        """``notifier`` hears that the worker listens, that its loop goes round, and that it ends."""
        self._notifier = notifier or Notifier()
        self._options = options
        self._loop = loop = asyncio.get_running_loop()
        self._doors = DoorKeeper(options.data, loop.time)
        self._certificate = TlsKeeper(options.data, loop.time)
        self._clients = Clients(loop.time)
        self._sessions: dict[Connection, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = ThreadPoolExecutor(READING_THREADS, "reading")
        self._waiting = ThreadPoolExecutor(WAITING_THREADS, "waiting")
        self._door = Door(
            options.data,
            settings=self._settings,
            look=self._doors.look,
            tls=self._context,
            open_mailbox=open_mailbox,
            archiver=archiver,
            reading=self._reading,
            waiting=self._waiting,
        )

    async def run(
        self, tls_listeners: Sequence[socket.socket], plain_listeners: Sequence[socket.socket], stop: asyncio.Event
    ) -> None:
        """Serve until ``stop`` is set; sessions that are deleting may finish."""
        self._context()
        accepting = [
            self._loop.create_task(self._accept(listener, secure=secure))
            for secure, listeners in ((True, tls_listeners), (False, plain_listeners))
            for listener in listeners
        ]
        sweeping = self._loop.create_task(self._sweep())
        log.info("worker %d listens", self._options.worker)
        self._notifier.ready()
        try:
            await stop.wait()
        finally:
            self._notifier.stopping()
            for task in (*accepting, sweeping):
                task.cancel()
            for listener in (*tls_listeners, *plain_listeners):
                listener.close()
            await self._drain()
            self._reading.shutdown(wait=False, cancel_futures=True)
            self._waiting.shutdown(wait=False, cancel_futures=True)
            log.info("worker %d has stopped", self._options.worker)

    def _settings(self) -> GatewaySettings | None:
        doors = self._doors.doors()
        return doors.settings if doors is not None else None

    def _context(self) -> ssl.SSLContext | None:
        return self._certificate.context(self._doors.settings.tls)

    async def _accept(self, listener: socket.socket, *, secure: bool) -> None:
        while True:
            try:
                client, address = await self._loop.sock_accept(listener)
            except OSError as error:
                log.warning("a connection could not be taken: %s", error)
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            task = self._loop.create_task(self._receive(client, plain_ip(str(address[0])), secure=secure))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _receive(self, client: socket.socket, peer: str, *, secure: bool) -> None:
        """Talk to one client, from the handshake to the end."""
        limit = self._clients.connect(peer, self._doors.settings.limits)
        if limit is not None:
            log.warning("client %s: turned away, %s", peer, limit)
            client.close()
            return
        try:
            context = self._context() if secure else None
            if secure and context is None:
                log.error("there is no certificate, so nobody can be served by TLS")
                client.close()
            else:
                await self._talk(client, context)
        except OSError as error:
            log.info("client %s: %s", peer, error)
        finally:
            self._clients.disconnect(peer)

    async def _talk(self, client: socket.socket, context: ssl.SSLContext | None) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self._loop, secure=context is not None)
        handshake = HANDSHAKE_SECONDS if context is not None else None
        await self._loop.connect_accepted_socket(
            lambda: connection, client, ssl=context, ssl_handshake_timeout=handshake
        )
        await connection.made()
        session = self._sessions[connection] = Session(connection, self._door)
        try:
            await session.run()
        finally:
            del self._sessions[connection]
        await connection.closed()  # until then it counts among those of its client

    async def _sweep(self) -> None:
        """End what has been silent for too long, without a word and without deleting (RFC 1939 section 3)."""
        while True:
            self._notifier.alive()
            await asyncio.sleep(min(_SWEEP_EVERY, self._options.login_timeout / 4, self._options.idle_timeout / 4))
            now = self._loop.time()
            for connection, session in tuple(self._sessions.items()):
                patience = self._options.idle_timeout if session.is_in else self._options.login_timeout
                if connection.is_waiting and now - connection.last_active > patience:
                    connection.abort()

    async def _drain(self) -> None:
        for connection, session in tuple(self._sessions.items()):
            if not session.is_committing:
                connection.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._options.grace)
