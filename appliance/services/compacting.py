"""Compaction as a job: begun by a person, or by the archive itself when there is enough to gain.

A job goes through its mailboxes step by step. Each step ends with one archive volume in the place of a few volumes;
what is done stays done when the job is stopped or the box loses power, and the next one goes on from there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from appliance.errors import (
    DamageError,
    DiskFullError,
    LockedError,
    MailkeepError,
    NotFoundError,
    StorageError,
    UsageError,
)
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.keys.agent_client import AgentKeys
from appliance.language import later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.compactor import make_beside, make_here
from appliance.services.jobs import Jobs, Progress
from appliance.services.principal import SYSTEM, Principal
from appliance.store.absent import held
from appliance.store.compaction import Step, plan
from appliance.store.names import ArchiveName
from appliance.store.switch import discard_unless_smaller, put_in_place

log = logging.getLogger(__name__)

KIND = "compact"
UNIT = 1024
"""Bytes in one unit of a job's progress."""
LOOK_SECONDS = 3600.0
DUE_AGE = 24 * 3600.0
"""Seconds after which the archive compacts volumes by itself; a nightly backup has seen them as they were."""
DUE_BYTES = 64 * 1024 * 1024
"""Bytes of such volumes from which on it does, for each mailbox."""


class Compacted(msgspec.Struct, frozen=True):
    """What a job did: volumes replaced, their bytes, and those of what stands in their place.

    ``left`` says which steps could not be done, and why; their volumes are as they were.
    """

    volumes: int = 0
    before: int = 0
    after: int = 0
    left: tuple[str, ...] = ()


class Compactions:
    """Compacts the mailboxes of an open archive, and looks once an hour whether any should be."""

    def __init__(self, archive: Archive, jobs: Jobs) -> None:
        self._archive = archive
        self._jobs = jobs
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compactions", daemon=True)

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"compact_begin": self.begin, "compact_result": self.result}

    def begin(self, principal: Principal, *, mailbox: str = "", older_than: float = 0.0) -> api.JobInfo:
        """Compact one mailbox, named by its address, or all: the volumes that are sealed and were begun at least
        ``older_than`` seconds ago. Raises NotFoundError, UsageError for a sealed mailbox, ConflictError."""
        principal.require("admin")
        if older_than < 0:
            raise UsageError("The age of volumes is not negative.")
        ids = self._mailboxes() if not mailbox else (self._mailbox(mailbox),)
        return self._begin(principal, self._plan(ids, older_than), mailbox)

    def result(self, principal: Principal, *, id: str) -> Compacted:
        """What a finished job did."""
        found = self._jobs.result(principal, id=id)
        if not isinstance(found, Compacted):
            raise UsageError("That job was no compaction.")
        return found

    def start(self) -> None:
        """Begin to look once an hour."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()

    def begin_due(self) -> api.JobInfo | None:
        """Compact those mailboxes in which enough old volumes lie; None where there are none, or while it goes on."""
        if self._jobs.unfinished(KIND):
            return None
        planned = [self._plan((mailbox,), DUE_AGE) for mailbox in self._mailboxes()]
        steps = [step for due in planned if sum(one.size for one in due) >= DUE_BYTES for step in due]
        return self._begin(SYSTEM, steps, "what is old enough") if steps else None

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.begin_due()
            except (MailkeepError, OSError) as error:
                log.error("compaction: %s", error)

    def _mailboxes(self) -> Sequence[bytes]:
        """Those that can be compacted: sealed ones cannot, and the system log has little to gain."""
        found = {one.mailbox for one in self._archive.reader.volumes()} - {SYSTEM_MAILBOX}
        return [one for one in sorted(found) if not self._archive.is_sealed(one)]

    def _mailbox(self, address: str) -> bytes:
        for put in self._archive.settings.mailboxes():
            if put.address == address.lower():
                if self._archive.is_sealed(put.mailbox):
                    raise UsageError(f"{address} is a sealed mailbox: only its password opens it, to compact it too.")
                return put.mailbox
        raise NotFoundError(f"There is no mailbox {address}.")

    def _plan(self, mailboxes: Sequence[bytes], older_than: float) -> list[Step]:
        border = int((self._archive.clock() - older_than) * 1_000_000)
        return [step for one in mailboxes for step in plan(self._archive.reader.volumes(one), before=border)]

    def _begin(self, principal: Principal, steps: Sequence[Step], what: str) -> api.JobInfo:
        def work(progress: Progress) -> str:
            progress.result = done = self._work(principal, steps, progress)
            return _in_words(done)

        return self._jobs.begin(
            principal, KIND, later("Compaction"), work, what=what or "all mailboxes", shared_with="admin"
        )

    def _work(self, principal: Principal, steps: Sequence[Step], progress: Progress) -> Compacted:
        total = sum(step.size for step in steps)
        passed = volumes = before = after = 0
        left: list[str] = []
        waiting = list(reversed(steps))

        def report(done: int) -> None:
            progress.report((passed + done) // UNIT, total // UNIT)

        with self._archive.chain.held():
            pass  # whatever a crash left is gone before anything new is made
        try:
            while waiting and not progress.stopped():
                step = waiting.pop()
                stored = None
                try:
                    stored = self._step(step, report, progress.stopped)
                except (LockedError, DiskFullError):
                    raise
                except MailkeepError as error:
                    if isinstance(error, DamageError | StorageError) and (halves := step.halves()):
                        waiting += reversed(halves)  # what is whole need not suffer with what is not
                        continue
                    log.error("not compacted: %s", error.message)
                    left.append(error.message)
                if stored is not None:
                    volumes, before, after = volumes + len(step.volumes), before + step.size, after + stored
                passed += step.size
                report(0)
        finally:
            if volumes:
                self._archive.note(principal, "compact", f"{volumes} volumes, {before} bytes to {after}")
        return Compacted(volumes, before, after, tuple(left))

    def _step(self, step: Step, report: Callable[[int], None], stopped: Callable[[], bool]) -> int | None:
        """One archive volume; its bytes, None where it was stopped or would have gained nothing."""
        folder = self._archive.paths.volumes / step.mailbox.hex()
        with held(folder):  # so that none of the volumes is let go of meanwhile
            if not all((folder.parent / volume).exists() for volume in step.volumes):
                return None  # it was before
            return self._replace(step, report, stopped)

    def _replace(self, step: Step, report: Callable[[int], None], stopped: Callable[[], bool]) -> int | None:
        archive = self._archive
        made = self._make(step, report, stopped)
        if made is None:
            return None
        if discard_unless_smaller(archive.paths.volumes, str(made), step.size):
            return None
        with archive.chain.held() as chain:
            seal = put_in_place(
                archive.paths.volumes, str(made), chain, archive.keyring, opener=archive.keyring, stopped=stopped
            )
        return None if seal is None else seal.size

    def _make(self, step: Step, report: Callable[[int], None], stopped: Callable[[], bool]) -> ArchiveName | None:
        archive = self._archive
        if isinstance(archive.keyring, AgentKeys):
            return make_beside(archive.paths, step, report, stopped)
        return make_here(archive.paths, archive.keyring, step, report, stopped)


def _in_words(done: Compacted) -> str:
    if done.left:
        return f"{done.volumes} volumes compacted. Left as they were: {' '.join(done.left)}"
    return f"{done.volumes} volumes compacted." if done.volumes else "There was nothing to gain."
