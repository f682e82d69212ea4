"""Long work: one of a kind at a time, its end always told, stopped when asked, and nobody else's to see."""

from __future__ import annotations

import threading
import time

import pytest

from appliance.errors import ConflictError, NotFoundError, StorageError
from appliance.services import api, auditing
from appliance.services.jobs import MOST_FINISHED, MOST_UNFINISHED, Jobs, Progress
from appliance.services.principal import Principal
from tests.scratch import BOX, ScratchArchive

AUDITOR = Principal(id="u-auditor", roles=frozenset({"user", "auditor"}))
ADMIN = Principal(id="u-admin", roles=frozenset({"user", "admin"}))


def _ended(jobs: Jobs, id: str) -> api.JobInfo:
    while (job := jobs.get(BOX, id=id)).finished_at is None:
        time.sleep(0.005)
    return job


def test_a_job_tells_how_far_it_is_and_keeps_what_it_made(box: ScratchArchive) -> None:
    jobs, half, go_on = Jobs(box.archive), threading.Event(), threading.Event()

    def work(progress: Progress) -> str:
        progress.report(3, 6)
        half.set()
        assert go_on.wait(10)
        progress.report(6, 6)
        progress.result = {"made": 6}
        return "six made"

    begun = jobs.begin(BOX, "count", "Counting", work, download="six.txt")
    assert half.wait(10)
    job = jobs.get(BOX, id=begun.id)
    assert (job.state, job.done, job.total, job.download, job.finished_at) == ("running", 3, 6, "", None)
    with pytest.raises(ConflictError):
        jobs.result(BOX, id=begun.id)
    assert jobs.unfinished("count") and not jobs.unfinished("export")
    go_on.set()
    job = _ended(jobs, begun.id)
    assert (job.state, job.done, job.message, job.download) == ("done", 6, "six made", "six.txt")
    assert jobs.result(BOX, id=begun.id) == {"made": 6}
    assert not jobs.unfinished("count")
    assert auditing.audit(box.archive, BOX, find="count.begin").lines[0].what == "Counting"


def test_jobs_of_one_kind_take_turns_and_other_kinds_do_not_wait(box: ScratchArchive) -> None:
    jobs, go_on, running = Jobs(box.archive), threading.Event(), []

    def work(_progress: Progress) -> str:
        running.append(1)
        assert go_on.wait(10)
        return ""

    first, second = (jobs.begin(BOX, "slow", f"Slow {n}", work) for n in range(2))
    other = jobs.begin(BOX, "quick", "Quick", lambda _progress: "")
    assert _ended(jobs, other.id).state == "done"
    assert len(running) == 1
    assert sorted(jobs.get(BOX, id=one.id).state for one in (first, second)) == ["running", "waiting"]
    go_on.set()
    assert {_ended(jobs, one.id).state for one in (first, second)} == {"done"}


def test_a_job_that_is_stopped_while_it_waits_is_never_begun(box: ScratchArchive) -> None:
    jobs, go_on, begun, gone = Jobs(box.archive), threading.Event(), threading.Event(), []

    def first_work(_progress: Progress) -> str:
        begun.set()
        assert go_on.wait(10)
        return ""

    jobs.begin(BOX, "slow", "First", first_work)
    assert begun.wait(10)

    def second_work(_progress: Progress) -> str:
        raise AssertionError("it was stopped before its turn")

    second = jobs.begin(BOX, "slow", "Second", second_work, gone=lambda: gone.append(1))
    jobs.stop(BOX, id=second.id)
    go_on.set()
    assert _ended(jobs, second.id).state == "stopped"
    assert gone == [1]


def test_only_so_many_wait_and_the_oldest_that_ended_is_forgotten(box: ScratchArchive) -> None:
    jobs, go_on, gone = Jobs(box.archive), threading.Event(), []

    def wait(_progress: Progress) -> str:
        assert go_on.wait(10)
        return ""

    begun = [jobs.begin(BOX, "slow", "Slow", wait) for _ in range(MOST_UNFINISHED)]
    with pytest.raises(ConflictError):
        jobs.begin(BOX, "slow", "Slow", wait)
    jobs.begin(ADMIN, "slow", "Somebody else's", wait)
    go_on.set()
    for one in begun:
        _ended(jobs, one.id)
    ids = []
    for number in range(MOST_FINISHED + 2):
        ids.append(jobs.begin(BOX, "quick", "Quick", lambda _p: "", gone=lambda number=number: gone.append(number)).id)
        _ended(jobs, ids[-1])
    assert [one.id for one in jobs.list(BOX, kind="quick")] == ids[:1:-1]
    assert gone == [0, 1]


def test_whatever_goes_wrong_ends_the_job_in_a_sentence(box: ScratchArchive) -> None:
    jobs, gone = Jobs(box.archive), []

    def fails(error: Exception) -> api.JobInfo:
        def work(_progress: Progress) -> str:
            raise error

        return _ended(jobs, jobs.begin(BOX, "odd", "Odd", work, gone=lambda: gone.append(1)).id)

    told = fails(StorageError("The disk is full. Nothing was lost; free some space."))
    assert (told.state, told.message) == ("failed", "The disk is full. Nothing was lost; free some space.")
    assert fails(OSError("a secret path")).message == "The disk did not take it."
    inside = fails(ZeroDivisionError("a secret"))
    assert inside.state == "failed" and inside.message and "secret" not in inside.message
    assert gone == [1, 1, 1]


def test_a_job_is_seen_by_who_began_it_and_those_it_is_shared_with(box: ScratchArchive) -> None:
    jobs = Jobs(box.archive)
    own = jobs.begin(BOX, "export", "Export", lambda _progress: "")
    shared = jobs.begin(BOX, "verify", "Verify", lambda _progress: "", shared_with="auditor")
    assert [one.id for one in jobs.list(BOX)] == [shared.id, own.id]
    assert [one.id for one in jobs.list(AUDITOR)] == [shared.id]
    assert jobs.list(ADMIN) == ()
    for ask in (jobs.get, jobs.stop, jobs.result):
        with pytest.raises(NotFoundError):
            ask(AUDITOR, id=own.id)


def test_closing_stops_what_runs_and_waits_for_it(box: ScratchArchive) -> None:
    jobs, ended = Jobs(box.archive), []

    def work(progress: Progress) -> str:
        while not progress.stopped():
            time.sleep(0.005)
        ended.append(1)
        return ""

    jobs.begin(BOX, "slow", "Slow", work)
    jobs.close()
    assert ended == [1]
