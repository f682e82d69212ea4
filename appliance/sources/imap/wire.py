"""The octets of a connection: lines and literals in, commands out, compressed or not.

What a server says is read in pieces of at most ``CHUNK``; only lines and what ``read`` is asked for are held whole, and
both have a limit.
"""

from __future__ import annotations

import contextlib
import socket
import zlib
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, Protocol

from appliance.errors import UnavailableError
from appliance.language import later
from appliance.sources.base import CHUNK

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Octets: the UIDs of some two million messages, which servers without ESEARCH name in one line."""


class Reader(Protocol):
    """What has come over a connection, as it comes: b"" at its end."""

    def read1(self, size: int = ..., /) -> bytes:
        """At least one octet and at most ``size``."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Wire:
    """One connection behind its sign-in. Its errors are UnavailableError; it is of no use afterwards."""

    def __init__(self, connection: socket.socket, reader: Reader, host: str) -> None:
        """``reader`` gives what comes over ``connection``; some of it may have been read from that already."""
        self._socket = connection
        self._reader = reader
        self._host = host
        self._buffer = b""
        self._at = 0
        self._packed = b""  # has come, and is to be inflated
        self._inflate: zlib._Decompress | None = None
        self._deflate: zlib._Compress | None = None

    @property
    def host(self) -> str:
        """The server's name, for sentences."""
        return self._host

    @property
    def near(self) -> bool:
        """Whether the server is on this machine or in a private network, where octets are cheaper than compressing
        them."""
        peer = self._socket.getpeername()
        return isinstance(peer, str) or not ip_address(peer[0].partition("%")[0]).is_global

    def compress(self) -> None:
        """From here on both sides compress (RFC 4978): right behind the server's OK."""
        self._inflate, self._deflate = zlib.decompressobj(-zlib.MAX_WBITS), zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._packed, self._buffer, self._at = self._buffer[self._at :], b"", 0

    def send(self, octets: bytes) -> None:
        """Send a command, or several."""
        if self._deflate is not None:
            octets = self._deflate.compress(octets) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        try:
            self._socket.sendall(octets)
        except OSError as error:
            raise self.lost(error) from error

    def hurry(self, seconds: float) -> None:
        """From here on an answer has to come within so many seconds."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(seconds)

    def line(self) -> bytes:
        """The next line, without its end."""
        parts: list[bytes] = []
        length = 0
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            parts.append(self._buffer[self._at :])
            length += len(parts[-1])
            if length > LONGEST_LINE:
                raise self.garbage()
            self._more()
        line = self._buffer[self._at : end]
        self._at = end + 1
        if parts:
            line = b"".join((*parts, line))
        return line[:-1] if line.endswith(b"\r") else line

    def read(self, size: int) -> bytes:
        """The next ``size`` octets, all of them in memory."""
        if len(self._buffer) - self._at >= size:
            octets = self._buffer[self._at : self._at + size]
            self._at += size
            return octets
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next ``size`` octets, as they come."""
        while size:
            if self._at == len(self._buffer):
                self._more()
            octets = self._buffer[self._at : self._at + size]
            self._at += len(octets)
            size -= len(octets)
            yield octets

    def close(self) -> None:
        """Hang up. What has come and was not read is not read any more."""
        self._buffer, self._at, self._packed = b"", 0, b""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._reader.close()  # the connection is open as long as it is

    def garbage(self) -> UnavailableError:
        """The error for an answer that is not IMAP."""
        text = later(
            "{host} answered with something that is not IMAP. What was read before is kept; the rest is read next time."
        )
        return UnavailableError(text, host=self._host)

    def lost(self, error: OSError | None = None) -> UnavailableError:
        """The error for a connection that broke."""
        if isinstance(error, TimeoutError):
            text = later("{host} did not answer in time. What was read before is kept; the rest is read next time.")
        else:
            text = later("{host} closed the connection. What was read before is kept; the rest is read next time.")
        return UnavailableError(text, host=self._host)

    def _more(self) -> None:
        """Read on; what was in the buffer has been taken."""
        octets = b""
        while not octets:
            octets = self._received() if self._inflate is None else self._inflated(self._inflate)
        self._buffer, self._at = octets, 0

    def _inflated(self, inflate: zlib._Decompress) -> bytes:
        packed = self._packed or self._received()
        try:
            octets = inflate.decompress(packed, CHUNK)
        except zlib.error as error:
            raise self.garbage() from error
        self._packed = inflate.unconsumed_tail
        if inflate.eof:
            raise self.lost()
        return octets

    def _received(self) -> bytes:
        try:
            octets = self._reader.read1(CHUNK)
        except (OSError, ValueError) as error:  # ValueError: somebody hung up
            raise self.lost(error if isinstance(error, OSError) else None) from error
        if not octets:
            raise self.lost()
        return octets
