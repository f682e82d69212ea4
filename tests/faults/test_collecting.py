"""Fetching while something dies: the collector, the disk, the network. Each message is archived, and once."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.files import Files
from appliance.services.collector.told import Person
from tests.collector import Bench, imap
from tests.dovecot import MASTER, MASTER_PASSWORD, Dovecot, running
from tests.product import ROOT
from tests.remotes import FaultProxy
from tests.scratch import mail

pytestmark = [pytest.mark.integration, pytest.mark.faults]

KILLS = int(os.environ.get("MAILKEEP_COLLECT_KILLS", "6"))
STEP = int(os.environ.get("MAILKEEP_FAULT_STEP", "7"))
COUNT = 250
USERS = ("anna@example.com", "ben@example.com")
FOLDERS = ("INBOX", "Projects")


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running() as server:
        yield server


class Office(Bench):
    """Two people's mail, some of it in several folders and in both accounts, and one message that is streamed."""

    def __init__(self, folder: Path, server: Dovecot, count: int, *, large: bool = True) -> None:
        super().__init__(folder)
        prefix = f"{time.monotonic_ns()}."
        self.people = tuple(Person(f"id-{user}", user, (prefix + user,)) for user in USERS)
        chance = random.Random(count)
        messages = [mail(f"number {n}", chance.randbytes(chance.randrange(4000)).hex()) for n in range(count)]
        if large:
            messages.append(mail("large", chance.randbytes(5_000_000).hex()))
        self.wanted = set()
        for person in self.people:
            for name in FOLDERS:
                some = chance.sample(messages, len(messages) * 2 // 3)
                server.fill(person.addresses[0], name, some)
                self.wanted |= {(person.user, (name,), sha256(one).digest()) for one in some}
        self.port = server.plain

    def all(self, port: int = 0, **settings: Any) -> None:
        """Tell of a profile for both."""
        options = {"sign_in": "master", "master": MASTER}
        self.tell(imap(port=port or self.port, password=MASTER_PASSWORD, options=options, **settings))

    def must_be_whole(self, doubles: int = 0) -> None:
        """Everything is archived, each message in one record, but for so many."""
        assert set(self.archived()) == self.wanted
        messages, _places = self.records()
        assert 0 <= len(messages) - len({sha256(one).digest() for one in messages.values()}) <= doubles


def test_a_collector_killed_at_any_moment_goes_on_without_gaps_or_doubles(tmp_path: Path, server: Dovecot) -> None:
    office = Office(tmp_path, server, COUNT)
    office.all()
    chance, killed = random.Random(KILLS), 0
    command = [sys.executable, "-m", "tests.faults.collecting_child", str(office.paths.data)]
    while True:
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child, child.stdout:
            assert child.stdout.readline() == "started\n"
            if killed == KILLS:
                assert child.stdout.readline() == "done \n"
                break
            time.sleep(chance.random() * 0.8)
            child.kill()
            killed += 1
    office.must_be_whole()
    with office.running():
        assert office.run("all").counts.seen == 0, "nothing is left to do"


class Failing(Files):
    """The disk refuses the ``last``-th change, and takes all others."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("create", "write", "sync", "rename", "sync_directory"):
            return found

        def counted(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "Input/output error")
            return found(*arguments, **named)

        return counted


def test_whichever_write_the_disk_refuses_the_next_run_brings_the_rest(tmp_path: Path, server: Dovecot) -> None:
    """What a disk was given that then refused to sync may be there or not: it is given again, and may be doubled."""
    for last in range(3, 10_000, STEP):
        office = Office(tmp_path / str(last), server, 30)
        office.all(parallel=1)
        files = Failing(last)
        with office.running(files=files):
            if files.left <= 0:
                return
            first = office.run("all")
            refused = files.left <= 0
            if not refused:
                assert first.state == "done"
                assert last > 10, "the disk never refused anything"
                return
            run = first if first.state == "done" else office.run("all")
            assert (run.state, run.words) == ("done", "")
        office.must_be_whole(doubles=0 if first.state == "done" else len(office.wanted))
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("fault", ["cut", "away"])
def test_a_network_that_breaks_again_and_again(tmp_path: Path, server: Dovecot, fault: str) -> None:
    office = Office(tmp_path, server, COUNT)
    proxy = FaultProxy(office.port)
    office.all(proxy.port, rate=3_000_000)
    ended = threading.Event()

    def break_it() -> None:
        pause: Callable[[], float] = random.Random(3).random
        while not ended.wait(0.3 + pause()):
            proxy.break_all()
            if fault == "away":
                proxy.fault = "cut"
                ended.wait(1.0)
                proxy.fault = "none"

    thread = threading.Thread(target=break_it)
    thread.start()
    try:
        with office.running() as collecting:
            id = collecting.begin("all")
            deadline = time.monotonic() + 90
            broken = time.monotonic() + 4
            while collecting.ledger.run(id).ended is None:
                assert time.monotonic() < deadline
                if time.monotonic() > broken:
                    ended.set()
                time.sleep(0.1)
            run = collecting.ledger.run(id)
            assert (run.state, run.words) == ("done", "")
            counts = run.counts
            assert counts.seen == counts.new + counts.already + counts.filtered + counts.failed
            assert (counts.new, counts.failed) == (len(office.records()[0]), 0)
    finally:
        ended.set()
        thread.join()
        proxy.close()
    office.must_be_whole()
