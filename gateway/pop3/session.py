"""One reader's dialogue: RFC 1939's three states, in order.

AUTHORIZATION until somebody has shown a password over TLS, TRANSACTION on the mailbox as it was at that moment, UPDATE
at QUIT: only then is anything deleted, and +OK says that the archiver has made it durable. A session that ends in any
other way deletes nothing.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Final, Protocol

from appliance.errors import LockedError, MailkeepError
from gateway.pop3.connection import Connection, ConnectionEndedError, LineError
from gateway.pop3.octets import Beginning
from gateway.pop3.syntax import Command, CommandSyntaxError, Credentials, nothing, numbers, parse, plain
from gateway.pop3.visit import Reader, UnreadableError

log = logging.getLogger(__name__)

IMPLEMENTATION: Final = "mailkeep"
LOGIN_TRIES: Final = 3
_LISTED_AT_A_TIME: Final = 2000


class RefusedError(Exception):
    """A reader does not get in, or not what he asked for; the text is the reply's, response code and all."""


class Guest(Protocol):
    """Somebody who got in, and what he may do."""

    reader: Reader
    deletes: bool

    async def begin_reading(self) -> None:
        """Return when it is written down, if it can be, that mail is read. Raises ForbiddenError where it may not."""
        ...

    async def may_delete(self) -> None:
        """Return if the archiver would erase now. Raises MailkeepError where it cannot."""
        ...

    async def erase(self, numbers: Iterable[int]) -> None:
        """Return when these messages are erased for good. Raises MailkeepError where some may still be there."""
        ...

    async def leave(self) -> None:
        """Give the mailbox back to others, and have its private key forgotten."""
        ...


class House(Protocol):
    """What a session needs of the process round it."""

    @property
    def most_errors(self) -> int:
        """Wrong commands after which a session ends."""
        ...

    def tls(self) -> ssl.SSLContext | None:
        """The context for STLS."""
        ...

    async def enter(self, credentials: Credentials, peer: str) -> Guest:
        """Let somebody in. Raises RefusedError."""
        ...


class _ByeError(Exception):
    """The session is over."""


class _NoMessageError(Exception):
    """A number that no message has now; the text is the reply's."""


class Session:
    """One connection from greeting to end. ``run`` it once."""

    def __init__(self, connection: Connection, house: House) -> None:
        self._connection = connection
        self._house = house
        self._guest: Guest | None = None
        self._name: str | None = None
        self._deleted = bytearray()
        self._left = 0  # messages that are not marked as deleted
        self._octets: int | None = None  # of those, once it was asked for
        self._may_delete = False
        self._is_reading = False
        self._errors = 0
        self._failed_logins = 0
        self.is_committing = False

    @property
    def is_in(self) -> bool:
        """Whether somebody has shown a password."""
        return self._guest is not None

    async def run(self) -> None:
        """Return when the session is over, however it ended."""
        try:
            self._ok(f"{IMPLEMENTATION} ready")
            while True:
                await self._next()
        except (ConnectionEndedError, _ByeError):
            pass
        except Exception:
            log.exception("a session failed")
        finally:
            self._connection.close()
            if self._guest is not None:
                await self._guest.leave()

    async def _next(self) -> None:
        try:
            command = parse(await self._connection.line())
            await self._obey(command)
        except (LineError, CommandSyntaxError) as problem:
            self._wrong(str(problem))
        except _NoMessageError as problem:
            self._no(str(problem))
        except UnreadableError as problem:
            if problem.for_good:
                self._no("[SYS/PERM] This message is damaged in the archive; an administrator can look at it")
            else:
                self._no("[SYS/TEMP] This message cannot be read just now")
        except MailkeepError as problem:
            # Not one message's trouble: the key agent has gone, or the archive with it.
            log.error("a session ends: %s", problem.message)
            self._no("[SYS/TEMP] The mailbox cannot be read just now, try again later")
            raise _ByeError from problem

    async def _obey(self, command: Command) -> None:
        states = _TRANSACTION if self._guest is not None else _AUTHORIZATION
        method = states.get(command.verb)
        if method is not None:
            await method(self, command.rest)
        elif command.verb in _TRANSACTION or command.verb in _AUTHORIZATION:
            self._wrong("Not now: " + ("you are in already" if self._guest is not None else "say who you are first"))
        else:
            self._wrong("That command is not known here")

    # -- any state ---------------------------------------------------------------------------------------

    async def _capa(self, rest: str) -> None:
        nothing(rest)
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
        if self._connection.secure:
            lines += ["USER", "SASL PLAIN"]  # RFC 2595 section 2.1: not where a password would travel in clear
        elif self._house.tls() is not None:
            lines.append("STLS")
        lines.append(f"IMPLEMENTATION {IMPLEMENTATION}")
        self._ok("What this server can do:")
        self._connection.write("".join(f"{line}\r\n" for line in (*lines, ".")).encode())

    async def _quit(self, rest: str) -> None:
        nothing(rest)
        if self._guest is not None and any(self._deleted):
            await self._commit(self._guest)
        else:
            self._ok("Bye")
        raise _ByeError

    async def _commit(self, guest: Guest) -> None:
        """The UPDATE state (RFC 1939 section 6)."""
        marked = [number for number, mark in enumerate(self._deleted) if mark]
        self.is_committing = True
        try:
            await guest.erase(marked)
        except MailkeepError as error:
            log.error("messages marked as deleted may still be there: %s", error.message)
            self._no("[SYS/TEMP] Some deleted messages are not removed; nothing else was lost, try again later")
        else:
            self._ok(f"{len(marked)} messages removed, bye")
        finally:
            self.is_committing = False

    # -- AUTHORIZATION -----------------------------------------------------------------------------------

    async def _stls(self, rest: str) -> None:
        nothing(rest)
        context = self._house.tls()
        if self._connection.secure:
            self._wrong("TLS is in use already")
        elif context is None:
            self._no("[SYS/TEMP] TLS is not available just now")
        else:
            self._ok("Begin TLS")
            self._name = None  # RFC 2595 section 4: nothing from before counts
            await self._connection.start_tls(context)

    async def _user(self, rest: str) -> None:
        if not self._refuse_clear():
            if not rest.strip():
                raise CommandSyntaxError("Say whose mailbox: USER address")
            self._name = rest.strip()
            self._ok("Now the password")

    async def _pass(self, rest: str) -> None:
        if self._refuse_clear():
            return
        name, self._name = self._name, None
        if name is None:
            self._wrong("Send USER first")
        elif not rest:
            raise CommandSyntaxError("A password is missing")
        else:
            await self._log_in(Credentials(name, rest))  # RFC 1939 section 7: spaces are part of it

    async def _auth(self, rest: str) -> None:
        words = rest.split()
        if not words:
            # RFC 1734 knows no AUTH without a mechanism; clients older than CAPA ask for the list by it.
            self._ok("Mechanisms:")
            self._connection.write(b"PLAIN\r\n.\r\n" if self._connection.secure else b".\r\n")
        elif self._refuse_clear():
            return
        elif words[0].upper() != "PLAIN" or len(words) > 2:
            self._wrong("Only PLAIN is known here")
        else:
            await self._log_in(plain(_initial(words[1]) if len(words) == 2 else await self._challenge()))

    async def _challenge(self) -> str:
        """An empty challenge and what the client answers (RFC 5034 section 4)."""
        self._connection.write(b"+ \r\n")
        answer = await self._connection.line()
        if answer == b"*":
            raise CommandSyntaxError("You have called it off")
        return answer.decode("ascii", "replace")

    async def _log_in(self, credentials: Credentials) -> None:
        await self._connection.flush()
        try:
            guest = await self._house.enter(credentials, self._connection.peer)
        except RefusedError as refusal:
            self._failed_logins += 1
            self._no(str(refusal))
            if self._failed_logins >= LOGIN_TRIES:
                raise _ByeError from refusal
            return
        self._guest = guest
        count = len(guest.reader.visit)
        self._deleted = bytearray(count)
        self._left = count
        self._ok(f"{count} messages")

    def _refuse_clear(self) -> bool:
        if self._connection.secure:
            return False
        # RFC 2595 section 2.2. The password that may have come already has been seen on the way; ours it is not yet.
        self._wrong("Begin TLS first (STLS): passwords do not travel in clear")
        return True

    # -- TRANSACTION -------------------------------------------------------------------------------------

    @property
    def _reader(self) -> Reader:
        assert self._guest is not None
        return self._guest.reader

    async def _stat(self, rest: str) -> None:
        nothing(rest)
        self._ok(f"{self._left} {await self._total()}")

    async def _list(self, rest: str) -> None:
        visit = self._reader.visit
        if rest.strip():
            number = self._message(*numbers(rest, 1, 1))
            await self._reader.measure_one(number)
            self._ok(f"{number + 1} {visit.octets(number)}")
            return
        self._ok(f"{self._left} messages, {await self._total()} octets")
        await self._listing(visit.octets)

    async def _uidl(self, rest: str) -> None:
        visit = self._reader.visit
        if rest.strip():
            number = self._message(*numbers(rest, 1, 1))
            self._ok(f"{number + 1} {visit.uid(number)}")
            return
        self._ok("Names that stay:")
        await self._listing(visit.uid)

    async def _listing(self, value: Callable[[int], object]) -> None:
        count = len(self._deleted)
        for first in range(0, count, _LISTED_AT_A_TIME):
            chosen = range(first, min(first + _LISTED_AT_A_TIME, count))
            lines = "".join(f"{number + 1} {value(number)}\r\n" for number in chosen if not self._deleted[number])
            await self._connection.write_much(lines.encode())
            await self._connection.give_way()
        self._connection.write(b".\r\n")

    async def _retr(self, rest: str) -> None:
        number = self._message(*numbers(rest, 1, 1))
        await self._begin_reading()
        response = await self._reader.response(number)
        first = b"+OK %d octets\r\n" % self._reader.visit.octets(number)
        if response is None:
            await self._stream(first, number)
        else:
            self._connection.write(first)
            await self._connection.write_much(response)

    async def _top(self, rest: str) -> None:
        wanted, lines = numbers(rest, 2, 2)
        number = self._message(wanted)
        await self._begin_reading()
        response = await self._reader.top(number, lines)
        if response is None:
            await self._stream(b"+OK\r\n", number, Beginning(lines))
        else:
            self._connection.write(b"+OK\r\n")
            await self._connection.write_much(response)

    async def _stream(self, first: bytes, number: int, beginning: Beginning | None = None) -> None:
        begun = False
        async with aclosing(self._reader.stuffed(number, beginning)) as pieces:
            try:
                async for piece in pieces:
                    self._connection.write(b"" if begun else first)
                    begun = True
                    await self._connection.write_much(piece)
            except (UnreadableError, MailkeepError):
                if begun:
                    # Half a message must not look like a whole one: no final dot, only an end.
                    self._connection.abort()
                    raise ConnectionEndedError from None
                raise

    async def _begin_reading(self) -> None:
        if self._guest is not None and not self._is_reading:
            await self._guest.begin_reading()
            self._is_reading = True

    async def _dele(self, rest: str) -> None:
        number = self._message(*numbers(rest, 1, 1))
        assert self._guest is not None
        if not self._guest.deletes:
            self._no("[SYS/PERM] This mailbox keeps its mail; set your program to leave messages on the server")
            return
        if not self._may_delete:
            try:
                await self._guest.may_delete()
            except LockedError:
                self._no("[SYS/TEMP] The archive is locked: mail can be read, but not be deleted until it is unlocked")
                return
            except MailkeepError:
                self._no("[SYS/TEMP] Nothing can be deleted just now; leave it on the server and try again later")
                return
            self._may_delete = True
        self._deleted[number] = 1
        self._left -= 1
        if self._octets is not None:
            self._octets -= self._reader.visit.octets(number)
        self._ok(f"Message {number + 1} is removed when you QUIT")

    async def _rset(self, rest: str) -> None:
        nothing(rest)
        self._deleted = bytearray(len(self._deleted))
        self._left, self._octets = len(self._deleted), None
        self._ok(f"{self._left} messages")

    async def _noop(self, rest: str) -> None:
        nothing(rest)
        self._ok("Still here")

    async def _total(self) -> int:
        """Octets of all messages that are not marked as deleted."""
        if self._octets is None:
            await self._connection.flush()
            await self._reader.measure(lambda: not self._connection.ended)
            self._octets = await self._reader.total(self._deleted)
        return self._octets

    def _message(self, wanted: int) -> int:
        """The message with the number that a client gives, from 0. Raises _NoMessageError."""
        if not 1 <= wanted <= len(self._deleted):
            raise _NoMessageError(f"No such message, there are {len(self._deleted)} here")
        if self._deleted[wanted - 1]:
            raise _NoMessageError(f"Message {wanted} is marked as deleted; RSET takes that back")
        return wanted - 1

    # -- replies -----------------------------------------------------------------------------------------

    def _ok(self, text: str) -> None:
        self._connection.write(f"+OK {text}\r\n".encode())

    def _no(self, text: str) -> None:
        self._connection.write(f"-ERR {text}\r\n".encode())

    def _wrong(self, text: str) -> None:
        """The client made a mistake; too many of them end the session."""
        self._errors += 1
        if self._errors >= self._house.most_errors:
            self._no(f"{text}. Too many errors, bye")
            raise _ByeError
        self._no(text)


def _initial(response: str) -> str:
    """An initial response: "=" stands for an empty one (RFC 5034 section 4)."""
    return "" if response == "=" else response


_Method = Callable[[Session, str], Awaitable[None]]
_AUTHORIZATION: dict[str, _Method] = {
    "CAPA": Session._capa,
    "QUIT": Session._quit,
    "STLS": Session._stls,
    "USER": Session._user,
    "PASS": Session._pass,
    "AUTH": Session._auth,
}
_TRANSACTION: dict[str, _Method] = {
    "CAPA": Session._capa,
    "QUIT": Session._quit,
    "STAT": Session._stat,
    "LIST": Session._list,
    "UIDL": Session._uidl,
    "RETR": Session._retr,
    "TOP": Session._top,
    "DELE": Session._dele,
    "RSET": Session._rset,
    "NOOP": Session._noop,
}
