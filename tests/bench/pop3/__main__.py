"""``python -m tests.bench.pop3``: pulls the same mail by POP3 with TLS from mailkeep and from Dovecot.

One client for both, of the two kinds that there are: one command at a time, as most programs do, and commands sent
ahead (PIPELINING). Each pull asks for STAT, UIDL and LIST, then for every message. Runs are interleaved; each figure
is the median. The first pull after a start is told apart: sizes have to be found out then (Dovecot has them in the
names of its files, as its own delivery writes them). So is signing in: mailkeep opens the mailbox's private key by
Argon2id, whatever the number of messages, where Dovecot compares a password. Needs Debian's dovecot-pop3d, root.
"""

from __future__ import annotations

import argparse
import os
import pwd
import random
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from appliance.keys.certificate import ensure_certificate
from appliance.mail.published import settings_path
from appliance.services.paths import Paths
from appliance.services.unlock import unlock
from appliance.store.writer import LogWriter
from tests.ports import free_port
from tests.product import Product

ADDRESS = "box@bench.example"
PASSWORD = "a password that is long"
_ROOT = Path(__file__).resolve().parents[3]
_START = 30.0
_SETTLE = 5.0
"""Seconds after a start in which a server's other processes come up."""
_LOOKS = 6
"""Sessions after which all workers have most likely seen the mailbox."""


class Server(ABC):
    """One server with the mail in it."""

    name: str
    password: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True)
        folder.chmod(0o755)

    @abstractmethod
    def start(self, mails: Sequence[bytes]) -> None:
        """Serve this mail on ``port``."""

    @abstractmethod
    def forget(self) -> None:
        """Serve as if nobody had pulled yet."""

    @abstractmethod
    def stop(self) -> None:
        """End."""


class Mailkeep(Server):
    """The whole product; a sealed mailbox, so that nothing reads the mail beside the client."""

    name = "mailkeep"

    def start(self, mails: Sequence[bytes]) -> None:
        """Write the mail into a new archive's log and serve it."""
        self._product = product = Product.create(self.folder / "data")
        product.pulls, product.pop3s = True, self.port
        made = product.run("mailbox", "create", "--name", "Bench", "--address", ADDRESS, "--sealed")
        self.password = made["password"]
        paths = Paths(product.data)
        mailbox = bytes.fromhex(made["id"])
        key = unlock(paths).public_key(mailbox)
        writer = LogWriter(paths.volumes, "t0", reserve=0)
        for waiting in [writer.append(mailbox, key, mail, None) for mail in mails]:
            waiting.result()
        writer.close()
        assert settings_path(product.data).exists()
        product.start()

    def forget(self) -> None:
        """Start again: what was measured is remembered by the process."""
        self._product.stop()
        self._product.start()

    def stop(self) -> None:
        """SIGTERM."""
        self._product.stop()


class Dovecot(Server):
    """Dovecot POP3 with TLS on a Maildir."""

    name = "Dovecot"
    password = PASSWORD

    def start(self, mails: Sequence[bytes]) -> None:
        """Write the mail into a Maildir as Dovecot's delivery does, and serve it."""
        mail = self.folder / "mail"
        for name in ("cur", "new", "tmp"):
            (mail / name).mkdir(parents=True)
        for number, content in enumerate(mails):
            stored = content.replace(b"\r\n", b"\n")
            name = f"{1_700_000_000 + number}.M{number}P1.bench,S={len(stored)},W={len(content)}:2,"
            (mail / "cur" / name).write_bytes(stored)
        nobody = pwd.getpwnam("nobody")
        subprocess.run(["chown", "-R", "nobody", str(mail)], check=True, timeout=120)
        certificate, key = ensure_certificate(self.folder / "tls", "localhost")
        self._config = self.folder / "dovecot.conf"
        self._config.write_text(
            f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/log
protocols = pop3
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
listen = 127.0.0.1
first_valid_uid = 1
mail_location = maildir:{mail}
passdb {{
  driver = static
  args = password={PASSWORD.replace(" ", "_")}
}}
userdb {{
  driver = static
  args = uid={nobody.pw_uid} gid={nobody.pw_gid} home={mail} allow_all_users=yes
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {self.port}
    ssl = yes
  }}
}}
"""
        )
        self.password = PASSWORD.replace(" ", "_")
        subprocess.run(["dovecot", "-c", self._config], check=True, timeout=60, stderr=subprocess.DEVNULL)
        _await(self.port)

    def forget(self) -> None:
        """Take away the lists and caches that a pull left in the Maildir."""
        for path in (self.folder / "mail").glob("dovecot*"):
            path.unlink()

    def stop(self) -> None:
        """Stop the master and all that it started."""
        subprocess.run(["doveadm", "-c", self._config, "stop"], check=True, timeout=60, capture_output=True)
        time.sleep(0.5)


class Client:
    """A POP3 client that costs little itself: it finds the end of a response, and adds up checksums."""

    def __init__(self, server: Server) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=300)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain)
        self._buffer = b""
        self._line()
        for line in (f"USER {ADDRESS}", f"PASS {server.password}"):
            self._say(line)
            answer = self._line()
            assert answer.startswith(b"+OK"), answer

    def pull(self, *, ahead: int) -> tuple[int, int]:
        """All messages, with up to ``ahead`` commands under way; how many octets, and a sum that tells what they are,
        in whatever order they came."""
        self._say("STAT")
        count = int(self._line().split()[1])
        for listing in ("UIDL", "LIST"):
            self._say(listing)
            self._response()
        octets = checksum = 0
        asked = 0
        for number in range(1, count + 1):
            if number > asked:
                wanted = range(asked + 1, min(asked + ahead, count) + 1)
                self._socket.sendall(b"".join(b"RETR %d\r\n" % one for one in wanted))
                asked = wanted[-1]
            body = self._response()
            octets += len(body)
            checksum += zlib.crc32(body)
        self._say("QUIT")
        self._line()
        self._socket.close()
        return octets, checksum

    def look(self) -> None:
        """Have the sizes found out, if they are not yet: each worker of a server does that for itself."""
        for line in ("STAT", "QUIT"):
            self._say(line)
            self._line()
        self._socket.close()

    def _say(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\r\n")

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _response(self) -> bytes:
        """A multi-line response behind its first line, dots still stuffed."""
        first = self._line()
        assert first.startswith(b"+OK"), first
        if self._buffer.startswith(b".\r\n"):
            self._buffer = self._buffer[3:]
            return b""
        at = 0
        while (end := self._buffer.find(b"\r\n.\r\n", at)) < 0:
            at = max(len(self._buffer) - 4, 0)
            self._more()
        body, self._buffer = self._buffer[: end + 2], self._buffer[end + 5 :]
        return body

    def _more(self) -> None:
        octets = self._socket.recv(262_144)
        assert octets, "the server closed"
        self._buffer += octets


def main() -> int:
    """Run it. Exit code 2 where something that it needs is absent."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pop3", description="POP3S beside Dovecot.")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each kind")
    parser.add_argument("--messages", type=int, default=10_000)
    given = parser.parse_args()
    if shutil.which("dovecot") is None or not Path("/usr/lib/dovecot/pop3").exists() or os.geteuid() != 0:
        print("needs root and dovecot-pop3d", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the servers are stopped then too
    mails = _mails(given.messages)
    with tempfile.TemporaryDirectory(prefix="mailkeep-bench-") as name:
        Path(name).chmod(0o755)
        _compare([Mailkeep(Path(name) / "m"), Dovecot(Path(name) / "d")], mails, given.runs)
    return 0


def _compare(servers: list[Server], mails: list[bytes], runs: int) -> None:
    megabytes = sum(map(len, mails)) / 1e6
    print(f"{len(mails)} messages, {megabytes:.0f} MB, {os.cpu_count()} cores, median of {runs} interleaved runs\n")
    kinds = {"first pull": 1, "one command at a time": 1, "100 commands ahead": 100}
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    seen = set()
    started: list[Server] = []
    try:
        for server in servers:
            started.append(server)
            server.start(mails)
        for run in range(runs):
            if run:
                for server in servers:
                    server.forget()
            time.sleep(_SETTLE)
            for kind, ahead in kinds.items():
                for server in servers:
                    begun = time.perf_counter()
                    client = Client(server)
                    signed_in = time.perf_counter()
                    seen.add(client.pull(ahead=ahead))
                    seconds[kind, server.name].append(time.perf_counter() - signed_in)
                    seconds["signing in", server.name].append(signed_in - begun)
                    if kind == "first pull":
                        for _ in range(_LOOKS):
                            Client(server).look()
    finally:
        for server in started:
            server.stop()
    assert len(seen) == 1, "the servers gave different mail"
    before = [statistics.median(seconds["signing in", server.name]) for server in servers]
    names = " | ".join(f"{server.name}, msg/s (MB/s)" for server in servers)
    print(f"| pull | {names} | ratio | with signing in |")
    print("|---" * (len(servers) + 3) + "|")
    for kind in kinds:
        medians = [statistics.median(seconds[kind, server.name]) for server in servers]
        cells = " | ".join(f"{len(mails) / median:,.0f} ({megabytes / median:.0f})" for median in medians)
        whole = [signing + pulling for signing, pulling in zip(before, medians, strict=True)]
        print(f"| {kind} | {cells} | {medians[1] / medians[0]:.2f} | {whole[1] / whole[0]:.2f} |")
    cells = " | ".join(f"{median * 1000:,.0f} ms" for median in before)
    print(f"| signing in | {cells} | {before[1] / before[0]:.2f} | |")


def _mails(count: int) -> list[bytes]:
    """Mail of the sizes of a company's: most of it small, a few with attachments."""
    chance = random.Random(7)
    words = [f"{chance.randrange(1 << 20):x}" for _ in range(5000)]
    mails = []
    for number in range(count):
        size = min(int(chance.lognormvariate(8.8, 1.3)), 5_000_000)
        lines = []
        while size > 0:
            line = " ".join(chance.choices(words, k=12))
            lines.append(line)
            size -= len(line) + 2
        head = f"From: a@bench.example\r\nTo: {ADDRESS}\r\nSubject: {number}\r\nMessage-ID: <{number}@bench>\r\n\r\n"
        mails.append((head + "\r\n".join(lines) + "\r\n").encode())
    return mails


def _await(port: int) -> None:
    deadline = time.monotonic() + _START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
