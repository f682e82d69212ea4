"""``python -m tests.faults.collecting_child DATA``: a collector to be killed or measured.

It runs its profile ``all``, and says when it has started, how the run ended, and how many KiB it took at most.
"""

from __future__ import annotations

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
    # Not getrusage(2): its maximum is that of the process, too, which this one was before exec.
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), flush=True)
