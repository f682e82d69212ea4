"""Closing all volumes now: what was acknowledged before is in closed ones, whoever runs or has died."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.cloud.rolling import growing, roll_and_wait
from appliance.errors import UnavailableError
from appliance.keys.envelope import MailboxKeyPair
from appliance.mail.published import roll_path
from appliance.store.reader import LogReader
from appliance.store.rolling import RollRequests, ask_to_roll
from appliance.store.writer import LogWriter

MAILBOXES = tuple(bytes([number]) * 16 for number in (1, 2))
KEY = MailboxKeyPair.generate().public


@contextmanager
def at_work(data: Path, name: str) -> Iterator[LogWriter]:
    """A writer, and whoever looks for requests beside it."""
    writer = LogWriter(data / "volumes", name, reserve=0, threads=2)
    requests = RollRequests(roll_path(data))
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.01):
            if requests.asked():
                writer.roll()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield writer
    finally:
        stop.set()
        thread.join()
        writer.close()


def put(writer: LogWriter, mailbox: bytes, text: bytes = b"mail") -> str:
    return writer.append(mailbox, KEY, text).result(timeout=30).volume


def now() -> int:
    return time.time_ns() // 1000


def closed(data: Path) -> set[str]:
    return {one.path for one in LogReader(data / "volumes").volumes() if one.closed}


def test_all_that_was_acknowledged_is_closed_for_every_writer_and_mailbox(tmp_path: Path) -> None:
    with at_work(tmp_path, "g0") as first, at_work(tmp_path, "g1") as second:
        for _ in range(3):
            open_ = {put(writer, mailbox) for writer in (first, second) for mailbox in MAILBOXES}
            assert open_.isdisjoint(closed(tmp_path))
            roll_and_wait(tmp_path, now=now())
            assert open_ <= closed(tmp_path)
        assert growing(tmp_path / "volumes") == []


def test_mail_that_keeps_coming_is_not_waited_for(tmp_path: Path) -> None:
    stop = threading.Event()
    with at_work(tmp_path, "g0") as writer:

        def keep_coming() -> None:
            while not stop.is_set():
                put(writer, MAILBOXES[0])

        sender = threading.Thread(target=keep_coming)
        sender.start()
        try:
            for _ in range(5):
                before = put(writer, MAILBOXES[0])
                roll_and_wait(tmp_path, now=now())
                assert before in closed(tmp_path)
        finally:
            stop.set()
            sender.join()


def test_a_clock_that_was_set_back_still_closes(tmp_path: Path) -> None:
    with at_work(tmp_path, "g0") as writer:
        for moment in (2_000_000, 1_000_000, 1_000_000):
            volume = put(writer, MAILBOXES[0])
            roll_and_wait(tmp_path, now=moment)
            assert volume in closed(tmp_path)


def test_a_large_message_on_its_way_is_not_waited_for(tmp_path: Path) -> None:
    with at_work(tmp_path, "g0") as writer, writer.stream(MAILBOXES[0], KEY) as stream:
        stream.write(b"begun" * 100_000)
        volume = put(writer, MAILBOXES[0])
        roll_and_wait(tmp_path, now=now())
        assert volume in closed(tmp_path)
        assert stream.commit().volume not in growing(tmp_path / "volumes")


def test_volumes_whose_writer_is_gone_are_complete_and_nobody_has_to_run(tmp_path: Path) -> None:
    roll_and_wait(tmp_path, now=now())
    writer = LogWriter(tmp_path / "volumes", "g0", reserve=0)
    volume = put(writer, MAILBOXES[0])
    left = tmp_path / "volumes" / volume
    content = left.read_bytes()
    writer.close()
    left.write_bytes(content)  # without its footer, as after a kill
    roll_and_wait(tmp_path, now=now())
    assert volume not in closed(tmp_path)
    assert not roll_path(tmp_path).exists()


def test_a_writer_that_does_not_answer_is_named(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "volumes", "g0", reserve=0)
    volume = put(writer, MAILBOXES[0])
    with pytest.raises(UnavailableError, match=volume):
        roll_and_wait(tmp_path, now=now(), seconds=0.2)
    writer.close()
    roll_and_wait(tmp_path, now=now())


def test_a_request_is_acted_on_once_and_one_from_before_too(tmp_path: Path) -> None:
    path = roll_path(tmp_path)
    requests = RollRequests(path)
    assert not requests.asked()
    ask_to_roll(path, 5)
    assert [requests.asked(), requests.asked(), RollRequests(path).asked()] == [True, False, True]
    path.write_text("no number")
    assert not requests.asked()
    ask_to_roll(path, 5)
    path.unlink()
    assert not requests.asked()
