"""Whatever a file does to the process that reads it, every item is accounted for and the others come."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from appliance.errors import UnavailableError
from appliance.imports import child, formats
from appliance.imports.base import Entry, FileError, Format, ItemError, Message, Meta, Options
from appliance.imports.nursery import Nursery
from appliance.imports.reading import Arriving, Broken, Left, Reading
from appliance.imports.wire import HEAD, TRYING, Order
from tests.unit.imports.readings import gone_through, opened

MAIL = b"Subject: here\r\n\r\nText\r\n"


class ForkedNursery:
    """Forks children of the test itself, whose reader does what the file tells it to: a word a line."""

    def __init__(self, marks: Path, speak: Callable[[socket.socket], None] | None = None) -> None:
        self.begun = 0
        self._marks = marks
        self._speak = speak
        self._children: dict[int, int] = {}

    def begin(self, order: Order, descriptor: int) -> tuple[int, socket.socket]:
        self.begun += 1
        ours, theirs = socket.socketpair()
        process = os.fork()
        if not process:
            try:
                ours.close()
                faulthandler.disable()
                if self._speak is not None:
                    self._speak(theirs)
                else:
                    formats.FORMATS = (Format("told", "told", lambda head, name: True, self._read),)  # type: ignore[misc]
                    child.confine.limit(memory=order.memory)
                    child.read(theirs, order, descriptor)
            finally:
                os._exit(0)
        theirs.close()
        self._children[self.begun] = process
        return self.begun, ours

    def end(self, number: int) -> int | None:
        process = self._children.pop(number)
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return None

    def _read(self, file: BinaryIO, name: str, options: Options) -> Iterator[Entry]:
        for number, word in enumerate(file.read().decode().split()):
            if word == "die-between":
                os.abort()
            if word == "no-file":
                raise FileError("The rest is not there.")
            if word == "odd-between":
                raise KeyError(word)
            if word == "left":
                yield Entry(f"id{number}", ("In",), left="Not wanted.")
            elif word == "broken":
                yield Entry(f"id{number}", ("In",), broken="Not to be read.")
            else:
                yield Entry(f"id{number}", ("In", "Sub"), content=lambda word=word: self._content(word))

    def _content(self, word: str) -> Message:
        self._do(word)
        return Message(self._pieces(word.removeprefix("late-")), Meta(received=5, flags=("seen",)))

    def _pieces(self, word: str) -> Iterator[bytes]:
        yield MAIL
        yield b"x" * 700_000
        if word != "large":
            self._do(word)
        yield b"end" + b"y" * 700_000

    def _do(self, word: str) -> None:
        match word:
            case "abort":
                os.abort()
            case "hang":
                time.sleep(60)
            case "memory":
                bytearray(10**10)
            case "odd":
                raise KeyError(word)
            case "no-more":
                raise FileError("The rest is not there.")
            case "item":
                raise ItemError("Its attachment is cut off.")
            case "killed-once":
                try:
                    (self._marks / "killed").touch(exist_ok=False)
                except FileExistsError:
                    return
                os.kill(os.getpid(), signal.SIGKILL)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)


WHOLE = MAIL + b"x" * 700_000 + b"end" + b"y" * 700_000


def told(tmp_path: Path, words: str, **options: float) -> tuple[list[str], ForkedNursery]:
    """What became of each item that ``words`` tell of, in a few words each."""
    nursery = ForkedNursery(tmp_path)
    gone = gone_through(nursery, words.encode(), patience=options.get("patience", 30.0), memory=1 << 32)
    raws = {one.event.number: one for one in gone.came}
    said = []
    for event in gone.events:
        if isinstance(event, Arriving):
            one = raws[event.number]
            assert one.why or one.raw == WHOLE, "a message that came whole is not what was in the file"
            said.append(f"{event.number} {'cut: ' + one.why if one.why else 'came'}")
        else:
            said.append(f"{event.number} {type(event).__name__.lower()}: {event.why}")
    if gone.error is not None:
        said.append(f"file: {gone.error}")
    return said, nursery


def test_events_come_in_order(tmp_path: Path) -> None:
    said, nursery = told(tmp_path, "ok left broken ok")
    assert said == ["0 came", "1 left: Not wanted.", "2 broken: Not to be read.", "3 came"]
    assert nursery.begun == 1


def test_fields_of_an_item_arrive(tmp_path: Path) -> None:
    gone = gone_through(ForkedNursery(tmp_path), b"ok left")
    first, second = gone.events
    assert isinstance(first, Arriving) and isinstance(second, Left)
    assert (first.id, first.folder, first.meta) == ("id0", ("In", "Sub"), Meta(received=5, flags=("seen",)))
    assert (second.id, second.folder) == ("id1", ("In",))
    assert gone.format == "told"


def test_items_can_be_passed_over(tmp_path: Path) -> None:
    gone = gone_through(ForkedNursery(tmp_path), b"abort hang left ok", skip=2)
    assert [(event.number, event.id) for event in gone.events] == [(2, "id2"), (3, "id3")]


@pytest.mark.parametrize("word", ["abort", "late-abort"])
def test_a_reader_that_dies_goes_on_behind_the_item(tmp_path: Path, word: str) -> None:
    said, nursery = told(tmp_path, f"ok {word} ok")
    assert said[0] == "0 came" and said[2] == "2 came"
    assert said[1].startswith("1 cut: " if word.startswith("late") else "1 broken: ")
    assert "ended the process" in said[1]
    assert nursery.begun == 2


@pytest.mark.parametrize("word", ["hang", "late-hang"])
def test_a_reader_that_hangs_is_ended(tmp_path: Path, word: str) -> None:
    said, _ = told(tmp_path, f"ok {word} ok", patience=0.7)
    assert said[0] == "0 came" and said[2] == "2 came"
    assert "took longer" in said[1]


@pytest.mark.parametrize("word", ["killed-once", "late-killed-once"])
def test_a_reader_that_was_killed_tries_once_more(tmp_path: Path, word: str) -> None:
    said, nursery = told(tmp_path, f"ok {word} ok")
    assert said == ["0 came", "1 came", "2 came"]
    assert nursery.begun == 2


def test_an_item_that_always_gets_its_reader_killed_is_broken(tmp_path: Path) -> None:
    said, _ = told(tmp_path, "ok killed late-killed ok")
    assert said[0] == "0 came" and said[3] == "3 came"
    assert "killed, twice" in said[1] and said[1].startswith("1 broken")
    assert "killed, twice" in said[2] and said[2].startswith("2 cut")


def test_what_goes_wrong_within_an_item_costs_no_process(tmp_path: Path) -> None:
    said, nursery = told(tmp_path, "memory odd item late-odd late-item ok")
    assert "more memory" in said[0]
    assert said[1] == "1 broken: It cannot be read (KeyError)."
    assert said[2] == "2 broken: Its attachment is cut off."
    assert said[3] == "3 cut: It cannot be read (KeyError)."
    assert said[4] == "4 cut: Its attachment is cut off."
    assert said[5] == "5 came"
    assert nursery.begun == 1


def test_a_file_that_cannot_be_read_further_is_given_up(tmp_path: Path) -> None:
    assert told(tmp_path, "ok no-file")[0] == ["0 came", "file: The rest is not there."]
    assert told(tmp_path, "ok odd-between")[0] == ["0 came", "file: The rest of it cannot be read (KeyError)."]


def test_a_reader_that_dies_between_items_is_given_up_at_the_second_time(tmp_path: Path) -> None:
    said, nursery = told(tmp_path, "ok die-between ok")
    assert said[0] == "0 came"
    assert said[1].startswith("1 broken: What comes after 1 items cannot be read.")
    assert said[2].startswith("file: What comes after 1 items")
    assert nursery.begun == 2


def test_a_file_that_kills_again_and_again_is_given_up(tmp_path: Path) -> None:
    said, nursery = told(tmp_path, "abort " * 300)
    assert said[-1].startswith("file: Reading it has failed ")
    assert all(line.startswith(f"{number} broken") for number, line in enumerate(said[:-1]))
    assert nursery.begun < 120


def test_reading_goes_on_though_pieces_were_not_read(tmp_path: Path) -> None:
    nursery = ForkedNursery(tmp_path)
    with opened(b"ok large ok") as file, Reading(nursery, file, "x", Options()) as reading:
        numbers = [event.number for event in reading]
    assert numbers == [0, 1, 2]


def test_a_child_that_talks_nonsense_is_not_believed(tmp_path: Path) -> None:
    def nonsense(channel: socket.socket) -> None:
        channel.sendall(HEAD.pack(TRYING, 3) + b"\xff\xff\xff" + os.urandom(1000))

    gone = gone_through(ForkedNursery(tmp_path, nonsense), b"ok")
    assert [type(event) for event in gone.events] == [Broken]
    assert gone.error is not None


def test_a_file_that_fails_within_a_message_fails_behind_it(tmp_path: Path) -> None:
    said, nursery = told(tmp_path, "ok late-no-more ok")
    assert said == ["0 came", "1 cut: The rest is not there.", "file: The rest is not there."]
    assert nursery.begun == 1


# -- the nursery itself


def test_a_nurserys_child_is_confined(nursery: Nursery) -> None:
    raw = (b"From a@b Mon Jan  1 10:00:00 2024\nSubject: x\n\n" + b"y" * 70 + b"\n") * 50_000
    with opened(raw) as file, Reading(nursery, file, "x.mbox", Options()) as reading:
        next(iter(reading))
        (pid,) = Path(f"/proc/{nursery.pid}/task/{nursery.pid}/children").read_text().split()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
        assert status["Threads"].strip() == "1"
        space = next(line for line in limits.splitlines() if line.startswith("Max address space"))
        assert space.split()[3] == str(1024 * 1024 * 1024)
    assert Path(f"/proc/{nursery.pid}/task/{nursery.pid}/children").read_text() == ""


def test_a_nursery_that_is_gone_is_said() -> None:
    with Nursery() as started, opened(b"From a@b Mon Jan  1 10:00:00 2024\nA: b\n\n") as file:
        os.kill(started.pid, signal.SIGKILL)
        with pytest.raises(UnavailableError), Reading(started, file, "x", Options()) as reading:
            next(iter(reading))


def test_children_end_with_the_nursery() -> None:
    raw = (b"From a@b Mon Jan  1 10:00:00 2024\nSubject: x\n\n" + b"y" * 70 + b"\n") * 50_000
    with Nursery() as started, opened(raw) as file:
        reading = Reading(started, file, "x.mbox", Options())
        next(iter(reading))
        (pid,) = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        os.kill(started.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _runs(pid)
        with pytest.raises(UnavailableError):
            reading.close()


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
