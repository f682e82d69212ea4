"""One connection's wire: lines in, octets out, TLS in between.

What a connection can make us hold is bounded: nothing more is read while ``MOST_INPUT`` octets wait to be obeyed, and
nothing more is written while the client does not read. Replies to commands that came together leave together
(RFC 2449 section 6.6, PIPELINING).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from appliance.host.sockets import plain_ip
from gateway.pop3.syntax import LONGEST_LINE

MOST_INPUT = 64 * 1024
"""Octets of commands that wait their turn."""
HANDSHAKE_SECONDS = 30.0

LINGER_SECONDS = 10.0
"""How long a client may take to read the last replies."""

_FLUSH_AT = 128 * 1024
_HIGH_WATER = 512 * 1024
_LINES_IN_A_ROW = 64
"""Commands of one client after which the others are looked at."""


class ConnectionEndedError(Exception):
    """The client has gone, or the server ended the connection."""


class LineError(ValueError):
    """A line that is no command; the text is the reply's."""


class Connection(asyncio.Protocol):
    """One client, from when ``made`` returns; by TLS, after the handshake.

    ``last_active`` is the loop's time when something last moved, ``is_waiting`` whether it is the client's turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, secure: bool) -> None:
        self.secure = secure
        self.peer = ""
        self.last_active = loop.time()
        self.is_waiting = False
        self._loop = loop
        self._made = asyncio.Event()
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport
        self._input = bytearray()
        self._discarding = False
        self._output: list[bytes] = []
        self._output_size = 0
        self._in_a_row = 0
        self._ended = False
        self._eof = False
        self._writing_paused = False
        self._reading_paused = False
        self._wakened: asyncio.Future[None] | None = None

    # -- the transport's side ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client can be talked to; by TLS, after the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.peer = plain_ip(peer[0]) if peer else ""
        self._made.set()

    def data_received(self, data: bytes) -> None:
        """More octets from the client."""
        self.last_active = self._loop.time()
        self._input += data
        if len(self._input) > MOST_INPUT and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for is still answered, where the transport allows it."""
        self._eof = True
        self._wake()
        return not self.secure

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client is gone."""
        self._ended = True
        self._made.set()
        self._gone.set()
        self._wake()

    def pause_writing(self) -> None:
        """The client does not read what it asked for."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self.last_active = self._loop.time()
        self._writing_paused = False
        self._wake()

    # -- the session's side ------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether nobody listens any more."""
        return self._ended

    async def made(self) -> None:
        """Return when the client can be talked to, or is gone already."""
        await self._made.wait()

    async def line(self) -> bytes:
        """The next command line without its CRLF; what was written before is on its way when this waits.

        Raises LineError for a line that is too long or ends in a bare LF, ConnectionEndedError.
        """
        while (line := self._next_line()) is None:
            if b"\n" in self._input:
                continue  # behind a line that is too long
            if self._eof:
                await self.flush()
                raise ConnectionEndedError
            await self.flush()
            if b"\n" not in self._input and not self._eof:  # nor did any come while the client was slow to read
                await self._wait()
        self._in_a_row += 1
        if self._in_a_row >= _LINES_IN_A_ROW:
            await self.flush()
            await self.give_way()
        return line

    def write(self, octets: bytes) -> None:
        """Say something, as soon as ``flush`` or ``line`` is called."""
        self._output.append(octets)
        self._output_size += len(octets)

    async def write_much(self, octets: bytes) -> None:
        """The same for much: returns when there is room for more. Raises ConnectionEndedError."""
        self.write(octets)
        if self._output_size >= _FLUSH_AT:
            await self.flush()

    async def flush(self) -> None:
        """Send what was written, and wait while the client does not read. Raises ConnectionEndedError."""
        if self._ended:
            raise ConnectionEndedError
        if self._output:
            output, self._output = self._output, []
            self._output_size = 0
            self._transport.write(output[0] if len(output) == 1 else b"".join(output))
        while self._writing_paused:
            await self._wait()

    async def give_way(self) -> None:
        """Let other connections have their turn."""
        self._in_a_row = 0
        await asyncio.sleep(0)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands. What came before is dropped (RFC 2595 section 4). Raises ConnectionEndedError."""
        await self.flush()
        self._transport.pause_reading()
        self._reading_paused = False
        self._input.clear()
        self._discarding = False
        try:
            encrypted = await self._loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError as error:
            self.abort()
            raise ConnectionEndedError from error
        if encrypted is None or self._ended:
            self.abort()
            raise ConnectionEndedError
        self._transport = encrypted
        self._transport.set_write_buffer_limits(_HIGH_WATER)
        self.secure = True
        self.last_active = self._loop.time()

    def close(self) -> None:
        """End the connection when what was written has been sent."""
        if not self._ended:
            if self._output and not self._writing_paused:
                self._transport.write(b"".join(self._output))
            self._output = []
            if self._writing_paused:
                self._transport.abort()  # a client that does not read would keep a closing connection for ever
            else:
                self._transport.close()
        self._ended = True
        self._wake()

    async def closed(self) -> None:
        """Return when nothing of a connection that was closed is left.

        A client that does not read what was written last is not waited for longer than ``LINGER_SECONDS``.
        """
        try:
            await asyncio.wait_for(self._gone.wait(), LINGER_SECONDS)
        except TimeoutError:
            self._transport.abort()

    def abort(self) -> None:
        """End the connection now."""
        self._ended = True
        self._gone.set()
        self._transport.abort()
        self._wake()

    # -- helpers -----------------------------------------------------------------------------------------

    def _next_line(self) -> bytes | None:
        end = self._input.find(b"\n", 0, LONGEST_LINE)
        if end < 0:
            self._drop_too_long()
            return None
        line = bytes(self._input[: end + 1])
        del self._input[: end + 1]
        self._read_on()
        if self._discarding:
            self._discarding = False
            raise LineError("That line is too long")
        if not line.endswith(b"\r\n"):
            raise LineError("A line ends in CR LF")
        return line[:-2]

    def _drop_too_long(self) -> None:
        if len(self._input) >= LONGEST_LINE:
            self._discarding = True
            del self._input[:LONGEST_LINE]
            self._read_on()

    def _read_on(self) -> None:
        if self._reading_paused and len(self._input) <= MOST_INPUT // 2 and not self._ended:
            self._reading_paused = False
            self._transport.resume_reading()

    async def _wait(self) -> None:
        """Until the transport says something. Raises ConnectionEndedError."""
        if not self._ended:
            self._in_a_row = 0
            self._wakened = self._loop.create_future()
            self.is_waiting = True
            try:
                await self._wakened
            finally:
                self.is_waiting = False
                self._wakened = None
        if self._ended:
            raise ConnectionEndedError

    def _wake(self) -> None:
        if self._wakened is not None and not self._wakened.done():
            self._wakened.set_result(None)
