"""Very many messages and little memory. Run: ``make bench-scale``, or ``python -m tests.bench.scale --messages 50000``.

Short messages come in over five years (an injected clock gives their records' ids) and are projected: 20 shards. Ten
times the memory is printed that the projecting process and its children took at most since the line before (PSS, but
for what of it is the index's) and the live index (tmpfs): it must not grow. Then the archive is searched with memory
for three of the shards: the first page by date, and the exact count with facets, each for words that were not asked
for before (cold) and again (warm).

With ``--folder`` the archive stays; one that is there already is only searched.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
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
from appliance.services.archive import Archive
from appliance.services.paths import Paths
from appliance.services.unlock import unlock
from tests.bench.scale.fill import QUARTERS, fill
from tests.bench.scale.memory import memory_taken, used

FITTING = 3
TODAY = date(2026, 11, 21)
AUDITOR = Scope(None, ("auditor",))


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=None, help="where the archive lies, and stays")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = chosen.folder or Path(scratch)
        paths = Paths(folder / "data")
        if not paths.data.exists():
            filling = multiprocessing.get_context("spawn").Process(target=fill, args=(folder, chosen.messages))
            filling.start()
            filling.join()
            if filling.exitcode:
                raise SystemExit(filling.exitcode)
        archive = Archive(paths, unlock(paths))
        _search(archive, chosen.queries)
        archive.close()


def _search(archive: Archive, queries: int) -> None:
    index = archive.index
    manifests = [one.manifest for one in index._library.view() if one.manifest]
    live = sum(one.live_bytes for one in manifests)
    budget = live * FITTING // QUARTERS
    print(f"{len(manifests)} shards, {live / 2**20:.0f} MiB in all, memory for {budget / 2**20:.0f} MiB")
    index.close()
    with _memory(budget):
        fresh = _fresh(index)
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
        print(f"memory: process {memory_taken() / 2**20:.0f} MiB, tmpfs {used(archive.paths.live) / 2**20:.0f} MiB")
        fresh.close()


def _fresh(index: Index) -> Index:
    place = index._library._place
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


if __name__ == "__main__":
    main()
