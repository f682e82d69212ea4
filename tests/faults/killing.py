"""kill -9 of one process after the other, at random moments under load."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence

from tests.faults.load import Ledger, Load
from tests.faults.proof import everything_holds
from tests.product import Product

PARTS = ("gateway 0", "projector", "extract", "archiver", "agent", "supervisor", "gateway 1", "web")
"""In turn; where a machine has one core, "gateway 1" means the one worker that there is."""

LONGEST_WAIT = 3.0  # seconds from the load's start to the last kill
KILLS = 3
"""Of the same part in a round, so that one lands in what the one before left behind; the supervisor dies once, since
all of the product is started again after it."""


def kill_rounds(
    product: Product, rounds: int, *, seed: int, parts: Sequence[str] = PARTS, say: Callable[[str], None] = print
) -> list[Ledger]:
    """Rounds of load, kills and proof on a product that serves; what was sent. Raises AssertionError."""
    rng = random.Random(seed)
    ledgers: list[Ledger] = []
    for number in range(rounds):
        part = parts[number % len(parts)]
        load = Load(product.smtp, f"k{seed}r{number}", seed=rng.getrandbits(32))
        with load.sending():
            load.await_confirmed(5)
            kills = 1 if part == "supervisor" else KILLS
            for _ in range(kills):
                time.sleep(rng.random() * LONGEST_WAIT / kills)
                kill(product, part, rng)
            load.await_confirmed(5)
        ledgers.append(load.ledger())
        everything_holds(product, *ledgers, exports=number % 10 == rounds % 10)
        say(f"round {number + 1}: {part} killed; {len(load.confirmed)} confirmed, {load.broken} connections broken")
    return ledgers


def kill(product: Product, part: str, rng: random.Random) -> None:
    """kill -9 of a part; the supervisor is started again at once, the others it starts again itself."""
    if part == "supervisor":
        product.kill()
        product.start()
        return
    product.await_part(part if part in product.processes() else part.split()[0])
    pids = product.processes().get(part) or product.pids(part.split()[0])
    if pids:
        os.kill(rng.choice(pids), signal.SIGKILL)
