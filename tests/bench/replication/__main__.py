"""Replicating and restoring, against what rclone does with the same bytes. Run: ``python -m tests.bench.replication``.

An archive of list mail goes to ``rclone serve s3`` and ``serve webdav`` on loopback: by a run of replication, and as
one file by ``rclone copyto``, in turns; beside that, messages as an object each. Then an archive of ``--megabytes`` is
restored by the command line, and mail is sent to two products, one of which replicates meanwhile.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.rclone import Rclone
from appliance.cloud.replicate import ReplicaPaths, replicate
from tests.bench.search import corpus
from tests.faults.load import Load
from tests.product import Product
from tests.remotes import RCLONE, Target, s3_target, webdav_target
from tests.replica_box import Quiet
from tests.scratch import DOOR, ScratchArchive

LARGE = 100_000  # octets of a message
SEPARATE = 500  # messages that are uploaded as an object each
SECONDS = 8.0  # of mail in each turn


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=15_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000, help="of the archive that is restored; 0 for none")
    parser.add_argument("--turns", type=int, default=7, help="of ingest with and without replication; 0 for none")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _replication(folder, list(corpus.raw_messages(chosen.messages)), chosen.runs)
        if chosen.megabytes:
            _restore(folder / "restore", chosen.megabytes)
        if chosen.turns:
            _ingest(folder / "ingest", chosen.turns)


def _replication(folder: Path, mails: list[bytes], runs: int) -> None:
    box, keys = _archive(folder / "list", mails)
    separate, one_file = folder / "separate", folder / "one"
    separate.mkdir()
    for number, mail in enumerate(mails[:SEPARATE]):
        (separate / f"{number}.eml").write_bytes(mail)
    volumes = sum(path.stat().st_size for path in box.paths.volumes.rglob("*.mkv"))
    print(f"{len(mails)} messages, {volumes / 1e6:.0f} MB of volumes")
    for make in (s3_target, webdav_target):
        with make(folder / make.__name__) as target, _rclone(folder / f"{make.__name__}-run") as rclone:
            run = _Runs(box, keys, rclone, target)
            run.time()
            one_file.write_bytes(b"".join((target.folder / name).read_bytes() for name in target.objects()))
            size = one_file.stat().st_size
            ours, bare = [], []
            for turn in range(runs):
                bare.append(_taken(lambda turn=turn: _copy("copyto", one_file, target, f"bare{turn}/one")))
                ours.append(run.time())
            each = _taken(lambda: _copy("copy", separate, target, "separate"))
        taken, bare_taken = statistics.median(ours), statistics.median(bare)
        separate_rate = sum(map(len, mails[:SEPARATE])) / each
        print(
            f"{make.__name__.partition('_')[0]:<7} {size / 1e6:.0f} MB with catalogue and index: replicate "
            f"{size / taken / 1e6:6.1f} MB/s   one file {size / bare_taken / 1e6:6.1f} MB/s   ratio "
            f"{bare_taken / taken:.2f}   an object a message {separate_rate / 1e6:.2f} MB/s: "
            f"{volumes / taken / separate_rate:.0f} times"
        )


class _Runs:
    """Replications of one archive, each to a place of its own."""

    def __init__(self, box: ScratchArchive, keys: ReplicaKeys, rclone: Rclone, target: Target) -> None:
        self._box = box
        self._keys = keys
        self._rclone = rclone
        self._target = target
        self._count = 0

    def time(self) -> float:
        """Seconds that one more takes. rclone is up before, as it is in a box that replicates."""
        self._count += 1
        name = f"run{self._count}"
        remote = self._rclone.remote(self._target.named(name, path=f"{self._target.config.path}/{name}"))
        paths = ReplicaPaths.of(self._box.paths.data, name)
        remote.list("generations")
        return _taken(
            lambda: replicate(paths, remote, self._keys, Quiet(), now=time.time_ns() // 1000, roll=lambda *_: None)
        )


def _restore(folder: Path, megabytes: int) -> None:
    chance = random.Random(1)
    count = megabytes * 1_000_000 // LARGE
    box, _ = _archive(folder / "box", (_large(number, chance) for number in range(count)))
    product = Product(box.paths.data)
    with s3_target(folder / "served") as target:
        where = _where(target)
        product.run("remote", "add", "away", *where)
        product.run("replicate", "--now")
        other = Product(folder / "other")
        begun = time.monotonic()
        other.run("restore", *where, "--recovery-key-stdin", "--no-wait", said=box.created.recovery_key + "\n")
        with other.serving():
            load = Load(other.smtp, "new", connections=1, mailbox=DOOR)
            with load.sending():
                load.await_confirmed(1)
                received = time.monotonic() - begun
            _await(lambda: other.total("from:a@example.com") == count)
            searchable = time.monotonic() - begun
            _await(lambda: other.run("restore", "status")["state"] == "complete")
            whole = time.monotonic() - begun
    print(
        f"restore of {megabytes} MB ({count} messages): first new message acknowledged after {received:.1f} s; all "
        f"found by search after {searchable:.1f} s, {megabytes / searchable:.0f} MB/s; all of it there and checked "
        f"after {whole:.1f} s, {megabytes / whole:.0f} MB/s"
    )


def _await(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(0.1)


def _ingest(folder: Path, turns: int) -> None:
    products = {"alone": Product.create(folder / "alone"), "replicating": Product.create(folder / "replicating")}
    rates: dict[str, list[float]] = {name: [] for name in products}
    with webdav_target(folder / "served") as target:
        products["replicating"].run("remote", "add", "away", *_where(target), "--interval", "10")
        for turn in range(turns):
            for name, product in products.items():
                with product.serving():
                    load = Load(product.smtp, f"t{turn}", seed=turn, pause=0)
                    with load.sending():
                        load.await_confirmed(1)
                        before = len(load.confirmed)
                        time.sleep(SECONDS)
                        rates[name].append((len(load.confirmed) - before) / SECONDS)
    alone, replicating = (statistics.median(rates[name]) for name in ("alone", "replicating"))
    print(f"ingest: {alone:.0f} msg/s alone, {replicating:.0f} while replicating: {replicating / alone:.2f}")


def _archive(folder: Path, mails: Iterable[bytes]) -> tuple[ScratchArchive, ReplicaKeys]:
    """An archive that is closed: received, projected, its volumes signed; and its replicas' keys."""
    box = ScratchArchive(folder)
    for some in batched(mails, 500):
        box.receive(*some)
    box.project()
    box.sign()
    keys = box.archive.keyring
    replica = ReplicaKeys(keys.archive_id, keys.key("service"), keys.verify_key)
    box.close()
    return box, replica


def batched(mails: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Lists of up to ``size`` of them."""
    rest = iter(mails)
    while some := list(islice(rest, size)):
        yield some


def _large(number: int, chance: random.Random) -> bytes:
    """A message with an attachment that does not compress."""
    head = f"From: a@example.com\r\nTo: b@example.com\r\nSubject: {number}\r\nMessage-ID: <{number}@example.com>\r\n"
    kind = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\n"
    content = base64.encodebytes(chance.randbytes(LARGE * 3 // 4)).replace(b"\n", b"\r\n")
    return (head + kind).encode() + content


def _where(target: Target) -> list[str]:
    """How the command line is told of a remote."""
    options = [f"{name}={value}" for name, value in target.config.options.items()]
    return ["--type", target.config.type, *options, f"path={target.config.path}"]


def _copy(command: str, source: Path, target: Target, name: str) -> None:
    """rclone by itself."""
    options = {
        f"RCLONE_CONFIG_BARE_{key.upper()}": _obscured(value) if key == "pass" else value
        for key, value in target.config.options.items()
    }
    environment = {**os.environ, **options, "RCLONE_CONFIG_BARE_TYPE": target.config.type, "RCLONE_CONFIG": ""}
    place = f"bare:{target.config.path}/{name}"
    subprocess.run([RCLONE, command, source, place], env=environment, check=True, capture_output=True, timeout=600)


def _obscured(password: str) -> str:
    """A password as rclone keeps it."""
    done = subprocess.run([RCLONE, "obscure", "-"], input=password.encode(), capture_output=True, check=True)
    return done.stdout.decode().strip()


@contextmanager
def _rclone(run: Path) -> Iterator[Rclone]:
    run.mkdir(mode=0o700)
    rclone = Rclone(run)
    try:
        yield rclone
    finally:
        rclone.close()


def _taken(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
