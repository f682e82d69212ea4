"""Who is let in, and that nothing an administrator can mend is ever refused for good."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from appliance.mail.published import Limits, address_key, decode_settings, encode, settings_path


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        ("anna@archive.example", "250 2.1.5"),
        ("ANNA@Archive.Example", "250 2.1.5"),
        ('"anna"@archive.example', "250 2.1.5"),
        ("@relay.example,@two.example:anna@archive.example", "250 2.1.5"),
        ("local@archive.example", "250 2.1.5"),
        ("jürgen@bücher.example", "250 2.1.5"),
        ("JÜRGEN@xn--bcher-kva.example", "250 2.1.5"),
        ("nobody@archive.example", "550 5.1.1"),
        ("anna@archive.example.org", "550 5.1.1"),
        ("anna", "550 5.1.1"),
        ("long-gone@archive.example", "550 5.1.1"),
        ("gone@archive.example", "451 4.2.1"),
        ("closed@archive.example", "450 4.2.1"),
        ("office@archive.example", "451 4.7.1"),
        ("secret@archive.example", "451 4.7.0"),
        ("disabled@archive.example", "450 4.2.1"),
        ("anna.alias@archive.example", "250 2.1.5"),
        ("whoever@caught.example", "250 2.1.5"),
        ("whoever@KÖLN.example", "250 2.1.5"),
        ("whoever@xn--kln-sna.example", "250 2.1.5"),
        ("whoever@sub.caught.example", "550 5.1.1"),
        ("caught.example", "550 5.1.1"),
        ("gone@caught.example", "451 4.2.1"),
        ("whoever@closed.example", "450 4.2.1"),
        ("whoever@let-go.example", "451 4.2.1"),
        ("", "501 5.1.3"),
    ],
)
def test_recipients(gateway, recipient: str, reply: str) -> None:
    client = gateway.client()
    client.say("MAIL FROM:<a@b.example> SMTPUTF8")
    assert client.say(f"RCPT TO:<{recipient}>").startswith(reply)


def test_a_recipient_with_a_parameter_nobody_offered(gateway) -> None:
    client = gateway.client()
    client.say("MAIL FROM:<a@b.example>")
    assert client.say("RCPT TO:<anna@archive.example> NOTIFY=NEVER").startswith("555 5.5.4")


def test_mail_by_an_alias_or_a_caught_address_is_archived_with_its_envelope(gateway) -> None:
    client = gateway.client()
    client.open_transaction("anna.alias@archive.example", "Whoever@caught.example", "else@caught.example")
    assert client.send_data(b"Subject: x\r\n\r\n").startswith("250 ")
    stored = {one.mailbox_id: one.provenance.rcpt_to for one in gateway.log.stored}
    assert stored == {
        b"\xaa" * 16: ("anna.alias@archive.example",),
        b"\x33" * 16: ("Whoever@caught.example", "else@caught.example"),
    }


def test_made_up_addresses_of_a_closed_domain_are_counted_as_one(gateway) -> None:
    client = gateway.client()
    client.say("MAIL FROM:<a@b.example>")
    for number in range(15):
        assert client.say(f"RCPT TO:<x{number}@closed.example>").startswith("450 4.2.1")
    assert client.say("RCPT TO:<disabled@archive.example>").startswith("450 4.2.1")
    client.say("QUIT")
    gateway.stop()
    stats = gateway.stats()
    assert stats.turned_away == {"*@closed.example": 15, "disabled@archive.example": 1}
    assert stats.reasons == {"disabled": 16}


@pytest.mark.parametrize("broken", [None, b"", b"{", b'{"version": 2, "hostname": "x"}', b'{"version": 1}'])
def test_settings_that_cannot_be_read_defer_everything_until_they_can(gateway, settings, broken) -> None:
    client = gateway.client()
    gateway.publish(broken)
    client.say("MAIL FROM:<a@b.example>")
    assert client.say("RCPT TO:<anna@archive.example>").startswith("451 4.3.5")
    assert client.say("RCPT TO:<nobody@archive.example>").startswith("451 4.3.5")
    gateway.publish(settings)
    assert client.say("RCPT TO:<anna@archive.example>").startswith("250 ")


def test_settings_with_an_impossible_mailbox_defer_everything(gateway, settings) -> None:
    odd = msgspec.structs.replace(settings.mailboxes[0], networks=("300.1.2.3/8",))
    gateway.publish(msgspec.structs.replace(settings, mailboxes=(odd,)))
    client = gateway.client()
    client.say("MAIL FROM:<a@b.example>")
    assert client.say("RCPT TO:<anna@archive.example>").startswith("451 4.3.5")


def test_a_mailbox_suspended_while_the_worker_runs(gateway, settings) -> None:
    client = gateway.client()
    client.say("MAIL FROM:<a@b.example>")
    assert client.say("RCPT TO:<anna@archive.example>").startswith("250 ")
    suspended = msgspec.structs.replace(settings.mailboxes[0], state="suspended")
    gateway.publish(msgspec.structs.replace(settings, mailboxes=(suspended,), generation=8))
    assert client.say("RCPT TO:<anna@archive.example>").startswith("450 4.2.1")


def test_settings_survive_writing_and_reading(settings) -> None:
    assert decode_settings(encode(settings)) == settings


def test_two_spellings_of_one_address() -> None:
    assert address_key("Jürgen@BÜCHER.example") == address_key("jürgen@xn--bcher-kva.example")
    assert address_key("u\u0308@a.example") == address_key("ü@a.example")
    assert address_key("a@b.example") != address_key("a@c.example")


def test_too_many_connections_of_one_client_are_sent_away_for_now(start: Callable, settings) -> None:
    gateway = start(msgspec.structs.replace(settings, limits=Limits(connections_per_client=2)))
    first, _second = gateway.client(), gateway.client()
    third = gateway.client(greet=False)
    assert third.reply().startswith("421 4.7.0")
    assert third.is_closed()
    first.say("QUIT")
    time.sleep(0.2)
    assert gateway.client(greet=False).reply().startswith("220 ")


def test_too_many_connections_in_all_are_sent_away_for_now(start: Callable, settings) -> None:
    gateway = start(msgspec.structs.replace(settings, limits=Limits(connections=1)))
    gateway.client()
    assert gateway.client(greet=False).reply().startswith("421 4.7.0")


def test_too_many_errors_end_a_session(start: Callable, settings) -> None:
    gateway = start(msgspec.structs.replace(settings, limits=Limits(errors_per_session=3)))
    client = gateway.client()
    client.send(b"XYZZY\r\n" * 5)
    replies = [client.reply()[:3] for _ in range(5)]
    assert replies == ["500", "500", "500", "421", ""]


def test_a_client_with_too_many_errors_is_sent_away_for_now(start: Callable, settings) -> None:
    limits = Limits(errors_per_session=3, errors_per_client=5)
    gateway = start(msgspec.structs.replace(settings, limits=limits))
    for _ in range(2):
        client = gateway.client()
        client.send(b"XYZZY\r\n" * 3)
        while client.reply():
            pass
    assert gateway.client(greet=False).reply().startswith("421 4.7.0")


def test_a_mailbox_made_a_moment_ago_is_not_refused_for_good(gateway, settings) -> None:
    client = gateway.client()
    client.say("MAIL FROM:<a@b.example>")
    assert client.say("RCPT TO:<new@archive.example>").startswith("550 5.1.1")
    newer = msgspec.structs.replace(settings.mailboxes[0], addresses=("new@archive.example",))
    fresh = settings_path(gateway.data).with_suffix(".fresh")
    fresh.write_bytes(encode(msgspec.structs.replace(settings, mailboxes=(newer,))))
    fresh.replace(settings_path(gateway.data))  # and no time to notice
    assert client.say("RCPT TO:<new@archive.example>").startswith("250 ")
