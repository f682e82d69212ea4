"""What a mailbox is said to hold: everything, once, in an order that stays, and nothing that is erased."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.errors import UsageError
from appliance.keys.envelope import MailboxKeyPair
from appliance.mail.published import erased_folder
from appliance.pull import cursor as cursors
from appliance.pull.cursor import Cursor, WriterPosition
from appliance.pull.maildrop import UNKNOWN, Maildrop, Maildrops
from appliance.store.reader import LogReader, VolumeInfo
from appliance.store.writer import LogWriter


class Log:
    """A log with one mailbox."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.mailbox = os.urandom(16)
        self._public = MailboxKeyPair.generate().public

    def write(self, writer: LogWriter, count: int) -> list[bytes]:
        return [
            writer.append(self.mailbox, self._public, b"mail %d\r\n" % number, None).result().record_id
            for number in range(count)
        ]

    def writer(self, name: str = "g0") -> LogWriter:
        return LogWriter(self.data / "volumes", name, reserve=0)

    def erase(self, *records: bytes) -> None:
        erased_folder(self.data).mkdir(parents=True, exist_ok=True)
        (erased_folder(self.data) / self.mailbox.hex()).write_bytes(b"".join(sorted(records)))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def ids(drop: Maildrop) -> list[bytes]:
    return [drop.record_id(number) for number in range(len(drop))]


def test_two_writers_that_take_turns(log: Log) -> None:
    drops = Maildrops(log.data)
    first, second = log.writer("g0"), log.writer("g1")
    expected: list[bytes] = []
    for turn in range(4):
        expected += log.write(first, 3) + log.write(second, 2)
        if turn == 1:
            first.roll()
        found = ids(drops.look(log.mailbox))
        assert sorted(found) == sorted(expected)
        assert found == ids(Maildrops(log.data).look(log.mailbox))
    first.close()
    second.close()
    assert sorted(ids(drops.look(log.mailbox))) == sorted(expected)


def test_a_look_does_not_change_when_mail_comes(log: Log) -> None:
    drops, writer = Maildrops(log.data), log.writer()
    log.write(writer, 3)
    drop = drops.look(log.mailbox)
    before = ids(drop)
    log.write(writer, 3)
    drops.look(log.mailbox)
    assert ids(drop) == before and len(drop) == 3
    writer.close()


def test_what_is_erased_is_not_there_and_the_others_are(log: Log) -> None:
    writer = log.writer()
    kept = log.write(writer, 5)
    drops = Maildrops(log.data)
    drops.look(log.mailbox)
    log.erase(kept[1], kept[4])
    drop = drops.look(log.mailbox)
    assert ids(drop) == [kept[0], kept[2], kept[3]]
    assert [drop.ref(number).record_id for number in range(3)] == ids(drop)
    writer.close()


def test_a_volume_in_whose_place_another_file_of_the_same_size_stands_is_read_anew(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, drops = log.writer(), Maildrops(log.data)
    kept = log.write(writer, 2)
    writer.close()
    assert ids(drops.look(log.mailbox)) == kept
    volumes, listed = LogReader.volumes, LogReader.listed

    def dropped(reader: LogReader, mailbox: bytes | None = None) -> list[VolumeInfo]:
        return [msgspec.structs.replace(one, archived=True) for one in volumes(reader, mailbox)]

    def left(reader: LogReader, *given: object) -> Iterator[object]:
        return (one for one in listed(reader, *given) if getattr(one, "record_id", b"") != kept[0])  # type: ignore[arg-type]

    monkeypatch.setattr(LogReader, "volumes", dropped)
    monkeypatch.setattr(LogReader, "listed", left)
    assert ids(drops.look(log.mailbox)) == kept[1:]


def test_sizes_are_remembered_from_one_look_to_the_next(log: Log) -> None:
    writer, drops = log.writer(), Maildrops(log.data)
    log.write(writer, 3)
    drop = drops.look(log.mailbox)
    assert [drop.size(number) for number in range(3)] == [UNKNOWN] * 3
    drop.set_size(1, 42)
    log.write(writer, 1)
    assert [drops.look(log.mailbox).size(number) for number in range(4)] == [UNKNOWN, 42, UNKNOWN, UNKNOWN]
    writer.close()


def test_memory_is_bounded_by_forgetting_the_mailbox_not_looked_at_for_longest(log: Log) -> None:
    writer = log.writer()
    log.write(writer, 4)
    drops = Maildrops(log.data, most_kept=5)
    drops.look(log.mailbox).set_size(0, 7)
    other = Log(log.data)
    other.write(writer, 4)
    drops.look(other.mailbox)
    assert drops.look(log.mailbox).size(0) == UNKNOWN
    assert len(drops.look(log.mailbox)) == len(drops.look(other.mailbox)) == 4
    writer.close()


def test_an_id_is_found_where_it_begins_and_nowhere_else(log: Log) -> None:
    writer = log.writer()
    written = log.write(writer, 50)
    (volume,) = Maildrops(log.data).volumes(log.mailbox)
    assert [volume.find(id_) for id_ in written] == list(range(50))
    assert volume.find(written[0][8:] + written[1][:8]) is None
    assert volume.find(bytes(16)) is None
    writer.close()


def test_a_cursor_comes_back_as_it_was() -> None:
    mailbox = os.urandom(16)
    cursor = Cursor(1, mailbox, {"g0": WriterPosition(3, {4: 1280, 6: 99}), "g1": WriterPosition()})
    assert cursors.parse(str(cursor), mailbox) == cursor
    assert [cursor.position("g0", sequence) for sequence in (1, 3, 4, 5, 6)] == [None, None, 1280, 0, 99]
    assert cursor.position("g9", 1) == 0
    with pytest.raises(UsageError):
        cursors.parse(str(cursor), os.urandom(16))
    for text in ("", "x", "%%%", str(cursor)[:-3], "A" * 100):
        with pytest.raises(UsageError):
            cursors.parse(text, mailbox)
