"""Commands and their answers over one connection, several commands at a time where it helps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from appliance.errors import MailkeepError, UnavailableError
from appliance.sources.imap.answers import RefusedError, goodbye, refusal
from appliance.sources.imap.grammar import GrammarError, Response, literal, response
from appliance.sources.imap.wire import LONGEST_LINE, Wire

_FAREWELL: Final = 10.0
"""Seconds that a server may take to say goodbye."""


class Conversation:
    """What is said over a wire, and what its server can do.

    Of commands that are under way together a server may answer whichever first, and does, in pieces (RFC 9051, section
    5.5): untagged responses tell by what is in them which command they answer, or only one is sent at a time.
    """

    def __init__(self, wire: Wire, capabilities: frozenset[str]) -> None:
        """``capabilities`` are those after the sign-in, in capitals."""
        self.wire = wire
        self.capabilities = capabilities
        self.enabled: frozenset[str] = frozenset()
        """What ENABLE has turned on (RFC 5161), in capitals."""
        self.closed = False
        self._sent = 0
        self._open: set[bytes] = set()

    @property
    def utf8(self) -> bool:
        """Whether names of folders are said in UTF-8 (RFC 6855)."""
        return "UTF8=ACCEPT" in self.enabled

    def can(self, *names: str) -> bool:
        """Whether the server offers one of these."""
        return not self.capabilities.isdisjoint(names)

    def enable(self, *names: str) -> None:
        """Turn on what the server offers of these (RFC 5161). One that refuses does without."""
        wanted = [name for name in names if name in self.capabilities]
        if not wanted or not self.can("ENABLE", "IMAP4REV2"):
            return
        with contextlib.suppress(RefusedError):
            for answer in self.ask(b"ENABLE " + " ".join(wanted).encode()):
                if answer.name == b"ENABLED":
                    self.enabled |= frozenset(answer.rest[0].decode("ascii", "replace").upper().split())

    def compress(self) -> None:
        """From here on both sides compress (RFC 4978)."""
        self.ask(b"COMPRESS DEFLATE")
        self.wire.compress()

    def ask(self, command: bytes) -> list[Response]:
        """Send a command and hear all of its answer. Raises RefusedError."""
        return list(self.hear(self.send(command)[0]))

    def ask_together(self, commands: Sequence[bytes]) -> tuple[list[bytes], list[Response]]:
        """Send commands in one go: their tags, and all responses in the order in which they came. Those that tell of a
        NO or BAD are there too, not settled."""
        tags = self.send(*commands)
        answers = []
        while self._open:
            answers.append(self.respond())
        return tags, answers

    def send(self, *commands: bytes) -> list[bytes]:
        """Send commands in one go; their tags."""
        tags = [b"k%d" % (self._sent + at) for at in range(len(commands))]
        self._sent += len(commands)
        self._open.update(tags)
        with self.hanging_up():
            self.wire.send(b"".join(b"%b %b\r\n" % pair for pair in zip(tags, commands, strict=True)))
        return tags

    def hear(self, tag: bytes) -> Iterator[Response]:
        """The answer to the only command that is under way: its untagged responses, at last the tagged OK. Raises
        RefusedError."""
        while True:
            answer = self.respond()
            if answer.tag == tag:
                self.settle(answer)
            yield answer
            if answer.tag == tag:
                return

    def respond(self, line: bytes | None = None) -> Response:
        """The next response; with ``line`` the one that begins with it, of which the line was read already. Raises the
        error of a BYE."""
        with self.hanging_up():
            return self._respond(self.wire.line() if line is None else line)

    def settle(self, answer: Response) -> None:
        """Raise the error of a tagged NO or BAD: RefusedError, ThrottledError, UnavailableError."""
        if answer.name != b"OK":
            raise refusal(self.wire.host, answer)

    def close(self) -> None:
        """Say goodbye where nothing is left to hear, and hang up."""
        if not self.closed and not self._open:
            self.wire.hurry(_FAREWELL)
            with contextlib.suppress(MailkeepError):
                self.ask(b"LOGOUT")
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection in the middle of whatever is said."""
        self.closed = True
        self.wire.close()

    @contextlib.contextmanager
    def hanging_up(self) -> Iterator[None]:
        """Close the connection where something goes wrong with it."""
        try:
            yield
        except UnavailableError:
            self.hang_up()
            raise

    def _respond(self, line: bytes) -> Response:
        parts, length = [line], len(line)
        try:
            while (size := literal(parts[-1])) is not None:
                length += size
                if length > LONGEST_LINE:
                    raise GrammarError
                parts += self.wire.read(size), self.wire.line()
                length += len(parts[-1])
            answer = response(parts)
        except GrammarError as error:
            raise self.wire.garbage() from error
        if answer.name == b"BYE" and answer.tag == b"*":
            raise goodbye(self.wire.host, answer)
        if answer.tag not in (b"*", b"+"):
            if answer.tag not in self._open or answer.name not in (b"OK", b"NO", b"BAD"):
                raise self.wire.garbage()
            self._open.remove(answer.tag)
        return answer
