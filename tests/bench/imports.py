"""``python -m tests.bench.imports``: PSTs read by the import and by readpst, items a second.

The import reads them as the product does, in a child of the nursery, and hands every message over; readpst writes EML,
iCalendar and vCard files into a folder in memory. Once only mail is wanted, once everything. Runs are interleaved, each
figure is the median; a file is read several times in a run, since all are small. Needs Debian's pst-utils.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from appliance.imports.base import Options
from appliance.imports.nursery import Nursery
from appliance.imports.pst.layout import UNICODE
from appliance.imports.reading import Arriving, Opened, Reading
from tests.pst_files import PstFile, repeated

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "corpora"
_SECONDS = 600


def main() -> int:
    """Run it. Exit code 2 where something that it needs is absent."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.imports", description="PSTs beside readpst.")
    parser.add_argument("files", nargs="*", type=Path, help="PSTs; all of the corpora where none is named")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each kind")
    parser.add_argument("--repeat", type=int, default=1, help="first make files with every message so many times")
    parser.add_argument("--times", type=int, default=5, help="how often a file is read in a run")
    given = parser.parse_args()
    corpora = Path(os.environ.get("MAILKEEP_CORPORA", _BESIDE)) / "pst"
    files = given.files or (sorted(corpora.iterdir()) if corpora.is_dir() else [])
    if not files or shutil.which("readpst") is None:
        print("needs PSTs (MAILKEEP_CORPORA) and Debian's pst-utils", file=sys.stderr)
        return 2
    with Nursery() as nursery, tempfile.TemporaryDirectory(prefix="mailkeep-bench-") as folder:
        if given.repeat > 1:
            files = list(_repeated(files, Path(folder), given.repeat))
        for everything in (False, True):
            print(f"\n{'Everything' if everything else 'Mail'}:\n")
            _compare(nursery, files, everything, given.runs, given.times)
    return 0


def _repeated(files: Iterable[Path], folder: Path, times: int) -> Iterator[Path]:
    """Large files of the small ones, as far as their kind lets that be done."""
    for file in files:
        raw = file.read_bytes()
        if PstFile(raw).layout is UNICODE:
            (folder / file.name).write_bytes(repeated(raw, times))
            yield folder / file.name


def _compare(nursery: Nursery, files: Sequence[Path], everything: bool, runs: int, times: int) -> None:
    print("| file | items | mailkeep, items/s | readpst, items/s | ratio |\n|---|---|---|---|---|")
    sums = [0.0, 0.0, 0.0]
    for file in files:
        items = _read(nursery, file, everything)
        ours, theirs = _interleaved(
            runs,
            lambda file=file: _timed(times, lambda: _read(nursery, file, everything)),
            lambda file=file: _timed(times, lambda: _readpst(file, everything)),
        )
        _row(file.name, items, ours, theirs)
        sums = [total + one for total, one in zip(sums, (items, ours, theirs), strict=True)]
    _row("all", int(sums[0]), sums[1], sums[2])


def _row(name: str, items: int, ours: float, theirs: float) -> None:
    print(f"| {name} | {items} | {items / ours:,.0f} | {items / theirs:,.0f} | {theirs / ours:.2f} |", flush=True)


def _interleaved(runs: int, *kinds: Callable[[], float]) -> list[float]:
    """The median of each kind's seconds."""
    taken: list[list[float]] = [[] for _ in kinds]
    for _ in range(runs):
        for kind, seconds in zip(kinds, taken, strict=True):
            seconds.append(kind())
    return [statistics.median(seconds) for seconds in taken]


def _timed(times: int, act: Callable[[], object]) -> float:
    """Seconds for one time."""
    began = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - began) / times


def _read(nursery: Nursery, path: Path, everything: bool) -> int:
    """How many items there are in the file, wanted or not."""
    count = 0
    with path.open("rb") as file:
        opened = Opened(file.fileno(), path.stat().st_size)
        with Reading(nursery, opened, path.name, Options(others=everything)) as reading:
            for event in reading:
                if isinstance(event, Arriving):
                    for _ in event.pieces:
                        pass
                count += 1
    return count


def _readpst(path: Path, everything: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="mailkeep-bench-", dir="/dev/shm") as folder:
        command = ["readpst", "-q", "-r", "-e", "-b", "-D", "-8", *([] if everything else ["-te"]), "-o", folder]
        subprocess.run([*command, str(path)], check=False, timeout=_SECONDS, capture_output=True)  # it crashes at times


if __name__ == "__main__":
    sys.exit(main())
