"""All benches one after the other. Run: ``make bench``; ``--quick`` for a short look."""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHES = {
    "ingest": ([], ["--quick"]),
    "projection": ([], ["--runs", "1"]),
    "search": ([], ["--messages", "4000"]),
    "opening": ([], ["--messages", "2000"]),
    "rebuild": ([], ["--messages", "2000", "4000"]),
    "pop3": ([], ["--messages", "2000", "--runs", "1"]),
    "imap": (["--messages", "10000"], ["--messages", "2000", "--runs", "1"]),
    "storage": ([], ["--office", "500", "--list", "500"]),
    "replication": ([], ["--messages", "2000", "--runs", "1", "--megabytes", "50", "--turns", "1"]),
    "imports": ([], ["--runs", "1", "--times", "1"]),
    "product": ([], ["--messages", "5000", "--seconds", "10"]),
}


def main() -> int:
    """Run them; the exit code of the first that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    for name, (whole, short) in BENCHES.items():
        print(f"\n## {name}\n", flush=True)
        done = subprocess.run([sys.executable, "-m", f"tests.bench.{name}", *(short if quick else whole)], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
