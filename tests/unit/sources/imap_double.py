"""An IMAP server that does what no real one does, on loopback: it answers by script, and remembers what it was told."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from appliance.sources.base import Account
from appliance.sources.imap.connecting import Server
from appliance.sources.imap.session import ImapSession
from appliance.sources.imap.signing_in import Credentials, Password
from appliance.sources.imap.source import ImapSource

Answer = bytes | Callable[[re.Match[bytes]], bytes] | None
"""What is sent: ``TAG`` in it stands for the command's tag, ``PREVIOUS`` for the one before. None hangs up."""

BASIC = "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS"
ACCOUNT = Account("anna", "anna@example.org")


class Double:
    """One mailbox with an INBOX of ``mails`` by UID; ``answers`` (patterns of whole commands) come before its own."""

    def __init__(
        self,
        mails: Mapping[int, bytes] | None = None,
        answers: Mapping[bytes, Answer] | None = None,
        *,
        capabilities: str = BASIC,
        greeting: bytes = b"* OK hello\r\n",
        validity: int = 7,
    ) -> None:
        self.mails = dict(mails or {})
        self.answers = dict(answers or {})
        self.capabilities = capabilities
        self.validity = validity
        self.heard: list[bytes] = []
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = Server("127.0.0.1", self._listener.getsockname()[1], "none", timeout=3)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Serve nobody any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def count(self, pattern: bytes) -> int:
        """How many of the commands that it was told begin so."""
        return sum(re.match(pattern, one) is not None for one in self.heard)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.sendall(self._greeting)
            previous = b""
            for line in lines:
                tag, _, command = line.rstrip(b"\r\n").partition(b" ")
                self.heard.append(command or tag)
                answer = self._answer(command)
                if answer is None:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                connection.sendall(
                    answer.replace(b"TAG OK\r\n", b"TAG OK done\r\n")
                    .replace(b"TAG", tag)
                    .replace(b"PREVIOUS", previous)
                )
                previous = tag
                if command == b"LOGOUT":
                    return

    def _answer(self, command: bytes) -> bytes | None:
        own: dict[bytes, Answer] = {
            rb"CAPABILITY": b"* CAPABILITY %b\r\nTAG OK\r\n" % self.capabilities.encode(),
            rb"AUTHENTICATE|LOGIN": b"TAG OK [CAPABILITY %b] in\r\n" % self.capabilities.encode(),
            rb"ENABLE (.*)": lambda found: b"* ENABLED %b\r\nTAG OK\r\n" % found[1],
            rb"NAMESPACE": b'* NAMESPACE (("" "/")) NIL NIL\r\nTAG OK\r\n',
            rb"LIST .*": b'* LIST () "/" INBOX\r\nTAG OK\r\n',
            rb"(?:EXAMINE|SELECT) .*": lambda _: self._state(),
            rb"UID SEARCH (?:RETURN \(ALL\) )?UID ([\d:,]+)": lambda found: self._found(found[1]),
            rb"UID FETCH \* \(UID\)": lambda _: b"* 1 FETCH (UID %d)\r\nTAG OK\r\n" % max(self.mails),
            rb"UID FETCH ([\d:,]+) \(UID FLAGS INTERNALDATE.*": lambda found: self._details(found[1]),
            rb"UID FETCH ([\d:,]+) \(UID BODY.PEEK\[\]\)": lambda found: self._bodies(found[1]),
            rb"LOGOUT": b"* BYE\r\nTAG OK\r\n",
        }
        for pattern, answer in [*self.answers.items(), *own.items()]:
            if (found := re.fullmatch(pattern, command)) is not None or (
                found := re.match(pattern + b"(?: |$)", command)
            ):
                return answer(found) if callable(answer) else answer
        return b"TAG BAD what?\r\n"

    def _state(self) -> bytes:
        return b"* %d EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n* OK [UIDNEXT %d] ok\r\nTAG OK [READ-WRITE] open\r\n" % (
            len(self.mails),
            self.validity,
            max(self.mails, default=0) + 1,
        )

    def _found(self, uids: bytes) -> bytes:
        return b"* SEARCH %b\r\nTAG OK\r\n" % b" ".join(b"%d" % uid for uid in self._wanted(uids))

    def _details(self, uids: bytes) -> bytes:
        lines = (
            b'* %d FETCH (UID %d FLAGS () INTERNALDATE " 1-Feb-2024 10:00:00 +0100" RFC822.SIZE %d)\r\n'
            % (uid, uid, len(self.mails[uid]))
            for uid in self._wanted(uids)
        )
        return b"".join(lines) + b"TAG OK\r\n"

    def _bodies(self, uids: bytes) -> bytes:
        return b"".join(body(uid, self.mails[uid]) for uid in self._wanted(uids)) + b"TAG OK\r\n"

    def _wanted(self, uids: bytes) -> Iterator[int]:
        for part in uids.split(b","):
            first, _, last = part.partition(b":")
            for uid in range(int(first), int(last or first) + 1):
                if uid in self.mails:
                    yield uid


def body(uid: int, mail: bytes) -> bytes:
    """A message as servers mostly give it."""
    return b"* %d FETCH (UID %d BODY[] {%d}\r\n%b)\r\n" % (uid, uid, len(mail), mail)


@contextmanager
def opened(double: Double, credentials: Credentials | None = None) -> Iterator[ImapSession]:
    """A session with it."""
    try:
        with ImapSource(double.server, credentials or Password("secret")).open(ACCOUNT) as session:
            yield session
    finally:
        double.close()
