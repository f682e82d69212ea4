"""One account of a run: its folders, what is new in them, into the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from appliance.errors import MailkeepError, RemoteDeniedError, StorageError, ThrottledError, UnavailableError
from appliance.framing import in_words
from appliance.language import _
from appliance.mail.facts import Provenance
from appliance.mail.places import Place
from appliance.services import api
from appliance.services.collector import choosing
from appliance.services.collector.choosing import Chosen, Filter
from appliance.services.collector.clearing import Clearing
from appliance.services.collector.depositing import Arrived, Deposit, Lain, Mail
from appliance.services.collector.ledger import AccountFigures, AccountState, Ledger
from appliance.services.collector.stock import FAILED, FILTERED, REFUSED, STORED, Known, Standing, Stock
from appliance.settings.events import ProfilePut
from appliance.sources.base import CursorLostError, Failed, Fetched, Folder, Item, Session, Source

log = logging.getLogger(__name__)

AT_A_TIME: Final = 100
"""Messages that become durable together."""
PAUSES: Final = (2.0, 10.0, 60.0)
"""Seconds before an account that does not answer is opened anew, when nothing came in between. One that was never
opened is tried once more only: somebody may be waiting, and the next run comes."""
MADE_ANEW: Final = "made anew by the server"
"""Note in the provenance of what is not the bytes that the source once received."""
LONGEST_PATIENCE: Final = 1800.0
"""Seconds that a source is waited for while nothing comes of it; the next run tries again."""
TELL_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.2


class StoppedError(Exception):
    """Somebody has asked the run to end."""


class _DeniedError(Exception):
    """A folder may not be read: its session is over, the others are read by another one."""


class Pace:
    """How fast a profile may read, over all its accounts; 0 for as fast as it goes."""

    def __init__(self, rate: int, stopped: threading.Event) -> None:
        """``rate`` in bytes a second."""
        self._rate = rate
        self._stopped = stopped
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def spend(self, count: int) -> None:
        """Return when so many bytes may have been read. Raises StoppedError."""
        if self._stopped.is_set():
            raise StoppedError
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now) + count / self._rate
            pause = self._next - now
        if pause > _LOOK_SECONDS and self._stopped.wait(pause):
            raise StoppedError


class Task(NamedTuple):
    """What all accounts of a run have in common."""

    run: int
    profile: ProfilePut
    source: Source
    ledger: Ledger
    stock: Stock
    deposit: Deposit
    wanted: Filter
    pace: Pace
    stopped: threading.Event
    held: int
    """Bytes of messages that an account may hold in memory, about."""


class _Batch:
    """Messages of one folder that wait to be made durable together, and what became of others meanwhile."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.items: list[Item] = []
        """Of those that arrived."""
        self.held = 0
        self.dealt: list[Known] = []
        self.failures: list[tuple[str, str, str]] = []
        self.vanished: list[str] = []
        self.moved: list[tuple[Item, Lain]] = []


class AccountRun:
    """One account of a run. Used by one thread."""

    def __init__(self, task: Task, number: int, chosen: Chosen) -> None:
        """``number`` is the account's in the run."""
        self._task = task
        self._number = number
        self._chosen = chosen
        self._account = task.stock.account(task.profile, chosen.account)
        self._counts = api.ProfileCounts()
        self._expected: int | None = None
        self._folder = ""
        self._told = 0.0
        self._finished: set[str] = set()
        self._denied: list[str] = []
        self._nothing_wanted = False
        self._folders_wanted = choosing.Folders(task.profile, ())
        days = task.profile.delete_after_days
        self._clearing = Clearing(task.stock, self._account, days, task.stopped) if days else None

    def fetch(self) -> AccountFigures:
        """Fetch all that is new. Whatever the source does, how far it came is told. Raises StorageError."""
        try:
            self._tell("running", force=True)
            self._with_patience()
        except StoppedError:
            return self._tell("stopped", force=True)
        except StorageError:
            raise
        except MailkeepError as error:
            return self._tell("failed", in_words(error), force=True)
        except Exception:
            log.exception("an account of profile %s failed", self._task.profile.name)
            return self._tell("failed", _("Something went wrong inside mailkeep; the log has the details."), force=True)
        if self._denied:
            return self._tell("failed", " ".join(self._denied), force=True)
        if self._nothing_wanted:
            return self._tell("done", _("None of its folders is wanted: look at the profile's patterns."), force=True)
        return self._tell("done", self._clearing.ended() if self._clearing else "", force=True)

    def _with_patience(self) -> None:
        """Open the account, anew after each error, until several tries in a row came to nothing."""
        tries, waited = 0, 0.0
        pauses: Sequence[float] = PAUSES[:1]
        while True:
            before = self._counts.seen, len(self._finished)
            try:
                with self._task.source.open(self._chosen.account) as session:
                    pauses = PAUSES
                    self._folders(session)
                return
            except _DeniedError:
                continue
            except (CursorLostError, UnavailableError) as error:
                if (self._counts.seen, len(self._finished)) != before:
                    tries, waited = 0, 0.0
                if isinstance(error, ThrottledError):
                    pause = error.seconds
                elif tries == len(pauses):
                    raise
                else:
                    pause = 0.0 if isinstance(error, CursorLostError) and not tries else pauses[tries]
                    tries += 1
                waited += pause
                if waited > LONGEST_PATIENCE:
                    raise
                self._pause(pause)

    def _pause(self, seconds: float) -> None:
        if self._task.stopped.wait(seconds):
            raise StoppedError

    # -- folders ----------------------------------------------------------------------------------------------

    def _folders(self, session: Session) -> None:
        self._folders_wanted = choosing.Folders(self._task.profile, session.folders())
        wanted = self._folders_wanted.wanted
        self._nothing_wanted = not wanted
        standings = self._task.stock.folders(self._account, wanted, self._task.wanted.rules)
        if self._expected is None and all(folder.messages is not None for folder in wanted):
            self._expected = sum(folder.messages or 0 for folder in wanted if not standings[folder.id].cursor)
        for folder in wanted:
            if folder.id in self._finished:
                continue
            self._folder = "/".join(folder.path)
            try:
                self._read(session, folder, standings[folder.id])
                if self._clearing is not None:
                    self._clearing.clear(session, folder, standings[folder.id].number, self._deleted)
            except CursorLostError:
                self._task.stock.begin_anew(standings[folder.id].number)
                raise
            except RemoteDeniedError as error:
                # One folder that may not be read keeps nobody from the others; the session is not to be used any more.
                self._denied.append(f"{self._folder}: {in_words(error)}")
                self._finished.add(folder.id)
                raise _DeniedError from error
            self._finished.add(folder.id)

    def _read(self, session: Session, folder: Folder, standing: Standing) -> None:
        number, cursor = standing.number, standing.cursor
        waiting = standing.waiting
        for page in session.changes(folder, cursor):
            if page.items:
                known = self._task.stock.known(number, [item.id for item in page.items])
                self._deal(session, folder, number, page.items, known)
                waiting = True
            if relabelled := [item for item in page.changed if item.labels]:
                self._relabel(folder, number, relabelled)
            if page.cursor != cursor or page.gone or page.changed:
                self._task.stock.advance(number, page.cursor, gone=page.gone, changed=page.changed)
                cursor = page.cursor
        if waiting:
            for some in self._task.stock.waiting(number, self._task.run):
                again = [one.item for one in some if one.state == FAILED or self._wants(folder, one.item)]
                self._deal(session, folder, number, again, {})

    def _relabel(self, folder: Folder, number: int, changed: Sequence[Item]) -> None:
        """Messages that are archived and lie in other folders, too, now."""
        known = self._task.stock.known(number, [item.id for item in changed])
        lain = [
            Lain(record, self._places(folder, item))
            for item in changed
            if item.id in known and (record := known[item.id].record)
        ]
        if lain:
            keys = self._task.deposit.lay(lain)
            with self._task.ledger.changing() as connection:
                self._task.stock.deal(connection, number, self._task.run, (), account=self._account, places=keys)

    # -- messages ---------------------------------------------------------------------------------------------

    def _wants(self, folder: Folder, item: Item) -> bool:
        """Whether a message may be wanted, by what the source says of it without its bytes."""
        return self._task.wanted.wants(item) and self._folders_wanted.takes(folder, item)

    def _deal(
        self, session: Session, folder: Folder, number: int, items: Sequence[Item], known: dict[str, Known]
    ) -> None:
        """See to it that each of these is archived, or why it is not."""
        batch = _Batch()
        stored = [item for item in items if item.id in known and known[item.id].state == STORED]
        self._count(seen=len(stored), already=len(stored))
        elsewhere = self._task.stock.same(self._account, items)
        wanted = []
        for item in items:
            if item.id in known and known[item.id].state == STORED:
                continue
            if not self._wants(folder, item):
                batch.dealt.append(Known(FILTERED, item))
            elif item.id in elsewhere:
                batch.moved.append((item, Lain(elsewhere[item.id], self._places(folder, item))))
            else:
                wanted.append(item)
        try:
            for got in session.fetch(folder, wanted) if wanted else ():
                self._take(batch, folder, got)
                if len(batch.arrived) + len(batch.dealt) >= AT_A_TIME or batch.held >= self._task.held:
                    self._settle(number, batch)
                    batch = _Batch()
            self._settle(number, batch)
        finally:
            for one in batch.arrived:
                one.mail.drop()

    def _take(self, batch: _Batch, folder: Folder, got: Fetched | Failed) -> None:
        item = got.item
        if isinstance(got, Failed):
            if got.gone:
                batch.vanished.append(item.id)
            else:
                batch.dealt.append(Known(FAILED, item))
                batch.failures.append((self._folder, item.id, got.why))
            return
        mail = self._mail(got)
        if mail is None:
            batch.dealt.append(Known(REFUSED, item))
        elif not mail.size:
            batch.dealt.append(Known(FAILED, item))
            batch.failures.append((self._folder, item.id, _("The source gave a message without a single byte.")))
        else:
            batch.arrived.append(Arrived(mail, self._places(folder, item)))
            batch.items.append(item)
            batch.held += min(mail.size, self._task.held)

    def _mail(self, got: Fetched) -> Mail | None:
        """The message, read to its end; None if its bytes show that it is not wanted."""
        chunks = self._paced(got.chunks)
        if self._task.wanted.reads_headers:
            first = bytearray()
            for chunk in chunks:
                first += chunk
                if len(first) >= self._task.held:
                    break
            if not self._task.wanted.wants_header(bytes(first)):
                for _rest in chunks:
                    pass
                return None
            chunks = _chained(bytes(first), chunks)
        provenance = Provenance(
            source="sync", received_at=got.item.received or time.time_ns() // 1000, note="" if got.exact else MADE_ANEW
        )
        mail = self._task.deposit.take(chunks, provenance, self._task.held)
        if self._task.wanted.wants_size(mail.size):
            return mail
        mail.drop()
        return None

    def _paced(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._task.pace.spend(len(chunk))
            self._tell("running")
            yield chunk

    def _settle(self, number: int, batch: _Batch) -> None:
        """What a batch holds is in the log, and what became of it all is written down."""
        if self._task.stopped.is_set():
            raise StoppedError
        if not (batch.arrived or batch.dealt or batch.vanished or batch.moved):
            return
        put = self._task.deposit.put(batch.arrived) if batch.arrived else []
        lain = self._task.deposit.lay([one for _item, one in batch.moved]) if batch.moved else frozenset()
        new = [one for one in put if one.new]
        dealt = [
            *(Known(STORED, item, one.record) for item, one in zip(batch.items, put, strict=True)),
            *(Known(STORED, item, one.record) for item, one in batch.moved),
            *batch.dealt,
        ]
        counts = self._plus(
            seen=len(dealt), new=len(new), already=len(put) - len(new) + len(batch.moved),
            filtered=sum(one.state in (FILTERED, REFUSED) for one in batch.dealt), failed=len(batch.failures),
            bytes=sum(one.size for one in new),
        )  # fmt: skip
        with self._task.ledger.changing() as connection:
            self._task.stock.deal(
                connection, number, self._task.run, dealt, account=self._account,
                contents=[one.content for one in new], places=lain.union(*(one.places for one in put)),
                gone=batch.vanished,
            )  # fmt: skip
            self._task.ledger.failed(self._task.run, self._chosen.account.id, batch.failures, connection)
            self._task.ledger.figures(self._task.run, self._number, self._figures("running", counts), connection)
        self._counts = counts

    def _places(self, folder: Folder, item: Item) -> tuple[Place, ...]:
        """Where a message of this account lies that was found in a folder."""
        return tuple(
            Place(
                record=b"", archive=self._chosen.archive, folder=path, role=folder.role if path == folder.path else "",
                profile=self._task.profile.name, account=self._chosen.account.id, item=item.id, flags=item.flags,
            )
            for path in choosing.places(folder, item)
        )  # fmt: skip

    def _deleted(self, count: int) -> None:
        self._count(deleted=count)
        self._tell("running", force=True)
        if self._task.stopped.is_set():
            raise StoppedError

    # -- figures ----------------------------------------------------------------------------------------------

    def _plus(self, **more: int) -> api.ProfileCounts:
        return msgspec.structs.replace(
            self._counts, **{name: getattr(self._counts, name) + count for name, count in more.items()}
        )

    def _count(self, **more: int) -> None:
        self._counts = self._plus(**more)

    def _figures(self, state: AccountState, counts: api.ProfileCounts, words: str = "") -> AccountFigures:
        folder = self._folder if state == "running" else ""
        return AccountFigures(state=state, counts=counts, expected=self._expected, folder=folder, words=words)

    def _tell(self, state: AccountState, words: str = "", *, force: bool = False) -> AccountFigures:
        figures = self._figures(state, self._counts, words)
        now = time.monotonic()
        if force or now - self._told >= TELL_SECONDS:
            self._told = now
            self._task.ledger.figures(self._task.run, self._number, figures)
        return figures


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
