"""What the replicator does: runs that are due, runs that somebody asks for, and what a caller wants at once.

It works in a process of its own, where huey's workers do the runs, or, on a box where nothing is served, inside the
command line. One run at a time concerns a remote; a run that died with its process is begun again where somebody asked
for it, and what it had uploaded is not uploaded again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

import msgspec

from appliance.cloud.backends import check_config
from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.outside import Outside
from appliance.cloud.remote import Remote, RemoteConfig
from appliance.cloud.remotes import Remotes, keep_tokens, read_remotes
from appliance.cloud.restore_state import RestoreFolder
from appliance.errors import DamageError, MailkeepError, NotFoundError, StorageError, UsageError
from appliance.services.paths import Paths
from appliance.services.queue import AGAIN_SECONDS, Queue
from appliance.services.replicator.connections import Connections, Opener
from appliance.services.replicator.fetching import Fetching
from appliance.services.replicator.history import History, Kind, Run, Standing
from appliance.services.replicator.progress import Progress, progress_place
from appliance.services.replicator.work import (
    DAY,
    EVERY,
    OF_ALL,
    WORKS,
    Outcome,
    PartlyError,
    SupersededError,
    Work,
)

log = logging.getLogger(__name__)

UNSOUND: Collection[Kind] = ("sample", "check", "rehearse")
"""Kinds of runs that find out whether a replica is as it should be."""
FILL_PAUSE = 60
"""Seconds between two tries to bring down what a restore still lacks."""
CLOSE_SECONDS = 10.0
"""How long the end waits for runs that were told to stop."""
_LONGEST_WORDS = 500

DIED = "The replicator ended in the midst of this run. Nothing is lost; the next run goes on from there."
STOPPED = "Stopped. What was uploaded is not uploaded again by the next run."


class Replication:
    """Runs for one data folder. Threads may share it."""

    def __init__(
        self, paths: Paths, keys: ReplicaKeys, *, alone: bool = False, opener: Opener | None = None,
        is_unlocked: Callable[[], bool] = lambda: True, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """``alone`` does what is asked for in threads of this process, and nothing by itself. Nothing is repaired on
        this box while the archive is not unlocked: that goes into the audit trail first.

        Raises StorageError, UsageError (``queue``).
        """
        self._paths = paths
        self.keys = keys
        self._alone = alone
        self._is_unlocked = is_unlocked
        self._clock = clock
        paths.replica_run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.history = History(paths.jobs, clock=clock)
        self._connections = Connections(paths.replica_run, opener)
        self.fetching = Fetching(
            paths.data, keys, configs=lambda: self.remotes().remotes, remote=self._connections.remote
        )  # fmt: skip
        self._queue = Queue(None if alone else paths.jobs, f"mailkeep-{keys.archive.hex}", self._perform)
        self._running: dict[int, tuple[str, Progress]] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closing = False
        self._told = ""

    def start(self) -> None:
        """Take up what a former process left, and begin what is due from now on."""
        self.recover()
        self._queue.start(self.tick)
        for run in self.history.unfinished():
            self._queue.put(run.id)

    def recover(self) -> None:
        """Runs of a process that is no more: those that somebody asked for wait again, the others are over."""
        for run in self.history.unfinished():
            if run.asked and not self._alone:
                self.history.wait_again(run.id)
            elif run.state == "waiting" and not run.asked:
                self.history.forget(run.id)
            else:
                self.history.end(run.id, "failed", DIED, run.bytes)

    def close(self) -> None:
        """End what is under way where nothing is lost."""
        self._closing = True
        self._queue.close()
        for id in list(self._running):
            self.stop(id)
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)
        self._connections.close()
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.1))
        self.history.close()

    # -- what is due ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Begin what is due. What goes wrong is logged: the next tick comes soon."""
        try:
            remotes = self.remotes()
            self.history.forget_others([one.name for one in remotes.remotes])
            for config in remotes.remotes:
                self._look_at(config, rehearsal=remotes.rehearsal)
            self._look_at_all(remotes)
            self._told = ""
        except (MailkeepError, OSError) as error:
            if str(error) != self._told:  # once, not every few seconds
                self._told = str(error)
                log.error("what is due could not be looked for: %s", error)

    def _look_at(self, config: RemoteConfig, *, rehearsal: bool) -> None:
        standing = self.history.standing(config.name)
        if (standing.interval, standing.paused) != (config.interval, config.paused):
            told = {"interval": config.interval, "paused": config.paused}
            self.history.change(config.name, lambda before: msgspec.structs.replace(before, **told))
            standing = msgspec.structs.replace(standing, **told)
        if config.paused:
            return
        now = self._now()
        if now >= standing.next_run(now):
            self._begin(config.name, "replicate", asked=False)
        if standing.generation and not standing.failures:
            for kind, seconds in EVERY.items():
                if kind != "rehearse" or rehearsal:
                    self._begin_if_due(config.name, kind, DAY if standing.unsound else seconds)

    def _look_at_all(self, remotes: Remotes) -> None:
        """What concerns all remotes together."""
        if remotes.keep_local_days:
            self._begin_if_due("", "release", DAY)
        restore = RestoreFolder(self._paths.data)
        if restore.has_begun and restore.status().state in ("filling", "incomplete"):
            standing = self.history.standing("")
            pause = FILL_PAUSE if restore.status().state == "filling" else DAY
            now = self._now()
            if now >= standing.due("fill", pause, now):
                self._begin("", "fill", asked=False)

    def _begin_if_due(self, remote: str, kind: Kind, seconds: int) -> None:
        """Begin a run if the last one was so long ago; the first one, so long after it was first thought of."""
        standing = self.history.standing(remote)
        if kind not in standing.begun:
            self._say_begun(remote, kind)
        elif (now := self._now()) >= standing.due(kind, seconds, now):
            self._begin(remote, kind, asked=False)

    # -- what is asked for ------------------------------------------------------------------------------------

    def remotes(self) -> Remotes:
        """The remotes as the archiver has told of them. Raises DamageError, OSError."""
        return read_remotes(self._paths.data, self.keys)

    def begin(self, kind: Kind, remote: str = "") -> tuple[Run, ...]:
        """Begin a run now, or as soon as its remote is free; with no remote one for each that is not paused.

        Raises NotFoundError, UsageError where there is nothing to do it with.
        """
        if kind not in WORKS:
            raise UsageError(f"There are no runs of the kind “{kind}”.")
        if kind in OF_ALL:
            return (self._begin("", kind, asked=True),)
        remotes = self.remotes()
        if remote:
            if remotes.find(remote) is None:
                raise NotFoundError(f"There is no remote called “{remote}”.")
            return (self._begin(remote, kind, asked=True),)
        names = [one.name for one in remotes.remotes if not one.paused]
        if not names:
            raise UsageError(
                "No remote is set up, or all are paused: nothing was copied. `mailkeep remote add` sets one up."
            )
        return tuple(self._begin(name, kind, asked=True) for name in names)

    def stop(self, id: int) -> None:
        """Ask a run to end; one that waits does not begin."""
        held = self._running.get(id)
        if held is None:
            if self.history.claim(id):
                self.history.end(id, "stopped", STOPPED)
            return
        name, progress = held
        progress.stop()
        self._connections.stop(name)

    def open(self, config: RemoteConfig) -> Remote:
        """A remote that is not, or not yet, among those that are replicated to; the caller closes it."""
        return self._connections.other(config)

    def outside(self, remote: str) -> Outside:
        """The files that lie beside a replica. Raises NotFoundError, UnavailableError without rclone."""
        config = self.remotes().find(remote)
        if config is None:
            raise NotFoundError(f"There is no remote called “{remote}”.")
        check_config(config)
        found = self._connections.outside(config)
        self._keep_tokens()  # what looking there before has led to
        return found

    # -- runs -------------------------------------------------------------------------------------------------

    def _begin(self, remote: str, kind: Kind, *, asked: bool) -> Run:
        with self._lock:
            unfinished = self.history.unfinished(remote, kind)
            if not asked and unfinished:
                return unfinished[0]
            waiting = [run for run in unfinished if run.state == "waiting" and run.asked]
            if waiting:
                return waiting[0]
            run = self.history.add(remote, kind, asked=asked)
            if not asked:
                self._say_begun(remote, kind)
            if self._alone:
                thread = threading.Thread(target=self._queue.put, args=(run.id,), name=f"{kind} {remote}", daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._queue.put(run.id)
        return run

    def _say_begun(self, remote: str, kind: Kind) -> None:
        now = self._now()
        self.history.change(
            remote, lambda before: msgspec.structs.replace(before, begun={**before.begun, kind: now})
        )  # fmt: skip

    def _perform(self, id: int) -> None:
        """Do a run, whatever comes of it. Raises TaskLockedException while another one has its remote."""
        with suppress(NotFoundError):
            run = self.history.run(id)
            if self._closing or run.state != "waiting":
                return
            with self._queue.lock(f"remote {run.remote}"):
                if self.history.claim(id):
                    self._do(run)
            if self.history.run(id).state == "waiting":  # it made way for others and goes on after them
                self._queue.put(id, after=AGAIN_SECONDS * 2)

    def _do(self, run: Run) -> None:
        progress = Progress(run.id, run.kind, progress_place(self._paths, run.remote))
        self._running[run.id] = run.remote, progress
        try:
            ended = self._ended(run, progress)
            progress.close()
            self._keep_tokens()
            if isinstance(ended, Outcome) and not ended.is_over:
                self.history.wait_again(run.id)
            elif isinstance(ended, Outcome):
                self._succeeded(run, progress, ended)
            else:
                self._failed(run, progress, ended)
        finally:
            del self._running[run.id]

    def _ended(self, run: Run, progress: Progress) -> Outcome | MailkeepError:
        """How a run ended, whatever happened in it."""
        try:
            return WORKS[run.kind](self._work(run, progress))
        except MailkeepError as error:
            return error
        except OSError as error:
            return _disk(error)
        except Exception:
            log.exception("%s of “%s” failed", run.kind, run.remote)
            return MailkeepError("Something went wrong inside mailkeep; the log has the details.")

    def _work(self, run: Run, progress: Progress) -> Work:
        remotes = self.remotes()
        config = remotes.find(run.remote) if run.remote else None
        if run.remote and config is None:
            raise NotFoundError(f"There is no remote called “{run.remote}” any more.")
        return Work(
            paths=self._paths, keys=self.keys, remotes=remotes, config=config, remote=self._connections.remote,
            progress=progress, tell=lambda line: self.history.tell(run.id, line), note=self.history.note,
            open=self._connections.other, fetch=self.fetching.fetch,
            is_unlocked=self._is_unlocked, others_wait=lambda: self._others_wait(run),
            standing=self.history.standing(run.remote), now=self._now,
        )  # fmt: skip

    def _succeeded(self, run: Run, progress: Progress, outcome: Outcome) -> None:
        now = self._now()

        def after(before: Standing) -> Standing:
            standing = _merged(outcome.standing, before)
            standing = msgspec.structs.replace(standing, ended={**before.ended, run.kind: now})
            if run.kind == "replicate":
                standing = msgspec.structs.replace(standing, failures=0, trouble="", superseded="")
            if run.kind == "check":
                standing = msgspec.structs.replace(standing, unsound="")
            return standing

        if run.kind == "replicate" and self.history.standing(run.remote).failures:
            self.history.note("remote.recovered", run.remote)
        self.history.change(run.remote, after)
        if run.asked or outcome.worth_telling:
            self.history.end(run.id, "done", outcome.words, progress.moved)
        else:
            self.history.forget(run.id)

    def _failed(self, run: Run, progress: Progress, error: MailkeepError) -> None:
        words = error.message[:_LONGEST_WORDS]
        if progress.stopped():
            self.history.end(run.id, "stopped", STOPPED, progress.moved)
            return
        log.error("%s of “%s”: %s", run.kind, run.remote, words)

        def after(before: Standing) -> Standing:
            standing = _merged(error.standing, before) if isinstance(error, PartlyError) else before
            if run.kind in UNSOUND and error.code == DamageError.code:
                standing = msgspec.structs.replace(standing, unsound=words)
            if run.kind == "replicate":
                standing = msgspec.structs.replace(
                    standing, failures=before.failures + 1, trouble=words,
                    superseded=words if isinstance(error, SupersededError) else "",
                )  # fmt: skip
            return standing

        if run.kind == "replicate" and not self.history.standing(run.remote).failures:
            self.history.note("remote.failed", f"{run.remote}: {words}")
        self.history.change(run.remote, after)
        self.history.end(run.id, "failed", words, progress.moved)

    def _others_wait(self, run: Run) -> bool:
        return any(one.state == "waiting" for one in self.history.unfinished(run.remote))

    def _keep_tokens(self) -> None:
        try:
            keep_tokens(self._paths.data, self.keys, self._connections.tokens())
        except (MailkeepError, OSError) as error:
            log.error("what a provider changed could not be kept: %s", error)

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)


def _merged(after: Standing, now: Standing) -> Standing:
    """What a run found, with what the tick has written down meanwhile."""
    return msgspec.structs.replace(
        after, begun=now.begun, interval=now.interval, paused=now.paused, unsound=now.unsound
    )


def _disk(error: OSError) -> StorageError:
    return StorageError(
        f"The disk of the archive did not do what was asked of it ({error.strerror}). What is on the remotes stays as "
        "it is; it is tried again."
    )
