"""Who gets in, what a session may do in which state, and that nothing is deleted before QUIT, or without it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest

from appliance.errors import LockedError, StorageError, UnavailableError
from appliance.mail.published import Limits, erased_folder, settings_path
from gateway import doors
from tests.unit.gateway.pop3.conftest import PASSWORD, Client, Server

MAIL = b"Subject: x\r\n\r\ny\r\n"


def plain(address: str, password: str, authorize: str = "") -> str:
    return base64.b64encode(f"{authorize}\0{address}\0{password}".encode()).decode()


# -- getting in ----------------------------------------------------------------------------------------------


def test_user_and_password(server: Server) -> None:
    box = server.box()
    client = server.client()
    assert client.log_in("Anna@ARCHIVE.example", PASSWORD) == "+OK 0 messages"
    assert client.say("STAT") == "+OK 0 0"
    assert client.say(f"USER {box.address}").startswith("-ERR")


def test_auth_plain_with_and_without_an_initial_response(server: Server) -> None:
    box = server.box()
    client = server.client()
    assert client.say(f"AUTH PLAIN {plain(box.address, PASSWORD)}").startswith("+OK")
    client.close()
    wait_until(lambda: server.open_now == 0)
    client = server.client()
    assert client.say("AUTH PLAIN") == "+ "
    assert client.say(plain(box.address, PASSWORD, box.address)).startswith("+OK")
    client = server.client()
    assert client.say("auth plain") == "+ "
    assert client.say("*").startswith("-ERR")
    assert client.say("NOOP").startswith("-ERR")


@pytest.mark.parametrize(
    "response",
    ["", "=", "!!!", "YWJj", plain("", "x"), plain("a", ""), plain("a", "b", "another"), "AAAA", plain("a\0b", "c")],
)
def test_responses_that_are_none_are_refused(server: Server, response: str) -> None:
    client = server.client()
    assert client.say(f"AUTH PLAIN {response}".strip()).startswith(("-ERR", "+ "))
    assert not client.say("NOOP").startswith("+OK")


def test_a_password_may_have_spaces(server: Server) -> None:
    box = server.box()
    box.password = " two  spaces "
    client = server.client()
    assert client.log_in(box.address, " two  spaces ").startswith("+OK")


def test_every_reason_not_to_let_somebody_in_sounds_the_same(server: Server) -> None:
    box = server.box()
    disabled = server.box("off@archive.example", state="disabled")
    answers = {
        server.client().log_in(box.address, "wrong"),
        server.client().log_in("nobody@archive.example", PASSWORD),
        server.client().log_in(f"alias.{box.address}", PASSWORD),
        server.client().log_in(disabled.address, PASSWORD),
        server.client().say(f"AUTH PLAIN {plain(box.address, 'wrong')}"),
    }
    assert len(answers) == 1
    assert answers.pop().startswith("-ERR [AUTH]")
    assert server.open_now == 0


def test_a_suspended_mailbox_can_be_read_and_a_changed_password_counts_at_once(server: Server) -> None:
    box = server.box(state="suspended")
    box.receive(MAIL)
    client = server.enter(box)
    assert client.message(1) == MAIL
    client.say("QUIT")
    box.password = "another password"
    assert server.client().log_in(box.address, PASSWORD).startswith("-ERR [AUTH]")
    assert server.enter(box).message(1) == MAIL


def test_a_mailbox_made_a_moment_ago_can_be_read_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.box().receive(MAIL)
    monkeypatch.setattr(doors, "_LOOK_EVERY", 3600.0)
    server.client().close()  # the settings have been looked at
    assert server.enter(server.box("new@archive.example")).say("STAT") == "+OK 0 0"


def test_who_guesses_is_slowed_down_and_sent_away(server: Server) -> None:
    box = server.box()
    client = server.client()
    assert client.log_in(box.address, "a").startswith("-ERR [AUTH]")
    assert client.log_in(box.address, "b").startswith("-ERR [AUTH]")
    began = time.monotonic()
    assert client.log_in(box.address, "c").startswith("-ERR [AUTH]")
    assert time.monotonic() - began >= 1.0
    assert client.is_closed()


def test_only_one_reader_at_a_time(server: Server) -> None:
    box = server.box()
    first = server.enter(box)
    second = server.client()
    assert second.log_in(box.address, PASSWORD).startswith("-ERR [IN-USE]")
    first.say("QUIT")
    assert first.is_closed()
    wait_until(lambda: second.log_in(box.address, PASSWORD).startswith("+OK"))


def test_the_key_is_forgotten_when_the_session_ends_however_it_does(server: Server) -> None:
    box = server.box()
    box.receive(MAIL)
    client = server.enter(box)
    assert server.open_now == 1
    client.say("QUIT")
    wait_until(lambda: server.open_now == 0)
    client = server.enter(box)
    client.send(b"RETR 1\r\n")
    client.close()
    wait_until(lambda: server.open_now == 0)
    server.enter(box).say("QUIT")


def test_without_settings_or_agent_a_reader_is_told_to_come_again(server: Server) -> None:
    box = server.box()
    server.opening_failure = UnavailableError("gone")
    assert server.client().log_in(box.address, PASSWORD).startswith("-ERR [SYS/TEMP]")
    server.opening_failure = None
    settings_path(server.data).unlink()
    assert server.client().log_in(box.address, PASSWORD).startswith("-ERR [SYS/TEMP]")
    server.publish()
    assert server.enter(box).say("QUIT").startswith("+OK")


# -- TLS -----------------------------------------------------------------------------------------------------


def test_no_password_before_tls(server: Server) -> None:
    box = server.box()
    client = server.client(secure=False)
    capabilities = client.lines("CAPA")
    assert "STLS" in capabilities and not {"USER", "SASL PLAIN"} & set(capabilities)
    assert client.say(f"USER {box.address}").startswith("-ERR")
    assert client.say(f"PASS {PASSWORD}").startswith("-ERR")
    assert client.say(f"AUTH PLAIN {plain(box.address, PASSWORD)}").startswith("-ERR")
    assert server.open_now == 0
    client.start_tls()
    capabilities = client.lines("CAPA")
    assert {"USER", "SASL PLAIN"} <= set(capabilities) and "STLS" not in capabilities
    assert client.say("STLS").startswith("-ERR")
    assert client.log_in(box.address, PASSWORD).startswith("+OK")


def test_what_was_said_before_tls_is_forgotten(server: Server) -> None:
    box = server.box()
    client = server.client(secure=False)
    client.send(f"STLS\r\nUSER {box.address}\r\nPASS {PASSWORD}\r\n".encode())
    assert client.reply().startswith("+OK")
    client._encrypt()
    client._stream = client.socket.makefile("rb")
    assert client.say("NOOP").startswith("-ERR")
    assert client.say(f"PASS {PASSWORD}") == "-ERR Send USER first"


def test_capabilities_say_what_is_true(server: Server) -> None:
    client = server.client()
    assert set(client.lines("CAPA")) == {
        "TOP", "UIDL", "USER", "SASL PLAIN", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "IMPLEMENTATION mailkeep"
    }  # fmt: skip


# -- order ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["STAT", "LIST", "RETR 1", "DELE 1", "TOP 1 1", "UIDL", "RSET", "NOOP", "APOP a b", "XYZ", "", "PASS x"]
)
def test_before_signing_in_there_is_nothing(server: Server, command: str) -> None:
    server.box().receive(MAIL)
    assert server.client().say(command).startswith("-ERR")


@pytest.mark.parametrize(
    "command",
    [
        "RETR", "RETR 0", "RETR 2", "RETR -1", "RETR 1 1", "RETR x", "RETR ٣", "RETR 99999999999999999999", "TOP 1",
        "TOP 1 -1", "TOP x 1", "LIST 2", "LIST 1 2", "UIDL 0", "DELE", "DELE 2", "STAT 1", "NOOP 1", "RSET x", "QUIT x",
        "PASS x", "STLS", "AUTH PLAIN",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_the_session_goes_on(server: Server, command: str) -> None:
    box = server.box(deletes=True)
    box.receive(MAIL)
    client = server.enter(box)
    assert client.say(command).startswith("-ERR")
    assert client.message(1) == MAIL


@pytest.mark.parametrize("octets", [b"NOOP\n", b"NO\0OP\r\n", b"NO\rOP\r\n", b"\xff\xfe\r\n", b"x" * 5000 + b"\r\n"])
def test_lines_that_are_none(server: Server, octets: bytes) -> None:
    client = server.enter(server.box())
    client.send(octets)
    assert client.reply().startswith("-ERR")
    assert client.say("NOOP").startswith("+OK")


def test_too_many_errors_end_a_session(server: Server) -> None:
    server.limits = Limits(errors_per_session=5)
    server.publish()
    client = server.client()
    answers = [client.say("NONSENSE") for _ in range(5)]
    assert all(answer.startswith("-ERR") for answer in answers)
    assert client.is_closed()


def test_too_many_connections_of_one_client(server: Server) -> None:
    server.limits = Limits(connections_per_client=2)
    server.publish()
    clients = [server.client(), server.client()]
    with pytest.raises((AssertionError, OSError)):
        server.client()
    clients.pop().close()
    wait_until(lambda: reaches(server))


def test_silence_ends_a_session_and_deletes_nothing(start: Callable[..., Server]) -> None:
    server = start(idle_timeout=0.4, login_timeout=0.2)
    box = server.box(deletes=True)
    box.receive(MAIL)
    client = server.enter(box)
    assert client.say("DELE 1").startswith("+OK")
    stranger = server.client()
    assert client.is_closed() and stranger.is_closed()
    assert server.enter(box).say("STAT") == f"+OK 1 {len(MAIL)}"


# -- deleting ------------------------------------------------------------------------------------------------


def test_what_is_deleted_is_gone_after_quit_and_not_before(server: Server) -> None:
    box = server.box(deletes=True)
    ids = box.receive(MAIL, MAIL + b"2\r\n", MAIL + b"3\r\n")
    client = server.enter(box)
    assert client.say("DELE 2").startswith("+OK")
    for command in ("RETR 2", "DELE 2", "LIST 2", "UIDL 2", "TOP 2 0"):
        assert client.say(command).startswith("-ERR")
    assert client.say("STAT") == f"+OK 2 {2 * len(MAIL) + 3}"
    assert [line.split()[0] for line in client.lines("LIST")] == ["1", "3"]
    assert server.archiver.erased == []
    assert client.say("QUIT").startswith("+OK 1 ")
    assert server.archiver.erased == [ids[1]]
    left = server.enter(box)
    assert [line.split()[1] for line in left.lines("UIDL")] == [ids[0].hex(), ids[2].hex()]
    assert left.message(2) == MAIL + b"3\r\n"


def test_rset_takes_it_back(server: Server) -> None:
    box = server.box(deletes=True)
    box.receive(MAIL, MAIL)
    client = server.enter(box)
    assert client.say("STAT") == f"+OK 2 {2 * len(MAIL)}"
    client.say("DELE 1")
    assert client.say("STAT") == f"+OK 1 {len(MAIL)}"
    assert client.say("RSET").startswith("+OK")
    assert client.say("STAT") == f"+OK 2 {2 * len(MAIL)}"
    assert client.say("QUIT").startswith("+OK")
    assert server.archiver.erased == []


def test_a_connection_that_breaks_deletes_nothing(server: Server) -> None:
    box = server.box(deletes=True)
    box.receive(MAIL, MAIL)
    client = server.enter(box)
    client.send(b"DELE 1\r\nDELE 2\r\nNOOP\r\n")
    assert [client.reply()[:3] for _ in range(3)] == ["+OK"] * 3
    client.close()
    wait_until(lambda: server.open_now == 0)
    assert server.archiver.erased == []
    assert server.enter(box).say("STAT") == f"+OK 2 {2 * len(MAIL)}"


def test_a_server_that_stops_deletes_nothing(server: Server) -> None:
    box = server.box(deletes=True)
    box.receive(MAIL)
    client = server.enter(box)
    client.say("DELE 1")
    server.stop()
    assert client.is_closed()
    assert server.archiver.erased == [] and server.open_now == 0


def test_a_mailbox_that_keeps_its_mail_says_so(server: Server) -> None:
    box = server.box()
    box.receive(MAIL)
    client = server.enter(box)
    assert client.say("DELE 1").startswith("-ERR [SYS/PERM] This mailbox keeps its mail")
    assert client.say("QUIT").startswith("+OK")
    assert server.archiver.erased == []


def test_a_locked_archive_is_read_and_not_deleted_from(server: Server) -> None:
    box = server.box(deletes=True)
    box.receive(MAIL)
    server.archiver.failure = LockedError("locked")
    client = server.enter(box)
    assert client.message(1) == MAIL
    assert client.say("DELE 1").startswith("-ERR [SYS/TEMP] The archive is locked")
    assert client.say("STAT") == f"+OK 1 {len(MAIL)}"
    server.archiver.failure = UnavailableError("gone")
    assert client.say("DELE 1").startswith("-ERR [SYS/TEMP]")
    assert client.say("QUIT").startswith("+OK")


@pytest.mark.parametrize("failure", [UnavailableError("gone"), StorageError("full"), LockedError("locked")])
def test_what_could_not_be_erased_is_said(server: Server, failure: Exception) -> None:
    box = server.box(deletes=True)
    box.receive(MAIL)
    client = server.enter(box)
    assert client.say("DELE 1").startswith("+OK")
    server.archiver.failure = failure  # type: ignore[assignment]
    assert client.say("QUIT").startswith("-ERR [SYS/TEMP]")
    assert client.is_closed()
    server.archiver.failure = None
    assert server.enter(box).say("STAT") == f"+OK 1 {len(MAIL)}"


def test_what_cannot_be_told_erased_is_not_shown(server: Server) -> None:
    box = server.box(deletes=True)
    box.receive(MAIL)
    folder = erased_folder(server.data)
    (folder / box.id.hex()).mkdir(parents=True)  # a file that cannot be read
    assert server.client().log_in(box.address, PASSWORD).startswith("-ERR [SYS/TEMP]")
    assert server.open_now == 0


def test_reading_is_written_down_once_and_looking_is_not(server: Server) -> None:
    box = server.box()
    box.receive(MAIL, MAIL)
    client = server.enter(box)
    client.say("STAT")
    client.lines("UIDL")
    assert server.archiver.readers == []
    client.message(1)
    client.message(2)
    client.lines("TOP 1 0")
    assert server.archiver.readers == ["127.0.0.1"]


def reaches(server: Server) -> Client | None:
    try:
        return server.client()
    except (AssertionError, OSError):
        return None


def wait_until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
