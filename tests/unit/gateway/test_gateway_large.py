"""Messages larger than memory should hold: streamed, bounded, dropped without trace when they break off."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

import gateway.intake as intake
from appliance.errors import DiskFullError

LARGE = b"0123456789\n.\r\n..abcdefghij\r\n" * 500_000  # 14 MB with dots at the start of lines


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_large_message_by_data_arrives_whole_and_streamed(gateway) -> None:
    client = gateway.client()
    client.open_transaction("anna@archive.example", "bert@archive.example")
    assert client.send_data(LARGE).endswith("archived")
    assert {entry.mailbox_id for entry in gateway.log.stored} == {b"\xaa" * 16, b"\xbb" * 16}
    assert all(entry.streamed and entry.original == LARGE for entry in gateway.log.stored)


def test_a_large_message_by_bdat_arrives_whole_and_streamed(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    for start in range(0, len(LARGE), 3_000_000):
        chunk = LARGE[start : start + 3_000_000]
        client.send(b"BDAT %d\r\n" % len(chunk) + chunk)
        assert client.reply().startswith("250 ")
    client.send(b"BDAT 0 LAST\r\n")
    assert client.reply().endswith("archived")
    assert gateway.log.stored[0].original == LARGE


def test_two_large_messages_on_one_connection(gateway) -> None:
    client = gateway.client()
    for message in (LARGE, LARGE[::-1] + b"\r\n"):
        client.open_transaction()
        assert client.send_data(message).endswith("archived")
    assert [entry.original for entry in gateway.log.stored] == [LARGE, LARGE[::-1] + b"\r\n"]


def test_a_large_message_that_breaks_off_is_removed(gateway) -> None:
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    client.send(LARGE)
    wait_until(lambda: gateway.log.opened == 1)
    client.close()
    wait_until(lambda: gateway.log.aborted == 1)
    assert gateway.log.stored == []


def test_a_disk_that_fills_under_a_large_message_defers_it(gateway) -> None:
    gateway.log.failure = DiskFullError("full")
    client = gateway.client()
    client.open_transaction()
    assert client.send_data(LARGE).startswith("452 4.3.1")
    gateway.log.failure = None
    client.open_transaction()
    assert client.send_data(b"next\r\n").endswith("archived")


@pytest.mark.parametrize("limit", [100_000, 10_000_000])
def test_a_message_over_the_limit_is_refused_at_its_end(start: Callable, settings, limit: int) -> None:
    gateway = start(msgspec.structs.replace(settings, size_limit=limit))
    client = gateway.client()
    client.open_transaction()
    assert client.send_data(LARGE).startswith("552 5.3.4")
    client.open_transaction()
    client.send(b"BDAT %d\r\n" % len(LARGE) + LARGE)
    assert client.reply().startswith("552 5.3.4")
    assert client.say("BDAT 0 LAST").startswith("503 5.5.1")
    client.open_transaction()
    assert client.send_data(b"x" * (limit - 2 if limit < 1_000_000 else 10) + b"\r\n").endswith("archived")
    assert len(gateway.log.stored) == 1


def test_when_memory_is_taken_small_messages_are_streamed_too(gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BUDGET", 1000)
    client = gateway.client()
    client.open_transaction()
    message = b"x" * 100_000 + b"\r\n"
    assert client.send_data(message).endswith("archived")
    assert gateway.log.stored[0].streamed
    assert gateway.log.stored[0].original == message


def test_more_large_messages_than_streams_wait_for_one_another(gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BUDGET", 1000)
    monkeypatch.setattr(intake, "STREAMS", 2)
    clients = [gateway.client() for _ in range(6)]
    message = b"y" * 200_000 + b"\r\n"
    for client in clients:
        client.open_transaction("anna@archive.example", "bert@archive.example")
        client.say("DATA")
        client.send(message + b".\r\n")
    for client in clients:
        assert client.reply().endswith("archived")
    assert [entry.original == message for entry in gateway.log.stored] == [True] * 12


def test_memory_is_given_back(gateway) -> None:
    for message in (b"small\r\n", LARGE):
        client = gateway.client()
        client.open_transaction()
        client.send_data(message)
        client.open_transaction()
        client.say("DATA")
        client.send(message)
        client.close()
    shared = gateway.worker._intake
    wait_until(lambda: shared.held == 0 and shared._streams == 0)
