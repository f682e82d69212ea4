"""What must hold after every fault: nothing confirmed is lost, nothing is doubled, everything fits together."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from pathlib import Path

from appliance.errors import LockedError, MailkeepError, UnavailableError
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services import api
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from tests.faults.arriving import OWNER, Arriving
from tests.faults.load import Confirmed, Ledger
from tests.product import Product

IDLE_SECONDS = 240.0


def everything_holds(
    product: Product, *ledgers: Ledger, exports: bool = True, arriving: Arriving | None = None
) -> None:
    """Log, search, export, ``verify`` and counts of a product that serves, asked over the command line's socket.
    ``arriving`` is a mailbox that is fetched, too, and has been to its end."""
    fetched = {} if arriving is None else arriving.sha256
    await_idle(product)
    nothing_lost(product.data, *ledgers)
    if arriving is not None:
        fetched_once(product, arriving)
    found_once(product, fetched, *ledgers)
    if exports:
        exported_whole(product, fetched, *ledgers)
    checked = product.check()
    assert not checked.errors, checked.errors
    counts_agree(product)


def commands_hold(product: Product, *ledgers: Ledger) -> None:
    """The same in the words of the command line, as a script of the administrator would have it."""
    product.run("wait-idle", "--timeout", str(IDLE_SECONDS))
    newest = ledgers[-1].confirmed[-1].mail
    found = product.run("search", newest.word)
    assert found["total"] == 1, found
    original = product.attempt("export", found["hits"][0]["id"])
    assert hashlib.sha256(original.stdout).hexdigest() == newest.sha256, original.stderr
    report = product.attempt("export", "--report", found["hits"][0]["id"])
    assert report.stdout == newest.report, report.stderr
    code, checked = product.verify()
    assert code == 0 and not checked["errors"], checked
    status = product.run("status")
    assert status["agrees"] and status["records"] == status["projected"], status


def await_idle(product: Product, seconds: float = IDLE_SECONDS) -> None:
    """Return when all accepted mail is searchable."""
    deadline = time.monotonic() + seconds
    now: api.Idle | MailkeepError
    while not (isinstance(now := _idle(product), api.Idle) and now.idle):
        assert time.monotonic() < deadline, f"{now}; serve said at last:\n{product.log_end()}"
        time.sleep(0.1)


def _idle(product: Product) -> api.Idle | MailkeepError:
    """How the product is; where its keys were taken away a moment ago it says so until it has them again."""
    try:
        return product.call("idle", api.Idle)
    except (LockedError, UnavailableError) as error:
        return error


def await_generation(product: Product, name: str, seconds: float = 120.0) -> None:
    """Return when the projections of that generation are in use and hold all accepted mail."""
    deadline = time.monotonic() + seconds
    while (product.data / "projections" / "current").read_text().strip() != name:
        assert time.monotonic() < deadline, f"generation {name} is not in use"
        time.sleep(0.05)
    await_idle(product)


def lost(data: Path, *ledgers: Ledger) -> list[str]:
    """The words of confirmed messages whose records are not in the log."""
    there = {ref.record_id for ref in messages(data)}
    return [one.mail.word for one in _confirmed(ledgers) if one.record_id not in there]


def nothing_lost(data: Path, *ledgers: Ledger) -> None:
    """Each confirmed record is in the log, once, and there are no more messages than were sent."""
    assert not (words := lost(data, *ledgers)), f"confirmed and not in the log: {words}"
    records = Counter(ref.record_id for ref in messages(data))
    assert max(records.values(), default=0) <= 1, "a record id is there twice"
    received = len(records) - sum(1 for _ in messages(data, IMPORTS_MAILBOX))
    sent = sum(ledger.attempts.total() for ledger in ledgers)
    assert received <= sent, f"{received} records of {sent} messages sent"


def fetched_once(product: Product, arriving: Arriving) -> None:
    """Each message that the server has is one record, and lies in the folders in which it lies there."""
    records = sum(1 for _ in messages(product.data, IMPORTS_MAILBOX))
    assert records == len(arriving.sha256), f"{records} records of {len(arriving.sha256)} messages at the server"
    (tree,) = product.call("local_folders", tuple[api.FolderTree, ...], user=OWNER)
    assert {one.path[-1]: one.messages for one in tree.folders} == dict(arriving.folders)


def messages(data: Path, mailbox: bytes | None = None) -> Iterable[RecordRef]:
    """The whole message records of the log, or of one mailbox, found without keys."""
    reader = LogReader(data / "volumes")
    for volume in reader.volumes(mailbox):
        for found in reader.scan(volume):
            if isinstance(found, RecordRef) and found.type == RecordType.MESSAGE:
                yield found


def found_once(product: Product, fetched: Collection[str], *ledgers: Ledger) -> None:
    """Each message that was confirmed or ``fetched`` is one hit; what was sent but never confirmed is one at most;
    there is nothing else."""
    hits = Counter(hit.subject.split()[-1] for hit in product.hits("*"))
    words = [*(one.mail.word for one in _confirmed(ledgers)), *fetched]
    wrong = {word: hits[word] for word in words if hits[word] != 1}
    assert not wrong, f"confirmed or fetched, and found not exactly once: {wrong}"
    sent = {word for ledger in ledgers for word in ledger.attempts}.union(fetched)
    strangers = [word for word, count in hits.items() if count > 1 or word not in sent]
    assert not strangers, f"found too often, or never sent: {strangers}"
    for word in (*words[:2], *words[-2:]):
        assert product.total(word) == 1, word


def exported_whole(product: Product, fetched: Mapping[str, str], *ledgers: Ledger) -> None:
    """The export of everything has each original that was confirmed or ``fetched`` (SHA-256 by word), bit for bit, and
    its manifest says so."""
    wanted = {one.mail.word: one.mail.sha256 for one in _confirmed(ledgers)} | dict(fetched)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "all.zip"
        product.export("*", out)
        with zipfile.ZipFile(out) as bundle:
            manifest = list(csv.DictReader(io.StringIO(bundle.read("manifest.csv").decode())))
            assert not [line["note"] for line in manifest if line["note"]]
            exported = {line["subject"].split()[-1]: line for line in manifest}
            for word, digest in wanted.items():
                line = exported[word]
                content = bundle.read(line["file"])
                assert hashlib.sha256(content).hexdigest() == line["sha256"] == digest, word


def counts_agree(product: Product) -> None:
    """Log, catalogue and index count the same, and nobody sounds an alarm about them."""
    status = product.status()
    assert status.agrees and status.backlog == 0, status
    assert status.records == status.projected, status
    assert status.messages == status.indexed == product.total("*"), status
    assert not [one.text for one in status.alarms if "disagree" in one.text or "damaged" in one.text], status


def _confirmed(ledgers: Iterable[Ledger]) -> Iterable[Confirmed]:
    return chain.from_iterable(ledger.confirmed for ledger in ledgers)
