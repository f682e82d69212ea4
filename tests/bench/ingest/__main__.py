"""``python -m tests.bench.ingest``: prints a table in Markdown. Needs Debian's postfix and dovecot-lmtpd, root.

All servers run side by side on one disk, but are loaded one after the other, in turns (interleaved), so that a
disk or a neighbour that gets slower meets all of them; each figure is the median of the runs. The anchor of the
ratios is Postfix delivering to a Maildir: a message that is accepted there is also filed, as it is with us.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.bench.ingest.load import Load, Mix, make_mix, run, run_mix
from tests.bench.ingest.servers import Dovecot, Mailkeep, MailkeepWhole, Postfix, PostfixQueue, Server

_LOADS = [
    Load(size, count, reuse)
    for size, count in ((8_000, 4000), (75_000, 2000), (1_000_000, 300))
    for reuse in (True, False)
]
_MIX_COUNT = 3000
_ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    """Run it. Exit code 2 where something that it needs is absent."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.ingest", description="Ingest beside Postfix and Dovecot."
    )
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each load")
    parser.add_argument("--mailboxes", type=int, nargs="+", default=[1, 50], choices=(1, 50))
    parser.add_argument("--scratch", type=Path, help="folder on the disk to measure (default: the temporary folder)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, to see that it works")
    given = parser.parse_args()
    missing = [name for name in ("smtp-source", "postfix", "dovecot") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(f"needs root and these programs: {', '.join(missing) or 'all there'}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the servers are stopped then too
    loads = [load._replace(count=load.count // 10) for load in _LOADS] if given.quick else _LOADS
    with tempfile.TemporaryDirectory(prefix="mailkeep-bench-", dir=given.scratch) as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {_file_system(scratch)}, ", end="")
        print(f"10 connections, median of {given.runs} interleaved runs, messages per second")
        for mailboxes in given.mailboxes:
            _compare(scratch / f"{mailboxes}", mailboxes, loads, given.runs)
        _compare_mix(scratch / "mix", _MIX_COUNT // 10 if given.quick else _MIX_COUNT, given.runs)
    return 0


def _compare(folder: Path, mailboxes: int, loads: list[Load], runs: int) -> None:
    kinds: list[type[Server]] = [Mailkeep, Postfix, PostfixQueue, Dovecot]
    if mailboxes == 1:
        kinds.append(MailkeepWhole)
    servers = [kind(folder / str(number), mailboxes) for number, kind in enumerate(kinds)]
    figures: dict[tuple[Load, str], list[float]] = defaultdict(list)
    started: list[Server] = []
    try:
        for server in servers:
            started.append(server)
            server.start()
        for load in loads:
            for _ in range(runs):
                for server in servers:
                    figures[load, server.name].append(run(server, load))
    finally:
        for server in started:
            server.stop()
    print(f"\n### {mailboxes} mailbox{'es' if mailboxes > 1 else ''}\n")
    print("| load | " + " | ".join(server.name for server in servers) + " | ratio to Postfix → Maildir |")
    print("|---" * (len(servers) + 2) + "|")
    for load in loads:
        medians = [statistics.median(figures[load, server.name]) for server in servers]
        cells = " | ".join(f"{median:,.0f}" for median in medians)
        print(f"| {load.name} | {cells} | {medians[0] / medians[1]:.2f} |", flush=True)


def _compare_mix(folder: Path, count: int, runs: int) -> None:
    tools = Path(os.environ.get("MAILKEEP_TOOLS", _ROOT.parent / "shared" / "tools"))
    if not (tools / "smtpload.py").exists():
        print(f"\ncorporate mail: left out, {tools} has no smtpload.py (MAILKEEP_TOOLS names the folder)")
        return
    make_mix(tools, folder / "mail", count)
    servers: list[Server] = [Mailkeep(folder / "0", 1), Postfix(folder / "1", 1), MailkeepWhole(folder / "2", 1)]
    figures: dict[str, list[Mix]] = defaultdict(list)
    started: list[Server] = []
    try:
        for server in servers:
            started.append(server)
            server.start()
        for _ in range(runs):
            for server in servers:
                figures[server.name].append(run_mix(server, tools, folder / "mail" / "cur"))
    finally:
        for server in started:
            server.stop()
    print(f"\n### Corporate mail, {count} messages\n\n| | msg/s | p50 ms | p99 ms |\n|---|---|---|---|")
    rates = []
    for server in servers:
        middle = [statistics.median(column) for column in zip(*figures[server.name], strict=True)]
        rates.append(middle[0])
        print(f"| {server.name} | {middle[0]:,.0f} | {middle[1]:.1f} | {middle[2]:.1f} |")
    print(f"\nratio to Postfix → Maildir: {rates[0] / rates[1]:.2f}")


def _file_system(folder: Path) -> str:
    done = subprocess.run(["df", "--output=fstype", folder], timeout=20, capture_output=True, text=True, check=True)
    kind = done.stdout.split()[-1]
    return f"{kind} (no disk: a sync costs nothing here)" if kind == "tmpfs" else kind


if __name__ == "__main__":
    sys.exit(main())
