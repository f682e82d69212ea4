"""The command line follows a job to its end, and Ctrl-C stops the job, not only the looking."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appliance.cli import following
from appliance.errors import UnavailableError
from appliance.services import api

JOB = api.JobInfo(id="1", kind="verify", title="Check", state="running")


class Box:
    """Services with one job, which ends when it was looked at or told to stop."""

    def __init__(self, end: api.JobInfo) -> None:
        self.end = end
        self.calls: list[str] = []

    def call(self, method: str, kind: Any, /, **_params: object) -> Any:
        self.calls.append(method)
        return self.end


def test_a_job_that_ends_well_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE", 0)
    done = msgspec.structs.replace(JOB, state="done", finished_at=1)
    assert following.follow(Box(done), JOB, unit="volumes") == done


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_a_job_that_does_not_is_told(monkeypatch: pytest.MonkeyPatch, state: Any) -> None:
    monkeypatch.setattr(following, "PAUSE", 0)
    ended = msgspec.structs.replace(JOB, state=state, finished_at=1, message="The disk is full.")
    with pytest.raises(UnavailableError, match="The disk is full"):
        following.follow(Box(ended), JOB, unit="volumes")


def test_ctrl_c_stops_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.cli.following.time.sleep", interrupted)
    box = Box(msgspec.structs.replace(JOB, state="stopped", finished_at=1))
    with pytest.raises(KeyboardInterrupt):
        following.follow(box, JOB, unit="volumes")
    assert box.calls == ["job_stop", "job"]
