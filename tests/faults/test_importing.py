"""Imports while something dies or a disk refuses: each message is archived, and once, and the sums add up."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import DiskFullError, StorageError
from appliance.files import FILES, Files
from appliance.services import api
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.importing import Importing
from appliance.services.collector.importing_ledger import Announced, Imports, Plan, Task
from appliance.services.collector.ledger import Ledger
from appliance.services.imports.arriving import Arriving
from tests.collector import ANNA, Bench
from tests.importing import SECONDS, Item, ReaderDouble, Sender, figures, mbox
from tests.product import Product
from tests.scratch import mail

pytestmark = [pytest.mark.integration, pytest.mark.faults]

STEP = int(os.environ.get("MAILKEEP_FAULT_STEP", "7"))
KILLS = int(os.environ.get("MAILKEEP_IMPORT_KILLS", "2"))
COUNT = int(os.environ.get("MAILKEEP_IMPORT_COUNT", "3000"))
UPLOAD = bytes(range(256)) * 1000


class Station(Bench):
    """A data folder, what arrives in it, and a collector; the file's messages are made up, one of them is streamed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tell()
        self.ledger = Ledger(self.paths.ledger, self.keys)
        self.imports = Imports(self.ledger)
        self.items = [Item(mail(f"number {n}")) for n in range(40)]
        self.items += [Item(mail("large", "x" * 9_000_000)), *self.items[:3], Item(given={"broken": "It is torn."})]

    def upload(self, files: Files, *, again: type[Exception] = StorageError) -> int:
        """A file arrives, by as many tries as it takes; the number of its import, complete."""
        id = self.imports.begin(Plan(title="", archive=ANNA.user), "me")
        tried = 0
        while True:
            arriving = Arriving(self.paths.scratch, lambda: self.keys, lambda: self.imports, files=files, reserve=0)
            try:
                if not self.imports.get(id).files:
                    scratch = arriving.prepare(len(UPLOAD), archives=True)
                    announced = Announced(
                        name="a.pst", size=len(UPLOAD), archive=ANNA.user, target=(), password="", scratch=scratch
                    )
                    self.imports.announce(id, announced)
                arrived = self.imports.get(id).files[0].arrived
                while arrived < len(UPLOAD):
                    arrived = arriving.write(id, 0, arrived, UPLOAD[arrived : arrived + 100_000])
                arriving.whole(id, 0, sha256(UPLOAD).hexdigest())
            except again:
                tried += 1
                assert tried < 5
            else:
                self.imports.complete(id)
                return id
            finally:
                arriving.close()

    def read(self, files: Files, id: int, meanwhile: Callable[[], object] = lambda: None) -> api.ImportInfo:
        """A collector reads it, to its end."""
        collecting = Collecting(self.paths, self.keys, files=files)
        collecting.ledger.learn(())
        importing = Importing(self.paths, self.keys, collecting, self._open, files=files, again=0.05)
        importing.start()
        try:
            deadline = time.monotonic() + SECONDS
            while (one := self.imports.get(id)).ended is None:
                assert time.monotonic() < deadline, one
                meanwhile()
                time.sleep(0.01)
            return one
        finally:
            importing.close()
            collecting.close()

    def _open(self, task: Task, opened: Any) -> ReaderDouble:
        reader = ReaderDouble(task, opened, self.items, lambda _number: None)
        assert reader.content == UPLOAD, "the file is read as it was sent"
        return reader

    def must_be_whole(self, one: api.ImportInfo, doubles: int = 0) -> None:
        """All is archived, each message in one record, but for so many; and nothing else is."""
        wanted = {sha256(item.raw).digest() for item in self.items if item.raw}
        messages, places = self.records()
        assert {sha256(raw).digest() for raw in messages.values()} == wanted
        assert 0 <= len(messages) - len(wanted) <= doubles
        assert {sha256(messages[place.record]).digest() for place in places} == wanted
        assert (one.state, one.counts.found, one.counts.failed) == ("done", 45, 1)
        assert one.counts.archived + one.counts.already == 44
        assert not doubles or one.counts.archived >= 41
        assert doubles or figures(one.counts) == (45, 41, 3, 0, 1)


class Failing(Files):
    """The disk refuses the ``last``-th change, and takes all others."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("create", "write", "sync", "sync_data", "rename", "sync_directory", "unlink"):
            return found

        def counted(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "Input/output error")
            return found(*arguments, **named)

        return counted


def test_whichever_write_the_disk_refuses_while_a_file_arrives_it_arrives_whole(tmp_path: Path) -> None:
    for last in range(1, 1000, max(STEP // 4, 1)):
        station = Station(tmp_path / str(last))
        files = Failing(last)
        station.must_be_whole(station.read(FILES, station.upload(files)))
        if files.left > 0:
            assert last > 5, "the disk never refused anything"
            return
    raise AssertionError("it never came to an end")


def test_whichever_write_the_disk_refuses_while_a_file_is_read_the_rest_comes(tmp_path: Path) -> None:
    """What a disk was given that then refused to sync may be there or not: it is given again, and may be doubled."""
    for last in range(3, 10_000, STEP):  # a process whose disk refuses its first steps does not start
        station = Station(tmp_path / str(last))
        files = Failing(last)
        one = station.read(files, station.upload(FILES))
        station.must_be_whole(one, doubles=0 if files.left > 0 else 41)
        assert not list(station.paths.scratch.iterdir()) or files.left <= 0
        if files.left > 0:
            assert last > 10, "the disk never refused anything"
            return
    raise AssertionError("it never came to an end")


class Full(Files):
    """A disk with no room, until ``room`` says otherwise."""

    room = False

    def free(self, path: Path) -> int:
        return super().free(path) if self.room else 0


def test_a_full_disk_stops_a_file_before_it_arrives_or_until_there_is_room(tmp_path: Path) -> None:
    station, full = Station(tmp_path), Full()
    arriving = Arriving(station.paths.scratch, lambda: station.keys, lambda: station.imports, files=full, reserve=1)
    with pytest.raises(DiskFullError, match="Nothing was changed"):
        arriving.prepare(1000, archives=True)
    id = station.upload(FILES)
    seen = []

    def look() -> None:
        words = station.imports.get(id).files[0].words
        if words:
            seen.append(words)
            full.room = True

    one = station.read(full, id, look)
    assert "no room" in seen[0]
    station.must_be_whole(one)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.create(tmp_path_factory.mktemp("importing") / "data")
    product.start()
    product.call("user_create", api.UserInfo, name="Anna", primary="anna@example.com", aliases=())
    try:
        yield product
    finally:
        product.stop()


@pytest.mark.parametrize("whom", ["collector", "archiver", "nursery", "child"])
def test_whoever_is_killed_the_import_goes_on_without_doubles_or_gaps(
    product: Product, tmp_path: Path, whom: str
) -> None:
    sender = Sender(product)
    id = sender.begin("anna@example.com")
    sender.send(id, mbox(tmp_path / f"{whom}.mbox", COUNT, whom))
    found = 0
    for _ in range(KILLS):
        found = sender.await_some(id, beyond=found)
        for pid in victims(product, whom):
            os.kill(pid, signal.SIGKILL)
    one = sender.ended(id)
    assert (one.state, figures(one.counts)) == ("done", (COUNT, COUNT, 0, 0, 0)), one
    product.run("wait-idle")
    assert product.total(f"subject:{whom}") == COUNT


def victims(product: Product, whom: str) -> list[int]:
    """The processes of that kind that run now."""
    if whom != "child":
        return [product.await_part(whom)]
    # A child of the nursery is forked, so its command line is the same.
    nurseries = product.pids("nursery")
    return [one for one in nurseries if int(Path(f"/proc/{one}/stat").read_text().split()[3]) in nurseries]
