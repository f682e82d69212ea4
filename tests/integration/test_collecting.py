"""Archiving profiles against a real IMAP server: what lies there is in the log, once, and the figures say so."""

from __future__ import annotations

import hmac
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.services import api
from appliance.services.collector import clearing
from appliance.services.collector.ledger import Ledger
from appliance.services.collector.told import Person
from appliance.settings.events import ProfilePut
from tests.collector import CONTENT_KEY, Bench, imap
from tests.dovecot import MASTER, MASTER_PASSWORD, PASSWORD, Dovecot, running
from tests.product import ROOT
from tests.scratch import mail

pytestmark = pytest.mark.integration

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running() as server:
        yield server


class Office(Bench):
    """A collector beside a mail server in which Anna and Ben, new to it, have accounts."""

    def __init__(self, folder: Path, server: Dovecot) -> None:
        super().__init__(folder)
        self.server = server
        number = next(_numbers)
        self.anna, self.ben = f"anna{number}@example.com", f"ben{number}@example.com"
        self.people = (Person("anna-id", "Anna", (self.anna,)), Person("ben-id", "Ben", (self.ben,)))

    def put(self, user: str, folder: str, *messages: bytes) -> None:
        """Deliver messages."""
        if folder != "INBOX":
            with suppress(AssertionError):  # it is there
                self.server.admin("mailbox", "create", "-u", user, "-s", folder)
        for message in messages:
            self.server.save(user, folder, message)

    def single(self, **settings: object) -> ProfilePut:
        """Anna's own account."""
        return imap(port=self.server.plain, password=PASSWORD, options={"user": self.anna}, **settings)

    def all(self, **settings: object) -> ProfilePut:
        """All users' accounts by the master user."""
        options = {"sign_in": "master", "master": MASTER}
        return imap(port=self.server.plain, password=MASTER_PASSWORD, options=options, **settings)


@pytest.fixture
def office(tmp_path: Path, server: Dovecot) -> Office:
    return Office(tmp_path, server)


def messages(*names: str) -> list[bytes]:
    return [mail(name, message_id=f"{name}@x") for name in names]


def digest(message: bytes) -> bytes:
    return sha256(message).digest()


def figures(run: api.ProfileRun) -> tuple[int, ...]:
    """Seen, new, already, filtered, failed."""
    counts = run.counts
    return counts.seen, counts.new, counts.already, counts.filtered, counts.failed


def test_every_message_of_every_wanted_folder_is_archived_where_it_lay(office: Office) -> None:
    inbox, sent, deep, junk = messages("inbox", "sent", "deep", "junk")
    office.put(office.anna, "INBOX", inbox)
    office.put(office.anna, "Sent", sent)
    office.put(office.anna, "Projekte/Übersicht", deep, inbox)
    office.put(office.anna, "Müll", junk)
    office.tell(office.single())
    with office.running():
        run = office.run("all")
        assert (run.state, run.words) == ("done", "")
        assert figures(run) == (4, 3, 1, 0, 0)
        assert run.counts.bytes == len(inbox) + len(sent) + len(deep)
        [account] = run.accounts
        assert (account.account, account.archive, account.state) == (office.anna, "anna-id", "done")
        again = office.run("all")
        assert (again.state, figures(again)) == ("done", (0, 0, 0, 0, 0))
    assert office.archived() == Counter({
        ("anna-id", ("INBOX",), digest(inbox)): 1,
        ("anna-id", ("Sent",), digest(sent)): 1,
        ("anna-id", ("Projekte", "Übersicht"), digest(deep)): 1,
        ("anna-id", ("Projekte", "Übersicht"), digest(inbox)): 1,
    })  # fmt: skip
    assert len(office.records()[0]) == 3


def test_all_accounts_by_a_master_user_each_into_its_own_archive_and_shared_mail_once(office: Office) -> None:
    [both, hers, his] = messages("both", "hers", "his")
    office.put(office.anna, "INBOX", both, hers)
    office.put(office.ben, "INBOX", both, his)
    office.people = (*office.people, Person("carl-id", "Carl", ()))
    office.tell(office.all())
    with office.running():
        run = office.run("all")
    assert (run.state, run.accounts_done, run.accounts_all) == ("done", 2, 2)
    assert figures(run) == (4, 3, 1, 0, 0)
    found, where = office.records()
    assert sorted(found.values()) == sorted([both, hers, his])
    assert {(one.archive, one.account) for one in where} == {("anna-id", office.anna), ("ben-id", office.ben)}


def test_users_are_chosen_and_one_archive_may_take_it_all(office: Office) -> None:
    [hers, his] = messages("hers", "his")
    office.put(office.anna, "INBOX", hers)
    office.put(office.ben, "INBOX", his)
    office.tell(
        office.all(users="only", chosen=("ben-id",)),
        imap("shared", port=office.server.plain, password=PASSWORD, options={"user": office.anna}, archive="ben-id"),
    )
    with office.running():
        assert [one.archive for one in office.run("all").accounts] == ["ben-id"]
        office.run("shared")
    assert set(office.archived()) == {("ben-id", ("INBOX",), digest(his)), ("ben-id", ("INBOX",), digest(hers))}


def test_an_account_that_is_nobodys_is_left_out_and_told_of(office: Office) -> None:
    office.put(office.anna, "INBOX", *messages("x"))
    office.people = ()
    office.tell(office.single())
    with office.running():
        run = office.run("all")
        checks = list(office.collecting.test(office.single())) if office.collecting else []
    assert run.state == "failed"
    assert "no user has an address" in run.words
    assert [(one.state, office.anna in one.words) for one in run.accounts] == [("left-out", True)]
    assert office.archived() == Counter()
    assert [one.state for one in checks if one.what == "accounts"] == ["problem"]


def test_what_is_new_comes_and_what_is_deleted_there_stays_here(office: Office) -> None:
    first, second = messages("first", "second")
    office.put(office.anna, "INBOX", first)
    office.tell(office.single())
    with office.running():
        office.run("all")
        office.server.admin("expunge", "-u", office.anna, "mailbox", "INBOX", "all")
        office.put(office.anna, "INBOX", second)
        assert figures(office.run("all")) == (1, 1, 0, 0, 0)
    assert set(office.archived()) == {("anna-id", ("INBOX",), digest(one)) for one in (first, second)}


def test_a_mailbox_that_was_numbered_anew_is_read_again_and_stored_once(office: Office) -> None:
    found = messages("one", "two", "three")
    office.put(office.anna, "INBOX", *found)
    office.tell(office.single())
    with office.running():
        office.run("all")
        office.server.admin("mailbox", "update", "-u", office.anna, "--uid-validity", "1999999999", "INBOX")
        run = office.run("all")
        assert (run.state, figures(run)) == ("done", (3, 0, 3, 0, 0))
    assert office.archived() == Counter({("anna-id", ("INBOX",), digest(one)): 1 for one in found})


def test_filters_leave_out_and_what_comes_to_fit_is_archived_later(office: Office) -> None:
    small, large, other = mail("Invoice 1"), mail("Invoice 2", "x" * 5000), mail("Party")
    office.put(office.anna, "INBOX", small, large, other)
    office.tell(office.single(largest=2000, subject="invoice", only_read=True))
    with office.running():
        assert figures(office.run("all")) == (3, 0, 0, 3, 0)
        office.server.admin("flags", "add", "-u", office.anna, r"\Seen", "mailbox", "INBOX", "all")
        assert figures(office.run("all")) == (2, 1, 0, 1, 0)  # the large one is known to be too large
        assert figures(office.run("all")) == (0, 0, 0, 0, 0)
        office.tell(office.single(subject="party", only_read=True))
        assert figures(office.run("all")) == (2, 1, 0, 1, 0)
    assert set(office.archived()) == {("anna-id", ("INBOX",), digest(one)) for one in (small, other)}


def test_a_message_larger_than_memory_allows_is_written_as_it_comes(office: Office) -> None:
    noise = random.Random(7).randbytes(9_000_000).hex()
    huge = mail("huge", "\r\n".join(noise[start : start + 76] for start in range(0, len(noise), 76)))
    office.server.fill(office.anna, "INBOX", [huge, mail("small"), huge])
    office.tell(office.single())
    with office.running():
        run = office.run("all")
    assert figures(run) == (3, 2, 1, 0, 0)
    assert set(office.archived()) == {("anna-id", ("INBOX",), digest(one)) for one in (huge, mail("small"))}
    assert not list(office.paths.volumes.rglob("*.new")), "what was begun in vain is gone"


def test_memory_is_bounded_however_large_the_messages_and_however_many_accounts(office: Office) -> None:
    chance = random.Random(8)
    noise = chance.randbytes(15_000_000).hex()
    huge = "\r\n".join(noise[start : start + 76] for start in range(0, len(noise), 76))
    users = [f"{number}.{office.anna}" for number in range(8)]
    for user in users:
        office.server.fill(user, "INBOX", [mail(f"huge {user}", huge), *messages(user)])
    office.people = tuple(Person(f"id-{user}", user, (user,)) for user in users)
    office.tell(office.all(parallel=8))
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.collecting_child", str(office.paths.data)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    _started, ended, peak = done.stdout.splitlines()
    assert ended == "done "
    assert len(office.records()[0]) == 16
    assert int(peak) < 300 * 1024


def test_wrong_credentials_and_a_server_that_is_away_are_told_in_words(office: Office) -> None:
    wrong = imap("wrong", port=office.server.plain, password="no", options={"user": office.anna})
    office.tell(wrong)
    with office.running():
        run = office.run("wrong")
        assert run.state == "failed"
        assert office.anna in run.words
        assert office.collecting is not None
        assert office.collecting.ledger.standing("wrong").trouble == run.words
        assert any(one.state == "problem" for one in office.collecting.test(wrong))


def test_a_run_is_stopped_and_the_next_goes_on(office: Office) -> None:
    found = [mail(f"number {number}", "y" * 4000) for number in range(200)]
    office.server.fill(office.anna, "INBOX", found)
    office.tell(office.single(rate=200_000))
    with office.running() as collecting:
        id = collecting.begin("all")
        deadline = time.monotonic() + 30
        while not collecting.ledger.run(id).counts.new:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        collecting.stop(id)
        stopped = office.ended(id)
        assert stopped.state == "stopped"
        assert 0 < stopped.counts.new < 200
        assert figures(stopped)[0] == sum(figures(stopped)[1:])
        office.tell(office.single())
        rest = office.run("all")
    assert stopped.counts.new + rest.counts.new == 200
    assert office.archived() == Counter({("anna-id", ("INBOX",), digest(one)): 1 for one in found})


def test_many_accounts_at_the_same_time_with_the_same_mail(office: Office) -> None:
    shared = messages(*(f"shared {number}" for number in range(40)))
    users = [f"{number}.{office.anna}" for number in range(6)]
    for user in users:
        office.server.fill(user, "INBOX", random.Random(user).sample(shared, len(shared)))
    office.people = tuple(Person(f"id-{user}", user, (user,)) for user in users)
    office.tell(office.all(parallel=6))
    with office.running():
        run = office.run("all")
    assert figures(run) == (240, 40, 200, 0, 0)
    assert len(office.records()[0]) == 40
    assert office.archived() == Counter(
        {(f"id-{user}", ("INBOX",), digest(one)): 1 for user in users for one in shared}
    )


class Archiver:
    """What the archiver does for the deletion rule: reads archived copies back, from the same log."""

    def __init__(self, office: Office, *, answers: bool = True, damaged: bytes = b"") -> None:
        self._office, self._answers, self._damaged = office, answers, damaged
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        ledger = Ledger(self._office.paths.ledger, self._office.keys)
        while not self._ended.wait(0.02):
            for record, content in ledger.unproven(100) if self._answers else ():
                original = self._office.records()[0][record]
                whole = hmac.digest(CONTENT_KEY, digest(original), "sha256") == content
                ledger.prove({record: whole and original != self._damaged})
        ledger.close()


def there(office: Office) -> set[str]:
    """The subjects of what is still on the server."""
    listed = office.server.admin("fetch", "-u", office.anna, "hdr.subject", "mailbox", "INBOX", "all")
    return {line.removeprefix("hdr.subject: ") for line in listed.splitlines() if line.startswith("hdr.subject")}


def with_old_mail(office: Office, *names: str) -> None:
    """Messages that came sixty days ago, and one of today."""
    office.server.fill(office.anna, "INBOX", messages(*names))
    for path in (office.server.folder / "mail" / office.anna / "cur").iterdir():
        os.utime(path, times=(time.time() - 60 * 86400,) * 2)
    office.put(office.anna, "INBOX", *messages("new"))


def test_what_is_old_is_deleted_there_once_its_copy_was_read_back(office: Office) -> None:
    with_old_mail(office, "one", "two", "three")
    office.tell(office.single())
    with office.running() as collecting, Archiver(office, damaged=messages("two")[0]):
        office.run("all")
        assert there(office) == {"one", "two", "three", "new"}, "nothing is deleted unless somebody says so"
        assert collecting.deletions("all").count == 0
        assert (collecting.deletions("all", 30).count, collecting.deletions("all", 90).count) == (3, 0)
        office.tell(office.single(delete_after_days=30))
        listed = collecting.deletions("all")
        assert (listed.count, {(one.account, one.folder) for one in listed.items}) == (3, {(office.anna, "INBOX")})
        run = office.run("all")
        assert (run.state, run.counts.deleted, there(office)) == ("done", 2, {"two", "new"})
        assert "1 message was not deleted" in run.accounts[0].words
        assert figures(office.run("all")) == (0, 0, 0, 0, 0)
    assert {one for _, _, one in office.archived()} == {digest(one) for one in messages("one", "two", "three", "new")}


def test_nothing_is_deleted_while_nobody_can_read_the_archive(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearing, "PROOF_SECONDS", 1.0)
    with_old_mail(office, "one")
    office.tell(office.single(delete_after_days=30))
    with office.running(), Archiver(office, answers=False):
        run = office.run("all")
    assert (run.state, run.counts.new, run.counts.deleted) == ("done", 2, 0)
    assert "locked" in run.accounts[0].words
    assert there(office) == {"one", "new"}


def test_what_was_filtered_out_or_left_out_is_never_deleted(office: Office) -> None:
    with_old_mail(office, "one", "two")
    office.tell(office.single(delete_after_days=30, subject="one"))
    with office.running(), Archiver(office):
        run = office.run("all")
        assert (run.counts.filtered, run.counts.deleted, there(office)) == (2, 1, {"two", "new"})
        office.tell(office.single(delete_after_days=30, include=("Sent",)))
        office.run("all")
    assert there(office) == {"two", "new"}


def test_by_the_clock(office: Office) -> None:
    [one] = messages("one")
    office.put(office.anna, "INBOX", one)
    office.tell(office.single(interval=60))
    now = [time.time()]
    lock = threading.Lock()

    def clock() -> float:
        with lock:
            return now[0]

    with office.running(clock=clock) as collecting:
        deadline = time.monotonic() + 40
        while collecting.ledger.standing("all").next_at is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert collecting.ledger.runs("all") == ()
        with lock:
            now[0] += 61
        while not any(run.ended for run in collecting.ledger.runs("all")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [run] = collecting.ledger.runs("all")
        assert (run.asked, run.counts.new) == (False, 1)
        office.tell(office.single(interval=60, paused=True))
        while collecting.ledger.standing("all").next_at is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
