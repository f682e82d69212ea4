"""Very many messages and little memory. Run: ``make bench-scale``, or ``python -m tests.bench.scale --messages 50000``.

Short messages come in over five years (an injected clock gives their records' ids) and are projected: 20 shards. At
four points the memory of this process with its children (PSS) and of the live index (tmpfs) is printed: it must not
grow. Then the archive is searched with memory for three of the shards: the first page by date, and the exact count with
facets, each for words that were not asked for before (cold) and again (warm).
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from unittest import mock

from appliance.index.live import VARIABLE
from appliance.index.live import budget as live_budget
from appliance.index.search import Index, Scope
from appliance.mail.query import Node, parse
from appliance.store import record
from tests.scratch import ScratchArchive, mail

QUARTERS = 20
FITTING = 3
CHUNK = 2_000
FIRST = time.mktime((2021, 10, 1, 12, 0, 0, 0, 0, 0))
LAST = time.mktime((2026, 9, 30, 12, 0, 0, 0, 0, 0))
TODAY = date(2026, 11, 21)
AUDITOR = Scope(None, ("auditor",))
WORDS = 20_000


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=None, help="where the archive lies meanwhile")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        box = ScratchArchive(Path(folder))
        _fill(box, chosen.messages)
        box.close()
        box.open()
        _search(box, chosen.queries)
        box.close()


def _fill(box: ScratchArchive, messages: int) -> None:
    random_ = random.Random(1)
    started = time.monotonic()
    raw = done = 0
    points = [messages * quarter // 4 for quarter in range(1, 5)]
    print(f"{'messages':>10}{'msg/s':>8}{'PSS MiB':>9}{'tmpfs MiB':>11}", flush=True)
    while done < messages:
        at = FIRST + (LAST - FIRST) * done / messages
        mails = [_message(random_, number, at) for number in range(done, min(done + CHUNK, messages))]
        with mock.patch.object(record.clock, "time_ns", lambda at=at: int(at * 1e9)):
            box.receive(*mails, at=at)
        raw += sum(map(len, mails))
        done += len(mails)
        box.project()
        while points and done >= points[0]:
            points.pop(0)
            rate = done / (time.monotonic() - started)
            print(f"{done:>10,}{rate:>8.0f}{_pss() / 2**20:>9.0f}{_used(box.paths.live) / 2**20:>11.0f}", flush=True)
    box.writer.roll()
    sizes = {
        "volumes": _used(box.paths.volumes),
        "catalogue": sum(one.stat().st_size for one in box.paths.projections.rglob("catalogue.db*")),
        "index": box.archive.index.sealed_bytes(),
    }
    print("  ".join(f"{name} {size / raw:.3f}" for name, size in sizes.items()), f"of {raw / 1e6:,.0f} MB raw")


def _message(random_: random.Random, number: int, at: float) -> bytes:
    """A few hundred bytes; words as in a language: few are frequent, many are rare."""
    words = [f"wort{int(WORDS ** random_.random())}" for _ in range(60)]
    lines = [" ".join(words[start : start + 10]) for start in range(0, 60, 10)]
    moment = time.gmtime(at - random_.random() * 86_400)
    return mail(
        f"Nachricht {words[0]} {words[1]}",
        "\r\n".join(lines),
        sender=f"person{random_.randrange(300)}@example.com",
        to=f"person{random_.randrange(300)}@example.com",
        message_id=f"{number}@bench.example",
        date=time.strftime("%a, %d %b %Y %H:%M:%S +0000", moment),
    )


def _search(box: ScratchArchive, queries: int) -> None:
    index = box.archive.index
    manifests = [one.manifest for one in index._library.view() if one.manifest]
    live = sum(one.live_bytes for one in manifests)
    budget = live * FITTING // QUARTERS
    print(f"{len(manifests)} shards, {live / 2**20:.0f} MiB in all, memory for {budget / 2**20:.0f} MiB")
    index.close()
    with _memory(budget):
        fresh = _fresh(box)
        ways: tuple[tuple[str, Callable[[Node], int]], ...] = (
            ("first page", lambda node: fresh.search(node, AUDITOR, facets=False, counted=False).total),
            ("exact count", lambda node: fresh.search(node, AUDITOR, limit=0, facets=False).total),
            ("page, count, facets", lambda node: fresh.search(node, AUDITOR).total),
        )
        for number, (name, ask) in enumerate(ways):
            # Words of their own for each, so that nothing is remembered from the one before.
            asked = [parse(f"wort{50 + number + 97 * turn}", today=TODAY) for turn in range(queries)]
            _report(f"{name}, cold", asked, ask)
            _report(f"{name}, warm", asked, ask)
        print(f"memory: PSS {_pss() / 2**20:.0f} MiB, tmpfs {_used(box.paths.live) / 2**20:.0f} MiB")
        fresh.close()


def _fresh(box: ScratchArchive) -> Index:
    place = box.archive.index._library._place
    return Index(place, budget=live_budget(place.live))


@contextmanager
def _memory(budget: int) -> Iterator[None]:
    with mock.patch.dict(os.environ, {VARIABLE: str(budget)}):
        yield


def _report(name: str, asked: list[Node], ask: Callable[[Node], int]) -> None:
    times = []
    for node in asked:
        started = time.perf_counter()
        ask(node)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    print(f"{name:<26}p50 {statistics.median(times):8.1f} ms   p99 {times[int(len(times) * 0.99)]:8.1f} ms", flush=True)


def _pss() -> int:
    """Bytes of this process and its children, shared pages in parts."""
    total = 0
    for pid in [os.getpid(), *_children(os.getpid())]:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def _used(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


if __name__ == "__main__":
    main()
