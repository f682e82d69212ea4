"""The bytes of messages: asked for in batches, and handed on as they come.

Nothing but small messages is ever held whole. A literal is read from the connection while its message is read, so a
large message is as much memory as a small one; it is asked for by itself, so that it needs no UID to be known by.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from appliance.errors import ThrottledError, UnavailableError
from appliance.language import _
from appliance.sources.base import CHUNK, Failed, Fetched, Item
from appliance.sources.imap.answers import RefusedError
from appliance.sources.imap.grammar import Atom, GrammarError, Response, Value, number, pairs
from appliance.sources.imap.opening import Folders
from appliance.sources.imap.uids import UidSet

_BATCH: Final = 4 * 1024 * 1024
"""Octets asked for at a time, as the server reckons sizes."""
_MOST: Final = 200
"""Messages asked for at a time."""
_LARGE: Final = 2 * 1024 * 1024
"""A message of that size is asked for by itself."""
_UNKNOWN: Final = 256 * 1024
"""Taken for the size of a message of which the server tells none."""
_TOGETHER: Final = 2
"""Commands under way at a time, so that the server never waits for the next one."""
_BODY = re.compile(
    rb"(?P<before>\* \d+ FETCH \([^{}]*BODY\[\] )(?P<literal>~?\{(?P<size>\d{1,18})\+?\})", re.IGNORECASE
)
_UID = re.compile(rb"[ (]UID (\d{1,10})(?= )", re.IGNORECASE)


class Bodies:
    """One call of ``Session.fetch``, its folder open."""

    def __init__(self, folders: Folders, items: Mapping[int, Item]) -> None:
        """``items`` by UID, of the folder that is open."""
        self._folders = folders
        self._conversation = folders.conversation
        self._items = dict(sorted(items.items()))
        self._left: dict[int, Item] = {}
        """Asked for, and not answered yet."""
        self._missing: dict[int, str] = {}
        """Who was not answered as he should have been, and what the server said."""

    def __iter__(self) -> Iterator[Fetched | Failed]:
        """Each item's bytes, or why there are none. Who does not read to the end leaves a connection of no more use."""
        done = False
        try:
            yield from self._answers(_batches(self._items), _TOGETHER)
            if self._missing:
                yield from self._again()
            done = True
        finally:
            if not done:
                self._conversation.hang_up()

    def _answers(self, batches: Iterable[dict[int, Item]], together: int) -> Iterator[Fetched]:
        """``together``: how many commands may be under way at a time. Servers mix their answers."""
        commands: dict[bytes, UidSet] = {}
        for wanted in batches:
            uids = UidSet.of(wanted)
            commands[self._conversation.send(b"UID FETCH %b (UID BODY.PEEK[])" % uids.text())[0]] = uids
            self._left |= wanted
            while len(commands) == together:
                yield from self._heard(commands)
        while commands:
            yield from self._heard(commands)

    def _heard(self, commands: dict[bytes, UidSet]) -> Iterator[Fetched]:
        """One response."""
        with self._conversation.hanging_up():
            line = self._conversation.wire.line()
        if (found := _BODY.fullmatch(line)) is not None:
            yield from self._streamed(found)
            return
        answer = self._conversation.respond(line)
        if answer.name == b"FETCH":
            yield from self._held(self._told(answer))
        if (uids := commands.pop(answer.tag, None)) is None:
            return
        said = ""
        try:
            self._conversation.settle(answer)
        except ThrottledError:
            raise
        except (RefusedError, UnavailableError) as error:  # a matter of the messages, or no run would get past them
            said = error.message
        for uid in uids:
            if self._left.pop(uid, None) is not None:
                self._missing[uid] = said

    def _streamed(self, found: re.Match[bytes]) -> Iterator[Fetched]:
        """A message whose literal comes next."""
        size = int(found["size"])
        uid = self._only(found["before"])
        wanted = uid in self._left if uid is not None else size <= _LARGE
        if wanted and (uid is None or size <= CHUNK):
            with self._conversation.hanging_up():
                octets = self._conversation.wire.read(size)
            told = self._behind(found, uid)
            yield from self._held(told if uid is None else {**told, b"UID": b"%d" % uid}, octets)
        else:
            rest = self._pieces(found, size, uid)
            if wanted and uid is not None:
                yield Fetched(self._left.pop(uid), rest, size)
            deque(rest, 0)  # what nobody wanted to read

    def _only(self, before: bytes) -> int | None:
        """Whose the response is: what it says in front of the literal, or the only one it can be. None where that is
        said behind the literal."""
        if named := _UID.search(before):
            return int(named[1])
        return next(iter(self._left)) if len(self._left) == 1 else None

    def _pieces(self, found: re.Match[bytes], size: int, uid: int | None) -> Iterator[bytes]:
        """A literal as it comes. It only ends where the response goes on as it should, so that no message seems to be
        complete whose length was a lie. Closed before its end, it ends the conversation: what follows on the wire are
        not answers, but the rest of somebody's message."""
        try:
            with self._conversation.hanging_up():
                yield from self._conversation.wire.pieces(size)
        except GeneratorExit:
            self._conversation.hang_up()
            raise
        self._behind(found, uid)

    def _behind(self, found: re.Match[bytes], uid: int | None) -> Mapping[bytes, Value]:
        """What stands behind a literal, read as if that had been NIL."""
        with self._conversation.hanging_up():
            line = self._conversation.wire.line()
        if line == b")" and uid is not None:
            return {}
        goes_on = line[:1] in (b" ", b")")  # otherwise the literal was of another length than announced
        told = self._told(self._conversation.respond(found["before"] + b"NIL" + line)) if goes_on else {}
        if not goes_on or (uid is not None and told.get(b"UID") not in (None, b"%d" % uid)):
            self._conversation.hang_up()
            raise self._conversation.wire.garbage()
        return {name: value for name, value in told.items() if name != b"BODY[]"}

    def _held(self, told: Mapping[bytes, Value], octets: bytes | None = None) -> Iterator[Fetched]:
        """A message that is in memory. NIL is no message; nothing is one only where the server knows its size as 0."""
        value = octets if octets is not None else told.get(b"BODY[]")
        uid = _number(told.get(b"UID"))
        if uid is None or uid not in self._left or not isinstance(value, bytes) or isinstance(value, Atom):
            return
        if value or self._left[uid].size == 0:
            yield Fetched(self._left.pop(uid), (value,), len(value))

    def _told(self, answer: Response) -> Mapping[bytes, Value]:
        try:
            return pairs(answer.values()[0])
        except (GrammarError, IndexError) as error:
            self._conversation.hang_up()
            raise self._conversation.wire.garbage() from error

    def _again(self) -> Iterator[Fetched | Failed]:
        """Those that were not answered: are they gone? Those that are not are asked for once more, one by one."""
        missing, self._missing = self._missing, {}
        there = UidSet()
        for piece in UidSet.of(missing).pieces(uids=len(missing)):
            there |= self._folders.search(piece)
        yield from self._answers(({uid: self._items[uid]} for uid in missing if uid in there), 1)
        host = self._conversation.wire.host
        for uid, said in missing.items():
            if uid not in there:
                yield Failed(self._items[uid], _("It is no longer in the folder."), gone=True)
            elif uid in self._missing:
                if words := self._missing[uid] or said:
                    why = _("{host} lists the message and does not give its content: “{words}”.")
                else:
                    why = _("{host} lists the message and does not give its content.")
                yield Failed(self._items[uid], why.format(host=host, words=words))


def _batches(items: Mapping[int, Item]) -> Iterator[dict[int, Item]]:
    """In the order of UIDs, which is that of the server's disk."""
    batch: dict[int, Item] = {}
    octets = 0
    for uid, item in items.items():
        size = _UNKNOWN if item.size is None else item.size
        if batch and (octets + size > _BATCH or len(batch) == _MOST or size > _LARGE):
            yield batch
            batch, octets = {}, 0
        batch[uid] = item
        octets += size
        if size > _LARGE:
            yield batch
            batch, octets = {}, 0
    if batch:
        yield batch


def _number(value: Value) -> int | None:
    try:
        return number(value)
    except GrammarError:
        return None
