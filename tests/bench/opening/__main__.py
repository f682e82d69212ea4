"""Opening one message by its id, against notmuch. Run: ``python -m tests.bench.opening``.

mailkeep's side is the service behind the portal's page: find the records, decrypt, read the message in a confined
child, reduce its envelope, find its conversation, write the audit line and sync it. notmuch's side is ``notmuch
show`` of the same message from a Maildir, a process for each as its front ends start it. The two take turns. Then the
whole product is started on the same archive, and the portal's page is asked for by HTTP.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from appliance.mail import message
from appliance.services import reading, users
from tests.bench.search import corpus
from tests.product import Product
from tests.scratch import BOX, ScratchArchive
from webadmin.cookies import Cookies


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=15_000)
    parser.add_argument("--opened", type=int, default=500)
    chosen = parser.parse_args()
    mails = list(corpus.raw_messages(chosen.messages))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        box = ScratchArchive(Path(one))
        records = box.receive(*mails)
        box.project()
        environment = _notmuch(Path(other), mails)
        picked = random.Random(1).sample(range(len(mails)), min(chosen.opened, len(mails)))
        reading.message(box.archive, BOX, id=records[0].hex(), everywhere=True)  # starts the child that reads
        ours, service, theirs = [], [], []
        for n in picked:
            place = box.archive.catalogue.records_of(records[n])[1][0]
            ours.append(_taken(lambda place=place: box.archive.reader.read(place.volume, place.offset)))
            id = records[n].hex()
            service.append(_taken(lambda id=id: reading.message(box.archive, BOX, id=id, everywhere=True)))
            if message_id := message.read(mails[n]).message_id:
                query = f"id:{message_id}"
                command = ["notmuch", "show", "--format=json", query]
                theirs.append(
                    _taken(lambda command=command: subprocess.run(command, env=environment, capture_output=True))
                )
        in_browser = _in_browser(box, [records[n].hex() for n in picked])
    print(f"{len(mails)} messages, {len(picked)} opened by id; milliseconds")
    for name, times in (
        ("mailkeep, record", ours),
        ("mailkeep, page", service),
        ("mailkeep, HTTP", in_browser),
        ("notmuch show", theirs),
    ):
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        print(f"{name:<18} p50 {cuts[49]:6.2f}   p95 {cuts[94]:6.2f}   p99 {cuts[98]:6.2f}")
    ratio = statistics.median(theirs) / statistics.median(service)
    print(f"ratio of medians, notmuch show to mailkeep's page: {ratio:.2f}")


def _in_browser(box: ScratchArchive, ids: list[str]) -> list[float]:
    """Milliseconds of the portal's page for each of these messages, for an auditor who is signed in."""
    auditor, token = box.user("auditor@example.com"), "a token"
    users.role_grant(box.archive, BOX, id=auditor, role="auditor", reason="measuring")
    box.archive.settings.session_open(hashlib.sha256(token.encode()).digest(), auditor, int(time.time()) + 3600)
    box.close()
    product = Product(box.paths.data)
    product.start()
    try:
        with httpx.Client(base_url=product.web, cookies={Cookies(secure=False).session: token}) as client:

            def page(id: str) -> None:
                client.get(f"/m/{id}?all=1").raise_for_status()

            page(ids[0])
            return [_taken(lambda id=id: page(id)) for id in ids]
    finally:
        product.stop()


def _taken(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def _notmuch(folder: Path, mails: list[bytes]) -> dict[str, str]:
    for name in ("cur", "new", "tmp"):
        (folder / "mail" / name).mkdir(parents=True)
    for n, mail in enumerate(mails):
        (folder / "mail" / "cur" / f"{n:06d}:2,S").write_bytes(mail)
    config = folder / "config"
    config.write_text(f"[database]\npath={folder}/mail\n[user]\nname=x\nprimary_email=x@example.com\n[new]\ntags=\n")
    environment = {**os.environ, "NOTMUCH_CONFIG": str(config)}
    subprocess.run(["notmuch", "new", "--quiet"], env=environment, check=True, capture_output=True, timeout=600)
    return environment


if __name__ == "__main__":
    main()
