"""Memory of a rebuild against the length of the log. Run: ``python -m tests.bench.rebuild``.

Fills a log with short messages, and at a few lengths runs ``mailkeep rebuild`` on it: the largest resident set of
the command (its reading children apart) must not grow with the log.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.scratch import ScratchArchive, mail, report

CHUNK = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[25_000, 100_000, 250_000])
    lengths = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as folder:
        box = ScratchArchive(Path(folder))
        box.close()
        made = 0
        for length in sorted(lengths):
            box.open()
            while made < length:
                box.receive(*(_message(number) for number in range(made, made + CHUNK)))
                made += CHUNK
            box.close()
            start = time.monotonic()
            peak = _rebuild(box.paths.data)
            print(
                f"{length:>9,} messages: {length / (time.monotonic() - start):6.0f} msg/s, peak {peak:4.0f} MiB",
                flush=True,
            )


def _message(number: int) -> bytes:
    text = (
        f"Some words that many mails have in common, and flood{number % 5000} tag{number % 97}.\r\n"
        + "A line.\r\n" * 20
    )
    original = mail(f"Message {number}", text, message_id=f"{number}@bench.example")
    return report(original, f"To: receiver{number % 200}@example.com", sender=f"sender{number % 300}@example.com")


def _rebuild(data: Path) -> float:
    """Run the command; the largest resident set of its process, MiB."""
    command = [str(Path(sys.executable).with_name("mailkeep")), "--data", str(data), "rebuild", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
