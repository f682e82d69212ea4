"""kill -9 of a restore at random moments: it goes on, and nothing is lost, doubled or half.

MAILKEEP_RESTORE_KILLS says how many times.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from appliance.cloud.restore_state import RestoreFolder
from appliance.services.paths import Paths
from appliance.services.unlock import unlock
from appliance.store.verify import verify
from tests.burnt import Fire, burn_down

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("MAILKEEP_RESTORE_KILLS", "6"))
SLOW = 0.01
"""Seconds that each call of the remote takes, so that there is a middle for a kill to land in."""


def restore(fire: Fire) -> None:
    """As ``mailkeep restore``, in a process of its own."""
    if not (fire.data / "keyring.json").exists():
        fire.prepare()
    fire.fill()


def test_killed_at_random_moments_it_goes_on(tmp_path: Path) -> None:
    replicated = burn_down(tmp_path / "burnt", volumes=12)
    rng = random.Random(20261121)
    processes = multiprocessing.get_context("fork")
    begun = time.monotonic()
    fire = Fire(tmp_path / "measured", replicated, slow=SLOW)
    restore(fire)
    whole = time.monotonic() - begun
    killed = 0
    for number in range(KILLS):
        fire = Fire(tmp_path / str(number), replicated, slow=SLOW)
        for _ in range(2):
            process = processes.Process(target=restore, args=(fire,), daemon=True)
            process.start()
            time.sleep(rng.random() * whole)
            killed += process.is_alive()
            process.kill()
            process.join()
        if RestoreFolder(fire.data).has_begun and (fire.data / "keyring.json").exists():
            assert RestoreFolder(fire.data).status().state != "preparing"
        if not (fire.data / "keyring.json").exists() or fire.absent():
            restore(fire)
        assert fire.records() == fire.originals and not fire.absent()
        report = verify(fire.data / "volumes", unlock(Paths(fire.data)), deep=True)
        assert report.errors == ()
    assert killed > KILLS // 2
