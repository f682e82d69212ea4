"""The pool: what one message does to its reader never reaches the next one, or whoever asked."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import UnavailableError
from appliance.extract import winmail
from appliance.extract import worker as worker_module
from appliance.extract.pool import ExtractPool
from appliance.extract.protocol import Sanitised
from appliance.mail import journal, message
from tests.unit.extract import samples

PLAIN = b"From: anna@example.com\r\nSubject: plain\r\n\r\nwords"


@pytest.fixture
def pool() -> Iterator[ExtractPool]:
    with ExtractPool(workers=2) as running:
        yield running


def test_a_message_is_described_whole(pool: ExtractPool) -> None:
    raw = samples.mail_with("plan.pdf", "application/pdf", samples.pdf("the plan"))
    described = pool.describe(raw).result(timeout=60)
    assert described.facts.subject == "with a file"
    assert described.facts.attachments[0].text == "the plan"
    assert described.reading.kind == "plain"
    assert described.received_sha256 == described.original_sha256 == hashlib.sha256(raw).digest()


def test_real_mail_is_described_as_it_is_read_here(pool: ExtractPool, corpora: Path) -> None:
    raws = [file.read_bytes() for file in sorted((corpora / "eml").iterdir())]
    for raw, future in [(raw, pool.describe(raw)) for raw in raws]:
        described = future.result(timeout=60)
        assert described.reading == journal.read(raw)
        original = journal.original(raw, described.reading)
        assert described.original_sha256 == hashlib.sha256(original).digest()
        facts, _ = winmail.opened(original, message.read(original))
        assert described.facts.identity == facts.identity
        assert described.facts.text == facts.text
    for future in [pool.sanitise(raw, cid_base="/part/") for raw in raws]:
        assert "<script" not in future.result(timeout=60).html


def test_a_message_with_html_and_one_without_are_both_shown(pool: ExtractPool) -> None:
    html = pool.sanitise(b"Content-Type: text/html\r\n\r\n<p onclick=x>a<img src=http://a.example>", cid_base="/part/")
    assert html.result(timeout=60) == Sanitised("<p>a<img></p>", blocked=1)
    assert pool.sanitise(b"\r\n1 < 2", cid_base="/part/").result(timeout=60).html == "<pre>1 &lt; 2</pre>"


def test_children_have_no_files_no_network_and_no_environment(pool: ExtractPool) -> None:
    pool.describe(PLAIN).result(timeout=60)
    children = [worker.process.pid for worker in pool._workers if worker.process and worker.ready]
    assert children
    for pid in children:
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PATH" not in environment
        descriptors = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        assert all(one.startswith(("socket:", "/dev/null", "/proc/")) for one in descriptors), descriptors


@pytest.fixture
def saboteur(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Children in which the word in the body says what reading the message does to them."""
    script = tmp_path / "child.py"
    script.write_text(
        "import os, signal, time\n"
        "from appliance.extract import child, text\n"
        "from appliance.mail import message\n"
        "def sabotage(original):\n"
        "    def read(raw, *rest):\n"
        "        if b'die' in raw: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        if b'hang' in raw: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(600)\n"
        "        if b'gorge' in raw: bytearray(4 << 30)\n"
        "        if b'raise' in raw: raise RuntimeError\n"
        "        return original(raw, *rest)\n"
        "    return read\n"
        "text.with_attachments = sabotage(text.with_attachments)\n"
        "message.read = sabotage(message.read) if os.environ['LC_ALL'] == 'deep' else message.read\n"
        "message.read_head = sabotage(message.read_head) if os.environ['LC_ALL'] == 'deep' else message.read_head\n"
        "child.main()\n"
    )
    genuine = worker_module.subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        options["env"] = {"LC_ALL": os.environ.get("MAILKEEP_TEST_DEPTH", "")}
        return genuine([sys.executable, "-B", str(script), *command[5:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(worker_module.subprocess, "Popen", popen)
    monkeypatch.setattr(worker_module, "reading_seconds", lambda size: 0.3)
    monkeypatch.setattr(worker_module, "GRACE", 0.1)


@pytest.mark.parametrize("word", ["die", "hang", "gorge", "raise"])
def test_an_attachment_that_breaks_its_reader_costs_only_its_own_text(saboteur: None, word: str) -> None:
    raw = samples.mail_with("a.txt", "text/plain", b"words", text=word)
    with ExtractPool(workers=1, seconds=0.3) as pool:
        futures = [pool.describe(one) for one in (PLAIN, raw, PLAIN, PLAIN)]
        described = [future.result(timeout=60) for future in futures]
    assert [one.facts.subject for one in described] == ["plain", "with a file", "plain", "plain"]
    assert described[1].facts.text == word
    assert described[1].facts.attachments[0].text_status == "failed"


@pytest.mark.parametrize("word", ["die", "hang", "gorge", "raise"])
def test_a_message_that_cannot_be_read_at_all_is_unparsed_and_stops_nobody(
    saboteur: None, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILKEEP_TEST_DEPTH", "deep")
    raw = PLAIN.replace(b"words", word.encode())
    with ExtractPool(workers=1, seconds=0.3) as pool:
        futures = [pool.describe(one) for one in (PLAIN, raw, PLAIN)]
        described = [future.result(timeout=60) for future in futures]
    assert [one.reading.kind for one in described] == ["plain", "unparsed", "plain"]
    assert described[1].reading.original == (0, len(raw))
    assert described[1].reading.reason
    assert described[1].received_sha256 == hashlib.sha256(raw).digest()


def test_a_killed_child_loses_no_job(pool: ExtractPool) -> None:
    raws = [PLAIN + b"%d" % number for number in range(1_000)]
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.2):
            for worker in pool._workers:
                if worker.process is not None and worker.ready:
                    os.kill(worker.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        described = [future.result(timeout=120) for future in [pool.describe(raw) for raw in raws]]
    finally:
        stop.set()
        killer.join()
    assert [one.received_sha256 for one in described] == [hashlib.sha256(raw).digest() for raw in raws]


def test_a_large_message_is_read_and_its_reader_makes_room(pool: ExtractPool) -> None:
    head = b"Content-Type: application/octet-stream; name=big.bin\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    raw = head + bytes(70 * 1024 * 1024)
    described = pool.describe(raw).result(timeout=120)
    assert described.facts.attachments[0].size == 70 * 1024 * 1024
    assert described.facts.attachments[0].text_status == "too-large"
    assert pool.describe(PLAIN).result(timeout=60).facts.subject == "plain"


def test_closing_ends_the_children_and_whoever_waits() -> None:
    pool = ExtractPool(workers=1)
    pool.describe(PLAIN).result(timeout=60)
    process = pool._workers[0].process
    assert process is not None
    futures = [pool.describe(PLAIN * 100_000) for _ in range(20)]
    pool.close()
    assert process.poll() is not None
    assert all(future.done() for future in futures)
    with pytest.raises(UnavailableError):
        pool.describe(PLAIN)


def test_where_no_child_can_be_started_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with ExtractPool(workers=1) as pool, pytest.raises(UnavailableError):
        pool.describe(PLAIN).result(timeout=60)
