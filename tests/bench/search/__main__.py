"""Search on the list corpus: how fast, how large. Run: ``python -m tests.bench.search``.

Prints documents a second put into the index, its bytes for each raw byte, and the time of mixed queries with
facets and 25 snippets, for one person, for an auditor, sorted by date and by relevance. The processor's time stands
beside the clock's: on a machine that does other work, only it compares.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

from appliance.errors import QueryError
from appliance.index.place import Place
from appliance.index.search import Index, Scope, Sort
from appliance.index.writer import IndexWriter
from appliance.mail.query import parse
from tests.bench.search import corpus

BATCH = 500
SHARD = 20264
PEOPLE = {
    "one person": Scope(("archive3",), ("archive3",)),
    "auditor": Scope(None, ("auditor",)),
}


def main() -> None:
    """Build, ask, print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--messages", type=int, default=15_000)
    arguments.add_argument("--queries", type=int, default=1_000)
    chosen = arguments.parse_args()

    raw_bytes = 0
    documents = []
    for number, raw in enumerate(corpus.raw_messages(chosen.messages)):
        raw_bytes += len(raw)
        documents.append(corpus.document(number, raw))
    asked = corpus.queries(documents, chosen.queries)
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        place = Place(
            root=Path(memory) / "root", live=Path(memory) / "root" / "0001", sealed=Path(disk) / "0001" / "index",
            key=bytes(32), identity=bytes(8),
        )  # fmt: skip
        _build(place, documents)
        index = Index(place, budget=2**40)
        size = index.sealed_bytes()
        print(f"index on disk: {size:,} bytes, {size / raw_bytes:.3f} of {raw_bytes:,} raw bytes")
        for name, scope in PEOPLE.items():
            for sort in ("date", "relevance"):
                _ask(index, asked, name, scope, sort)
        print(f"index in memory: {index.live_bytes():,} bytes")
        index.close()


def _build(place: Place, documents: list[corpus.Document]) -> None:
    start = time.perf_counter()
    writer = IndexWriter(place, newest=0)
    for number, document in enumerate(documents, 1):
        writer.put(document, shard=SHARD, change=number)
        if number % BATCH == 0:
            writer.commit()
    writer.commit()
    writer.close()
    taken = time.perf_counter() - start
    print(f"put: {len(documents) / taken:,.0f} documents/s, a commit every {BATCH}")


def _ask(index: Index, asked: list[str], name: str, scope: Scope, sort: Sort) -> None:
    times = []
    worked = []
    found = 0
    for text in asked:
        start, start_work = time.perf_counter(), time.process_time()
        try:
            results = index.search(parse(text, today=date(2026, 11, 20)), scope, sort=sort)
        except QueryError:
            continue
        finally:
            times.append((time.perf_counter() - start, text))
            worked.append((time.process_time() - start_work) * 1000)
        found += results.total > 0
    times.sort()
    cuts = statistics.quantiles([taken * 1000 for taken, _ in times], n=100, method="inclusive")
    work = statistics.quantiles(worked, n=100, method="inclusive")
    print(
        f"{name}, {sort}: {len(asked):,} queries, {found:,} find something; "
        f"p50 {cuts[49]:.2f} ms, p95 {cuts[94]:.2f} ms, p99 {cuts[98]:.2f} ms, "
        f"slowest {times[-1][0] * 1000:.1f} ms for {times[-1][1]}; "
        f"processor p50 {work[49]:.2f} ms, p99 {work[98]:.2f} ms"
    )


if __name__ == "__main__":
    main()
