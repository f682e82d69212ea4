"""An archive of very many short messages, received over five years."""

from __future__ import annotations

import random
import time
from pathlib import Path
from unittest import mock

from appliance.index.engine import keep_memory_flat
from appliance.store import record
from tests.bench.scale.memory import memory_taken, used
from tests.scratch import ScratchArchive, mail

QUARTERS = 20
LINES = 10
CHUNK = 10_000
FIRST = time.mktime((2021, 10, 1, 12, 0, 0, 0, 0, 0))
LAST = time.mktime((2026, 9, 30, 12, 0, 0, 0, 0, 0))
WORDS = 20_000


def fill(folder: Path, messages: int) -> None:
    """Make an archive in ``folder``, put so many messages into it, project them, and print what that takes."""
    keep_memory_flat()  # before there are threads
    box = ScratchArchive(folder)
    random_ = random.Random(1)
    started = time.monotonic()
    raw = done = 0
    points = [messages * number // LINES for number in range(1, LINES + 1)]
    chunk = max(1, min(CHUNK, messages // (2 * QUARTERS)))
    process = tmpfs = 0
    print(f"{'messages':>10}{'msg/s':>8}{'process MiB':>13}{'tmpfs MiB':>11}", flush=True)
    while done < messages:
        at = FIRST + (LAST - FIRST) * done / messages
        mails = [_message(random_, number, at) for number in range(done, min(done + chunk, messages))]
        with mock.patch.object(record.clock, "time_ns", lambda at=at: int(at * 1e9)):
            box.receive(*mails, at=at)
        raw += sum(map(len, mails))
        done += len(mails)
        del mails
        box.project()
        process, tmpfs = max(process, memory_taken()), max(tmpfs, used(box.paths.live))
        while points and done >= points[0]:
            points.pop(0)
            rate = done / (time.monotonic() - started)
            print(f"{done:>10,}{rate:>8.0f}{process / 2**20:>13.0f}{tmpfs / 2**20:>11.0f}", flush=True)
            process = tmpfs = 0
    box.writer.roll()
    sizes = {
        "volumes": used(box.paths.volumes),
        "catalogue": sum(one.stat().st_size for one in box.paths.projections.rglob("catalogue.db*")),
        "index": box.archive.index.sealed_bytes(),
    }
    print("  ".join(f"{name} {size / raw:.3f}" for name, size in sizes.items()), f"of {raw / 1e6:,.0f} MB raw")
    box.close()


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
