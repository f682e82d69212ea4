"""Stopping and waiting: nobody is cut off inside a message, nobody holds a connection for ever."""

from __future__ import annotations

from collections.abc import Callable


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
    import threading

    gateway = start(idle_timeout=0.4)
    client = gateway.client()
    client.open_transaction()
    client.say("DATA")
    gateway.log.durable.clear()
    client.send(b"x\r\n.\r\n")
    threading.Timer(1.5, gateway.log.durable.set).start()
    assert client.reply().endswith("archived")
