"""The SMTP server's side of one connection: a lean ``asyncio.Protocol``.

RFC 5321, with 1870 (SIZE), 2034 (enhanced status codes), 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS),
6152 (8BITMIME) and 6531 (SMTPUTF8). It keeps order and grammar; what is accepted and where it goes is the
handler's (``gateway.smtp.handler``). Replies leave in the order of the commands, those to one packet in
one packet (RFC 2920 section 3.2). While a message is being made durable, while the handler holds content
back, and while the client does not read its replies, nothing more is read: what a connection can make us
hold is bounded.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import ssl
from collections.abc import Callable
from typing import cast

from appliance.host.sockets import plain_ip
from gateway.smtp.dots import DotReader
from gateway.smtp.handler import Content, Envelope, Handler, Session
from gateway.smtp.syntax import (
    LONGEST_LINE,
    CommandSyntaxError,
    decode,
    parse_bdat,
    parse_path,
    split_command,
)

log = logging.getLogger(__name__)

_HANDSHAKE_TIMEOUT = 60.0  # seconds
_BODY_TYPES = ("7BIT", "8BITMIME")  # RFC 6152; BINARYMIME is not offered


class _State(enum.Enum):
    COMMAND = enum.auto()
    DATA = enum.auto()
    CHUNK = enum.auto()  # inside the octets of one BDAT
    BUSY = enum.auto()  # a message is complete and its reply is awaited
    HANDSHAKE = enum.auto()
    CLOSED = enum.auto()


class SmtpProtocol(asyncio.Protocol):
    """One connection. ``tls`` gives the context for a handshake, or None while there is no certificate."""

    def __init__(
        self,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self.session: Session
        self.envelope = Envelope()
        self.last_active = loop.time()
        self._handler = handler
        self._loop = loop
        self._tls = tls
        self._transport: asyncio.Transport
        self._state = _State.COMMAND
        self._input = b""
        self._at = 0  # what lies before it in ``_input`` has been used
        self._eof = False
        self._replies: list[bytes] = []
        self._content: Content | None = None
        self._dots: DotReader | None = None
        self._chunk_left = 0
        self._chunk_last = False
        self._discarding_line = False
        self._content_paused = False
        self._output_paused = False
        self._reading_paused = False
        self._draining = False
        self._handshake: asyncio.Task[None] | None = None

    # -- the transport's side ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; greet it."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.session = Session(self._loop, plain_ip(peer[0]) if peer else "")
        greeting = self._handler.handle_connect(self, self.session)
        self._say(greeting)
        if not greeting.startswith("220"):
            self._state = _State.CLOSED
            self._flush()
            self._transport.close()
            return
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it had not finished is dropped (RFC 5321 section 4.1.1.10)."""
        if self._state is not _State.CLOSED:
            log.debug("client %s: gone: %s", self.session.peer, exc)
            self._state = _State.CLOSED
            self._reset()
            self._handler.handle_disconnect(self, self.session)

    def data_received(self, data: bytes) -> None:
        """More octets from the client."""
        self.last_active = self._loop.time()
        self._input = self._input + data if self._input else data
        self._proceed()

    def eof_received(self) -> bool:
        """The client will send no more; a message that it completed is still answered."""
        self._eof = self._state is _State.BUSY and not self.session.tls
        return self._eof

    def pause_writing(self) -> None:
        """The client does not read its replies; do not make more."""
        self._output_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._output_paused = False
        self._proceed()

    # -- the handler's side ------------------------------------------------------------------------------

    def pause_content(self) -> None:
        """Read nothing more of the message until ``resume_content``."""
        self._content_paused = True

    def resume_content(self) -> None:
        """Go on reading the message."""
        if self._content_paused:
            self._content_paused = False
            self.last_active = self._loop.time()
            self._proceed()

    def drain(self, *, now: bool = False) -> None:
        """The server is stopping: end the session, but let who has come to bring a message bring it.

        A client that has brought one already and is between two ends at once, also one that is slow (``now``).
        """
        self._draining = True
        waits = self._state is _State.COMMAND and self._content is None
        if waits and (now or (self.session.messages > 0 and self.envelope.mail_from is None)):
            self._end("421 4.3.2 Closing for maintenance, try again later")

    def expire(self) -> None:
        """Nothing came for too long (RFC 5321 section 4.5.3.2.7); mid-message there is no reply to give."""
        if self._state is _State.COMMAND:
            self._end("421 4.4.2 Nothing heard from you for too long")
        else:
            self._transport.abort()

    @property
    def waiting_for_client(self) -> bool:
        """Whether it is the client's turn: the idle time-out applies."""
        ours = self._state in (_State.BUSY, _State.HANDSHAKE, _State.CLOSED) or self._content_paused
        return not ours

    # -- octets into commands and content ----------------------------------------------------------------

    def _proceed(self) -> None:
        while self._at < len(self._input) and not self._blocked():
            if self._state is _State.COMMAND:
                if not self._next_line():
                    break
            elif self._state is _State.DATA:
                self._take_data()
            else:
                self._take_chunk()
        self._input, self._at = self._input[self._at :], 0
        if self._eof and self._state is _State.COMMAND:
            self._end("421 4.4.2 You have closed the connection")
        self._flush()
        self._regulate()

    def _blocked(self) -> bool:
        return (
            self._content_paused or self._output_paused or self._state in (_State.BUSY, _State.HANDSHAKE, _State.CLOSED)
        )

    def _regulate(self) -> None:
        """Read on only while what is read can be used."""
        if self._state is _State.CLOSED or self._transport.is_closing():
            return
        pause = self._blocked() and bool(self._input or self._content_paused)
        if self._state is _State.HANDSHAKE:
            pause = True
        if pause and not self._reading_paused:
            self._transport.pause_reading()
        elif self._reading_paused and not pause:
            self._transport.resume_reading()
        self._reading_paused = pause

    def _next_line(self) -> bool:
        """One command, if a whole line is there. Only CRLF ends a line (RFC 5321 section 2.3.8)."""
        end = self._input.find(b"\n", self._at)
        if end < 0:
            if len(self._input) - self._at > LONGEST_LINE:
                self._discarding_line = True
                self._at = len(self._input)
            return False
        line, self._at = self._input[self._at : end + 1], end + 1
        if self._discarding_line or len(line) > LONGEST_LINE:
            self._discarding_line = False
            self._refuse("500 5.5.2 Line too long")
        elif not line.endswith(b"\r\n"):
            self._refuse("500 5.5.2 A line ends in CR LF")
        elif b"\r" in line[:-2] or b"\0" in line:
            self._refuse("500 5.5.2 A command has no CR or NUL in it")
        else:
            self._command(line[:-2])
        return True

    def _take_data(self) -> None:
        assert self._dots is not None
        assert self._content is not None
        octets = self._input[self._at :] if self._at else self._input
        text, rest = self._dots.feed(octets)
        self._input, self._at = rest or b"", 0
        if text:
            self._content.write(text)
        if rest is not None:
            self._finish()

    def _take_chunk(self) -> None:
        """Octets of a BDAT chunk, untouched; a refused one's are read and dropped (RFC 3030 section 2)."""
        octets = self._input[self._at : self._at + self._chunk_left]
        self._at += len(octets)
        self._chunk_left -= len(octets)
        if self._content is not None:
            self._content.write(octets)
        if self._chunk_left == 0:
            self._chunk_done()

    # -- commands ----------------------------------------------------------------------------------------

    def _command(self, line: bytes) -> None:
        verb, rest = split_command(line)
        method = _COMMANDS.get(verb)
        if method is None:
            self._refuse("500 5.5.1 Command not known")
            return
        if self._content is not None and verb not in _DURING_CHUNKS:
            self._refuse("503 5.5.1 Inside a BDAT sequence; RSET ends it")  # RFC 3030 section 2
            return
        try:
            method(self, rest)
        except CommandSyntaxError as problem:
            self._refuse(problem.reply)

    def _helo(self, rest: bytes) -> None:
        if self._hello(rest, extended=False):
            self._say(f"250 {self._handler.handle_EHLO(self, self.session, self.session.host_name or '')[0]}")

    def _ehlo(self, rest: bytes) -> None:
        if self._hello(rest, extended=True):
            lines = self._handler.handle_EHLO(self, self.session, self.session.host_name or "")
            if not self.session.tls and self._tls() is not None:
                lines.append("STARTTLS")
            for number, line in enumerate(lines, start=1):
                self._say(f"250{'-' if number < len(lines) else ' '}{line}")

    def _hello(self, rest: bytes, *, extended: bool) -> bool:
        if not rest.strip():
            self._refuse("501 5.5.4 Say who you are")
            return False
        self._reset()
        self.session.host_name = decode(rest.strip())
        self.session.extended_smtp = extended
        return True

    def _mail(self, rest: bytes) -> None:
        if self.session.host_name is None:
            self._refuse("503 5.5.1 Send HELO or EHLO first")
            return
        if self.envelope.mail_from is not None:
            self._refuse("503 5.5.1 A transaction is open; RSET ends it")
            return
        address, parameters = parse_path(rest, b"FROM")
        size = _size(parameters.pop("SIZE", None))
        body = parameters.pop("BODY", "7BIT").upper()
        utf8 = parameters.pop("SMTPUTF8", None)
        if body not in _BODY_TYPES or utf8 not in (None, ""):
            self._refuse("501 5.5.4 Parameter value not known")
        elif parameters:
            self._refuse(f"555 5.5.4 Parameter not known: {_printable(next(iter(parameters)))}")
        else:
            answer = self._handler.handle_MAIL(self, self.session, self.envelope, address, size)
            if answer.startswith("250"):
                self.envelope.mail_from = address
                self.envelope.smtp_utf8 = utf8 is not None
            self._answer(answer)

    def _rcpt(self, rest: bytes) -> None:
        if self.envelope.mail_from is None:
            self._refuse("503 5.5.1 Send MAIL first")
            return
        address, parameters = parse_path(rest, b"TO")
        if not address:
            self._refuse("501 5.1.3 A recipient has an address")
        elif parameters:
            self._refuse(f"555 5.5.4 Parameter not known: {_printable(next(iter(parameters)))}")
        else:
            answer = self._handler.handle_RCPT(self, self.session, self.envelope, address)
            if answer.startswith("250"):
                self.envelope.rcpt_tos.append(address)
            self._answer(answer)

    def _data(self, rest: bytes) -> None:
        if rest.strip():
            self._refuse("501 5.5.4 DATA has no argument")
        elif self._ready_for_content():
            self._content = self._handler.handle_DATA(self, self.session, self.envelope)
            self._dots = DotReader()
            self._state = _State.DATA
            self._say("354 End with CR LF . CR LF")

    def _bdat(self, rest: bytes) -> None:
        try:
            self._chunk_left, self._chunk_last = parse_bdat(rest)
        except CommandSyntaxError as problem:
            # Nobody knows where the chunk ends, and its octets must not be taken for commands.
            self._end(problem.reply)
            return
        self._state = _State.CHUNK
        if self._content is None and self.envelope.mail_from is not None and self.envelope.rcpt_tos:
            self._content = self._handler.handle_DATA(self, self.session, self.envelope)
        if self._chunk_left == 0:
            self._chunk_done()

    def _chunk_done(self) -> None:
        self._state = _State.COMMAND
        if self._content is None:
            self._ready_for_content()
            self._reset()
        elif self._content.refusal is not None:
            self._refuse(self._content.refusal)
            self._reset()
        elif self._chunk_last:
            self._finish()
        else:
            self._say("250 2.0.0 Chunk received")

    def _rset(self, _rest: bytes) -> None:
        self._reset()
        self._say("250 2.0.0 OK")

    def _noop(self, _rest: bytes) -> None:
        self._say("250 2.0.0 OK")

    def _vrfy(self, _rest: bytes) -> None:
        # RFC 5321 section 7.3: neither confirm nor deny to anybody who asks.
        self._say("252 2.5.1 Cannot say; send mail and see")

    def _help(self, _rest: bytes) -> None:
        self._say("214 2.0.0 EHLO HELO STARTTLS MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT (RFC 5321)")

    def _quit(self, _rest: bytes) -> None:
        self._end("221 2.0.0 Bye")

    def _starttls(self, rest: bytes) -> None:
        context = self._tls()
        if rest.strip():
            self._refuse("501 5.5.4 STARTTLS has no argument")
        elif self.session.tls:
            self._refuse("503 5.5.1 TLS is in use already")
        elif context is None:
            self._say("454 4.7.0 TLS is not available just now")
        else:
            self._say("220 2.0.0 Ready for TLS")
            self._flush()
            # RFC 3207 section 4.2: nothing from before TLS counts, said or pipelined behind STARTTLS.
            self._input, self._at = b"", 0
            self._reset()
            self.session.host_name = None
            self._state = _State.HANDSHAKE
            self._regulate()
            self._handshake = self._loop.create_task(self._shake_hands(context))

    async def _shake_hands(self, context: ssl.SSLContext) -> None:
        plain = self._transport
        try:
            encrypted = await self._loop.start_tls(
                plain, self, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_TIMEOUT
            )
        except (OSError, asyncio.CancelledError) as error:
            log.info("client %s: no TLS: %s", self.session.peer, error)
            plain.abort()
            self.connection_lost(None)
            return
        if encrypted is None or self._state is _State.CLOSED:
            plain.abort()
            self.connection_lost(None)
            return
        self._transport = encrypted
        self._reading_paused = False
        cipher = encrypted.get_extra_info("cipher")
        self.session.ssl = {"cipher": cipher}
        self.session.tls = f"{cipher[1]} {cipher[0]}"
        self.last_active = self._loop.time()
        self._state = _State.COMMAND
        if self._draining:
            self.drain()
        else:
            self._proceed()

    # -- transactions ------------------------------------------------------------------------------------

    def _ready_for_content(self) -> bool:
        if self.envelope.mail_from is None:
            self._refuse("503 5.5.1 Send MAIL and RCPT first")
        elif not self.envelope.rcpt_tos:
            self._refuse("554 5.5.1 No valid recipients")  # RFC 2920 section 3.1
        else:
            return True
        return False

    def _finish(self) -> None:
        assert self._content is not None
        content, self._content, self._dots = self._content, None, None
        self._state = _State.BUSY
        self._content_paused = False
        content.finish(self._finished)

    def _finished(self, reply: str) -> None:
        self.last_active = self._loop.time()
        self.envelope = Envelope()
        if self._state is _State.CLOSED:
            return
        self._state = _State.COMMAND
        if reply.startswith("250"):
            self.session.messages += 1
        self._answer(reply)
        if self._draining:
            self._end("421 4.3.2 Closing for maintenance, try again later")
        self._proceed()

    def _reset(self) -> None:
        content, self._content, self._dots = self._content, None, None
        self.envelope = Envelope()
        self._content_paused = False
        if content is not None:
            content.abort()

    # -- replies -----------------------------------------------------------------------------------------

    def _answer(self, reply: str) -> None:
        if reply.startswith("5"):
            self._refuse(reply)
        else:
            self._say(reply)

    def _refuse(self, reply: str) -> None:
        self._say(reply)
        self.session.errors += 1
        ending = self._handler.handle_error(self, self.session)
        if ending is not None:
            self._end(ending)

    def _end(self, reply: str) -> None:
        if self._state is _State.CLOSED:
            return
        self._say(reply)
        self._flush()
        self._state = _State.CLOSED
        self._input, self._at = b"", 0
        self._reset()
        if self._output_paused:
            self._transport.abort()  # a client that does not read would keep a closing connection for ever
        else:
            self._transport.close()
        self._handler.handle_disconnect(self, self.session)

    def _say(self, reply: str) -> None:
        self._replies.append(reply.encode() + b"\r\n")

    def _flush(self) -> None:
        if self._replies:
            replies, self._replies = self._replies, []
            self._transport.write(replies[0] if len(replies) == 1 else b"".join(replies))


_COMMANDS: dict[bytes, Callable[[SmtpProtocol, bytes], None]] = {
    b"HELO": SmtpProtocol._helo,
    b"EHLO": SmtpProtocol._ehlo,
    b"MAIL": SmtpProtocol._mail,
    b"RCPT": SmtpProtocol._rcpt,
    b"DATA": SmtpProtocol._data,
    b"BDAT": SmtpProtocol._bdat,
    b"RSET": SmtpProtocol._rset,
    b"NOOP": SmtpProtocol._noop,
    b"VRFY": SmtpProtocol._vrfy,
    b"HELP": SmtpProtocol._help,
    b"QUIT": SmtpProtocol._quit,
    b"STARTTLS": SmtpProtocol._starttls,
}
_DURING_CHUNKS = frozenset((b"BDAT", b"RSET", b"NOOP", b"HELP", b"QUIT", b"EHLO", b"HELO"))


def _size(value: str | None) -> int | None:
    if value is None:
        return None
    if len(value) > 20 or not (value.isascii() and value.isdigit()):  # RFC 1870 section 4
        raise CommandSyntaxError("501 5.5.4 SIZE is a number of octets")
    return int(value)


def _printable(text: str) -> str:
    return "".join(character for character in text[:40] if " " < character <= "~")
