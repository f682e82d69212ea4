"""How fast a run goes, and when it is over, as pages and command line tell it."""

from __future__ import annotations

from appliance.services import api
from appliance.services.profiles.pace import Pace, pace


def run(begun: int | None, seen: int, expected: int | None, bytes: int = 0) -> api.ProfileRun:
    return api.ProfileRun(
        id=1, profile="office", state="running", asked=True, queued=0, begun=begun, ended=None,
        counts=api.ProfileCounts(seen=seen, new=seen, bytes=bytes), expected=expected,
    )  # fmt: skip


def test_it_is_what_was_done_since_it_began() -> None:
    assert pace(run(100, 500, 2000, 1_000_000), 110.0) == Pace(50.0, 100_000.0, 30.0)
    assert pace(run(100, 500, None), 110.0).left is None, "nobody knows how many there are"
    assert pace(run(100, 2500, 2000), 110.0).left == 0, "more came meanwhile"


def test_nothing_is_said_before_there_is_something_to_say() -> None:
    nothing = Pace(0.0, 0.0, None)
    assert pace(run(None, 0, 10), 110.0) == nothing
    assert pace(run(110, 0, 10), 110.0) == nothing
    assert pace(run(120, 5, 10), 110.0) == nothing, "the clock was put back"
