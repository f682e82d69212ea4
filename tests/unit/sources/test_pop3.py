"""POP3 servers that do what they should not: no message is changed, lost, fetched twice or deleted unasked."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import RemoteDeniedError, ThrottledError, UnavailableError
from appliance.keys.certificate import ensure_certificate
from appliance.sources.base import CursorLostError, Failed, Fetched, Item
from appliance.sources.connecting import Server
from appliance.sources.pop3.session import Pop3Session
from appliance.sources.pop3.signing_in import connect
from appliance.sources.pop3.wire import Wire
from tests.unit.sources.pop3_double import ACCOUNT, double

MAILS = [(f"uid{n}", f"Subject: {n}\r\n\r\ntext\r\n".encode()) for n in range(1, 4)]


def fetched(session: Pop3Session, *ids: str) -> dict[str, bytes | Failed]:
    """What came for each id."""
    [inbox] = session.folders()
    return {
        one.item.id: b"".join(one.chunks) if isinstance(one, Fetched) else one
        for one in session.fetch(inbox, [Item(id) for id in ids])
    }


def changed(session: Pop3Session, cursor: bytes = b"") -> tuple[list[str], tuple[str, ...], bytes]:
    """Ids of what is new, of what is gone, the cursor."""
    [inbox] = session.folders()
    pages = list(session.changes(inbox, cursor))
    return [item.id for page in pages for item in page.items], pages[0].gone, pages[-1].cursor


class Fed:
    """A connection on which octets come in the pieces that it is made of."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def recv(self, _size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def sendall(self, _octets: bytes) -> None:
        pass


LINES = st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b".")), max_size=8)


@settings(max_examples=300, deadline=None)
@given(lines=LINES, cuts=st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_dots_are_taken_off_wherever_the_octets_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    mail = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    sent = b"+OK\r\n" + stuffed + b".\r\n" + b"+OK next\r\n"
    pieces, at = [], 0
    for number in range(len(sent)):
        size = cuts[number % len(cuts)]
        pieces.append(sent[at : at + size])
        at += size
        if at >= len(sent):
            break
    wire = Wire(Fed(pieces), "mail.example")  # type: ignore[arg-type]
    assert b"".join(wire.message(b"RETR 1")) == mail
    assert wire.ask(b"NOOP") == "next"


def test_a_line_of_a_megabyte_and_bare_line_ends_come_through() -> None:
    mail = b"Subject: x\r\n\r\n" + b"y" * 1_000_000 + b"\n.\nz\r.\r\n"
    with double([("one", mail)], piece=1000) as server, server.source().open(ACCOUNT) as session:
        assert fetched(session, "one") == {"one": mail}


def test_what_is_new_and_gone_is_told_by_unique_ids() -> None:
    with double(MAILS) as server:
        with server.source().open(ACCOUNT) as session:
            new, gone, cursor = changed(session)
            assert (new, gone) == (["uid1", "uid2", "uid3"], ())
        server.mails = [*MAILS[1:], ("uid9", b"late\r\n")]
        with server.source().open(ACCOUNT) as session:
            new, gone, later = changed(session, cursor)
            assert (new, gone) == (["uid9"], ("uid1",))
            assert changed(session, later) == ([], (), later)
            with pytest.raises(CursorLostError):
                changed(session, b"what no session made")


def test_copies_under_one_unique_id_are_messages_of_their_own() -> None:
    mails = [("same", b"first\r\n"), ("same", b"second\r\n"), ("other", b"third\r\n")]
    with double(mails) as server, server.source().open(ACCOUNT) as session:
        new, _, _ = changed(session)
        assert len(set(new)) == 3
        assert sorted(fetched(session, *new).values()) == [b"first\r\n", b"second\r\n", b"third\r\n"]  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("header", "received"),
    [
        (
            "Received: from a.example by b.example; Wed, 17 Jul 1996\r\n 02:44:25 -0700 (PDT)\r\nReceived: x; none",
            837596665,
        ),
        ("Subject: no such line", None),
        ("Received: from a.example; long ago", None),
        ("Received: from a.example; Fri, 1 Jan 2999 00:00:00 +0000", None),
    ],
)
def test_when_the_server_got_a_message_is_what_its_own_line_says(header: str, received: int | None) -> None:
    before = time.time_ns() // 1000
    mails = [("one", f"{header}\r\n\r\ntext\r\n".encode())]
    with double(mails, piece=7) as server, server.source().open(ACCOUNT) as session:
        [inbox] = session.folders()
        [(told, octets)] = [
            (one.item.received, b"".join(one.chunks))
            for one in session.fetch(inbox, [Item("one")])
            if isinstance(one, Fetched)
        ]
    assert octets == server.mails[0][1]
    if received is None:
        assert told is not None and before <= told <= time.time_ns() // 1000, "it came before now, that is certain"
    else:
        assert told == received * 1_000_000


def test_what_the_server_does_not_give_fails_with_its_words_and_stops_nothing() -> None:
    with double(MAILS, {rb"RETR 2": b"-ERR [SYS/PERM] disk of the server is broken\r\n"}) as server:
        with server.source().open(ACCOUNT) as session:
            found = fetched(session, "uid1", "uid2", "uid7", "uid3")
        refused, gone = found.pop("uid2"), found.pop("uid7")
        assert isinstance(refused, Failed) and "disk of the server is broken" in refused.why and not refused.gone
        assert isinstance(gone, Failed) and gone.gone
        assert found == {"uid1": MAILS[0][1], "uid3": MAILS[2][1]}


def test_a_message_that_is_cut_off_is_no_message() -> None:
    with double(MAILS, {rb"RETR 2": b"+OK\r\nSubject: 2\r\n\r\nte"}) as server:
        session = server.source().open(ACCOUNT)
        assert fetched(session, "uid1")
        server.close()
        with pytest.raises(UnavailableError):
            fetched(session, "uid2")


@pytest.mark.parametrize("command", [rb"UIDL", rb"LIST"])
def test_a_server_without_lists_is_refused_with_the_way_out(command: bytes) -> None:
    with double(MAILS, {command: b"-ERR unknown command\r\n"}) as server:
        with server.source().open(ACCOUNT) as session, pytest.raises(RemoteDeniedError, match="use IMAP"):
            session.folders()
        assert [one.state for one in server.source().check([ACCOUNT])][-1] == "problem"


@pytest.mark.parametrize("listed", [b"+OK\r\nnonsense\r\n.\r\n", b"+OK\r\n1 x\r\n.\r\n", b"what\r\n", None])
def test_lists_that_are_none_break_the_run_and_not_the_program(listed: bytes | None) -> None:
    with (
        double(MAILS, {rb"LIST": listed}) as server,
        server.source().open(ACCOUNT) as session,
        pytest.raises(UnavailableError),
    ):
        session.folders()


@pytest.mark.parametrize(
    ("said", "error", "seconds"),
    [
        (b"-ERR [IN-USE] another session\r\n", ThrottledError, 60),
        (b"-ERR [LOGIN-DELAY] wait 300 seconds\r\n", ThrottledError, 300),
        (b"-ERR maildrop already locked\r\n", ThrottledError, 60),
        (b"-ERR [SYS/TEMP] back end down\r\n", UnavailableError, None),
        (b"-ERR [AUTH] account locked\r\n", RemoteDeniedError, None),
        (b"-ERR wrong password\r\n", RemoteDeniedError, None),
    ],
)
def test_a_sign_in_that_is_refused_says_whether_to_come_again(
    said: bytes, error: type[Exception], seconds: float | None
) -> None:
    with double(MAILS, {rb"PASS .*": said}) as server:
        with pytest.raises(error) as refused:
            server.source().open(ACCOUNT)
        assert type(refused.value) is error
        assert seconds is None or getattr(refused.value, "seconds", None) == seconds
        assert "secret" not in str(refused.value)


def test_deleting_takes_the_named_ones_and_the_session_goes_on() -> None:
    with double(MAILS) as server:
        with server.source().open(ACCOUNT) as session:
            [inbox] = session.folders()
            assert session.delete(inbox, ["uid1", "uid3", "uid8"]) == {"uid1", "uid3"}
            assert fetched(session, "uid2") == {"uid2": MAILS[1][1]}
            assert session.delete(inbox, []) == session.delete(inbox, ["uid1"]) == frozenset()
        assert [id for id, _ in server.mails] == ["uid2"]


def test_what_the_server_does_not_mark_stays_and_is_said_so() -> None:
    with double(MAILS, {rb"DELE 2": b"-ERR read only\r\n"}) as server, server.source().open(ACCOUNT) as session:
        [inbox] = session.folders()
        assert session.delete(inbox, ["uid1", "uid2"]) == {"uid1"}


def test_where_the_end_is_refused_the_next_list_tells_what_is_gone() -> None:
    refuses = {rb"QUIT": b"-ERR some deleted messages not removed\r\n"}
    with double(MAILS, refuses) as server, server.source().open(ACCOUNT) as session:
        [inbox] = session.folders()
        assert session.delete(inbox, ["uid1", "uid2"]) == frozenset()


def test_a_connection_that_breaks_before_its_end_deletes_nothing() -> None:
    with double(MAILS, {rb"QUIT": None}) as server, server.source().open(ACCOUNT) as session:
        [inbox] = session.folders()
        with pytest.raises(UnavailableError):
            session.delete(inbox, ["uid1"])
        assert len(server.mails) == 3


def test_nobody_is_greeted() -> None:
    for greeting in (b"-ERR too many connections\r\n", b"* OK IMAP4rev1\r\n", b"\xff" * 100_000):
        with double(greeting=greeting) as server, pytest.raises(UnavailableError):
            server.source().open(ACCOUNT)


def test_what_was_said_before_tls_is_nobodys_word(tmp_path: Path) -> None:
    certificate, key = ensure_certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        plain.sendall(b"+OK hello\r\n")
        plain.recv(100)
        plain.sendall(b"+OK begin\r\n+OK forged\r\n")
        with context.wrap_socket(plain, server_side=True) as connection:
            connection.recv(100)
            connection.sendall(b"+OK true\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        wire = connect(Server("localhost", port, "starttls", certificate.read_text(), timeout=5))
        assert wire.ask(b"NOOP") == "true"
        wire.close()
