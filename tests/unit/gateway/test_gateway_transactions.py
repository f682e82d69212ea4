"""What a sending server meets: commands, order, replies, and that what it sends is what is archived."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Callable

import pytest

from appliance.errors import DiskFullError, StorageError

CONTENTS = {
    "empty": b"",
    "one line": b"Subject: x\r\n\r\nhello\r\n",
    "lone dots": b".\r\n..\r\n...\r\n\r\n.\r\n",
    "long line": b"x" * 300_000 + b"\r\n",
    "nul and 8 bit": bytes(range(256)) * 8 + b"\r\n",
    "bare line feeds": b"a\nb\n.\nc\n.\n.\r\nd\r\n",
    "bare carriage returns": b"a\rb\r.\rc\r\r\n",
    "many short lines": b".x\r\n" * 30_000,
    "larger than every buffer": b"0123456789abcde\n" * 80_000 + b"\r\n",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_data_is_archived_as_sent(gateway, content: bytes) -> None:
    client = gateway.client()
    client.open_transaction()
    reply = client.send_data(content)
    (stored,) = gateway.log.stored
    assert stored.original == content
    assert reply == f"250 2.0.0 {stored.record_id.hex()} archived"


@pytest.mark.parametrize("content", [*CONTENTS.values(), b"no line end", b"\r\n.\r\n", b"ends in cr\r"])
@pytest.mark.parametrize("size", [1, 7, 65536])
def test_bdat_is_archived_untouched_however_it_is_cut(gateway, content: bytes, size: int) -> None:
    content = content[: size * 50]
    client = gateway.client()
    client.open_transaction()
    chunks = [content[i : i + size] for i in range(0, len(content), size)]
    client.send(b"".join(b"BDAT %d\r\n%s" % (len(chunk), chunk) for chunk in chunks) + b"BDAT 0 LAST\r\n")
    for _ in chunks:
        assert client.reply() == "250 2.0.0 Chunk received"
    assert client.reply().endswith("archived")
    assert gateway.log.stored[0].original == content


def test_what_is_stored_beside_a_message(gateway) -> None:
    before = time.time_ns() // 1000
    client = gateway.client()
    client.say("MAIL FROM:<>")
    client.say("RCPT TO:<Anna.Alias@ARCHIVE.example>")
    client.send_data(b"report\r\n")
    provenance = gateway.log.stored[0].provenance
    assert provenance.source == "smtp"
    assert provenance.mail_from == ""
    assert provenance.rcpt_to == ("Anna.Alias@ARCHIVE.example",)
    assert (provenance.peer, provenance.helo, provenance.tls) == ("127.0.0.1", "client.example", "")
    assert before <= provenance.received_at <= time.time_ns() // 1000


def test_a_message_is_stored_once_for_each_mailbox_addressed(gateway) -> None:
    client = gateway.client()
    client.open_transaction("anna@archive.example", "bert@archive.example", "anna.alias@archive.example")
    client.send_data(b"x\r\n")
    stored = {entry.mailbox_id: entry.provenance.rcpt_to for entry in gateway.log.stored}
    assert len(gateway.log.stored) == 2
    assert stored == {
        b"\xaa" * 16: ("anna@archive.example", "anna.alias@archive.example"),
        b"\xbb" * 16: ("bert@archive.example",),
    }


def test_no_250_before_the_message_is_durable(gateway) -> None:
    gateway.log.durable.clear()
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    client.send(b"x\r\n.\r\nNOOP\r\n")
    client.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.reply()
    gateway.log.durable.set()
    client.socket.settimeout(20)
    assert client.reply().endswith("archived")
    assert client.reply() == "250 2.0.0 OK"


@pytest.mark.parametrize(
    ("failure", "reply"),
    [
        (StorageError("no"), "451 4.3.0 "),
        (DiskFullError("full"), "452 4.3.1 "),
        (RuntimeError("a bug"), "451 4.3.0 "),
    ],
)
def test_a_disk_that_fails_defers_and_the_next_try_succeeds(gateway, failure: Exception, reply: str) -> None:
    client = gateway.client()
    gateway.log.failure = failure
    client.open_transaction()
    assert client.send_data(b"x\r\n").startswith(reply)
    gateway.log.failure = None
    client.open_transaction()
    assert client.send_data(b"x\r\n").endswith("archived")
    gateway.stop()
    assert (gateway.stats().accepted, gateway.stats().deferred) == (1, 1)


def test_one_mailbox_of_two_that_fails_defers_the_message(gateway) -> None:
    gateway.log.failure, gateway.log.failing_mailbox = StorageError("no"), b"\xbb" * 16
    client = gateway.client()
    client.open_transaction("anna@archive.example", "bert@archive.example")
    assert client.send_data(b"x\r\n").startswith("451 4.3.0 ")


def test_a_pipelined_session_is_answered_in_order(gateway) -> None:
    client = gateway.client(greet=False)
    client.send(
        b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<anna@archive.example>\r\n"
        b"RCPT TO:<nobody@archive.example>\r\nDATA\r\none\r\n.\r\n"
        b"MAIL FROM:<a@b.example> BODY=8BITMIME SIZE=5\r\nRCPT TO:<bert@archive.example>\r\n"
        b"BDAT 3\r\ntwoBDAT 2 LAST\r\n\r\nNOOP\r\nQUIT\r\n"
    )
    codes = [client.reply()[:3] for _ in range(14)]
    assert codes == [
        "220", "250", "250", "250", "550", "354", "250", "250", "250", "250", "250", "250", "221", "",
    ]  # fmt: skip
    assert [entry.original for entry in gateway.log.stored] == [b"one\r\n", b"two\r\n"]


def test_smtplib_gets_a_list_of_refused_recipients(gateway) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
        refused = client.sendmail(
            "a@b.example", ["anna@archive.example", "nobody@archive.example"], b"Subject: x\r\n\r\n\xff\r\n"
        )
        assert client.has_extn("size")
        assert {"pipelining", "8bitmime", "smtputf8", "chunking", "starttls"} >= set(client.esmtp_features) - {
            "size",
            "enhancedstatuscodes",
        }
        assert not client.has_extn("auth")
    assert list(refused) == ["nobody@archive.example"]
    assert gateway.log.stored[0].original == b"Subject: x\r\n\r\n\xff\r\n"


def test_rset_forgets_the_transaction(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    assert client.say("RSET") == "250 2.0.0 OK"
    assert client.say("DATA").startswith("503 5.5.1")


def test_a_new_ehlo_forgets_the_transaction(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    client.say("EHLO again.example")
    assert client.say("RCPT TO:<anna@archive.example>").startswith("503 5.5.1")


def test_commands_out_of_order(gateway) -> None:
    client = gateway.client(greet=False)
    client.reply()
    assert client.say("MAIL FROM:<a@b.example>").startswith("503 5.5.1")
    assert client.say("HELO") == "501 5.5.4 Say who you are"
    assert client.say("HELO client.example") == "250 gate.example"
    assert client.say("RCPT TO:<anna@archive.example>").startswith("503 5.5.1")
    assert client.say("DATA").startswith("503 5.5.1")
    assert client.say("MAIL FROM:<a@b.example>").startswith("250 ")
    assert client.say("MAIL FROM:<a@b.example>").startswith("503 5.5.1")
    assert client.say("DATA").startswith("554 5.5.1")
    assert client.say("RCPT TO:<anna@archive.example>").startswith("250 ")
    assert client.say("DATA now").startswith("501 ")
    assert client.send_data(b"fine\r\n").endswith("archived")


def test_the_small_commands(gateway) -> None:
    client = gateway.client()
    assert client.say("NOOP and more") == "250 2.0.0 OK"
    assert client.say("VRFY anna@archive.example").startswith("252 ")
    assert client.say("HELP").startswith("214 ")
    assert client.say("AUTH PLAIN AGEAYg==").startswith("500 5.5.1")
    assert client.say("noop") == "250 2.0.0 OK"
    assert client.say("QUIT") == "221 2.0.0 Bye"
    assert client.is_closed()


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("MAIL FROM:<a@b.example> SIZE=367001601", "552 5.3.4"),
        ("MAIL FROM:<a@b.example> SIZE=367001600", "250"),
        ("MAIL FROM:<a@b.example> SIZE=many", "501 5.5.4"),
        ("MAIL FROM:<a@b.example> BODY=8BITMIME SMTPUTF8 SIZE=10", "250"),
        ("MAIL FROM:<a@b.example> body=7bit", "250"),
        ("MAIL FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"),
        ("MAIL FROM:<a@b.example> RET=HDRS", "555 5.5.4"),
        ("MAIL FROM:a@b.example", "250"),
        ("mail from: <a@b.example>", "250"),
        ("MAIL FROM:<O365ConnectorValidation@contoso.onmicrosoft.com>", "250"),
        ("MAIL FROM:<" + "x" * 200 + "@b.example>", "250"),
        ('MAIL FROM:<"a b>c"@b.example>', "250"),
        ("MAIL FROM:<jürgen@bücher.example> SMTPUTF8", "250"),
        ("MAIL FROM:<a@b.example", "501 5.1.7"),
        ("MAIL FROM:<a b@b.example>", "501 5.1.7"),
        ("MAIL <a@b.example>", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
    ],
)
def test_mail_and_its_parameters(gateway, command: str, reply: str) -> None:
    assert gateway.client().say(command).startswith(reply)


def test_an_octet_that_is_no_utf8_in_a_sender_is_kept(gateway) -> None:
    client = gateway.client()
    client.send(b"MAIL FROM:<j\xfcrgen@b.example>\r\n")
    assert client.reply().startswith("250 ")
    client.say("RCPT TO:<anna@archive.example>")
    client.send_data(b"x\r\n")
    assert gateway.log.stored[0].provenance.mail_from == "jürgen@b.example"


def test_bdat_without_recipients_takes_its_octets_with_it(gateway) -> None:
    client = gateway.client()
    client.say("MAIL FROM:<a@b.example>")
    client.say("RCPT TO:<nobody@archive.example>")
    client.send(b"BDAT 22 LAST\r\nRSET\r\nNOOP\r\nDATA\r\nxx\r\nBDAT 4\r\nQUITNOOP\r\n")
    assert client.reply().startswith("554 5.5.1")
    assert client.reply().startswith("503 5.5.1")
    assert client.reply() == "250 2.0.0 OK"


def test_between_bdat_chunks_only_what_ends_or_continues_them(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    client.send(b"BDAT 3\r\nabc")
    assert client.reply().startswith("250 ")
    for command in ("MAIL FROM:<a@b.example>", "RCPT TO:<bert@archive.example>", "DATA", "STARTTLS"):
        assert client.say(command).startswith("503 5.5.1")
    assert client.say("NOOP").startswith("250 ")
    client.send(b"BDAT 2 LAST\r\nde")
    assert client.reply().endswith("archived")
    assert gateway.log.stored[0].original == b"abcde"


def test_rset_between_bdat_chunks_drops_them(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    client.send(b"BDAT 3\r\nabcRSET\r\n")
    assert client.reply().startswith("250 ")
    assert client.reply().startswith("250 ")
    client.open_transaction()
    assert client.send_data(b"other\r\n").endswith("archived")
    assert [entry.original for entry in gateway.log.stored] == [b"other\r\n"]


@pytest.mark.parametrize(
    "command", ["BDAT", "BDAT x", "BDAT -1 LAST", "BDAT 5 FIRST", "BDAT 5 LAST x", "BDAT 9" + "9" * 30]
)
def test_bdat_of_unknown_size_ends_the_session_lest_content_be_read_as_commands(gateway, command: str) -> None:
    client = gateway.client()
    client.open_transaction()
    client.send(command.encode() + b"\r\nMAIL FROM:<evil@example.org>\r\n")
    assert client.reply().startswith("521 5.5.4")
    assert client.is_closed()


@pytest.mark.parametrize(
    "ending", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\r\n.\r\r\n"]
)
def test_a_message_hidden_behind_an_odd_line_end_stays_inside(gateway, ending: bytes) -> None:
    smuggled = b"MAIL FROM:<boss@archive.example>\r\nRCPT TO:<bert@archive.example>\r\nDATA\r\nevil\r\n"
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    client.send(b"hello" + ending + smuggled + b".\r\n")
    assert client.reply().endswith("archived")
    assert client.say("NOOP") == "250 2.0.0 OK"
    (stored,) = gateway.log.stored
    assert stored.mailbox_id == b"\xaa" * 16
    assert smuggled in stored.original


@pytest.mark.parametrize(
    "line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP \0\r\n", b"\r\n", b"N\xc3\xb6\xc3\xb6P\r\n", b" NOOP\r\n"]
)
def test_a_line_that_is_no_command_is_an_error_and_the_session_goes_on(gateway, line: bytes) -> None:
    client = gateway.client()
    client.send(line)
    assert client.reply().startswith("500 5.5.")
    assert client.say("NOOP") == "250 2.0.0 OK"


@pytest.mark.parametrize("length", [4095, 5000, 1_000_000])
def test_a_line_too_long_is_refused_whole(gateway, length: int) -> None:
    client = gateway.client()
    client.send(b"NOOP " + b"x" * length + b"\r\nNOOP\r\n")
    assert client.reply() == "500 5.5.2 Line too long"
    assert client.reply() == "250 2.0.0 OK"


def test_thousands_of_commands_in_one_packet_are_each_answered(gateway) -> None:
    client = gateway.client()
    client.send(b"NOOP\r\n" * 20_000 + b"QUIT\r\n")
    for _ in range(20_000):
        assert client.reply() == "250 2.0.0 OK"
    assert client.reply().startswith("221 ")


def test_a_client_that_leaves_in_mid_message_leaves_nothing(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    client.send(b"half a mess")
    client.close()
    other = gateway.client()
    other.open_transaction()
    other.send_data(b"whole\r\n")
    assert [entry.original for entry in gateway.log.stored] == [b"whole\r\n"]


def test_a_client_that_stops_sending_still_gets_its_answer(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    gateway.log.durable.clear()
    client.send(b"x\r\n.\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    gateway.log.durable.set()
    assert client.reply().endswith("archived")


def test_counters_are_published(start: Callable) -> None:
    gateway = start()
    client = gateway.client()
    client.open_transaction()
    client.send_data(b"12345678\r\n")
    client.say("MAIL FROM:<>")
    client.say("RCPT TO:<nobody@archive.example>")
    client.say("RCPT TO:<closed@archive.example>")
    client.say("QUIT")
    gateway.stop()
    stats = gateway.stats()
    assert (stats.accepted, stats.bytes, stats.refused, stats.deferred) == (1, 10, 1, 1)
    assert (stats.connections, stats.open, stats.generation) == (1, 0, 7)
    assert stats.reasons == {"unknown-recipient": 1, "suspended": 1}
    assert stats.turned_away == {"closed@archive.example": 1}
    assert stats.last_accepted_at is not None
