"""The long run: ``python -m tests.fuzz --inputs 100000 [--seed N] [--processes N]``; exit 1 with a finding.

Mail for the readers, and a tenth as many PSTs, MSG and TNEF files for the import.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import archives, outlook, psts, readers

_BATCH = 250
_PSTS = 10


def main() -> int:
    """Fuzz the readers, then the import, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    mail = _run("messages", readers.check_batch, options.inputs, options)
    imports = _run("PSTs", psts.check_batch, options.inputs // _PSTS, options)
    imports += _run("MSG and TNEF files", outlook.check_batch, options.inputs // _PSTS, options)
    imports += _run("archives", archives.check_batch, options.inputs // _PSTS, options)
    return 1 if mail or imports else 0


def _run(
    what: str, check: Callable[[tuple[int, int]], list[str]], inputs: int, options: argparse.Namespace
) -> list[str]:
    count = max(1, inputs // _BATCH)
    size = min(_BATCH, max(1, inputs))
    tasks = [(options.seed * 1_000_003 + number, size) for number in range(count)]
    began = time.monotonic()
    findings: list[str] = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for done, found in enumerate(pool.imap_unordered(check, tasks), 1):
            findings += found
            if done % 40 == 0:
                print(f"{done * size:>9,} {what}, {len(findings)} findings", flush=True)
    seconds = time.monotonic() - began
    print(f"{count * size:,} {what} with seed {options.seed} in {seconds:.0f} s: {len(findings)} findings")
    for path in findings:
        print(f"  {Path(path)}")
    return findings


if __name__ == "__main__":
    sys.exit(main())
