"""Long work with its progress: begun by a call, done by a thread of the archiver, asked for and stopped meanwhile.

Jobs of one kind run one after another, those of different kinds side by side. What is known of a job lives as long
as the process: work that has to outlive a restart keeps its own place on disk and is begun again.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Literal

from appliance.errors import ConflictError, MailkeepError, NotFoundError, StorageError, UnavailableError
from appliance.framing import Failure, failure_of
from appliance.language import later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.principal import Principal

log = logging.getLogger(__name__)

MOST_UNFINISHED = 3
MOST_FINISHED = 5
"""Jobs of one kind of one caller: more are not begun, or the oldest goes. An export's file lies on the disk that mail
is received on."""

CLOSE_SECONDS = 10.0
"""How long the end of the process waits for jobs that were told to stop."""

State = Literal["waiting", "running", "done", "failed", "stopped"]
Work = Callable[["Progress"], str]
"""What a job does; returns a sentence for the person who began it, or nothing. A MailkeepError makes the job
*failed* with its message. Work that returns after it was told to stop counts as *stopped*."""


class Progress:
    """What a job tells of itself while it runs, and how it learns that it is to stop."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.result: object = None
        """What the work has made, for whoever may fetch it when the job is done."""
        self._stop = threading.Event()

    def report(self, done: int, total: int) -> None:
        """Say how far the work is, in whatever it counts; ``total`` 0 where that is not known yet."""
        self.done, self.total = done, total

    def stopped(self) -> bool:
        """Whether the work is to end now, at the next place where nothing is lost."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the work to end."""
        self._stop.set()


class Jobs:
    """The jobs of this process: waiting, running, and the last ones that ended."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._jobs: dict[str, _Job] = {}  # in the order in which they were begun
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def begin(
        self, principal: Principal, kind: str, title: str, work: Work, *, what: str | None = "", action: str = "",
        download: str = "", shared_with: str = "", gone: Callable[[], None] | None = None,
    ) -> api.JobInfo:  # fmt: skip
        """Start ``work`` in a thread of its own, as soon as no other job of its ``kind`` runs.

        The audit trail gets ``action`` (``<kind>.begin`` where that is empty) with ``what`` (the title where that is
        empty) before anything happens; with None for ``what`` the work writes its own line.
        ``download`` is the name of a file that can be fetched when the job is done. Beside the caller, holders of
        the role ``shared_with`` see and stop the job. ``gone`` is called once when nobody can come for the result
        any more: the job did not end well, or is forgotten. Raises ConflictError where too many are unfinished.
        """
        job = _Job(principal.id, kind, title, work, download, shared_with, gone or _nothing)
        with self._lock:
            forgotten = self._make_room(principal, kind)
            self._jobs[job.id] = job
        for one in forgotten:
            one.let_go()
        try:
            if what is not None:
                self._archive.note(principal, action or f"{kind}.begin", what or title)
        except MailkeepError:
            with self._lock:
                del self._jobs[job.id]
            raise
        job.thread = threading.Thread(target=self._run, args=(job,), name=f"{kind}-{job.id}", daemon=True)
        job.thread.start()
        return job.info()

    def list(self, principal: Principal, *, kind: str = "") -> tuple[api.JobInfo, ...]:
        """The jobs that the caller may see, newest first; with ``kind`` those of that kind."""
        with self._lock:
            seen = [job for job in self._jobs.values() if job.open_to(principal) and kind in ("", job.kind)]
        return tuple(job.info() for job in reversed(seen))

    def all(self) -> tuple[api.JobInfo, ...]:
        """Every job that is remembered, for those who count them."""
        with self._lock:
            return tuple(job.info() for job in self._jobs.values())

    def get(self, principal: Principal, *, id: str) -> api.JobInfo:
        """One job that the caller may see. Raises NotFoundError."""
        return self._find(principal, id).info()

    def stop(self, principal: Principal, *, id: str) -> api.JobInfo:
        """Ask a job to stop. What that means for its work is the work's own affair."""
        job = self._find(principal, id)
        job.progress.stop()
        return job.info()

    def result(self, principal: Principal, *, id: str) -> object:
        """What a job has made. Raises ConflictError unless it is done."""
        job = self._find(principal, id)
        if job.state != "done":
            raise ConflictError(later("This job is not done, so there is nothing to fetch."))
        return job.progress.result

    def unfinished(self, kind: str) -> bool:
        """Whether a job of this kind waits or runs, whoever began it."""
        with self._lock:
            return any(job.kind == kind and job.finished_at is None for job in self._jobs.values())

    def close(self) -> None:
        """Stop everything, and wait a while for it."""
        with self._lock:
            running = [job for job in self._jobs.values() if job.finished_at is None]
        for job in running:
            job.progress.stop()
        until = time.monotonic() + CLOSE_SECONDS
        for job in running:
            if job.thread is not None:
                job.thread.join(max(until - time.monotonic(), 0))

    def _make_room(self, principal: Principal, kind: str) -> tuple[_Job, ...]:
        """The oldest finished jobs, which the caller's next one makes forgotten."""
        mine = [job for job in self._jobs.values() if job.owner == principal.id and job.kind == kind]
        if sum(job.finished_at is None for job in mine) >= MOST_UNFINISHED:
            raise ConflictError(
                later("{count} jobs of this kind are not finished yet. Wait for one, or stop it."),
                count=MOST_UNFINISHED,
            )
        finished = [job for job in mine if job.finished_at is not None]
        forgotten = tuple(finished[: max(len(finished) - MOST_FINISHED + 1, 0)])
        for job in forgotten:
            del self._jobs[job.id]
        return forgotten

    def _find(self, principal: Principal, id: str) -> _Job:
        with self._lock:
            job = self._jobs.get(id)
        if job is None or not job.open_to(principal):
            raise NotFoundError(later("There is no such job."))
        return job

    def _run(self, job: _Job) -> None:
        with self._turns[job.kind]:
            try:
                if not job.progress.stopped():
                    job.state = "running"
                    job.message = job.work(job.progress)
                job.end("stopped" if job.progress.stopped() else "done")
            except MailkeepError as error:
                self._failed(job, error)
            except OSError:
                self._failed(job, StorageError(later("The disk did not take it.")))
            except Exception:  # a job that nobody ends would be waited for for ever
                self._failed(
                    job, UnavailableError(later("Something went wrong inside mailkeep; the log has the details."))
                )

    @staticmethod
    def _failed(job: _Job, error: MailkeepError) -> None:
        log.exception("%s %s failed", job.kind, job.id)
        job.message, job.failure = error.message, failure_of(error)
        job.end("failed")


class _Job:
    """One job and how it stands."""

    def __init__(
        self, owner: str, kind: str, title: str, work: Work, download: str, shared_with: str, gone: Callable[[], None]
    ) -> None:
        self.id = secrets.token_hex(8)
        self.owner, self.kind, self.title, self.work = owner, kind, title, work
        self.download, self.shared_with = download, shared_with
        self.progress = Progress()
        self.state: State = "waiting"
        self.message = ""
        self.failure: Failure | None = None
        self.started_at = int(time.time())
        self.finished_at: int | None = None
        self.thread: threading.Thread | None = None
        self._gone = gone

    def open_to(self, principal: Principal) -> bool:
        """Whether somebody may see it."""
        return principal.id == self.owner or self.shared_with in principal.roles

    def end(self, state: State) -> None:
        """It is over: what it leaves is cleared away before anybody sees that it is."""
        if state != "done":
            self.let_go()
        self.state = state
        self.finished_at = int(time.time())

    def let_go(self) -> None:
        """Its result is not wanted any more."""
        self.progress.result = None
        gone, self._gone = self._gone, _nothing
        gone()

    def info(self) -> api.JobInfo:
        """The job as a face shows it."""
        return api.JobInfo(
            id=self.id,
            kind=self.kind,
            title=self.title,
            state=self.state,
            done=self.progress.done,
            total=self.progress.total,
            message=self.message,
            failure=self.failure,
            started_at=self.started_at,
            finished_at=self.finished_at,
            download=self.download if self.state == "done" else "",
        )


def _nothing() -> None:
    """What happens when nobody needs to hear of it."""
