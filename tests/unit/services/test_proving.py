"""Proofs: every message of an archive proves, to a script that knows nothing of the product, and nothing else does."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from appliance.errors import ConflictError, DamageError, ForbiddenError, NotFoundError
from appliance.services import auditing
from appliance.services.compacting import Compactions
from appliance.services.principal import Principal
from appliance.services.proving import Proofs
from appliance.services.seals import SealFiles
from appliance.services.timestamping import Timestamping
from appliance.store.drop import drop
from tests.authority import Authority, serving
from tests.scratch import BOX, ScratchArchive, mail, report

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_proof.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The auditor's script, as a module: a process for each check would take minutes."""
    spec = importlib.util.spec_from_file_location("verify_proof", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with serving(Authority(tmp_path_factory.mktemp("tsa") / "authority")) as made:
        yield made


class Prover:
    """An archive's proofs and what they are checked with."""

    def __init__(self, box: ScratchArchive, script: ModuleType) -> None:
        self.box, self.script = box, script
        self.proofs = Proofs(box.archive)
        self.key = bytes.fromhex(self.proofs.key(BOX).key)

    def proof(self, record: bytes, *, report: bool = False) -> bytes:
        return b"".join(self.proofs.proof(BOX, id=record.hex(), report=report).chunks)

    def message(self, record: bytes, *, report: bool = False) -> bytes:
        return self.box.export(record.hex(), report=report)

    def check(self, proof: bytes, message: bytes, *, key: bytes | None = None, ca: Path | None = None) -> str:
        """What the script prints; raises its RefusedError."""
        lines, _ = self.script.check(proof, message, self.key if key is None else key, ca)
        return "\n".join(lines)

    def refused(self, proof: bytes, message: bytes, *, key: bytes | None = None, ca: Path | None = None) -> str:
        """Why the script refuses it."""
        with pytest.raises(self.script.RefusedError) as caught:
            self.check(proof, message, key=key, ca=ca)
        return str(caught.value)


@pytest.fixture
def prover(box: ScratchArchive, script: ModuleType) -> Prover:
    return Prover(box, script)


def _three(prover: Prover) -> list[bytes]:
    """A journal report, a plain mail and another report, sealed."""
    ids = prover.box.receive(
        report(mail("Wrapped"), "To: anna@example.com"), mail("Plain"), report(mail("Last"), "Bcc: secret@example.com")
    )
    prover.box.project()
    prover.box.sign()
    return ids


def test_every_record_of_journaled_mail_proves(prover: Prover, corpora: Path, tools: Path, tmp_path: Path) -> None:
    generator = [
        sys.executable,
        str(tools / "journalgen.py"),
        str(corpora / "eml"),
        str(tmp_path / "j"),
        "--count",
        "250",
    ]
    subprocess.run(generator, check=True, capture_output=True, timeout=300)
    mails = [one.read_bytes() for one in sorted((tmp_path / "j").rglob("*.eml"))]
    ids = prover.box.receive(*mails)
    prover.box.project()
    prover.box.sign()
    assert len(ids) >= 200
    alone = 0
    for record, received in zip(ids, mails, strict=True):
        assert "PROVEN" in prover.check(prover.proof(record, report=True), received)
        try:
            proof = prover.proof(record)
        except ConflictError:
            continue  # it does not lie in the report as it is exported: the report was proven
        assert "PROVEN" in prover.check(proof, prover.message(record))
        alone += 1
    assert alone > 0.9 * len(ids)


def test_mail_of_the_corpus_proves_and_altered_mail_does_not(prover: Prover, corpora: Path) -> None:
    mails = [one.read_bytes() for one in sorted((corpora / "eml").rglob("*.eml"))[:80]]
    ids = prover.box.receive(*mails)
    prover.box.project()
    prover.box.sign()
    draw = random.Random(1)
    for record, received in zip(ids, mails, strict=True):
        proof, message = prover.proof(record), prover.message(record)
        assert "PROVEN" in prover.check(proof, message)
        altered = bytearray(message)
        altered[draw.randrange(len(altered))] ^= 1 << draw.randrange(8)
        for other in (bytes(altered), message + b"\n", message[:-1], received + b"x"):
            why = prover.refused(proof, other)
            assert "not the one that was archived" in why or "encloses" in why


def test_a_proof_says_what_it_proves(prover: Prover) -> None:
    wrapped, plain, _ = _three(prover)
    told = prover.check(prover.proof(wrapped), prover.message(wrapped))
    assert "enclosed in a journal report" in told and wrapped.hex() in told and "record 1 of 3" in told
    assert "none: when all this was so rests on the archive's clock" in told
    assert "these bytes and no others" in prover.check(prover.proof(plain), prover.message(plain))
    whole = prover.message(wrapped, report=True)
    assert "these bytes and no others" in prover.check(prover.proof(wrapped, report=True), whole)


def test_each_part_that_is_altered_is_named(prover: Prover) -> None:
    wrapped, plain, _ = _three(prover)
    proof, message = prover.proof(wrapped), prover.message(wrapped)

    def altered(change: Any) -> bytes:
        data = json.loads(proof)
        change(data)
        return json.dumps(data).encode()

    def put(name: str, value: object) -> bytes:
        return altered(lambda data: data.update({name: value}))

    def seal(old: str, new: str) -> bytes:
        def change(data: Any) -> None:
            assert old in data["seals"][0][0]
            data["seals"][0][0] = data["seals"][0][0].replace(old, new)

        return altered(change)

    assert "another key" in prover.refused(proof, message, key=bytes(32))
    assert "not the one that was archived" in prover.refused(proof, prover.message(plain))
    assert "not signed by the archive's key" in prover.refused(seal('"records":3', '"records":4'), message)
    assert "another archive" in prover.refused(put("archive", "00000000-0000-4000-8000-000000000000"), message)
    volume = json.loads(proof)["volume"]
    assert "another volume" in prover.refused(put("volume", volume.replace("t0", "t1")), message)
    assert "not at that place" in prover.refused(put("index", 1), message)
    assert "as many records" in prover.refused(put("records", 4), message)
    assert "as many records" in prover.refused(put("index", 3), message)
    assert "not the one that was archived" in prover.refused(put("salt", base64.b64encode(bytes(32)).decode()), message)
    assert "shorter" in prover.refused(altered(lambda data: data["path"].pop()), message)
    assert "longer" in prover.refused(altered(lambda data: data["path"].append(data["path"][0])), message)
    assert "damaged" in prover.refused(put("more", 1), message)
    assert "no JSON" in prover.refused(proof[:-20], message)
    assert "given twice" in prover.refused(proof.replace(b'"index":', b'"index":1,"index":', 1), message)
    assert "no journal report that encloses it" in prover.refused(
        altered(lambda data: data["enclosed"].update(before=base64.b64encode(b"Subject: x\r\n\r\n").decode())), message
    )


def test_a_slice_of_a_mail_is_not_passed_off_as_a_journaled_message(prover: Prover) -> None:
    """Who holds the archive's keys could archive a mail with another in it, and claim only the inner one."""
    outer = EmailMessage()
    outer["Subject"] = "See what he wrote"
    outer.set_content("Attached.")
    inner = EmailMessage()
    inner["From"] = "boss@example.com"
    inner.set_content("I owe you a million.")
    outer.add_attachment(inner)
    raw = outer.as_bytes(policy=outer.policy.clone(linesep="\r\n"))
    (record,) = prover.box.receive(raw)
    prover.box.project()
    prover.box.sign()
    start = raw.index(b"From: boss")
    end = raw.index(b"million.") + len(b"million.\r\n")
    data = json.loads(prover.proof(record))
    data["enclosed"] = {
        "before": base64.b64encode(raw[:start]).decode(), "after": base64.b64encode(raw[end:]).decode()
    }  # fmt: skip
    assert "no journal report" in prover.refused(json.dumps(data).encode(), raw[start:end])


def test_no_altered_bit_of_proof_or_message_goes_through(prover: Prover, authority: Authority) -> None:
    wrapped, *_ = _three(prover)
    _stamp(prover, authority)
    proof, message = prover.proof(wrapped), prover.message(wrapped)
    said = prover.check(proof, message)
    stamp = proof.index(b'"response":')
    for place in range(len(proof)):
        for bit in (place % 8, (place + 5) % 8):
            altered = bytearray(proof)
            altered[place] ^= 1 << bit
            try:
                told = prover.check(bytes(altered), message)
            except prover.script.RefusedError:
                continue
            # In the timestamp, whose signature is not checked here, what is told of it as a claim can change.
            assert place > stamp, (place, bit)
            assert told.partition("Timestamp")[0] == said.partition("Timestamp")[0]
            assert "NOT CHECKED" in told
    for place in range(len(message)):
        changed = bytearray(message)
        changed[place] ^= 1 << place % 8
        prover.refused(proof, bytes(changed))


def test_no_altered_bit_of_a_timestamp_changes_its_time(prover: Prover, authority: Authority) -> None:
    wrapped, *_ = _three(prover)
    _stamp(prover, authority)
    proof, message = prover.proof(wrapped), prover.message(wrapped)
    said = prover.check(proof, message, ca=authority.certificates)
    assert "the message was archived before that" in said
    data = json.loads(proof)
    response = base64.b64decode(data["timestamp"]["response"])
    draw = random.Random(2)
    refused = 0
    for place in draw.sample(range(len(response)), 60):
        altered = bytearray(response)
        altered[place] ^= 1 << draw.randrange(8)
        data["timestamp"]["response"] = base64.b64encode(altered).decode()
        try:
            assert prover.check(json.dumps(data).encode(), message, ca=authority.certificates) == said, place
        except prover.script.RefusedError:
            refused += 1
    assert refused > 20


def _stamp(prover: Prover, authority: Authority) -> int:
    timestamping = Timestamping(prover.box.archive)
    timestamping.set(BOX, url=authority.url)
    prover.box.archive.writer.roll()
    prover.box.sign()
    return timestamping.now(BOX).seal


def test_the_chain_leads_to_the_first_timestamp_after_the_seal(
    prover: Prover, authority: Authority, tmp_path: Path
) -> None:
    wrapped, *_ = _three(prover)
    stamped = _stamp(prover, authority)
    (later,) = prover.box.receive(mail("After the first timestamp"))
    prover.box.project()
    prover.box.sign()
    told = prover.check(prover.proof(wrapped), prover.message(wrapped), ca=authority.certificates)
    assert f"to seal {stamped}" in told and f"{datetime.now():%Y-}" in told
    proof, message = prover.proof(later), prover.message(later)
    assert json.loads(proof)["timestamp"] is None
    assert "no timestamp" in prover.refused(proof, message, ca=authority.certificates)
    # A seal left out of the chain, or one of another place in it.
    data = json.loads(prover.proof(wrapped))
    assert len(data["seals"]) >= 2
    for seals in (data["seals"][:1], [data["seals"][0], json.loads(proof)["seals"][-1]]):
        broken = json.dumps({**data, "seals": seals}).encode()
        assert "seal" in prover.refused(broken, prover.message(wrapped))
    other = Authority(tmp_path / "other")
    assert "not one of an authority certified" in prover.refused(
        prover.proof(wrapped), prover.message(wrapped), ca=other.certificates
    )


def test_a_proof_shows_nothing_of_other_mail(prover: Prover) -> None:
    secret = mail("Takeover of Umbrella", "Nobody may know of Umbrella.", sender="boss@example.com")
    first, other = prover.box.receive(mail("Harmless"), secret)
    prover.box.project()
    prover.box.sign()
    proof = prover.proof(first)
    assert b"mbrella" not in proof and b"boss" not in proof and other.hex().encode() not in proof
    decoded = b"".join(base64.b64decode(one) for one in json.loads(proof)["path"])
    assert len(decoded) == 32 and b"mbrella" not in decoded


def test_what_is_not_sealed_yet_is_told_and_proves_later(prover: Prover) -> None:
    (record,) = prover.box.receive(mail("Just in"))
    prover.box.project()
    assert not prover.proofs.state(BOX, id=record.hex()).sealed
    with pytest.raises(ConflictError, match="still being written"):
        prover.proof(record)
    prover.box.sign()
    assert prover.proofs.state(BOX, id=record.hex()).sealed
    assert "PROVEN" in prover.check(prover.proof(record), prover.message(record))


def test_only_auditors_prove_and_it_is_written_down(prover: Prover) -> None:
    wrapped, *_ = _three(prover)
    for roles in ({"user"}, {"user", "admin"}):
        nobody = Principal(id="u", roles=frozenset(roles))
        for ask in (prover.proofs.proof, prover.proofs.state):
            with pytest.raises(ForbiddenError):
                ask(nobody, id=wrapped.hex())
    prover.proof(wrapped)
    assert auditing.audit(prover.box.archive, BOX, find="message.prove").lines[0].what == wrapped.hex()
    with pytest.raises(NotFoundError):
        prover.proof(bytes(16))


def test_a_message_that_is_not_in_its_report_bit_for_bit_is_proven_by_its_report(prover: Prover) -> None:
    encoded = base64.encodebytes(mail("Encoded by a relay")).replace(b"\n", b"\r\n")
    whole = report(encoded, "To: anna@example.com").replace(
        b"Content-Type: message/rfc822\r\n", b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n"
    )
    (record,) = prover.box.receive(whole)
    prover.box.project()
    prover.box.sign()
    with pytest.raises(ConflictError, match="--report"):
        prover.proof(record)
    assert "PROVEN" in prover.check(prover.proof(record, report=True), whole)


def test_product_and_script_agree_on_a_damaged_archive(prover: Prover) -> None:
    """Where what lies on the disk is not what was signed, no proof is made that the script would refuse."""
    ids = _three(prover)
    good = [prover.proof(one) for one in ids]
    (volume,) = (prover.box.paths.volumes / prover.box.mailbox.id).glob("t0-*.mkv")
    seal = volume.with_suffix(".seal")
    draw = random.Random(3)
    messages = [prover.message(one) for one in ids]
    for file in (seal, volume):
        whole = file.read_bytes()
        for _ in range(30):
            altered = bytearray(whole)
            altered[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            file.write_bytes(altered)
            prover.box.archive.seals = SealFiles(prover.box.paths.volumes)
            for record, message, before in zip(ids, messages, good, strict=True):
                try:
                    proof = prover.proof(record)
                except (DamageError, ConflictError):
                    continue
                assert "PROVEN" in prover.check(proof, message) and proof == before
        file.write_bytes(whole)


def test_the_script_as_auditors_run_it(prover: Prover, tmp_path: Path) -> None:
    wrapped, *_ = _three(prover)
    (tmp_path / "proof.json").write_bytes(prover.proof(wrapped))
    (tmp_path / "message.eml").write_bytes(prover.message(wrapped))
    (tmp_path / "key.hex").write_text(prover.key.hex())

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(SCRIPT), *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    given = ("proof.json", "message.eml", "--key")
    for key in (prover.key.hex(), base64.b64encode(prover.key).decode(), "key.hex", str(prover.box.paths.keyring)):
        done = run(*given, key, "--received", "report.eml")
        assert done.returncode == 0 and done.stdout.startswith("PROVEN"), done.stderr
    assert (tmp_path / "report.eml").read_bytes() == prover.message(wrapped, report=True)
    (tmp_path / "message.eml").write_bytes(b"another")
    done = run(*given, "key.hex")
    assert done.returncode == 1 and done.stdout.startswith("NOT PROVEN: ")
    for words in ((*given, "no key"), ("missing", *given[1:], "key.hex"), (*given, "key.hex", "--tsa-ca", "missing")):
        done = run(*words)
        assert done.returncode == 2 and "could not be checked" in done.stderr


def test_the_script_imports_nothing_of_the_product() -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "appliance" not in found.stderr and "cryptography" in found.stderr


def test_proofs_are_the_same_after_compaction_and_drop(prover: Prover) -> None:
    box = prover.box
    picture = base64.encodebytes(random.Random(4).randbytes(40_000)).decode()
    ids = box.receive(
        *(report(mail(f"Number {n}", f"words {n}\r\n{picture}"), "To: anna@example.com") for n in range(9))
    )
    box.project()
    box.sign()
    before = {one: prover.proof(one) for one in ids}
    messages = {one: prover.message(one) for one in ids}
    jobs = box.dispatcher.jobs
    job = Compactions(box.archive, jobs).begin(BOX)
    while jobs.get(BOX, id=job.id).finished_at is None:
        time.sleep(0.02)
    assert any(volume.archived for volume in box.archive.reader.volumes()), jobs.get(BOX, id=job.id).message
    for record in ids:
        proof = prover.proof(record)
        assert "PROVEN" in prover.check(proof, messages[record]) and prover.message(record) == messages[record]
        # The chain is longer by the archive volume's seal; what is said of the message is the same.
        old, new = json.loads(before[record]), json.loads(proof)
        assert new["seals"][0] == old["seals"][0] and len(new["seals"]) > len(old["seals"])
        assert {**old, "seals": 0} == {**new, "seals": 0}


def test_beside_an_erased_message_the_others_still_prove(prover: Prover) -> None:
    box = prover.box
    gone, *left = _three(prover)
    kept = prover.proof(gone), prover.message(gone)
    (volume,) = (one.path for one in box.archive.reader.volumes(bytes.fromhex(box.mailbox.id)))
    with box.archive.chain.held() as chain:
        assert drop(box.paths.volumes, volume, {gone}, chain, box.archive.keyring) is not None
    for record in left:
        assert "PROVEN" in prover.check(prover.proof(record), prover.message(record))
    with pytest.raises(NotFoundError):
        prover.proof(gone)
    assert "PROVEN" in prover.check(*kept)  # who has proof and message needs no archive
