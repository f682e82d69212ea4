"""``python -m tests.faults --rounds 50``: kills and power cuts for as long as one likes; needs root for the latter.

The rounds of kills go round all processes, on one archive that grows; the power cuts come ten to an archive. Ends
with exit code 1 at the first message that is lost or doubled, and leaves the folder for a look.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.faults.killing import kill_rounds
from tests.faults.power import power_cuts
from tests.faults.proof import commands_hold
from tests.product import Product

CUTS_AT_A_TIME = 10


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Kill and cut mailkeep under load.")
    parser.add_argument("--rounds", type=int, default=50, help="of kills, and as many power cuts")
    parser.add_argument("--only", choices=("kills", "cuts"), help="one of the two")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="to do the same again")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mailkeep-faults-"))
    print(f"seed {given.seed}, in {folder}", flush=True)
    try:
        if given.only != "cuts":
            _kills(folder, given.rounds, given.seed)
        if given.only != "kills":
            _cuts(folder, given.rounds, given.seed)
    except Exception:
        traceback.print_exc()
        print(f"FAILED; what there was is in {folder}; the same again with --seed {given.seed}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    print("nothing lost, nothing doubled")
    return 0


def _kills(folder: Path, rounds: int, seed: int) -> None:
    product = Product.create(folder / "data")
    product.start()
    try:
        ledgers = kill_rounds(product, rounds, seed=seed, say=_say)
        commands_hold(product, *ledgers)
    finally:
        product.kill()


def _cuts(folder: Path, cuts: int, seed: int) -> None:
    if os.geteuid() != 0:
        raise SystemExit("The power cuts mount file systems, which takes root; --only kills does without.")
    for start in range(0, cuts, CUTS_AT_A_TIME):
        place = folder / f"cuts{start}"
        place.mkdir()
        power_cuts(place, min(CUTS_AT_A_TIME, cuts - start), seed=seed + start, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
