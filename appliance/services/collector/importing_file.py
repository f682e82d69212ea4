"""One file of an import: what its reader finds goes into the log, and what became of each item is written down.

Items are dealt with in batches. The messages of a batch are in the log, durably, before the ledger says so; what the
ledger says of the batch is one transaction, and the number in it is where a next try goes on.
"""

from __future__ import annotations

import itertools
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import PurePath
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from appliance.imports.base import FileError, ItemError
from appliance.imports.reading import Arriving, Broken, Event, Left
from appliance.language import _, ngettext
from appliance.mail.facts import Provenance
from appliance.mail.places import Place
from appliance.services.collector.depositing import Arrived, Deposit, Deposited, Mail, content_of
from appliance.services.collector.importing_ledger import Imports, Problem, Task
from appliance.services.collector.stock import Stock
from appliance.services.collector.told import Told
from appliance.settings.addresses import AddressBook, Holding

AT_A_TIME: Final = 250
"""Messages that become durable together."""
MOST_HELD: Final = 8 * 1024 * 1024
"""Bytes of messages that a batch holds, about; a message of more is written as it comes."""
SETTLE_SECONDS: Final = 2.0
"""How long what was found waits at most, so that somebody who looks sees it go on."""
LONGEST_NAME: Final = 255
"""Characters of a folder's name, and of what a file calls an item."""
MADE_ANEW: Final = "made anew from a file"
"""Note in the provenance of what is not the bytes that were received once."""
_DAY: Final = 86_400_000_000  # microseconds
_NAMELESS: Final = "?"


class StoppedError(Exception):
    """Somebody has asked the import to end."""


class ClosingError(Exception):
    """The process ends; another one goes on."""


class Readings(Protocol):
    """A file as it is read: its events in order. Raises FileError where the rest of it cannot be read, and
    UnavailableError where nobody reads it just now."""

    @property
    def format(self) -> str: ...

    @property
    def expected(self) -> int | None: ...

    def __iter__(self) -> Iterator[Event]: ...

    def close(self) -> None: ...


class Surroundings(NamedTuple):
    """What reading a file takes beside the file."""

    imports: Imports
    stock: Stock
    deposit: Deposit
    told: Told
    closing: Callable[[], bool]


class _Found(NamedTuple):
    """A message that waits to be dealt with."""

    number: int
    event: Arriving
    mail: Mail
    places: tuple[Place, ...]


class FileRun:
    """One file, from the first item that is not dealt with to its end. Used by one thread."""

    def __init__(self, task: Task, around: Surroundings) -> None:
        self._task = task
        self._around = around
        self._holders = _holders(around.told) if task.plan.owners == "addresses" else None
        self._counts = task.counts
        self._next = task.dealt
        self._dealt = task.dealt
        self._claimed = around.imports.claimed(task)
        self._waiting: list[_Found] = []
        self._problems: list[Problem] = []
        self._held = 0
        self._plus: dict[str, int] = {}
        self._folder = ""
        self._settled = time.monotonic()
        self._told: tuple[str, int | None] = ("", None)

    def read(self, reading: Readings) -> tuple[Literal["done", "failed"], str]:
        """Deal with all items; how that ended, and in words what is to be known of it.

        Raises StoppedError, ClosingError, StorageError and UnavailableError; what was dealt with before counts.
        """
        try:
            for event in reading:
                self._tell(reading)
                self._take(event)
                if self._is_due():
                    self._settle()
                if self._around.closing():
                    raise ClosingError
            self._tell(reading)
            self._settle()
        except FileError as error:
            self._settle()
            return "failed", str(error)
        finally:
            self._drop()
        return "done", self._at_the_end(reading.expected)

    # -- items ------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        self._next = event.number + 1
        self._folder = "/".join(event.folder)
        self._count(found=1)
        match event:
            case Left():
                self._problem(event, "skipped", event.why)
                self._count(skipped=1)
            case Broken():
                self._fail(event, event.why)
            case Arriving():
                self._take_message(event)

    def _take_message(self, event: Arriving) -> None:
        provenance, archives = self._whose(event)
        try:
            mail = self._read(event, provenance)
        except ItemError as error:
            self._fail(event, str(error))
            return
        except FileError as error:  # in the midst of a message, which is accounted for like any other
            self._fail(event, str(error))
            raise
        if not mail.size:
            mail.drop()
            self._fail(event, _("It has not a single byte."))
            return
        self._waiting.append(_Found(event.number, event, mail, tuple(self._places(event, archives))))
        self._held += min(mail.size, MOST_HELD)
        for warning in event.meta.warnings:
            self._problem(event, "warning", warning)
        if not archives:
            text = _("Nobody here has an address of this message. It is archived and becomes theirs who are given one.")
            self._problem(event, "warning", text)

    def _read(self, event: Arriving, provenance: Provenance) -> Mail:
        if not self._task.plan.dry_run:
            return self._around.deposit.take(event.pieces, provenance, MOST_HELD)
        digest, size = sha256(), 0
        for piece in event.pieces:
            digest.update(piece)
            size += len(piece)
        return Mail(digest.digest(), size, b"", provenance, b"")

    def _whose(self, event: Arriving) -> tuple[Provenance, tuple[str, ...]]:
        """What is noted beside the bytes, and the archives that the message is laid in."""
        now = time.time_ns() // 1000
        received = event.meta.received
        if received is None or not 0 < received < now + _DAY:
            received = now
        note = "" if event.meta.exact else MADE_ANEW
        if self._holders is None:
            return Provenance(source="import", received_at=received, note=note), (self._task.archive,)
        held = (self._holders.owner(address.encode(), received) for address in event.meta.addresses)
        archives = tuple(dict.fromkeys(user for user in held if user is not None))
        provenance = Provenance(source="import", received_at=received, note=note, belongs_to=event.meta.addresses)
        return provenance, archives

    def _places(self, event: Arriving, archives: Sequence[str]) -> Iterator[Place]:
        own = self._path(event.folder)
        paths = dict.fromkeys((own, *(self._path(label) for label in event.meta.labels)))
        for archive, path in itertools.product(archives, paths):
            yield Place(
                record=b"", archive=archive, folder=path, role=event.role if path == own else "",
                account=self._task.name, item=event.id[:LONGEST_NAME], flags=event.meta.flags,
            )  # fmt: skip

    def _path(self, folder: Sequence[str]) -> tuple[str, ...]:
        """Where in an archive a folder of the file lies; what lies in none is in one that is called as the file."""
        path = (*self._task.target, *map(_name, folder))
        return path or (_name(PurePath(self._task.name).stem),)

    # -- batches ----------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        number = len(self._waiting) + len(self._problems)
        late = time.monotonic() - self._settled >= SETTLE_SECONDS
        return number >= AT_A_TIME or self._held >= MOST_HELD or late

    def _settle(self) -> None:
        """What waits is in the log, and what became of all items so far is written down."""
        if self._next == self._dealt:
            return
        put: Sequence[Deposited] = ()
        seen: Collection[bytes] = ()
        if self._task.plan.dry_run:
            seen = self._count_dry()
        else:
            put = self._put()
        counts = msgspec.structs.replace(
            self._counts, **{name: getattr(self._counts, name) + count for name, count in self._plus.items()}
        )
        with self._around.imports.changing() as connection:
            new, places = [one.content for one in put if one.new], {key for one in put for key in one.places}
            self._around.stock.archived(connection, new, places)
            goes_on = self._around.imports.deal(
                connection, self._task, counts=counts, dealt=self._next, folder=self._folder,
                problems=self._problems, seen=seen,
            )  # fmt: skip
        self._counts, self._dealt, self._settled = counts, self._next, time.monotonic()
        self._waiting, self._problems, self._held, self._plus = [], [], 0, {}
        if not goes_on:
            raise StoppedError

    def _put(self) -> Sequence[Deposited]:
        """Have what waits in the log."""
        deposit, waiting = self._around.deposit, self._waiting
        contents = [deposit.content(one.mail) for one in waiting]
        known = self._around.stock.records_of(set(contents))
        claims: dict[bytes, int] = {}
        for one, content in zip(waiting, contents, strict=True):
            if content not in known:
                claims.setdefault(content, one.number)
        self._around.imports.claim(self._task, claims)
        put = deposit.put([Arrived(one.mail, one.places) for one in waiting]) if waiting else []
        for one, done in zip(waiting, put, strict=True):
            # What a batch has written that a crash kept from the ledger is archived by this import, too.
            new = done.new or self._claimed.get(done.content) == one.number
            self._count(archived=int(new), already=int(not new), bytes=done.size if new else 0)
        return put

    def _count_dry(self) -> frozenset[bytes]:
        """What would become of what waits; the contents that were counted now."""
        contents = [content_of(self._around.told.content_key, one.mail.digest) for one in self._waiting]
        there = {*self._around.stock.records_of(set(contents)), *self._around.imports.seen(self._task, set(contents))}
        counted: set[bytes] = set()
        for one, content in zip(self._waiting, contents, strict=True):
            new = content not in there and content not in counted
            counted.add(content)
            self._count(archived=int(new), already=int(not new), bytes=one.mail.size if new else 0)
        return frozenset(counted)

    def _drop(self) -> None:
        for one in self._waiting:
            one.mail.drop()

    # -- figures and words ------------------------------------------------------------------------------------

    def _tell(self, reading: Readings) -> None:
        known = (reading.format, reading.expected)
        if known != self._told:
            self._told = known
            self._around.imports.note_reading(
                self._task, format=reading.format, expected=reading.expected, folder=self._folder
            )  # fmt: skip

    def _count(self, **more: int) -> None:
        for name, count in more.items():
            self._plus[name] = self._plus.get(name, 0) + count

    def _fail(self, event: Event, why: str) -> None:
        self._problem(event, "failed", why)
        self._count(failed=1)

    def _problem(self, event: Event, what: Literal["failed", "skipped", "warning"], why: str) -> None:
        self._problems.append(Problem("/".join(event.folder), event.id, what, why))

    def _at_the_end(self, expected: int | None) -> str:
        """What is to be known of a file that was read to its end: whether all that it had is accounted for."""
        if self._counts.found != self._dealt:
            text = _("The sums do not add up: the file has {numbered} items, and {found} were dealt with.")
            return text.format(numbered=self._dealt, found=self._counts.found)
        missing = (expected or 0) - self._counts.found
        if missing > 0:
            text = ngettext(
                "The file says that there is {count} item more than could be found in it.",
                "The file says that there are {count} items more than could be found in it.", missing,
            )  # fmt: skip
            return text.format(count=missing)
        return ""


def _holders(told: Told) -> AddressBook:
    """Who held which address when, as for mail that comes in."""
    rows = ((one.address.encode(), Holding(one.user, one.since, one.until)) for one in told.holders)
    return AddressBook(rows, frozenset(), 0)


def _name(text: str) -> str:
    """A folder's name without what cannot be shown, and not longer than any is."""
    shown = "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cs")).strip()
    return shown[:LONGEST_NAME] or _NAMELESS
