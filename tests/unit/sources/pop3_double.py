"""A POP3 server that does what no real one does, on loopback: it answers by script, and remembers what it was told."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from appliance.sources.base import Account
from appliance.sources.connecting import Server
from appliance.sources.pop3.source import Pop3Source

ACCOUNT = Account("anna", "anna@example.org")


class Double:
    """One mailbox of ``mails`` by their unique ids, in this order; ``answers`` (patterns of whole commands) come before
    its own; None hangs up."""

    def __init__(
        self,
        mails: Sequence[tuple[str, bytes]] = (),
        answers: Mapping[bytes, bytes | None] | None = None,
        *,
        greeting: bytes = b"+OK hello\r\n",
        piece: int = 65536,
    ) -> None:
        """``piece`` is how many octets are sent at a time."""
        self.mails = list(mails)
        self.answers = dict(answers or {})
        self.heard: list[bytes] = []
        self._greeting = greeting
        self._piece = piece
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = Server("127.0.0.1", self._listener.getsockname()[1], "none", timeout=3)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def source(self) -> Pop3Source:
        """The mailbox, set up."""
        return Pop3Source(self.server, ACCOUNT, "secret")

    def close(self) -> None:
        """Serve nobody any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(connection)
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        marked: set[str] = set()
        numbered = list(self.mails)
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.sendall(self._greeting)
            for line in lines:
                command = line.rstrip(b"\r\n")
                self.heard.append(command)
                answer = self._answer(command, numbered, marked)
                if answer is None:
                    return
                for start in range(0, len(answer), self._piece):
                    connection.sendall(answer[start : start + self._piece])
                if command == b"QUIT":
                    return

    def _answer(self, command: bytes, numbered: list[tuple[str, bytes]], marked: set[str]) -> bytes | None:
        for pattern, scripted in self.answers.items():
            if re.fullmatch(pattern, command):
                return scripted
        match command.split():
            case [b"UIDL"]:
                return _list(f"{n} {id}" for n, (id, _) in enumerate(numbered, 1))
            case [b"LIST"]:
                return _list(f"{n} {len(mail)}" for n, (_, mail) in enumerate(numbered, 1))
            case [b"RETR", number]:
                mail = numbered[int(number) - 1][1]
                return b"+OK\r\n" + re.sub(rb"(?:\A|(?<=\r\n))\.", b"..", mail) + b".\r\n"
            case [b"DELE", number]:
                marked.add(numbered[int(number) - 1][0])
            case [b"QUIT"]:
                self.mails = [one for one in self.mails if one[0] not in marked]
        return b"+OK\r\n"


def _list(lines: Iterator[str]) -> bytes:
    return "".join(("+OK\r\n", *(f"{line}\r\n" for line in lines), ".\r\n")).encode()


@contextmanager
def double(
    mails: Sequence[tuple[str, bytes]] = (),
    answers: Mapping[bytes, bytes | None] | None = None,
    *,
    greeting: bytes = b"+OK hello\r\n",
    piece: int = 65536,
) -> Iterator[Double]:
    """One, for as long as it is needed."""
    server = Double(mails, answers, greeting=greeting, piece=piece)
    try:
        yield server
    finally:
        server.close()
