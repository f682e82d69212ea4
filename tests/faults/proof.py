"""What must hold after every fault: nothing confirmed is lost, nothing is doubled, everything fits together."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from appliance.services.local import Idle
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from tests.faults.load import Confirmed, Load
from tests.product import Product

IDLE_SECONDS = 240


def everything_holds(product: Product, *loads: Load) -> None:
    """All of it, on a product that serves: log, search, export, verify, counts."""
    confirmed = [one for load in loads for one in load.confirmed]
    product.run("wait-idle", "--timeout", str(IDLE_SECONDS))
    in_the_log_once(product.data, loads)
    found_once(product, loads)
    exported_whole(product, confirmed)
    code, checked = product.verify()
    assert code == 0 and not checked["errors"], checked
    counts_agree(product)


def in_the_log_once(data: Path, loads: Sequence[Load]) -> None:
    """Each confirmed record is in the log, and no message is there more often than it was sent."""
    records = Counter(ref.record_id for ref in messages(data))
    lost = [one.mail.word for load in loads for one in load.confirmed if records[one.record_id] == 0]
    assert not lost, f"confirmed and not in the log: {lost}"
    assert max(records.values(), default=0) <= 1, "a record id is there twice"
    sent = sum(load.attempts.total() for load in loads)
    assert len(records) <= sent, f"{len(records)} records of {sent} messages sent"


def messages(data: Path) -> Iterable[RecordRef]:
    """The whole message records of the log, found without keys."""
    reader = LogReader(data / "volumes")
    for volume in reader.volumes():
        for found in reader.scan(volume):
            if isinstance(found, RecordRef) and found.type == RecordType.MESSAGE:
                yield found


def found_once(product: Product, loads: Sequence[Load]) -> None:
    """Each confirmed message is one hit; what was sent but never confirmed is one at most; there is nothing else."""
    hits = Counter(hit.subject.split()[-1] for hit in product.hits("*"))
    words = [one.mail.word for load in loads for one in load.confirmed]
    wrong = {word: hits[word] for word in words if hits[word] != 1}
    assert not wrong, f"confirmed, and found not exactly once: {wrong}"
    sent = {word for load in loads for word in load.attempts}
    assert set(hits) <= sent and max(hits.values(), default=0) <= 1, hits - Counter(sent)
    for word in (*words[:2], *words[-2:]):
        assert product.total(word) == 1, word


def exported_whole(product: Product, confirmed: Sequence[Confirmed], query: str = "*") -> None:
    """The export has each confirmed original, bit for bit, and its manifest says so; a few by their own command."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "all.zip"
        product.run("export", "--query", query, "--out", str(out))
        with zipfile.ZipFile(out) as bundle:
            manifest = list(csv.DictReader(io.StringIO(bundle.read("manifest.csv").decode())))
            assert not [line["note"] for line in manifest if line["note"]]
            exported = {line["subject"].split()[-1]: line for line in manifest}
            for one in confirmed:
                line = exported[one.mail.word]
                content = bundle.read(line["file"])
                assert hashlib.sha256(content).hexdigest() == line["sha256"] == one.mail.sha256, one.mail.word
    for one in confirmed[-1:]:
        original = product.attempt("export", exported[one.mail.word]["id"])
        assert hashlib.sha256(original.stdout).hexdigest() == one.mail.sha256, original.stderr
        report = product.attempt("export", "--report", exported[one.mail.word]["id"])
        assert report.stdout == one.mail.report, report.stderr


def counts_agree(product: Product) -> None:
    """Log, catalogue and index count the same, and nobody sounds an alarm about them."""
    status = product.status()
    assert status.agrees and status.backlog == 0, status
    assert status.records == status.projected, status
    assert status.messages == status.indexed == product.total("*"), status
    assert not [alarm.text for alarm in status.alarms if "disagree" in alarm.text or "damaged" in alarm.text], status


def is_idle(product: Product) -> bool:
    """Whether all accepted mail is searchable."""
    return product.call("idle", Idle).idle
