"""A real POP3 server, Dovecot: every message comes out as it lies there, once, and only what is named is deleted."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.errors import RemoteDeniedError, UnavailableError
from appliance.settings.events import ProfilePut
from appliance.sources.base import Account, Fetched, Item
from appliance.sources.kinds import check_options, open_source
from appliance.sources.pop3.session import Pop3Session
from tests.collector import ANNA, Bench
from tests.dovecot import PASSWORD, Dovecot, running, why_not

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    if why := why_not(pop3=True):
        pytest.skip(why)
    with running() as server:
        yield server


def options(server: Dovecot, user: str, **others: str) -> dict[str, str]:
    """A mailbox there, over TLS."""
    given = {"host": "localhost", "port": str(server.pop3s), "ca": server.ca, "user": user, "password": PASSWORD}
    return {**given, **others}


def opened(server: Dovecot, user: str, **others: str) -> Pop3Session:
    """A session."""
    session = open_source("pop3", options(server, user, **others)).open(Account(user, ""))
    assert isinstance(session, Pop3Session)
    return session


def new(session: Pop3Session, cursor: bytes = b"") -> tuple[list[Item], bytes]:
    """What has come since, and the cursor behind it."""
    [inbox] = session.folders()
    pages = list(session.changes(inbox, cursor))
    return [item for page in pages for item in page.items], pages[-1].cursor


def bytes_of(session: Pop3Session, items: list[Item]) -> list[bytes]:
    """The messages."""
    [inbox] = session.folders()
    return [b"".join(one.chunks) for one in session.fetch(inbox, items) if isinstance(one, Fetched)]


def mail(text: str) -> bytes:
    """One that has what POP3 has to hide on the wire."""
    return f"Subject: {text}\r\n\r\n.\r\n..\r\n.{text}\r\n{'x' * 5000}\r\n".encode()


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_every_message_comes_out_as_it_lies_there_however_it_is_encrypted(dovecot: Dovecot, security: str) -> None:
    mails = [mail(f"{security} {n}") for n in range(20)]
    dovecot.fill(security, "INBOX", mails)
    port = dovecot.pop3s if security == "tls" else dovecot.pop3
    with opened(dovecot, security, security=security, port=str(port)) as session:
        items, cursor = new(session)
        assert sorted(bytes_of(session, items)) == sorted(mails)
        assert new(session, cursor) == ([], cursor)


def test_a_later_run_has_what_came_meanwhile_in_pages_that_go_on_where_one_broke_off(dovecot: Dovecot) -> None:
    dovecot.fill("berta", "INBOX", [mail(str(n)) for n in range(1200)])
    with opened(dovecot, "berta") as session:
        [inbox] = session.folders()
        first = next(iter(session.changes(inbox, b"")))
    with opened(dovecot, "berta") as session:
        rest, cursor = new(session, first.cursor)
    assert len({item.id for item in (*first.items, *rest)}) == len(first.items) + len(rest) == 1200
    dovecot.save("berta", "INBOX", mail("late"))
    with opened(dovecot, "berta") as session:
        items, _ = new(session, cursor)
        [late] = bytes_of(session, items)
    assert late == mail("late")


def test_only_what_is_named_is_deleted_and_nothing_is_where_the_end_is_missing(dovecot: Dovecot) -> None:
    dovecot.fill("carla", "INBOX", [mail(str(n)) for n in range(5)])
    with opened(dovecot, "carla") as session:
        [inbox] = session.folders()
        items, cursor = new(session)
        assert session.delete(inbox, [items[1].id, items[3].id]) == {items[1].id, items[3].id}
        left, _ = new(session)
        assert {item.id for item in left} == {items[0].id, items[2].id, items[4].id}
    with pytest.raises(UnavailableError), opened(dovecot, "carla") as session:
        session.folders()
        session._open().ask(b"DELE 1")
        raise UnavailableError("the line broke")
    with opened(dovecot, "carla") as session:
        [inbox] = session.folders()
        [page] = session.changes(inbox, cursor)
        assert (page.items, set(page.gone)) == ((), {items[1].id, items[3].id})


def test_a_message_of_60_megabytes_passes_through_in_little_memory(dovecot: Dovecot) -> None:
    huge = b"Subject: huge\r\n\r\n" + b".\r\n" + (b"z" * 998 + b"\r\n") * 60_000
    dovecot.fill("dora", "INBOX", [huge])
    with opened(dovecot, "dora") as session:
        [inbox] = session.folders()
        items, _ = new(session)
        tracemalloc.start()
        digest, size = sha256(), 0
        for one in session.fetch(inbox, items):
            assert isinstance(one, Fetched)
            for chunk in one.chunks:
                digest.update(chunk)
                size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (size, digest.digest()) == (len(huge), sha256(huge).digest())
    assert peak < 4 * 1024 * 1024


def test_a_wrong_password_is_said_and_not_repeated(dovecot: Dovecot) -> None:
    with pytest.raises(RemoteDeniedError, match="did not let “eva” in") as refused:
        opened(dovecot, "eva", password="a wrong one")
    assert "a wrong one" not in str(refused.value)


def test_the_test_tries_everything(dovecot: Dovecot) -> None:
    dovecot.fill("fritz", "INBOX", [mail("one")])
    given = options(dovecot, "fritz", address="fritz@example.org")
    check_options("pop3", given)
    source = open_source("pop3", given)
    assert [account.address for account in source.accounts()] == ["fritz@example.org"]
    found = list(source.check(list(source.accounts())))
    assert [one.what for one in found] == ["connection", "encryption", "sign-in", "folders", "message"]
    assert {one.state for one in found} == {"ok"}
    plain = open_source("pop3", {**given, "security": "none", "port": str(dovecot.pop3)})
    assert {one.what: one.state for one in plain.check([])}["encryption"] == "warning"
    untrusted = open_source("pop3", {**given, "ca": ""})
    assert [one.state for one in untrusted.check([])] == ["problem"]


def test_a_profile_has_what_the_server_has_and_its_sums_add_up(dovecot: Dovecot, tmp_path: Path) -> None:
    mails = [mail(str(n)) for n in range(30)]
    dovecot.fill("gerda", "INBOX", [*mails, mails[0]])
    bench = Bench(tmp_path)
    bench.tell(ProfilePut("old", "pop3", options(dovecot, "gerda"), archive=ANNA.user))
    with bench.running():
        first = bench.run("old")
        dovecot.save("gerda", "INBOX", mail("late"))
        second = bench.run("old")
    assert (first.state, first.counts.seen, first.counts.new, first.counts.already) == ("done", 31, 30, 1)
    assert (second.state, second.counts.seen, second.counts.new) == ("done", 1, 1)
    assert bench.archived() == Counter((ANNA.user, ("INBOX",), sha256(one).digest()) for one in [*mails, mail("late")])
