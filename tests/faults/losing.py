"""The box is gone, under load: what had reached the replica is found again on another box, and nothing is doubled."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.killing import kill
from tests.faults.load import Confirmed, Ledger, Load
from tests.faults.proof import await_idle, everything_holds, lost
from tests.product import Product
from tests.remotes import Target

REMOTE = "away"
INTERVAL = 10  # seconds between replications
SNAPSHOT_INTERVAL = 60  # seconds between copies of the catalogue: what came later a restored box projects anew
PAUSE = 0.1  # seconds between two messages of a connection: boxes are lost many times, and each is looked at whole
LONGEST_WAIT = 12.0  # seconds of load beside that before the box is lost, at most
LONGEST_RESTORE = 4.0  # seconds until a restore that is to be killed is killed, at most
ENOUGH = 300.0
KILLS = 2
"""Of the replicator, and of the restore, in each round."""


class Loss(NamedTuple):
    """What a destroyed box took with it."""

    confirmed: int
    lost: tuple[Confirmed, ...]
    destroyed_at: float
    """Monotonic seconds, as ``Confirmed.at``."""

    @property
    def oldest(self) -> float:
        """Seconds from the confirmation of the oldest lost message until the box was destroyed; 0 without any."""
        return max((self.destroyed_at - one.at for one in self.lost), default=0.0)


def lose_boxes(
    folder: Path, product: Product, target: Target, rounds: int, *, seed: int, say: Callable[[str], None] = print
) -> list[Loss]:
    """Rounds of load, destruction and restore, each box the restored one of the round before. Raises AssertionError
    where a message is lost that was confirmed before the restored generation was made."""
    rng = random.Random(seed)
    ledgers: list[Ledger] = []
    losses: list[Loss] = []
    add_remote(product, target)
    for number in range(rounds):
        product.start()
        load = Load(product.smtp, f"l{seed}r{number}", seed=rng.getrandbits(32), pause=PAUSE)
        with load.sending():
            load.await_confirmed(20)
            for _ in range(KILLS):
                time.sleep((INTERVAL + rng.random() * LONGEST_WAIT) / KILLS)
                kill(product, "replicator", rng)
            time.sleep(INTERVAL + rng.random() * LONGEST_WAIT)
            destroyed_at = time.monotonic()
            product.kill()
        destroyed = time.time() - (time.monotonic() - destroyed_at)
        ledgers.append(load.ledger())
        destroy(product)
        product, made, killed = restored(product, target, folder / f"box{number + 1}", rng)
        reached = destroyed_at - (destroyed - made["at"])
        losses.append(accounted(product, ledgers, destroyed_at, reached))
        ledgers = [_without(ledger, losses[-1].lost) for ledger in ledgers]
        say(
            f"round {number + 1}: {losses[-1].confirmed} confirmed, {len(losses[-1].lost)} lost with the box, the "
            f"oldest {losses[-1].oldest:.1f} s before its end; the newest generation was "
            f"{destroyed_at - reached:.1f} s old, one is made every {INTERVAL} s; restore killed {killed} times"
        )
    return losses


def add_remote(product: Product, target: Target) -> None:
    """Set the remote up as an administrator does."""
    options = [f"{name}={value}" for name, value in target.config.options.items()]
    product.run(
        *("remote", "add", REMOTE, "--type", target.config.type, *options, f"path={target.config.path}"),
        *("--interval", str(INTERVAL), "--snapshot-interval", str(SNAPSHOT_INTERVAL)),
    )


def destroy(product: Product) -> None:
    """Nothing is left of the box but its recovery key."""
    shutil.rmtree(product.data)
    for left in product.data.parent.glob(f"{product.data.name}.*"):
        if left != product.log:
            left.unlink()


def restored(product: Product, target: Target, data: Path, rng: random.Random) -> tuple[Product, Any, int]:
    """The archive on another box, from the remote and the recovery key alone, by a restore that is killed now and
    then; what it said at last, and how often it was killed."""
    box = Product(data, log=product.log)
    box.recovery_key = product.recovery_key
    words = box.command("restore", *restore_words(target), "--recovery-key-stdin", "--json")
    killed = kill_now_and_then(words, rng, KILLS, said=box.recovery_key + "\n", longest=LONGEST_RESTORE)
    return box, box.run("restore", "status"), killed


def restore_words(target: Target) -> list[str]:
    """How ``restore`` is told of the remote."""
    options = [f"{name}={value}" for name, value in target.config.options.items()]
    return ["--type", target.config.type, *options, f"path={target.config.path}"]


def accounted(product: Product, ledgers: list[Ledger], destroyed_at: float, reached: float) -> Loss:
    """Every confirmed message is on the restored box, or was confirmed after ``reached``, when its newest generation
    was begun."""
    words = set(lost(product.data, *ledgers))
    gone = tuple(one for ledger in ledgers for one in ledger.confirmed if one.mail.word in words)
    early = [one.mail.word for one in gone if one.at < reached]
    assert not early, f"confirmed before the restored generation was made, and lost: {early}"
    confirmed = sum(len(ledger.confirmed) for ledger in ledgers)
    with product.serving():
        await_idle(product)
        everything_holds(product, *(_without(ledger, gone) for ledger in ledgers))
    return Loss(confirmed, gone, destroyed_at)


def kill_now_and_then(command: list[str], rng: random.Random, times: int, *, said: str, longest: float) -> int:
    """Run a command, killed (-9) each of the first ``times`` times within ``longest`` seconds, until it comes to its
    end; how often it was killed. Raises AssertionError where it fails."""
    for killed in range(times + 1):
        seconds = rng.random() * longest if killed < times else ENOUGH
        try:
            # At the end of its time run() kills it with SIGKILL.
            done = subprocess.run(command, input=said.encode(), capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            assert killed < times, "restore does not come to its end"
            continue
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        return killed
    raise AssertionError("not reached")


def _without(ledger: Ledger, gone: tuple[Confirmed, ...]) -> Ledger:
    """What the ledger holds beside messages that are gone."""
    words = {one.mail.word for one in gone}
    return Ledger(tuple(one for one in ledger.confirmed if one.mail.word not in words), ledger.attempts)
