"""The power goes: the archive lies on an ext4 in a file, and the file is copied while mail comes in.

kill -9 proves nothing about durability, since the page cache survives it. What is in the copy is what had reached
the disk, and every message with a 250 before the copy began has to be in it. The product stands still while the copy
is made: otherwise a name could be in it whose data was written behind the copy's back, which no power cut leaves.
"""

from __future__ import annotations

import contextlib
import os
import random
import smtplib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from appliance.keys.certificate import ensure_certificate
from appliance.mail.published import stats_path
from tests.faults.disks import ext4, mounted
from tests.faults.load import Confirmed, Ledger, Load, make_mail
from tests.faults.proof import everything_holds, lost
from tests.ports import free_port
from tests.product import JOURNAL, ROOT, START_SECONDS, Product

LARGE = 9_000_000
"""Octets of a message that is streamed into a volume of its own: only its directory's sync makes its name durable."""


def power_cuts(folder: Path, cuts: int, *, seed: int, say: Callable[[str], None] = print) -> None:
    """Cut the power so many times under one load, then start the product on each of the copies.

    The archive is made on that disk as well: what ``init`` and ``mailbox create`` said must have come through too.
    """
    rng = random.Random(seed)
    copies: list[tuple[Path, Ledger]] = []
    with ext4(folder) as disk:
        product = Product.create(disk.root / "data", log=folder / "serve.log")
        try:
            product.start()
            load = Load(product.smtp, f"p{seed}", seed=seed, size=8000, large=LARGE)
            with load.sending():
                load.await_confirmed(20)
                for number in range(cuts):
                    time.sleep(rng.random())
                    before = time.monotonic()
                    with product.paused():
                        copies.append((disk.cut(folder / f"cut{number}.img"), load.ledger(before)))
        finally:
            product.kill()
    sent = load.ledger().attempts
    for number, (image, ledger) in enumerate(copies):
        with mounted(image, folder / f"cut{number}") as root:
            survivor = Product(root / "data", log=folder / f"cut{number}.log")
            try:
                survivor.start()
                everything_holds(survivor, ledger._replace(attempts=sent), exports=number == 0)
            finally:
                survivor.kill()
        image.unlink()
        say(f"cut {number + 1}: all of {len(ledger.confirmed)} confirmed messages are there")


def lost_by_gateway(template: Product, folder: Path, *, size: int, environment: Mapping[str, str]) -> list[str]:
    """Whether a power cut right after its 250 takes a message of so many octets from a lone gateway worker.

    Nothing else runs and nothing follows, so nothing else syncs the file system: what is missing in the copy was
    not synced for its 250. Gives the lost messages' words.
    """
    mail = make_mail("lone", random.Random(1), size)
    with ext4(folder) as disk:
        data = template.copy(disk.root / "data").data
        ensure_certificate(data / "tls", "gate.example")
        (data / "volumes").mkdir(exist_ok=True)
        os.sync()
        with _gateway(data, environment) as port, smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.ehlo()
            client.mail("")
            client.rcpt(JOURNAL)
            code, text = client.data(mail.report)
            image = disk.cut(folder / "cut.img")
    assert code == 250, text
    confirmed = Confirmed(mail, bytes.fromhex(text.split()[1].decode()), 0)
    with mounted(image, folder / "cut") as root:
        return lost(root / "data", Ledger((confirmed,), Counter([mail.word])))


@contextlib.contextmanager
def _gateway(data: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """A gateway worker alone; its port."""
    port = free_port()
    worker = subprocess.Popen(
        [sys.executable, "-m", "gateway", "--data", data, "--worker", "0", "--smtp", f"127.0.0.1:{port}",
         "--log-level", "error"],
        env={**os.environ, **environment}, cwd=ROOT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not stats_path(data, 0).exists():
            assert worker.poll() is None and time.monotonic() < deadline, "the gateway worker does not start"
            time.sleep(0.05)
        yield port
    finally:
        worker.kill()
        worker.wait()
