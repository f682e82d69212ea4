"""The long run: ``python -m tests.fuzz --inputs 100000 [--seed N] [--processes N]``; exit 1 with a finding."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

from tests.fuzz import readers

_BATCH = 250


def main() -> int:
    """Fuzz the readers and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    count = max(1, options.inputs // _BATCH)
    tasks = [(options.seed * 1_000_003 + number, _BATCH) for number in range(count)]
    began = time.monotonic()
    findings: list[str] = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for done, found in enumerate(pool.imap_unordered(readers.check_batch, tasks), 1):
            findings += found
            if done % 40 == 0:
                print(f"{done * _BATCH:>9,} inputs, {len(findings)} findings", flush=True)
    seconds = time.monotonic() - began
    print(f"{count * _BATCH:,} inputs with seed {options.seed} in {seconds:.0f} s: {len(findings)} findings")
    for path in findings:
        print(f"  {Path(path)}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
