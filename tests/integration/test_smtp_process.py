"""The gateway as a process of its own, over real sockets and the real log: the log gives back what it took."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.keys.agent_wire import ROLES
from appliance.keys.certificate import ensure_certificate
from appliance.keys.envelope import MailboxKeyPair
from appliance.keys.keyring import Keyring
from appliance.mail.published import (
    GatewayMailbox,
    GatewaySettings,
    WorkerStats,
    decode_stats,
    encode,
    settings_path,
    stats_path,
)
from appliance.services.paths import Paths
from appliance.services.unlock import agent_of
from appliance.store.reader import LogReader, Record
from appliance.store.refs import RecordRef

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
ANNA, BERT = "anna@archive.example", "bert@archive.example"


class Box:
    """A data folder with two mailboxes, and the gateway workers on it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.pairs = {bytes([number]) * 16: MailboxKeyPair.generate() for number in (1, 2)}
        settings_path(data).parent.mkdir(parents=True)
        ensure_certificate(data / "tls", "gate.example")
        settings_path(data).write_bytes(
            encode(
                GatewaySettings(
                    version=1,
                    hostname="gate.example",
                    mailboxes=tuple(
                        GatewayMailbox(id=mailbox_id.hex(), addresses=(address,), public_key=pair.public)
                        for address, (mailbox_id, pair) in zip((ANNA, BERT), self.pairs.items(), strict=True)
                    ),
                )
            )
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self, *, worker: int = 0, program: list[str] | None = None) -> subprocess.Popen[bytes]:
        """A worker that answers."""
        process = subprocess.Popen(
            [
                *(program or [sys.executable, "-m", "gateway"]),
                *("--data", str(self.data), "--worker", str(worker), "--smtp", f"127.0.0.1:{self.port}"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        self._workers.append(process)
        deadline = time.monotonic() + 30
        while not self._published_by(process, worker):
            assert process.poll() is None, "the worker has ended"
            assert time.monotonic() < deadline, "the worker does not start"
            time.sleep(0.05)
        return process

    def stats(self, worker: int = 0) -> WorkerStats:
        return decode_stats(stats_path(self.data, worker).read_bytes())

    def stop(self) -> None:
        """SIGTERM to every worker; each must end by itself with 0."""
        for process in self._workers:
            process.send_signal(signal.SIGTERM)
        for process in self._workers:
            assert process.wait(40) == 0
        self._workers.clear()

    def kill(self) -> None:
        for process in self._workers:
            process.kill()
            process.wait(20)

    def records(self) -> list[Record]:
        """Every record in the log, opened with the mailboxes' private keys."""
        reader = LogReader(self.data / "volumes", self)
        return [reader.read(ref) for ref in self.references(reader)]

    def references(self, reader: LogReader) -> Iterator[RecordRef]:
        for volume in reader.volumes():
            assert not hasattr(volume, "kind"), volume
            for ref in reader.scan(volume):
                assert isinstance(ref, RecordRef), ref
                yield ref

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        return self.pairs[mailbox_id].open_sealed(sealed, info)

    def _published_by(self, process: subprocess.Popen[bytes], worker: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self.stats(worker).pid == process.pid
        return False


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "data")
    yield box
    box.kill()


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """Bytes of the most that the process ever had resident."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def send_all(port: int, messages: list[bytes], recipient: str = ANNA, *, tls: bool = False) -> list[bytes]:
    """One connection with smtplib; the record ids of the replies."""
    ids = []
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client.starttls(context=context)
        client.ehlo()
        for message in messages:
            client.mail("a@b.example")
            client.rcpt(recipient)
            code, text = client.data(message)
            assert code == 250, text
            ids.append(bytes.fromhex(text.split()[1].decode()))
    return ids


def send_by_bdat(port: int, messages: list[bytes]) -> None:
    """All messages pipelined on one connection, each in two chunks."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        connection.makefile("rb") as replies,
    ):
        connection.sendall(b"EHLO bulk.example\r\n")
        for message in messages:
            half = len(message) // 2
            connection.sendall(
                f"MAIL FROM:<>\r\nRCPT TO:<{ANNA}>\r\nBDAT {half}\r\n".encode()
                + message[:half]
                + b"BDAT %d LAST\r\n" % (len(message) - half)
                + message[half:]
            )
        connection.sendall(b"QUIT\r\n")
        archived = [line for line in replies if line.endswith(b" archived\r\n")]
    assert len(archived) == len(messages)


def test_what_is_accepted_is_in_the_log_bit_for_bit(box: Box) -> None:
    box.start()
    plain = [b"Subject: %d\r\n\r\n" % n + bytes([n]) * n * 500 + b"\r\n" for n in range(1, 60) if n not in (10, 13, 46)]
    odd = [b"", b"\r\n.\r\n.", b"lone\nfeeds\rand \x00 \xff", os.urandom(300_000)]
    large = os.urandom(11_000_000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ids = [pool.submit(send_all, box.port, plain, ANNA, tls=tls) for tls in (False, True)]
        pool.submit(send_by_bdat, box.port, [*odd, large]).result()
        acknowledged = [record_id for future in ids for record_id in future.result()]
    box.stop()
    records = box.records()
    assert sorted(record.original for record in records) == sorted([*plain, *plain, *odd, large])
    assert set(acknowledged) <= {record.ref.record_id for record in records}
    assert sum(record.provenance.tls != "" for record in records) == len(plain)
    assert box.stats().accepted == len(records)


def test_two_mailboxes_get_a_record_each_in_their_own_volumes(box: Box) -> None:
    box.start()
    with smtplib.SMTP("127.0.0.1", box.port, timeout=30) as client:
        client.sendmail("a@b.example", [ANNA, BERT], b"both\r\n")
    box.stop()
    stored = {record.ref.mailbox: record for record in box.records()}
    assert set(stored) == set(box.pairs)
    assert [record.original for record in stored.values()] == [b"both\r\n"] * 2
    assert sorted(record.provenance.rcpt_to for record in stored.values()) == [(ANNA,), (BERT,)]


def test_two_workers_share_one_port(box: Box) -> None:
    box.start(worker=0)
    box.start(worker=1)
    for number in range(40):
        send_all(box.port, [b"%d\r\n" % number])
    box.stop()
    assert sorted(int(record.original) for record in box.records()) == list(range(40))
    assert box.stats(0).accepted + box.stats(1).accepted == 40
    assert min(box.stats(0).accepted, box.stats(1).accepted) > 0


def test_kill_9_loses_nothing_that_was_acknowledged(box: Box) -> None:
    process = box.start()
    acknowledged = send_all(box.port, [b"%d\r\n" % number for number in range(200)])
    process.kill()
    process.wait(20)
    box.start()
    acknowledged += send_all(box.port, [b"after\r\n"])
    box.kill()
    reader = LogReader(box.data / "volumes", box)
    assert set(acknowledged) <= {ref.record_id for ref in box.references(reader)}


def test_corpus_mail_comes_back_as_it_was(box: Box, corpora: Path) -> None:
    mails = [path.read_bytes() for path in sorted((corpora / "eml").rglob("*.eml"))]
    box.start()
    send_by_bdat(box.port, mails)
    box.stop()
    assert sorted(record.original for record in box.records()) == sorted(mails)


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
@pytest.mark.parametrize("arguments", [[], ["--pipeline"], ["--data", "Subject: x\\n\\n.\\n..\\nend\\n"]])
def test_swaks_delivers(box: Box, arguments: list[str]) -> None:
    box.start()
    subprocess.run(
        [
            "swaks",
            "--server",
            f"127.0.0.1:{box.port}",
            "--from",
            "a@b.example",
            "--to",
            f"{ANNA},{BERT}",
            *arguments,
        ],
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    box.stop()
    assert len(box.records()) == 2


def test_fifty_clients_with_twenty_megabytes_each_fit_in_memory(box: Box) -> None:
    process = box.start()
    message = os.urandom(20_000_000)
    wire = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b"\r\n.\r\nQUIT\r\n"
    connections = [socket.create_connection(("127.0.0.1", box.port), timeout=200) for _ in range(50)]
    for connection in connections:
        connection.sendall(f"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<{ANNA}>\r\nDATA\r\n".encode())
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda connection: connection.sendall(wire), connections))
    for connection in connections:
        with connection, connection.makefile("rb") as replies:
            assert b" archived\r\n" in replies.read()
    assert peak_memory(process) < 1_500_000_000
    box.stop()
    reader = LogReader(box.data / "volumes", box)
    references = list(box.references(reader))
    assert len(references) == 50
    assert reader.read(references[0]).original == message + b"\r\n"


def test_one_message_of_150_megabytes_costs_little_memory(box: Box) -> None:
    process = box.start()
    send_all(box.port, [b"warm\r\n"])
    before = peak_memory(process)
    piece = os.urandom(1_000_000)
    with socket.create_connection(("127.0.0.1", box.port), timeout=120) as connection:
        connection.sendall(f"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<{ANNA}>\r\nBDAT 150000000 LAST\r\n".encode())
        for _ in range(150):
            connection.sendall(piece)
        connection.sendall(b"QUIT\r\n")
        with connection.makefile("rb") as replies:
            assert b" archived\r\n" in replies.read()
    assert peak_memory(process) - before < 50_000_000
    box.stop()
    reader = LogReader(box.data / "volumes", box)
    sizes = sorted(sum(map(len, reader.stream(ref))) for ref in box.references(reader))
    assert sizes == [6, 150_000_000]


INTRUDER = textwrap.dedent(
    """
    import json, os, socket, sys
    import gateway.__main__ as program

    def attempt(action):
        try:
            action()
        except OSError as error:
            return error.__class__.__name__
        return "done"

    def connect(path):
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(path)

    class Intruded(program.Worker):
        async def run(self, listeners, stop):
            targets = json.loads(os.environ["TARGETS"])
            outcome = {path: attempt(lambda: open(path, "rb").read(1)) for path in targets["files"]}
            outcome["listing"] = attempt(lambda: os.listdir(targets["data"]))
            outcome["create"] = attempt(lambda: open(os.path.join(targets["data"], "new"), "w"))
            outcome["settings"] = attempt(lambda: open(targets["settings"], "ab"))
            outcome["socket"] = attempt(lambda: connect(targets["socket"]))
            outcome["network"] = attempt(lambda: socket.create_connection(("127.0.0.1", targets["port"])))
            outcome["program"] = attempt(lambda: os.posix_spawn("/bin/true", ["true"], {}))
            outcome["read settings"] = attempt(lambda: open(targets["settings"], "rb").read(1))
            print(json.dumps(outcome), flush=True)
            await super().run(listeners, stop)

    program.Worker = Intruded
    sys.exit(program.main())
    """
)


@pytest.fixture
def agent(box: Box) -> Iterator[subprocess.Popen[str]]:
    """The key agent of the box, unlocked by a keyfile beside the data folder."""
    paths = Paths(box.data)
    Keyring.create(paths.keyring, keyfile=paths.keyfile)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "appliance.keys.agent", "--keyring", str(paths.keyring)),
            *("--socket", str(paths.agent_socket), "--secrets", str(paths.agent_socket.parent)),
            *("--keyfile", str(paths.keyfile)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def test_code_inside_the_gateway_reaches_no_key_no_database_no_socket_no_process(
    box: Box, agent: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(box.data)
    paths.replica_run.mkdir()
    for place in (paths.settings, paths.service_keyfile, paths.replica_secret):
        place.write_bytes(b"secret")
    secrets = [paths.keyfile, paths.keyring, paths.settings, paths.service_keyfile, paths.replica_secret]
    secrets += [paths.agent_secret(role) for role in ROLES]
    assert all(secret.read_bytes() for secret in secrets)
    assert agent_of(paths, "box").is_unlocked()
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        processes = [f"/proc/{pid}/{file}" for pid in (os.getpid(), agent.pid) for file in ("mem", "environ")]
        targets = {
            "files": [*map(str, secrets), *processes, "/etc/passwd"],
            "data": str(box.data),
            "settings": str(settings_path(box.data)),
            "socket": str(paths.agent_socket),
            "port": elsewhere.getsockname()[1],
        }
        monkeypatch.setenv("TARGETS", json.dumps(targets))
        process = box.start(program=[sys.executable, "-c", INTRUDER])
        assert process.stdout is not None
        outcome = json.loads(process.stdout.readline())
    if not box.stats().confined:
        pytest.skip("this kernel has no Landlock or no seccomp")
    assert outcome.pop("read settings") == "done"
    assert set(outcome.values()) == {"PermissionError"}, outcome
    send_all(box.port, [b"still works\r\n"], tls=True)
    box.stop()
    assert [record.original for record in box.records()] == [b"still works\r\n"]


def test_settings_published_after_the_start_are_read_in_spite_of_the_confinement(box: Box) -> None:
    content = settings_path(box.data).read_bytes()
    settings_path(box.data).unlink()
    box.start()
    with smtplib.SMTP("127.0.0.1", box.port, timeout=30) as client:
        client.ehlo()
        client.mail("a@b.example")
        assert client.rcpt(ANNA)[0] == 451
    fresh = settings_path(box.data).with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.replace(settings_path(box.data))
    time.sleep(0.6)
    send_all(box.port, [b"x\r\n"])


def test_a_port_that_is_taken_is_said_so(box: Box, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", box.port)):
        process = subprocess.run(
            [
                sys.executable,
                "-m",
                "gateway",
                "--data",
                str(box.data),
                "--worker",
                "0",
                "--smtp",
                f"127.0.0.1:{box.port}",
            ],
            cwd=ROOT,
            timeout=60,
        )
    assert process.returncode == 1
    assert f"127.0.0.1 port {box.port}" in capfd.readouterr().err


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A data folder on a file system of 300 MB; the function fills it up."""
    place = tmp_path / "data"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", place], capture_output=True, timeout=20
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    filler = place / "filler"

    def fill() -> None:
        filler.write_bytes(bytes(250_000_000)) if not filler.exists() else filler.unlink()

    yield fill
    subprocess.run(["umount", "-l", place], check=True, timeout=20)


def test_a_full_disk_defers_and_mail_is_taken_again_when_there_is_room(
    full_disk: Callable[[], None], tmp_path: Path
) -> None:
    box = Box(tmp_path / "data")
    try:
        box.start()
        send_all(box.port, [b"before\r\n"])
        full_disk()
        with smtplib.SMTP("127.0.0.1", box.port, timeout=30) as client:
            with pytest.raises(smtplib.SMTPDataError, match=r"452.*4\.3\.1"):
                client.sendmail("a@b.example", [ANNA], b"full\r\n")
            full_disk()
            client.sendmail("a@b.example", [ANNA], b"room again\r\n")
        box.stop()
        assert [record.original for record in box.records()] == [b"before\r\n", b"room again\r\n"]
    finally:
        box.kill()
