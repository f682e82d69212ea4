"""``python -m tests.faults.collecting_child DATA``: a collector to be killed or measured.

It runs its profile ``all``, and says when it has started, how the run ended, and how many KiB it took at most.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from appliance.services.collector.collecting import Collecting
from appliance.services.paths import Paths
from tests.collector import KEYS, await_run

if __name__ == "__main__":
    collecting = Collecting(Paths(Path(sys.argv[1])), KEYS)
    collecting.ledger.learn(())
    collecting.start()
    print("started", flush=True)
    run = await_run(collecting, collecting.begin("all"), 120)
    print(run.state, run.words, flush=True)
    collecting.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
