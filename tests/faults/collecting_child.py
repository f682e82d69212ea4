"""``python -m tests.faults.collecting_child DATA``: a collector that runs its profile ``all``, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from appliance.services.collector.collecting import Collecting
from appliance.services.paths import Paths
from tests.collector import KEYS, await_run

if __name__ == "__main__":
    collecting = Collecting(Paths(Path(sys.argv[1])), KEYS)
    collecting.start()
    print("started", flush=True)
    run = await_run(collecting, collecting.begin("all"), 120)
    print(run.state, run.words, flush=True)
    collecting.close()
