"""The box is gone, under load: what had reached the replica is found again on another box, and nothing is doubled."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.load import Confirmed, Ledger, Load
from tests.faults.proof import await_idle, everything_holds, lost
from tests.product import Product
from tests.remotes import Target

REMOTE = "away"
INTERVAL = 10  # seconds between replications
LONGEST_WAIT = 12.0  # seconds of load before the box is lost, at most


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
        load = Load(product.smtp, f"l{seed}r{number}", seed=rng.getrandbits(32))
        with load.sending():
            load.await_confirmed(20)
            time.sleep(INTERVAL + rng.random() * LONGEST_WAIT)
            destroyed_at = time.monotonic()
            product.kill()
        destroyed = time.time() - (time.monotonic() - destroyed_at)
        ledgers.append(load.ledger())
        destroy(product)
        product, made = restored(product, target, folder / f"box{number + 1}")
        reached = destroyed_at - (destroyed - made["generation"]["at"] / 1_000_000)
        losses.append(accounted(product, ledgers, destroyed_at, reached))
        ledgers = [_without(ledger, losses[-1].lost) for ledger in ledgers]
        say(
            f"round {number + 1}: {losses[-1].confirmed} confirmed, {len(losses[-1].lost)} lost with the box, the "
            f"oldest {losses[-1].oldest:.1f} s before its end; the newest generation was "
            f"{destroyed_at - reached:.1f} s old, one is made every {INTERVAL} s"
        )
    return losses


def add_remote(product: Product, target: Target) -> None:
    """Set the remote up as an administrator does."""
    options = [f"{name}={value}" for name, value in target.config.options.items()]
    product.run(
        *("remote", "add", REMOTE, "--type", target.config.type, *options, f"path={target.config.path}"),
        *("--interval", str(INTERVAL)),
    )


def destroy(product: Product) -> None:
    """Nothing is left of the box but its recovery key."""
    shutil.rmtree(product.data)
    for left in product.data.parent.glob(f"{product.data.name}.*"):
        if left != product.log:
            left.unlink()


def restored(product: Product, target: Target, data: Path) -> tuple[Product, Any]:
    """The archive on another box, from the remote and the recovery key alone; and what ``restore`` said."""
    box = Product(data, log=product.log)
    box.recovery_key = product.recovery_key
    return box, box.run("restore", *restore_words(target), "--recovery-key-stdin", said=box.recovery_key + "\n")


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
    """Run a command that is killed (-9) after a random while, up to ``times`` times, then to its end; how often it was
    killed. Raises AssertionError where its last run fails."""
    killed = 0
    for _ in range(times):
        process = _started(command, said)
        try:
            process.wait(rng.random() * longest)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        output = process.communicate()[0]
        if process.returncode == 0:
            break
    else:
        process = _started(command, said)
        output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output.decode()
    return killed


def _started(command: list[str], said: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdin is not None
    process.stdin.write(said.encode())
    process.stdin.close()
    process.stdin = None
    return process


def _without(ledger: Ledger, gone: tuple[Confirmed, ...]) -> Ledger:
    """What the ledger holds beside messages that are gone."""
    words = {one.mail.word for one in gone}
    return Ledger(tuple(one for one in ledger.confirmed if one.mail.word not in words), ledger.attempts)
