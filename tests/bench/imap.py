"""``python -m tests.bench.imap``: the same mail pulled by mailkeep's IMAP source and by mbsync, from one Dovecot.

A first pull of one large mailbox: by a profile (encrypted, durable, accounted for), by the source alone, and by mbsync
into a Maildir with ``FSync yes``. The run after that, when nothing has changed in a hundred folders. The same mail in
ten mailboxes, pulled one after another and all at once. Runs are interleaved; each figure is the median. Before each
first pull Dovecot's lists and caches are taken away. Needs Debian's dovecot-imapd and isync, and root.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.services.collector.collecting import Collecting
from appliance.services.collector.told import Person
from appliance.sources.base import Account, Fetched
from appliance.sources.imap.connecting import Server
from appliance.sources.imap.signing_in import Password
from appliance.sources.imap.source import ImapSource
from tests.collector import Bench, imap
from tests.dovecot import MASTER, MASTER_PASSWORD, PASSWORD, Dovecot, why_not

_FOLDERS = 100
_IN_A_FOLDER = 20
_ACCOUNTS = 10
_BESIDE = {
    "mailkeep": "mbsync, FSync yes",
    "mailkeep, reading only": "mbsync, FSync yes",
    "nothing new, mailkeep": "nothing new, mbsync",
    "ten mailboxes at once": "ten mailboxes, one after another",
}
"""What each kind is compared with."""


def main() -> int:
    """Run it. Exit code 2 where something that it needs is absent."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.imap", description="IMAP beside mbsync.")
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of each kind")
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--tls", action="store_true", help="encrypt the connections, on both sides")
    given = parser.parse_args()
    if (why := why_not()) or shutil.which("mbsync") is None:
        print(why or "needs Debian's isync", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # Dovecot is stopped then too
    with tempfile.TemporaryDirectory(prefix="mailkeep-bench-") as name:
        Path(name).chmod(0o755)
        server = Dovecot(Path(name) / "dovecot")
        server.start()
        try:
            _Bench(Path(name), server, tls=given.tls).run(given.messages, given.runs)
        finally:
            server.stop()
    return 0


class _Bench:
    def __init__(self, folder: Path, server: Dovecot, *, tls: bool) -> None:
        self._folder = folder
        self._server = server
        self._tls = tls
        port = server.tls if tls else server.plain
        where = Server("localhost", port, "tls" if tls else "none", server.ca if tls else "")
        self._source = ImapSource(where, Password(PASSWORD))
        self._times = 0

    def run(self, messages: int, runs: int) -> None:
        mails = list(_mails(messages))
        megabytes = sum(map(len, mails)) / 1e6
        self._server.fill("large", "INBOX", mails)
        for number in range(_FOLDERS):
            self._server.fill("many", f"Folder {number}", mails[:_IN_A_FOLDER])
        for number in range(_ACCOUNTS):
            self._server.fill(f"one-{number}", "INBOX", mails[number::_ACCOUNTS])
        print(
            f"{messages} messages, {megabytes:.0f} MB, {os.cpu_count()} cores, {'TLS' if self._tls else 'no TLS'}, "
            f"median of {runs} interleaved runs\n"
        )
        ten, again = [f"one-{number}" for number in range(_ACCOUNTS)], Bench(self._folder / "archive")
        self._profile("many", kept=again)
        self._mbsync("many", self._folder / "kept")
        kinds: dict[str, Callable[[], object]] = {
            "mbsync, FSync yes": lambda: self._mbsync("large", self._folder / f"pulled-{self._times}"),
            "mailkeep": lambda: self._profile("large"),
            "mailkeep, reading only": self._pull,
            "ten mailboxes, one after another": lambda: self._profile(*ten),
            "ten mailboxes at once": lambda: self._profile(*ten, parallel=_ACCOUNTS),
            "nothing new, mbsync": lambda: self._mbsync("many", self._folder / "kept"),
            "nothing new, mailkeep": lambda: self._profile("many", kept=again),
        }
        seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(runs):
            for kind, work in kinds.items():
                self._times += 1
                for user in ("large", "one-*"):
                    for path in (self._server.folder / "mail").glob(f"{user}/dovecot*"):
                        path.unlink()
                begun = time.perf_counter()
                work()
                seconds[kind].append(time.perf_counter() - begun)
        print("| what | seconds | msg/s | MB/s | as fast as the one it is compared with |\n|---|---|---|---|---|")
        for kind, times in seconds.items():
            median = statistics.median(times)
            pulled = "nothing new" not in kind
            rate = f"{messages / median:,.0f} | {megabytes / median:.0f}" if pulled else " | "
            beside = f"{statistics.median(seconds[_BESIDE[kind]]) / median:.2f} ×" if kind in _BESIDE else ""
            print(f"| {kind} | {median:.2f} | {rate} | {beside} |")

    def _pull(self) -> None:
        """The source alone: nothing is kept of what it reads."""
        with self._source.open(Account("large", "")) as session:
            [inbox] = [folder for folder in session.folders() if folder.role == "inbox"]
            for page in session.changes(inbox, b""):
                for one in session.fetch(inbox, page.items):
                    assert isinstance(one, Fetched)
                    for _ in one.chunks:
                        pass

    def _profile(self, *users: str, parallel: int = 1, kept: Bench | None = None) -> None:
        """A whole run of a profile: encrypted, durable, placed and accounted for."""
        bench = kept or Bench(self._folder / f"archive-{self._times}")
        bench.people = tuple(Person(user, user, (user,)) for user in users)
        port = self._server.tls if self._tls else self._server.plain
        options = {
            "host": "localhost",
            "sign_in": "master",
            "master": MASTER,
            "ca": self._server.ca if self._tls else "",
        }
        options["security"] = "tls" if self._tls else "none"
        bench.tell(imap(port=port, password=MASTER_PASSWORD, options=options, parallel=parallel))
        collecting = Collecting(bench.paths, bench.keys)
        collecting.ledger.learn(())
        try:
            id = collecting.ledger.add("all", asked=True)
            collecting.perform(id)
            run = collecting.ledger.run(id)
            assert run.state == "done", run
        finally:
            collecting.close()

    def _mbsync(self, user: str, into: Path) -> None:
        """Raises where mbsync says that something went wrong."""
        into.mkdir(exist_ok=True)
        config = self._folder / f"mbsyncrc-{user}-{into.name}"
        port = self._server.tls if self._tls else self._server.plain
        certificate = self._folder / "ca.pem"
        certificate.write_text(self._server.ca)
        config.write_text(
            f"""
FSync yes
IMAPAccount bench
Host localhost
Port {port}
User {user}
Pass {PASSWORD}
SSLType {"IMAPS" if self._tls else "None"}
CertificateFile {certificate}
AuthMechs *

IMAPStore far
Account bench

MaildirStore near
Path {into}/
Inbox {into}/INBOX
SubFolders Verbatim

Channel bench
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
"""
        )
        subprocess.run(["mbsync", "-c", config, "-q", "-a"], check=True, timeout=600)


def _mails(count: int) -> Iterator[bytes]:
    """Mail of the sizes of a company's: most of it small, a few with attachments; some 30 KB on average."""
    chance = random.Random(7)
    words = [f"{chance.randrange(1 << 20):x}" for _ in range(5000)]
    text = "\r\n".join(" ".join(chance.choices(words, k=12)) for _ in range(80_000)).encode()
    for number in range(count):
        size = min(int(chance.lognormvariate(9.4, 1.4)), 5_000_000)
        begin = chance.randrange(len(text) - size) if size < len(text) else 0
        head = f"From: a@bench.example\r\nTo: b@bench.example\r\nSubject: {number}\r\nMessage-ID: <{number}@bench>\r\n"
        yield head.encode() + b"\r\n" + text[begin : begin + size].rstrip(b"\r\n") + b"\r\n"


if __name__ == "__main__":
    sys.exit(main())
