"""Fetching files into imports: from remotes, and out of the watched folder.

What is fetched arrives like what somebody sends: sealed, and durable before the next bytes are asked for. So it goes on
where it was after a crash, or after the network was cut, if the file is still what it was.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import Final, Protocol

import msgspec

from appliance.cloud.outside import LARGEST_PIECE
from appliance.cloud.remote import RemoteFile
from appliance.errors import (
    ConflictError,
    DamageError,
    MailkeepError,
    RemoteDeniedError,
    StorageError,
    ThrottledError,
    UnavailableError,
    UsageError,
)
from appliance.language import later
from appliance.services import api
from appliance.services.collector.importing_ledger import Imports
from appliance.services.imports.arriving import Arriving
from appliance.services.imports.supplies import Supplies, Supply, Wanted
from appliance.services.principal import SYSTEM, Principal
from appliance.services.repeating import Repeating

log = logging.getLogger(__name__)

SIDE_BY_SIDE: Final = 2
"""Imports that files are fetched for at one time."""
ROUND_SECONDS: Final = 1.0
PAUSES: Final = (2.0, 5.0, 15.0, 60.0, 300.0)
"""Before what went wrong is tried again: the longer, the more often it did."""
TRIES: Final = 3
"""How often a file is fetched that arrives as another than it is said to be."""

_LOOK_SECONDS: Final = 0.5
_PASSES: Final = (UnavailableError, RemoteDeniedError, StorageError)
"""Trouble that passes, or that somebody can put right meanwhile."""


class Source(Protocol):
    """A file that can be fetched. Calls raise MailkeepError: UnavailableError, RemoteDeniedError and StorageError where
    trying again is right, others where the file cannot be had."""

    @property
    def name(self) -> str:
        """Its name, without folders."""
        ...

    def look(self) -> RemoteFile:
        """What it is now."""
        ...

    def pieces(self, offset: int) -> Iterator[bytes]:
        """Its bytes from there on."""
        ...


class Intake(Protocol):
    """What takes files in: ``managing.ImportServices``."""

    @property
    def arriving(self) -> Arriving:
        """Where their bytes go."""
        ...

    def ledger(self) -> Imports:
        """What is known of imports. Raises StorageError, UnavailableError."""
        ...

    def file(
        self, principal: Principal, *, id: int, name: str, size: int, archive: str = "", folder: tuple[str, ...] = (),
        password: str = "",
    ) -> api.ImportFile:  # fmt: skip
        """A file that is to arrive. Raises ThrottledError while others have to be read first, and for good reason."""
        ...

    def arrived(self, principal: Principal, *, id: int, file: int, sha256: str = "") -> api.ImportFile:
        """All of a file has arrived. Raises DamageError where it has another SHA-256; then it begins anew."""
        ...


class _ClosingError(Exception):
    """The archive is being closed: what is under way goes on at the next start."""


class _LaterError(Exception):
    """Files that arrived before have to be read first."""


class _Trouble(msgspec.Struct, frozen=True):
    """Why nothing is fetched for an import just now, how often in a row it was so, and until when nothing is tried."""

    words: str
    times: int
    until: float


class Supplying:
    """Fetches what imports wait for, one file after the other for each."""

    def __init__(
        self, intake: Intake, supplies: Callable[[], Supplies | None], source: Callable[[Wanted], Source], *,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """``supplies`` gives None while there is no ledger."""
        self._intake = intake
        self._supplies = supplies
        self._source = source
        self._clock = clock
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._busy: dict[int, threading.Thread] = {}
        self._troubles: dict[int, _Trouble] = {}
        self._tries: dict[int, int] = {}
        self._left: frozenset[int] | None = None  # first in the queues when this process began
        self._rounds = Repeating("import-supplies", self.round, ROUND_SECONDS)

    def start(self) -> None:
        """Fetch from now on."""
        self._rounds.start()

    def close(self) -> None:
        """End; what is under way goes on at the next start."""
        self._closing.set()
        self._rounds.close()
        for thread in list(self._busy.values()):
            thread.join(1.0)

    def trouble(self, run: int) -> str:
        """Why nothing is fetched for an import just now; empty where something is."""
        found = self._troubles.get(run)
        return "" if found is None else found.words

    def round(self) -> None:
        """Have each import that waits for something served by a thread."""
        supplies = self._supplies()
        if supplies is None:
            return
        runs = supplies.runs()
        if self._left is None:
            self._left = frozenset(one.id for run in runs if (one := supplies.next(run)) is not None)
        for run in runs:
            with self._lock:
                trouble = self._troubles.get(run)
                if run in self._busy or len(self._busy) >= SIDE_BY_SIDE or self._closing.is_set():
                    continue
                if trouble is not None and self._clock() < trouble.until:
                    continue
                thread = threading.Thread(
                    target=self._serve, args=(supplies, run), name=f"import-supply-{run}", daemon=True
                )
                self._busy[run] = thread
            thread.start()

    def _serve(self, supplies: Supplies, run: int) -> None:
        try:
            while not self._closing.is_set() and (supply := supplies.next(run)) is not None:
                if self._intake.ledger().get(run).ended is not None:
                    supplies.forget(run)
                elif supply.wanted is None:
                    self._intake.ledger().complete(run)
                    supplies.over(supply.id)
                else:
                    self._fetch(supplies, supply, supply.wanted)
            self._troubles.pop(run, None)
        except (_ClosingError, _LaterError):
            pass
        except _PASSES as error:
            self._put_off(supplies, run, error)
        except MailkeepError as error:
            log.error("import %s ends: %s", run, error.message)
            self._intake.ledger().stop(run, error.message)
            supplies.forget(run)
        except Exception:
            log.exception("import %s: what it waits for could not be fetched", run)
            self._put_off(supplies, run, UnavailableError("Something went wrong inside mailkeep; the log has details."))
        finally:
            with self._lock:
                del self._busy[run]

    def _fetch(self, supplies: Supplies, supply: Supply, wanted: Wanted) -> None:
        """One file, or how far it comes. Raises what passes; what does not is the file's end."""
        number = supply.number
        try:
            source = self._source(wanted)
            now = source.look()
            if number is None:
                number = self._take(supply, wanted, source.name, now.size)
                supplies.begun(supply.id, number, now)
            elif supply.known is not None and not _is_same(supply.known, now):
                raise _changed(source.name)
            self._pull(supply.run, number, source, now)
        except _PASSES:
            raise
        except DamageError as error:
            self._tries[supply.id] = self._tries.get(supply.id, 0) + 1
            if self._tries[supply.id] < TRIES:
                raise UnavailableError(error.message) from error
            self._give_up(supply, number, wanted, error)
        except ConflictError:
            if self._is_arriving(supply.run, number):
                raise
        except MailkeepError as error:
            self._give_up(supply, number, wanted, error)
        self._tries.pop(supply.id, None)
        supplies.over(supply.id)

    def _take(self, supply: Supply, wanted: Wanted, name: str, size: int) -> int:
        """The number of a file that is to arrive: one that was taken before a crash and has none of its bytes yet, or a
        new one."""
        if self._left is not None and supply.id in self._left:
            for file in self._intake.ledger().get(supply.run).files:
                if (file.name, file.size, file.arrived, file.state) == (name, size, 0, "arriving"):
                    return file.number
        try:
            made = self._intake.file(
                SYSTEM, id=supply.run, name=name, size=size, archive=wanted.archive, folder=wanted.folder,
                password=wanted.password,
            )  # fmt: skip
        except ThrottledError as error:
            raise _LaterError from error
        return made.number

    def _pull(self, run: int, number: int, source: Source, known: RemoteFile) -> None:
        ledger, arriving = self._intake.ledger(), self._intake.arriving
        file = ledger.file(run, number)
        if file.state != "arriving":
            return  # it came before the crash
        at = file.arrived
        with _ahead(_blocks(source.pieces(at)), self._closing) as blocks:
            for block in blocks:
                if self._closing.is_set():
                    raise _ClosingError
                if at + len(block) > known.size:
                    raise _changed(source.name)
                at = arriving.write(run, number, at, block)
                self._goes_on(run, number)
        if self._closing.is_set():
            raise _ClosingError
        if at < known.size or not _is_same(known, source.look()):
            raise _changed(source.name)
        self._check(run, number, source, known)
        self._intake.arrived(SYSTEM, id=run, file=number, sha256=known.hash if known.hash_kind == "sha256" else "")

    def _check(self, run: int, number: int, source: Source, known: RemoteFile) -> None:
        """Compare with the hash that a service keeps. Raises DamageError; the file begins anew then."""
        if known.hash and known.hash_kind != "sha256":
            found = self._intake.arriving.digest(run, number, known.hash_kind)
            if found != known.hash.lower():
                self._intake.arriving.begin_anew(run, number)
                text = later("“{name}” arrived as another file than lies there: its {kind} is another.")
                raise DamageError(text, name=source.name, kind=known.hash_kind.upper())

    def _give_up(self, supply: Supply, number: int | None, wanted: Wanted, error: MailkeepError) -> None:
        """The file has failed, and stands so in the report."""
        if number is None:
            number = self._take(supply, wanted, PurePosixPath(wanted.path).name, 0)
        self._intake.ledger().give_up(supply.run, number, error.message)

    def _is_arriving(self, run: int, number: int | None) -> bool:
        return number is None or self._intake.ledger().file(run, number).state == "arriving"

    def _goes_on(self, run: int, number: int) -> None:
        if self._troubles.pop(run, None) is not None:
            self._intake.ledger().say(run, number, "")

    def _put_off(self, supplies: Supplies, run: int, error: MailkeepError) -> None:
        before = self._troubles.get(run)
        times = before.times + 1 if before else 0
        self._troubles[run] = _Trouble(error.message, times, self._clock() + PAUSES[min(times, len(PAUSES) - 1)])
        log.warning("import %s: %s", run, error.message)
        supply = supplies.next(run)
        if supply is not None and supply.number is not None:
            self._intake.ledger().say(run, supply.number, error.message)


def _is_same(one: RemoteFile, other: RemoteFile) -> bool:
    return (one.size, one.modified, one.hash) == (other.size, other.modified, other.hash)


def _changed(name: str) -> UsageError:
    text = later("“{name}” was changed while it was fetched. Import it again when nothing writes to it.")
    return UsageError(text, name=name)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of ``LARGEST_PIECE``; the last one is what is left."""
    waiting = bytearray()
    for piece in pieces:
        if not waiting and len(piece) == LARGEST_PIECE:
            yield piece
            continue
        waiting += piece
        while len(waiting) >= LARGEST_PIECE:
            yield bytes(waiting[:LARGEST_PIECE])
            del waiting[:LARGEST_PIECE]
    if waiting:
        yield bytes(waiting)


@contextmanager
def _ahead(blocks: Iterator[bytes], closing: threading.Event) -> Iterator[Iterator[bytes]]:
    """The same blocks, the next of which is on its way while one is dealt with. Raises _ClosingError."""
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=1)
    ended = threading.Event()

    def offer(one: bytes | BaseException | None) -> None:
        while not ended.is_set():
            with suppress(queue.Full):
                return ready.put(one, timeout=_LOOK_SECONDS)
        raise _ClosingError

    def fetch() -> None:
        with suppress(_ClosingError):
            try:
                for block in blocks:
                    offer(block)
                offer(None)
            except _ClosingError:
                raise
            except BaseException as error:
                offer(error)

    def given() -> Iterator[bytes]:
        while True:
            try:
                one = ready.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                if closing.is_set():
                    raise _ClosingError from None
                continue
            if one is None:
                return
            if isinstance(one, BaseException):
                raise one
            yield one

    threading.Thread(target=fetch, name="import-supply-ahead", daemon=True).start()
    try:
        yield given()
    finally:
        ended.set()
