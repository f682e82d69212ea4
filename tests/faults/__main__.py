"""``python -m tests.faults --rounds 50``: kills, power cuts and lost boxes for as long as one likes; cuts need root.

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
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tests.dovecot import Dovecot, running, why_not
from tests.faults.arriving import Arriving
from tests.faults.killing import kill_rounds
from tests.faults.losing import lose_boxes
from tests.faults.power import power_cuts
from tests.faults.proof import commands_hold
from tests.product import Product
from tests.remotes import s3_target

CUTS_AT_A_TIME = 10
ROUNDS_A_LOSS = 4


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Kill and cut mailkeep under load.")
    parser.add_argument(
        "--rounds", type=int, default=50, help="of kills, as many power cuts, and a quarter as many boxes lost"
    )
    parser.add_argument("--only", choices=("kills", "cuts", "losses"), help="one of the three")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="to do the same again")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mailkeep-faults-"))
    print(f"seed {given.seed}, in {folder}", flush=True)
    try:
        if given.only in (None, "kills"):
            _kills(folder, given.rounds, given.seed)
        if given.only in (None, "cuts"):
            _cuts(folder, given.rounds, given.seed)
        if given.only in (None, "losses"):
            _losses(folder, max(given.rounds // ROUNDS_A_LOSS, 1), given.seed)
    except Exception:
        traceback.print_exc()
        print(f"FAILED; what there was is in {folder}; the same again with --seed {given.seed}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    print("nothing lost, nothing doubled")
    return 0


def _kills(folder: Path, rounds: int, seed: int) -> None:
    product = Product.create(folder / "data")
    with _mail_server() as server:
        product.start()
        try:
            arriving = Arriving(product, server, seed=seed) if server else None
            ledgers = kill_rounds(product, rounds, seed=seed, arriving=arriving, say=_say)
            commands_hold(product, *ledgers)
        finally:
            product.kill()


def _mail_server() -> AbstractContextManager[Dovecot | None]:
    why = why_not()
    if why:
        _say(f"The collector is killed with nothing to fetch: fetching mail {why}.")
    return nullcontext() if why else running()


def _cuts(folder: Path, cuts: int, seed: int) -> None:
    if os.geteuid() != 0:
        raise SystemExit("The power cuts mount file systems, which takes root; --only kills does without.")
    for start in range(0, cuts, CUTS_AT_A_TIME):
        place = folder / f"cuts{start}"
        place.mkdir()
        power_cuts(place, min(CUTS_AT_A_TIME, cuts - start), seed=seed + start, say=_say)


def _losses(folder: Path, rounds: int, seed: int) -> None:
    place = folder / "losses"
    place.mkdir()
    product = Product.create(place / "box0")
    with s3_target(place / "remote") as target:
        losses = lose_boxes(place, product, target, rounds, seed=seed, say=_say)
    print(f"{sum(len(one.lost) for one in losses)} messages lost with {rounds} boxes, all younger than a generation")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
