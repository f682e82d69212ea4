"""Projection against notmuch: parse, assign, catalogue, index. Run: ``python -m tests.bench.projection``.

mailkeep's side reads encrypted journal reports from the log, in which the mail lies as Exchange reports it, with 200
users in the directory; notmuch's side reads the same messages from a Maildir. Runs alternate; the ratio is of medians.
Prints what mailkeep keeps on disk for each raw byte, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from appliance.services import users
from tests.bench.search import corpus
from tests.scratch import BOX, ScratchArchive, report

PEOPLE = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    mails = list(corpus.raw_messages(chosen.messages))
    ours, theirs = [], []
    sizes: dict[str, int] = {}
    for _ in range(chosen.runs):
        with tempfile.TemporaryDirectory() as folder:
            seconds, sizes = _mailkeep(Path(folder), mails)
            ours.append(len(mails) / seconds)
        if shutil.which("notmuch"):
            with tempfile.TemporaryDirectory() as folder:
                theirs.append(len(mails) / _notmuch(Path(folder), mails))
    raw = sum(map(len, mails))
    print(f"{len(mails)} messages, {raw:,} bytes, median of {chosen.runs} runs")
    print(f"mailkeep  {statistics.median(ours):8.0f} msg/s   ({min(ours):.0f} to {max(ours):.0f})")
    if theirs:
        print(f"notmuch   {statistics.median(theirs):8.0f} msg/s   ({min(theirs):.0f} to {max(theirs):.0f})")
        print(f"ratio     {statistics.median(ours) / statistics.median(theirs):8.2f}")
    for name, size in sizes.items():
        print(f"{name:<10}{size / raw:8.3f} of the raw bytes")


def _mailkeep(folder: Path, mails: list[bytes]) -> tuple[float, dict[str, int]]:
    box = ScratchArchive(folder)
    lines = "".join(f"user{n}@example.com,,User {n}\n" for n in range(PEOPLE))
    users.user_import(box.archive, BOX, csv=("primary,aliases,name\n" + lines).encode())
    for n, mail in enumerate(mails):
        sender, to, cc = (f"user{(n * step) % PEOPLE}@example.com" for step in (1, 7, 13))
        box.receive(report(mail, f"To: {to}", f"Cc: {cc}", sender=sender))
    start = time.perf_counter()
    box.project()
    seconds = time.perf_counter() - start
    assert box.archive.catalogue.counts().records == len(mails)
    box.writer.roll()
    sizes = {
        "volumes": _size(box.paths.volumes),
        "catalogue": sum(one.stat().st_size for one in box.paths.projections.rglob("catalogue.db*")),
        "index": box.archive.index.sealed_bytes(),
    }
    box.close()
    return seconds, sizes


def _notmuch(folder: Path, mails: list[bytes]) -> float:
    for name in ("cur", "new", "tmp"):
        (folder / "mail" / name).mkdir(parents=True)
    for n, mail in enumerate(mails):
        (folder / "mail" / "cur" / f"{n:06d}:2,S").write_bytes(mail)
    config = folder / "config"
    config.write_text(f"[database]\npath={folder}/mail\n[user]\nname=x\nprimary_email=x@example.com\n[new]\ntags=\n")
    start = time.perf_counter()
    subprocess.run(
        ["notmuch", "new", "--quiet"], env={**os.environ, "NOTMUCH_CONFIG": str(config)}, check=True, timeout=600
    )
    return time.perf_counter() - start


def _size(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


if __name__ == "__main__":
    main()
