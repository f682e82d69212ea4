"""What the collector does: runs that are due, runs that somebody asks for, tests.

One run at a time concerns a profile; its accounts are dealt with side by side. A run that died with its process is told
as such, and the next one, which begins at once, goes on from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol

from appliance.checks import Check
from appliance.errors import DiskFullError, MailkeepError, NotFoundError, StorageError, UnavailableError, UsageError
from appliance.files import FILES, Files
from appliance.framing import in_words
from appliance.language import _, later, ngettext
from appliance.mail.published import roll_path
from appliance.services import api
from appliance.services.collector import choosing, schedule
from appliance.services.collector.account_run import AccountRun, Pace, Task
from appliance.services.collector.choosing import Chosen
from appliance.services.collector.depositing import WRITER, Deposit
from appliance.services.collector.ledger import AccountFigures, Ledger, State
from appliance.services.collector.stock import Stock
from appliance.services.collector.told import CollectorKeys, Told, read_told
from appliance.services.paths import Paths
from appliance.services.queue import Queue
from appliance.settings.events import ProfilePut
from appliance.sources import kinds
from appliance.sources.base import Memory, Source
from appliance.store.rolling import RollRequests
from appliance.store.writer import LogWriter

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 15.0
"""How long the end waits for runs that were told to stop."""
ROLL_SECONDS: Final = 0.2
MOST_TESTED: Final = 3
"""Accounts that a test opens."""
MOST_LISTED: Final = 1000
BUDGET: Final = 32 * 1024 * 1024
"""Bytes of messages that all accounts of a run may hold in memory together, about."""
MOST_HELD: Final = 8 * 1024 * 1024
LEARN_SECONDS: Final = 20.0
"""How long a run waits for the archiver to say what is archived already."""
_LOOK_SECONDS: Final = 0.1
_MOST_NAMED: Final = 5


class Opener(Protocol):
    """What makes a source of a profile's options: ``sources.kinds.open_source``, or a double in tests."""

    def __call__(self, name: str, options: dict[str, str], memory: Memory | None = None) -> Source: ...


class Collecting:
    """Runs for one data folder. Threads may share it."""

    def __init__(
        self, paths: Paths, keys: CollectorKeys, *, opener: Opener = kinds.open_source,
        clock: Callable[[], float] = time.time, files: Files = FILES,
    ) -> None:  # fmt: skip
        """Raises StorageError, UsageError (``queue``)."""
        self._paths = paths
        self._keys = keys
        self._opener = opener
        self._clock = clock
        self.ledger = Ledger(paths.ledger, keys, clock=clock)
        self.stock = Stock(self.ledger)
        self._files = files
        self._writer = LogWriter(paths.volumes, WRITER, files=files)
        self._rolls = RollRequests(roll_path(paths.data))
        self._queue = Queue(paths.ledger, f"collector-{keys.lookup.hex()[:16]}", self.perform)
        self._running: dict[int, threading.Event] = {}
        self._closing = threading.Event()
        self._deposit: Deposit | None = None
        self._lock = threading.Lock()
        self._roller = threading.Thread(target=self._roll, name="roll", daemon=True)
        self._told = ""

    def start(self) -> None:
        """Take up what a former process left, and begin what is due from now on."""
        for profile in self.recover():
            self.ledger.add(profile, asked=False)
        self._roller.start()
        self._queue.start(self.tick)
        for id, _profile, _state in self.ledger.unfinished():
            self._queue.put(id)

    def recover(self) -> Collection[str]:
        """Runs of a process that is no more are over; the profiles that they were of."""
        died = []
        for id, profile, state in self.ledger.unfinished():
            if state == "running":
                died.append(profile)
                text = _("The collector ended in the midst of this run. Nothing is lost; the next goes on from there.")
                self.ledger.end(id, "failed", text)
        return died

    def close(self) -> None:
        """End what is under way where nothing is lost."""
        self._closing.set()
        self._queue.close()
        for stopped in list(self._running.values()):
            stopped.set()
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._roller.is_alive():
            self._roller.join()
        self._writer.close()
        self.ledger.close()

    # -- what is due ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Begin what is due. What goes wrong is logged: the next tick comes soon."""
        try:
            told = read_told(self._paths.collecting, self._keys)
            if told is None:
                return
            self.ledger.forget_others([one.name for one in told.profiles])
            for profile in told.profiles:
                self._look_at(profile)
            self._told = ""
        except (MailkeepError, OSError) as error:
            if str(error) != self._told:  # once, not every few seconds
                self._told = str(error)
                log.error("what is due could not be looked for: %s", error)

    def _look_at(self, profile: ProfilePut) -> None:
        standing, now = self.ledger.standing(profile.name), self._clock()
        described = schedule.described(profile)
        if standing.schedule != described:
            self.ledger.plan(profile.name, described, schedule.following(profile, now))
        elif standing.next_at is not None and now >= standing.next_at:
            self.ledger.plan(profile.name, described, schedule.following(profile, now))
            self._queue.put(self.ledger.add(profile.name, asked=False))

    # -- what is asked for ------------------------------------------------------------------------------------

    def begin(self, profile: str) -> int:
        """Begin a run now, or, where one is under way, as soon as that is over: its number. Raises NotFoundError."""
        self._find(profile)
        id = self.ledger.add(profile, asked=True)
        self._queue.put(id)
        return id

    def stop(self, id: int) -> None:
        """Ask a run to end; one that waits does not begin. What it has archived stays."""
        stopped = self._running.get(id)
        if stopped is not None:
            stopped.set()
        elif self.ledger.claim(id) is not None:
            self.ledger.end(id, "stopped", _stopped())

    def test(self, profile: ProfilePut) -> Iterator[Check]:
        """Try everything that a run of this profile needs, and change nothing."""
        try:
            source = self._source(profile)
            told = self._all_told()
            chosen = choosing.accounts(profile, tuple(source.accounts()), told.people)
        except MailkeepError as error:
            yield Check(_("settings"), "problem", in_words(error))
            return
        usable = [one.account for one in chosen if one.archive]
        yield from source.check(usable[:MOST_TESTED])
        for left_out in [one for one in chosen if not one.archive][:MOST_TESTED]:
            yield Check(left_out.account.id, "warning", left_out.why)
        if not usable:
            yield Check(_("accounts"), "problem", _nobody())
        else:
            text = ngettext("{count} account is archived.", "{count} accounts are archived.", len(usable))
            yield Check(_("accounts"), "ok", text.format(count=len(usable)))

    def deletions(self, profile: str, after_days: int = 0) -> api.ProfileDeletions:
        """What a run's deletion rule would apply to now; with ``after_days``, if it were another one. Raises
        NotFoundError."""
        days = after_days or self._find(profile).delete_after_days
        if not days:
            return api.ProfileDeletions(0, 0, ())
        before = int(self._clock() * 1_000_000) - days * choosing.DAY
        return self.stock.deletable(profile, before, MOST_LISTED)

    # -- runs -------------------------------------------------------------------------------------------------

    def perform(self, id: int) -> None:
        """Do a run, whatever comes of it. Raises TaskLockedException while another one of its profile is under way."""
        with suppress(NotFoundError):
            run = self.ledger.run(id)
            if self._closing.is_set() or run.state != "waiting":
                return
            with self._queue.lock(f"profile {run.profile}"):
                if self.ledger.claim(id) is not None:
                    self._do(id, run.profile)

    def _do(self, id: int, name: str) -> None:
        stopped = self._running[id] = threading.Event()
        try:
            if self._closing.is_set():
                stopped.set()
            state, words = self._fetch_all(id, name, stopped)
            self.ledger.end(id, state, words)
        except DiskFullError:
            text = _("There is no room on the disk of the archive. What was archived is safe; the next run goes on.")
            self.ledger.end(id, "failed", text)
        except (StorageError, OSError) as error:
            log.error("profile %s: %s", name, error)
            text = _("The disk of the archive did not take the mail. What was archived is safe; the next run goes on.")
            self.ledger.end(id, "failed", text)
        except MailkeepError as error:
            self.ledger.end(id, "failed", in_words(error))
        except Exception:
            log.exception("a run of profile %s failed", name)
            self.ledger.end(id, "failed", _("Something went wrong inside mailkeep; the log has the details."))
        finally:
            del self._running[id]

    def _fetch_all(self, id: int, name: str, stopped: threading.Event) -> tuple[State, str]:
        """Fetch what is new of all accounts; how that ended, and what has to be told beside the figures."""
        profile, told = self._find(name), self._all_told()
        source = self._source(profile)
        chosen = choosing.accounts(profile, tuple(source.accounts()), told.people)
        self.ledger.accounts(id, [(one.account.id, one.account.address, one.archive) for one in chosen])
        deposit = self.ready_deposit(told)
        task = Task(
            id, profile, source, self.ledger, self.stock, deposit,
            choosing.Filter(profile, int(self._clock() * 1_000_000)), Pace(profile.rate, stopped), stopped,
            min(BUDGET // max(profile.parallel, 1), MOST_HELD),
        )  # fmt: skip
        with ThreadPoolExecutor(max(profile.parallel, 1), thread_name_prefix=name) as pool:
            ended = list(pool.map(lambda numbered: self._account(task, *numbered), enumerate(chosen)))
        if stopped.is_set():
            return "stopped", _stopped()
        return _ended(chosen, ended, self.ledger.run(id).counts)

    def ready_deposit(self, told: Told) -> Deposit:
        """The log's side, once it is known what is archived already. Raises UnavailableError, StorageError."""
        with self._lock:
            if self._deposit is None:
                self._await_learned()
                deposit = Deposit(self._paths.volumes, self.stock, told, self._writer, files=self._files)
                deposit.settle()
                self._deposit = deposit
            return self._deposit

    def _await_learned(self) -> None:
        """Return when the ledger knows what is archived: a new one is told by the archiver. Raises UnavailableError."""
        deadline = time.monotonic() + LEARN_SECONDS
        while not self.ledger.has_learned():
            if time.monotonic() > deadline or self._closing.wait(_LOOK_SECONDS):
                raise UnavailableError(
                    later(
                        "What is archived already has to be found out first; that takes an unlocked archive, and may "
                        "take a while. Nothing was fetched; try again later."
                    )
                )

    def _account(self, task: Task, number: int, chosen: Chosen) -> AccountFigures:
        if not chosen.archive:
            figures = AccountFigures(state="left-out", words=chosen.why)
            self.ledger.figures(task.run, number, figures)
            return figures
        try:
            return AccountRun(task, number, chosen).fetch()
        except StorageError:
            task.stopped.set()  # no other account would fare better
            raise

    def _source(self, profile: ProfilePut) -> Source:
        options = dict(profile.options)
        if profile.timeout and any(field.key == "timeout" for field in kinds.kind(profile.kind).fields):
            options.setdefault("timeout", str(profile.timeout))
        return self._opener(profile.kind, options, _Memory(self.ledger, profile.name))

    def _all_told(self) -> Told:
        told = read_told(self._paths.collecting, self._keys)
        if told is None:
            raise UsageError(later("There are no archiving profiles yet."))
        return told

    def _find(self, name: str) -> ProfilePut:
        found = self._all_told().find(name)
        if found is None:
            raise NotFoundError(later("There is no archiving profile called “{name}”."), name=name)
        return found

    def _roll(self) -> None:
        while not self._closing.wait(ROLL_SECONDS):
            if self._rolls.asked():
                self._writer.roll()


class _Memory:
    """What one profile's source keeps, in the ledger."""

    def __init__(self, ledger: Ledger, profile: str) -> None:
        self._ledger = ledger
        self._profile = profile

    def get(self, key: str) -> str:
        return self._ledger.recall(self._profile, key)

    def put(self, key: str, value: str) -> None:
        self._ledger.remember(self._profile, key, value)


def _ended(chosen: Sequence[Chosen], ended: Sequence[AccountFigures], counts: api.ProfileCounts) -> tuple[State, str]:
    """How a run ended, and what of it has to be told beside its figures."""
    if counts.seen != counts.new + counts.already + counts.filtered + counts.failed:
        log.error("the sums of a run do not add up: %s", counts)
        return "failed", _("The sums of this run do not add up. Please report this; what was archived is safe.")
    if not any(one.archive for one in chosen):
        return "failed", _nobody()
    both = zip(chosen, ended, strict=True)
    failed = [(one.account.id, figures.words) for one, figures in both if figures.state == "failed"]
    if len(failed) == 1:
        return "failed", f"{failed[0][0]}: {failed[0][1]}"
    if failed:
        text = ngettext("{count} account failed: {accounts}.", "{count} accounts failed: {accounts}.", len(failed))
        names = ", ".join(account for account, _words in failed[:_MOST_NAMED])
        return "failed", text.format(count=len(failed), accounts=names)
    return "done", " ".join(_notes(chosen, ended, counts))


def _notes(chosen: Sequence[Chosen], ended: Sequence[AccountFigures], counts: api.ProfileCounts) -> Iterator[str]:
    """What has to be told of a run that came to its end."""
    if counts.failed:
        text = ngettext(
            "{count} message could not be fetched; it is tried again by the next run.",
            "{count} messages could not be fetched; they are tried again by the next run.", counts.failed,
        )  # fmt: skip
        yield text.format(count=counts.failed)
    if left_out := [one.account.id for one in chosen if not one.archive]:
        text = ngettext(
            "{count} account was left out, since nobody here has its address: {accounts}.",
            "{count} accounts were left out, since nobody here has their addresses: {accounts}.", len(left_out),
        )  # fmt: skip
        yield text.format(count=len(left_out), accounts=", ".join(left_out[:_MOST_NAMED]))
    told = [
        f"{one.account.id}: {figures.words}"
        for one, figures in zip(chosen, ended, strict=True)
        if figures.state == "done" and figures.words
    ]
    yield from told[:_MOST_NAMED]


def _nobody() -> str:
    return _("No account is to be archived: no user has an address there, or the profile leaves all of them out.")


def _stopped() -> str:
    return _("Stopped. What was archived stays; the next run goes on from there.")
