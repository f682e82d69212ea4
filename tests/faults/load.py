"""Journal mail under load, from senders that behave as Exchange does: what is not confirmed is sent again.

Every message is noted at the moment its 250 arrives, with the record id in the reply: that is what no fault may
lose or double. Every message has a word of its own in it, so that a search for it must find exactly one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.product import JOURNAL

PAUSE = 0.1  # seconds before an unconfirmed message is sent again
PATIENCE = 60.0  # seconds that a reply may take
LONG_LINE = 76


class Mail(NamedTuple):
    """One message: its word, the journal report as sent, SHA-256 of the original inside it (hexadecimal)."""

    word: str
    report: bytes
    sha256: str


class Confirmed(NamedTuple):
    """A message that got its 250, at ``at`` (monotonic seconds), as this record."""

    mail: Mail
    record_id: bytes
    at: float


class Ledger(NamedTuple):
    """What was confirmed, and how often each word was sent to its end: the upper bound for the log."""

    confirmed: tuple[Confirmed, ...]
    attempts: Counter[str]


class Load:
    """Connections that send one message after another until they are stopped. ``run_id`` begins every word."""

    def __init__(
        self, port: int, run_id: str, *, connections: int = 6, seed: int = 1, mailbox: str = JOURNAL,
        size: int = 20_000, large: int = 0, pause: float = 0.02,
    ) -> None:  # fmt: skip
        """Bodies have up to ``size`` octets; every 25th has ``large`` ones, if given. ``pause``: seconds between
        two messages of a connection, so that the projections are not the only thing that runs."""
        self.run_id = run_id
        self.confirmed: list[Confirmed] = []
        self.attempts: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()
        """Replies other than 250 to a message or a recipient, by their first nine characters."""
        self.broken = 0
        """Connections that broke, or were not to be had."""
        self._port = port
        self._connections = connections
        self._random = random.Random(seed)
        self._mailbox = mailbox
        self._size, self._large, self._pause = size, large, pause
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def ledger(self, until: float = float("inf")) -> Ledger:
        """What was confirmed before the moment ``until`` (monotonic seconds), and what was sent so far."""
        return Ledger(tuple(one for one in list(self.confirmed) if one.at < until), Counter(self.attempts))

    def start(self) -> Load:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End: messages that are under way get their reply, what was not confirmed is given up."""
        self._stop.set()
        self._thread.join(PATIENCE * 2)
        assert not self._thread.is_alive(), "a client waits for a reply for ever"

    @contextlib.contextmanager
    def sending(self) -> Iterator[Load]:
        """For a ``with`` block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def await_confirmed(self, count: int, seconds: float = 120.0) -> None:
        """Return when so many more messages are confirmed than now."""
        wanted = len(self.confirmed) + count
        deadline = time.monotonic() + seconds
        while len(self.confirmed) < wanted:
            assert time.monotonic() < deadline, f"mail does not flow: {self.replies}, {self.broken} broken connections"
            time.sleep(0.01)

    def await_reply(self, beginning: str, seconds: float = 60.0, *, times: int = 1) -> None:
        """Return when so many replies that begin so have come since now."""

        def count() -> int:
            return sum(number for reply, number in list(self.replies.items()) if reply.startswith(beginning))

        before, deadline = count(), time.monotonic() + seconds
        while count() < before + times:
            assert time.monotonic() < deadline, f"no {beginning} reply: {self.replies}"
            time.sleep(0.01)

    # -- on the loop ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await asyncio.gather(*(self._sender() for _ in range(self._connections)))

    async def _sender(self) -> None:
        mail = self._next()
        connection: _Connection | None = None
        while not self._stop.is_set():
            try:
                connection = connection or await _Connection.open(self._port)
                reply = await self._send(connection, mail)
            except (OSError, EOFError, TimeoutError):
                self.broken += 1
                if connection is not None:
                    connection.close()
                connection = None
                await asyncio.sleep(PAUSE)
                continue
            if reply.startswith(b"250 "):
                self.confirmed.append(Confirmed(mail, bytes.fromhex(reply.split()[2].decode()), time.monotonic()))
                mail = self._next()
                await asyncio.sleep(self._pause)
            else:
                self.replies[reply[:9].decode()] += 1
                if reply.startswith(b"421"):
                    connection.close()
                    connection = None
                await asyncio.sleep(PAUSE)
        if connection is not None:
            connection.close()

    async def _send(self, connection: _Connection, mail: Mail) -> bytes:
        for command in (b"MAIL FROM:<>", f"RCPT TO:<{self._mailbox}>".encode(), b"DATA"):
            reply = await connection.say(command + b"\r\n")
            if reply[:1] not in b"23":
                if not reply.startswith(b"421"):
                    await connection.say(b"RSET\r\n")
                return reply
        self.attempts[mail.word] += 1
        return await connection.say(mail.report.replace(b"\r\n.", b"\r\n..") + b".\r\n")

    def _next(self) -> Mail:
        self._number += 1
        large = self._large if self._large and self._number % 25 == 0 else 0
        return make_mail(f"{self.run_id}n{self._number}", self._random, large or self._random.randrange(self._size))


class _Connection:
    """One SMTP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> _Connection:
        connection = cls(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), PATIENCE))
        greeting = await connection.say(b"")
        if not greeting.startswith(b"220"):
            connection.close()
            raise EOFError
        await connection.say(b"EHLO load.example\r\n")
        return connection

    async def say(self, octets: bytes) -> bytes:
        """Send, and give the last line of the reply. EOFError where the connection closes."""
        self._writer.write(octets)
        while True:
            line = await asyncio.wait_for(self._reader.readline(), PATIENCE)
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                return line

    def close(self) -> None:
        self._writer.close()


def make_mail(word: str, rng: random.Random, size: int) -> Mail:
    """A journal report round a message with ``word`` in its subject and about ``size`` octets of body.

    Every fourth carries a text attachment, so that the extraction children have something to read.
    """
    noise = rng.randbytes(size * 3 // 4).hex()[:size]
    body = "\r\n".join(noise[at : at + LONG_LINE] for at in range(0, len(noise), LONG_LINE))
    head = (
        "From: Anna Berg <anna@company.example>\r\nTo: Bert Lund <bert@company.example>\r\n"
        f"Subject: Delivery {word}\r\nMessage-ID: <{word}@company.example>\r\n"
        "Date: Fri, 20 Nov 2026 08:15:02 +0000\r\nMIME-Version: 1.0\r\n"
    )
    if rng.random() < 0.25:
        content = (
            'Content-Type: multipart/mixed; boundary="part"\r\n\r\n--part\r\nContent-Type: text/plain\r\n\r\n'
            f'{body}\r\n--part\r\nContent-Type: text/csv; name="{word}.csv"\r\n'
            f'Content-Disposition: attachment; filename="{word}.csv"\r\n\r\narticle,number\r\n{word},7\r\n--part--\r\n'
        )
    else:
        content = f"Content-Type: text/plain\r\n\r\n{body}\r\n"
    original = (head + content).encode()
    report = (
        "From: <postmaster@company.example>\r\n"
        f"Message-ID: <{word}@journal.report.generator>\r\nX-MS-Journal-Report:\r\nSubject: Delivery {word}\r\n"
        'Content-Type: multipart/mixed; boundary="journal"\r\nMIME-Version: 1.0\r\n\r\n'
        "--journal\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
        f"Sender: anna@company.example\r\nSubject: Delivery {word}\r\nMessage-Id: <{word}@company.example>\r\n"
        "To: bert@company.example\r\n\r\n--journal\r\nContent-Type: message/rfc822\r\n\r\n"
    ).encode() + original + b"\r\n--journal--\r\n"  # fmt: skip
    return Mail(word, report, hashlib.sha256(original).hexdigest())
