"""The octets of a POP3 connection (RFC 1939): commands out; answers, lists and messages in.

The standard library's client refuses lines of over 2,048 octets, which mail has, and holds whole messages; here a
message passes through in pieces.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from appliance.errors import MailkeepError, UnavailableError
from appliance.language import later
from appliance.sources.base import CHUNK

_LONGEST_LINE: Final = 64 * 1024
_LARGEST_LIST: Final = 256 * 1024 * 1024
"""Octets: some three million messages."""
_END: Final = b"\r\n.\r\n"
_STUFFED: Final = b"\r\n.."
_CODE: Final = re.compile(r"\[([A-Z0-9/-]+)\]\s*", re.IGNORECASE)


class RefusedError(MailkeepError):
    """The server answered -ERR; the connection is well. ``response_code`` is that of RFC 2449, section 8, "" for none;
    the message is the server's own words."""

    code = "refused"

    def __init__(self, words: str) -> None:
        found = _CODE.match(words)
        self.response_code = found[1].upper() if found else ""
        super().__init__((words[found.end() :] if found else words).strip().rstrip(".") or "-ERR")


class Wire:
    """One connection. Its errors are UnavailableError, after which it is of no use, and RefusedError."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self._socket = connection
        self._buffer = b""
        self.host = host
        """The server's name, for sentences."""

    def greeting(self) -> None:
        """What the server says first. Raises RefusedError too."""
        self._status()

    def ask(self, command: bytes) -> str:
        """Say a command that is answered in one line; what stands behind the +OK. Raises RefusedError too."""
        self._send(command)
        return self._status()

    def list(self, command: bytes) -> list[bytes]:
        """Say a command that is answered in several lines; these, without their ends. Raises RefusedError too."""
        self.ask(command)
        lines: list[bytes] = []
        size = 0
        while (line := self._line()) != b".":
            size += len(line)
            if size > _LARGEST_LIST:
                raise self._garbage()
            lines.append(line.removeprefix(b"."))
        return lines

    def message(self, command: bytes) -> Iterator[bytes]:
        """Say a command that is answered with a message; its octets in pieces. All are to be taken before the next
        command. Raises RefusedError too, before the first."""
        self.ask(command)
        return self._body()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """TLS from here on (RFC 2595): right behind the server's answer to STLS. Raises OSError."""
        self._buffer = b""  # what came before TLS is nobody's word
        self._socket = context.wrap_socket(self._socket, server_hostname=self.host)

    @property
    def socket(self) -> socket.socket:
        """The connection."""
        return self._socket

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _send(self, command: bytes) -> None:
        try:
            self._socket.sendall(command + b"\r\n")
        except OSError as error:
            raise self._lost(error) from error

    def _status(self) -> str:
        line = self._line()
        text = line.decode("utf-8", "replace")
        if line.startswith(b"+OK"):
            return text[3:].strip()
        if line.startswith(b"-ERR"):
            raise RefusedError(text[4:].strip())
        raise self._garbage()

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_LINE:
                raise self._garbage()
            self._buffer += self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line.removesuffix(b"\r")

    def _body(self) -> Iterator[bytes]:
        """Up to the line with a dot alone, and without the dots that were put before others (RFC 1939, section 3)."""
        held, skipped = b"\r\n" + self._buffer, 2  # as if a line went before: a dot may be the first octet
        self._buffer = b""
        while (end := held.find(_END)) < 0:
            # What looks like the beginning of an end, or of a line with dots, is looked at together with what follows.
            edge = held.find(b"\r", max(len(held) - len(_END) + 1, 0))
            whole = len(held) if edge < 0 else edge
            if whole > skipped:
                yield held[:whole].replace(_STUFFED, b"\r\n.")[skipped:]
                skipped = 0
                held = held[whole:]
            held += self._more()
        self._buffer = held[end + len(_END) :]
        if last := held[: end + 2].replace(_STUFFED, b"\r\n.")[skipped:]:
            yield last

    def _more(self) -> bytes:
        try:
            octets = self._socket.recv(CHUNK)
        except (OSError, ValueError) as error:  # ValueError: somebody hung up
            raise self._lost(error if isinstance(error, OSError) else None) from error
        if not octets:
            raise self._lost()
        return octets

    def _garbage(self) -> UnavailableError:
        text = later(
            "{host} answered with something that is not POP3. What was read before is kept; the rest is read next time."
        )
        return UnavailableError(text, host=self.host)

    def _lost(self, error: OSError | None = None) -> UnavailableError:
        if isinstance(error, TimeoutError):
            text = later("{host} did not answer in time. What was read before is kept; the rest is read next time.")
        else:
            text = later("{host} closed the connection. What was read before is kept; the rest is read next time.")
        return UnavailableError(text, host=self.host)
