"""kill -9 of one process after the other, at random moments under load."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from appliance.mail.places import IMPORTS_MAILBOX
from tests.faults.arriving import Arriving
from tests.faults.load import Ledger, Load
from tests.faults.proof import everything_holds
from tests.product import Product

PARTS = ("gateway 0", "collector", "projector", "extract", "archiver", "agent", "supervisor", "gateway 1", "web")
"""In turn; where a machine has one core, "gateway 1" means the one worker that there is."""

LONGEST_WAIT = 3.0  # seconds from the load's start to the last kill
KILLS = 3
"""Of the same part in a round, so that one lands in what the one before left behind; the supervisor dies once, since
all of the product is started again after it."""

IN_THE_MIDST = 0.7
"""How many of the collector's kills come when it has written mail, and has yet to say so in its ledger: a moment of
milliseconds, in which it would seldom be hit by chance."""
LONGEST_FETCH = 5.0  # seconds that such a moment is waited for


def kill_rounds(
    product: Product, rounds: int, *, seed: int, parts: Sequence[str] = PARTS, arriving: Arriving | None = None,
    say: Callable[[str], None] = print,
) -> list[Ledger]:  # fmt: skip
    """Rounds of load, kills and proof on a product that serves, and that fetches what is ``arriving``; what was sent.
    Raises AssertionError."""
    rng = random.Random(seed)
    ledgers: list[Ledger] = []
    for number in range(rounds):
        part = parts[number % len(parts)]
        run_id = f"k{seed}r{number}"
        load = Load(product.smtp, run_id, seed=rng.getrandbits(32))
        with load.sending(), arriving.flowing(run_id) if arriving else nullcontext():
            load.await_confirmed(5)
            kills = 1 if part == "supervisor" else KILLS
            for _ in range(kills):
                time.sleep(rng.random() * LONGEST_WAIT / kills)
                if part == "collector" and arriving is not None and rng.random() < IN_THE_MIDST:
                    _await_fetched(product)
                kill(product, part, rng)
            load.await_confirmed(5)
        ledgers.append(load.ledger())
        everything_holds(product, *ledgers, exports=number % 10 == rounds % 10, arriving=arriving)
        fetched = f", {len(arriving.sha256)} fetched so far" if arriving else ""
        say(
            f"round {number + 1}: {part} killed; {len(load.confirmed)} confirmed, {load.broken} connections broken"
            f"{fetched}"
        )
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


def _await_fetched(product: Product) -> None:
    """Return as soon as fetched mail is being written, if that is soon."""
    folder, deadline = product.data / "volumes" / IMPORTS_MAILBOX.hex(), time.monotonic() + LONGEST_FETCH
    before = _octets(folder)
    while _octets(folder) == before and time.monotonic() < deadline:
        time.sleep(0.001)


def _octets(folder: Path) -> int:
    octets = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # a new volume has got its name meanwhile
                octets += entry.stat().st_size
    return octets
