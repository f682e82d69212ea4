"""Stopping and waiting: nobody is cut off inside a message, nobody holds a connection for ever."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

import pytest

from appliance.mail.published import roll_path
from appliance.store.rolling import ask_to_roll


def test_stopping_ends_idle_sessions_and_finishes_messages(gateway) -> None:
    idle, busy, sending = gateway.client(), gateway.client(), gateway.client()
    busy.open_transaction()
    busy.say("DATA")
    gateway.log.durable.clear()
    busy.send(b"waits for the disk\r\n.\r\n")
    sending.open_transaction()
    sending.say("DATA")
    sending.send(b"half")
    assert sending.socket.fileno() >= 0
    gateway.begin_stop()
    assert idle.reply().startswith("421 4.3.2")
    assert idle.is_closed()
    gateway.log.durable.set()
    sending.send(b" and half\r\n.\r\n")
    for client in (busy, sending):
        assert client.reply().endswith("archived")
        assert client.reply().startswith("421 4.3.2")
        assert client.is_closed()
    gateway.stop()
    assert gateway.log.closed
    assert {entry.original for entry in gateway.log.stored} == {b"waits for the disk\r\n", b"half and half\r\n"}


def test_a_client_that_never_finishes_does_not_hold_up_the_end(start: Callable) -> None:
    gateway = start(grace=0.3)
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    client.send(b"and so on")
    gateway.stop()
    assert client.is_closed()
    assert gateway.log.stored == []


def test_a_large_message_cut_off_by_the_end_is_not_stored(start: Callable, caplog: pytest.LogCaptureFixture) -> None:
    gateway = start(grace=0.2)
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    client.send(bytes(12_000_000))
    gateway.stop()
    assert client.is_closed()
    assert gateway.log.stored == []
    assert gateway.log.aborted == gateway.log.opened
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]


def test_a_silent_client_is_sent_away(start: Callable) -> None:
    gateway = start(idle_timeout=0.4)
    client = gateway.client()
    assert client.reply().startswith("421 4.4.2")
    assert client.is_closed()


def test_a_client_silent_in_mid_message_is_cut_off(start: Callable) -> None:
    gateway = start(idle_timeout=0.4)
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    client.send(b"and then")
    assert client.is_closed()
    assert gateway.log.stored == []


def test_a_client_that_waits_for_the_disk_is_not_sent_away(start: Callable) -> None:
    gateway = start(idle_timeout=0.4)
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    gateway.log.durable.clear()
    client.send(b"x\r\n.\r\n")
    threading.Timer(1.5, gateway.log.durable.set).start()
    assert client.reply().endswith("archived")


def test_a_client_that_reads_no_replies_is_cut_off(start: Callable) -> None:
    gateway = start(idle_timeout=0.5)
    client = gateway.client()
    client.socket.settimeout(0.5)
    sent = 0
    with pytest.raises(OSError):  # first nothing more is taken, then the connection is reset
        for _ in range(100):
            with contextlib.suppress(TimeoutError):
                sent += client.socket.send(b"HELP\r\n" * 100_000)
    assert sent < 100 * 600_000
    assert gateway.client().say("NOOP") == "250 2.0.0 OK"


def test_volumes_are_closed_when_somebody_asks_for_it(gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled: list[float] = []
    called = threading.Event()

    def roll(*, older_than: float = 0) -> None:
        rolled.append(older_than)
        called.set()

    monkeypatch.setattr(gateway.log, "roll", roll)
    for moment in (2, 1):  # the second after the clock was set back
        called.clear()
        ask_to_roll(roll_path(gateway.data), moment)
        assert called.wait(20)
    assert rolled == [0.0, 0.0]
