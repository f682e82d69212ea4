"""Following a job to its end, with a line of progress where somebody watches, and stopping it with Ctrl-C."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TypeVar

from appliance.errors import UnavailableError
from appliance.services import api

PAUSE = 0.1
T = TypeVar("T")


class Box(Protocol):
    """The services, wherever they run."""

    def call(self, method: str, kind: type[T], /, **params: object) -> T:
        """The service's answer."""
        ...


def follow(box: Box, job: api.JobInfo, *, unit: str) -> api.JobInfo:
    """Wait until the job is done. Raises UnavailableError where it failed or somebody stopped it, KeyboardInterrupt
    when it was stopped from here."""
    try:
        while job.finished_at is None:
            show(f"{job.done} of {job.total} {unit}")
            time.sleep(PAUSE)
            job = box.call("job", api.JobInfo, id=job.id)
    except KeyboardInterrupt:
        box.call("job_stop", api.JobInfo, id=job.id)
        while box.call("job", api.JobInfo, id=job.id).finished_at is None:
            time.sleep(PAUSE)
        raise
    finally:
        show("")
    if job.state != "done":
        raise UnavailableError(job.message or "It was stopped.")
    return job


def show(text: str) -> None:
    """A line of progress in the place of the one before, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
