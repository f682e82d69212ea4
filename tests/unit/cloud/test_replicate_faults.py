"""Whenever replication is killed, or the remote or the disk fails it: what a manifest promises is there, and the next
run brings everything up to date.

Each scenario is a sequence of runs; what fails is one call, counted over all that the runs do. A few of them are tried;
MAILKEEP_FAULT_STEP=1 tries every one.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.cloud.manifests import files_of, generations, objects_of
from appliance.cloud.remote import RemoteConfig
from appliance.errors import MailkeepError, RemoteFullError, UnavailableError
from appliance.files import Files
from tests.cloud_double import Killed
from tests.replica_box import DAY, HOUR, ReplicaBox

pytestmark = pytest.mark.faults

STEP = int(os.environ.get("MAILKEEP_FAULT_STEP", "41"))

_CALLS = (
    "create", "open", "read", "write", "sync_data", "sync", "sync_directory", "make_directory", "names", "rename",
    "link", "unlink", "free",
)  # fmt: skip


class Death:
    """Counts calls, of the disk and of the remote; from the ``at``th on, every one raises."""

    def __init__(self, at: int = 0, error: Callable[[], BaseException] = Killed, *, once: bool = False) -> None:
        self.at = at
        self.error = error
        self.once = once
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1
        if self.at and (self.count == self.at or (self.count > self.at and not self.once)):
            raise self.error()


class MortalFiles(Files):
    """Each call asks ``death`` first."""

    def __init__(self, death: Death) -> None:
        self._death = death


def _asking(name: str) -> Callable[..., Any]:
    def call(self: MortalFiles, *args: Any) -> Any:
        self._death()
        return getattr(Files, name)(self, *args)

    return call


for _name in _CALLS:
    setattr(MortalFiles, _name, _asking(_name))


def first_run(box: ReplicaBox, run: Callable[..., Any]) -> None:
    """An archive's first generation, with everything in it."""
    box.receive(b"one", b"two")
    box.roll()
    box.sign()
    box.write_settings("anna")
    box.write_projections(1)
    run()


def compaction(box: ReplicaBox, run: Callable[..., Any]) -> None:
    """Volumes are replaced, and a day later what nobody needs is deleted."""
    refs = box.receive(b"one", b"two", b"three")
    box.roll()
    box.sign()
    run()
    box.erase(refs[0].record_id)
    run()
    box.compact()
    box.write_projections(2)
    run(after=DAY + HOUR)


SCENARIOS = [first_run, compaction]


def fresh(folder: Path) -> ReplicaBox:
    return ReplicaBox(folder, config=RemoteConfig(name="cellar", type="local", keep_daily=1, keep_weekly=1))


def calls(scenario: Callable[..., Any], folder: Path, *, of_disk: bool) -> int:
    """How many calls there are to fail."""
    box, death = fresh(folder), Death()
    play(scenario, box, death, of_disk=of_disk)
    return death.count


def play(scenario: Callable[..., Any], box: ReplicaBox, death: Death, *, of_disk: bool) -> None:
    """Run it with a disk, or a remote, that may fail at each call. A run that fails is over; the archive goes on."""
    files = MortalFiles(death) if of_disk else Files()
    if not of_disk:
        # Before the call and after it: what the remote has done, its caller may never learn.
        box.remote.before = box.remote.after = death

    def run(**options: Any) -> None:
        try:
            box.run(files=files, **options)
        except (MailkeepError, Killed, OSError):
            assert death.at

    scenario(box, run)


def kept_promises(box: ReplicaBox) -> None:
    """Every manifest on the remote names only what is there."""
    there = set(box.remote.names())
    for one in generations(box.remote, box.keys):
        assert set(objects_of(one)) <= there
        assert {placed.object for placed in files_of(one, box.remote, box.keys).values()} <= there


def mended(box: ReplicaBox, folder: Path) -> None:
    """After whatever happened: the promises hold, and one good run makes it complete."""
    box.remote.before = box.remote.after = lambda call, name: None
    kept_promises(box)
    box.run(force_snapshot=True)
    kept_promises(box)
    assert box.restored(folder) == box.originals
    assert not list(box.paths.staging.iterdir())


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("of_disk", [False, True], ids=["remote", "disk"])
def test_killed_at_any_call_the_next_run_completes_it(
    scenario: Callable[..., Any], of_disk: bool, tmp_path: Path
) -> None:
    total = calls(scenario, tmp_path / "count", of_disk=of_disk)
    assert total > (100 if of_disk else 15)
    for at in range(1, total + 1, STEP if of_disk else max(1, STEP // 10)):
        box = fresh(tmp_path / str(at))
        play(scenario, box, Death(at), of_disk=of_disk)
        mended(box, tmp_path / f"{at}-restored")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("error", [UnavailableError, RemoteFullError, OSError], ids=lambda one: one.__name__)
def test_failed_at_any_call_the_next_run_completes_it(
    scenario: Callable[..., Any], error: type[Exception], tmp_path: Path
) -> None:
    of_disk = error is OSError
    total = calls(scenario, tmp_path / "count", of_disk=of_disk)
    for at in range(2, total + 1, STEP if of_disk else max(1, STEP // 6)):
        box = fresh(tmp_path / str(at))
        failure = OSError(5, "Input/output error") if of_disk else error("The remote does not answer.")
        play(scenario, box, Death(at, lambda failure=failure: failure, once=True), of_disk=of_disk)  # type: ignore[misc]
        mended(box, tmp_path / f"{at}-restored")


STEPS = st.lists(
    st.sampled_from(["receive", "roll", "sign", "compact", "erase", "run", "die", "die", "forget", "wait"]),
    min_size=4,
    max_size=25,
)
_numbers = itertools.count()


@settings(
    max_examples=400 if STEP == 1 else 25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, seed=st.integers(0, 2**32))
def test_whatever_happens_in_whatever_order_the_newest_generation_is_whole(
    steps: list[str], seed: int, tmp_path: Path
) -> None:
    folder = tmp_path / str(next(_numbers))
    box, chance = fresh(folder), random.Random(seed)
    for number, step in enumerate(steps):
        if step == "receive":
            box.receive(*(b"mail %d-%d" % (number, one) for one in range(chance.randint(1, 3))))
        elif step == "roll":
            box.roll()
        elif step == "sign":
            box.sign()
        elif step == "compact":
            box.roll()
            box.sign()
            box.compact()
        elif step == "erase":
            erase_one(box, chance)
        elif step == "forget":
            for path in box.paths.state.glob("*"):
                if path.is_file():
                    path.unlink()
        elif step == "wait":
            box.now += chance.choice((HOUR, DAY, 9 * DAY))
        else:
            of_disk = chance.random() < 0.5
            death = Death(chance.randint(1, 120 if of_disk else 25) if step == "die" else 0)
            play(lambda box, run: run(), box, death, of_disk=of_disk)
            box.remote.before = box.remote.after = lambda call, name: None
        kept_promises(box)
    mended(box, folder / "restored")


def erase_one(box: ReplicaBox, chance: random.Random) -> None:
    """Drop some record that lies in a volume of its own kind."""
    box.roll()
    box.sign()
    folder = box.volumes / box.mailbox.hex()
    if box.originals and not list(folder.glob("c0-*.mka")):
        box.erase(chance.choice(sorted(box.originals)))
