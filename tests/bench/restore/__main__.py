"""Restoring the live index from its sealed copy, against cp of the same bytes. Run: ``python -m tests.bench.restore``.

Builds an index of the list corpus (several times over, each document another one) and restores its shard into memory;
beside it ``cp -r`` copies the restored files into the same tmpfs. Runs alternate; medians, MB/s of live bytes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec

from appliance.index.mirror import Mirror
from appliance.index.place import Place
from appliance.index.writer import IndexWriter
from tests.bench.search import corpus

SHARD = 20264


def main() -> None:
    """Build, restore, copy, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a tmpfs")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=chosen.memory) as memory:
        place = Place(
            root=Path(memory) / "root", live=Path(memory) / "root" / "0001", sealed=Path(disk) / "0001" / "index",
            key=bytes(32), identity=bytes(8),
        )  # fmt: skip
        started = time.perf_counter()
        raw = _build(place, chosen.messages)
        print(f"{chosen.messages:,} messages, {raw / 1e6:,.0f} MB, indexed in {time.perf_counter() - started:.1f} s")
        mirror = Mirror(place)
        manifest = mirror.manifest(SHARD)
        assert manifest is not None
        live, sealed = manifest.live_bytes, manifest.sealed_bytes
        print(
            f"live {live / 1e6:,.1f} MB ({live / raw:.3f} of raw), sealed {sealed / 1e6:,.1f} MB ({sealed / raw:.3f})"
        )
        ours, theirs = [], []
        for run in range(chosen.runs):
            folder = Path(memory) / f"restored{run}"
            started = time.perf_counter()
            mirror.restore(SHARD, manifest, folder)
            ours.append(live / (time.perf_counter() - started) / 1e6)
            started = time.perf_counter()
            subprocess.run(["cp", "-r", folder, Path(memory) / "copied"], check=True)
            theirs.append(live / (time.perf_counter() - started) / 1e6)
            shutil.rmtree(folder)
            shutil.rmtree(Path(memory) / "copied")
    for name, rates in (("restore", ours), ("cp -r", theirs)):
        print(f"{name:<8}{statistics.median(rates):8.0f} MB/s   ({min(rates):.0f} to {max(rates):.0f})")
    print(f"ratio   {statistics.median(ours) / statistics.median(theirs):8.2f}")


def _build(place: Place, messages: int) -> int:
    """Fill one shard; the raw bytes of what was put."""
    writer = IndexWriter(place, newest=0)
    change = raw_bytes = 0
    documents = [(corpus.document(number, raw), len(raw)) for number, raw in enumerate(corpus.raw_messages(15_000))]
    while change < messages:
        document, size = documents[change % len(documents)]
        change += 1
        writer.put(msgspec.structs.replace(document, id=f"{change:032x}"), shard=SHARD, change=change)
        raw_bytes += size
        if change % 2000 == 0:
            writer.commit()
    writer.commit()
    writer.close()
    return raw_bytes


if __name__ == "__main__":
    main()
