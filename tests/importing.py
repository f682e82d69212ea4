"""Imports for tests: in this process with readers made up (``Imported``), or through the whole product (``Sender``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from appliance.errors import UnavailableError
from appliance.files import FILES, Files
from appliance.imports.base import CHUNK, FileError, ItemError, Meta
from appliance.imports.reading import Arriving, Broken, Event, Left, Opened
from appliance.imports.scratch import ScratchFile
from appliance.services import api
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.importing import Importing, Opener
from appliance.services.collector.importing_ledger import Task
from appliance.services.wire import Call
from tests.product import Product
from tests.scratch import BOX, ScratchArchive

SECONDS = 60.0

Given = Mapping[str, Any]
"""What a test wants of an item beside its bytes: folder, id, role, kind, meta; and, each a sentence, left, broken,
spoilt (its bytes end too early), torn (and so does the file), ends (the file does, before this item)."""


class Item(NamedTuple):
    """One item of a file that a test makes up."""

    raw: bytes = b""
    given: Given = MappingProxyType({})


class ReaderDouble:
    """Reads files whose items a test has made up, by the file's name; ``before`` is called before each item. What the
    file's bytes are does not matter, but that they can be read back."""

    format = "double"

    def __init__(self, task: Task, opened: Opened, items: Iterable[Item], before: Callable[[int], None]) -> None:
        self.expected: int | None = None
        self._skip = task.dealt
        self._items = items
        self._before = before
        with BufferedReader(ScratchFile(opened.descriptor, opened.size, opened.key)) as file:
            self.content = file.read()

    def __iter__(self) -> Iterator[Event]:
        for number, item in enumerate(self._items):
            if number < self._skip:
                continue
            self._before(number)
            yield _event(number, item)

    def close(self) -> None:
        """Nothing to end."""


def _event(number: int, item: Item) -> Event:
    given = dict(item.given)
    id, folder = given.get("id", f"item-{number}"), given.get("folder", ("Inbox",))
    if "left" in given:
        return Left(number, id, folder, given["left"])
    if "broken" in given:
        return Broken(number, id, folder, given["broken"])
    if "ends" in given:
        raise FileError(given["ends"])
    return Arriving(
        number, id, folder, given.get("kind", "mail"), given.get("role", ""), given.get("meta", Meta()),
        _pieces(item.raw, given.get("spoilt", ""), given.get("torn", "")),
    )  # fmt: skip


def _pieces(raw: bytes, spoilt: str, torn: str) -> Iterator[bytes]:
    for start in range(0, len(raw), CHUNK):
        yield raw[start : start + CHUNK]
    if spoilt:
        raise ItemError(spoilt)
    if torn:
        raise FileError(torn)


class Imported:
    """An archive with a collector in this process. ``items`` says what is in which file."""

    def __init__(self, box: ScratchArchive) -> None:
        self.box = box
        self.items: dict[str, list[Item]] = {}
        self.before: Callable[[int], None] = lambda _number: None
        self.importing: Importing | None = None

    def open(self, task: Task, opened: Opened) -> ReaderDouble:
        """As ``importing.Opener``."""
        return ReaderDouble(task, opened, self.items[task.name], self.before)

    @contextmanager
    def collector(self, opener: Opener | None = None, *, files: Files = FILES) -> Iterator[Importing]:
        """The collector, running."""
        services = self.box.dispatcher
        keys = services.profiles.telling.keys()
        collecting = Collecting(self.box.paths, keys, files=files)
        if not collecting.ledger.has_learned():
            collecting.ledger.learn(())
        self.importing = Importing(self.box.paths, keys, collecting, opener or self.open, files=files, again=0.1)
        collecting.start()
        self.importing.start()
        try:
            yield self.importing
        finally:
            self.importing.close()
            collecting.close()
            self.importing = None

    # -- as an administrator ------------------------------------------------------------------------------------

    def call(self, method: str, **params: Any) -> Any:
        """One of the services."""
        return self.box.dispatcher.from_box(Call(method, params=params), BOX)

    def begin(self, archive: str = "", **settings: Any) -> int:
        """A new import."""
        made: api.ImportInfo = self.call("import_begin", title="old mail", archive=archive, **settings)
        return made.id

    def send(self, id: int, name: str, raw: bytes = b"x" * 1000, **settings: Any) -> int:
        """Give a file to an import; its number."""
        file: api.ImportFile = self.call("import_file", id=id, name=name, size=len(raw), **settings)
        for start in range(0, len(raw), api.IMPORT_CHUNK):
            data = raw[start : start + api.IMPORT_CHUNK]
            assert self.call("import_write", id=id, file=file.number, offset=start, data=data) == start + len(data)
        self.call("import_arrived", id=id, file=file.number, sha256=sha256(raw).hexdigest())
        if self.importing is not None:
            self.importing.look()
        return file.number

    def ended(self, id: int, *, seconds: float = SECONDS) -> api.ImportInfo:
        """An import that takes no more files, once it is over; its sums have to add up in every file."""
        self.call("import_complete", id=id)
        deadline = time.monotonic() + seconds
        while (one := self.get(id)).ended is None:
            assert time.monotonic() < deadline, one
            time.sleep(0.02)
        for counts in (one.counts, *(file.counts for file in one.files)):
            assert counts.found == counts.archived + counts.already + counts.skipped + counts.failed
        return one

    def get(self, id: int) -> api.ImportInfo:
        """An import as it is now."""
        found: api.ImportInfo = self.call("import_get", id=id)
        return found

    def run(self, name: str, items: Iterable[Item], archive: str = "", **settings: Any) -> api.ImportInfo:
        """An import of one file of these items, to its end."""
        self.items[name] = list(items)
        id = self.begin(archive, **settings)
        self.send(id, name)
        return self.ended(id)


class Sender:
    """Imports through a product's socket, as its faces do."""

    def __init__(self, product: Product) -> None:
        self._product = product

    def begin(self, archive: str, **settings: Any) -> int:
        """A new import."""
        return self._product.call("import_begin", api.ImportInfo, title="test", archive=archive, **settings).id

    def send(self, id: int, path: Path, **settings: Any) -> None:
        """A file; waits while others are to be read first, goes on where the answer says."""
        raw = path.read_bytes()
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                file = self._product.call(
                    "import_file", api.ImportFile, id=id, name=path.name, size=len(raw), **settings
                ).number
                break
            except UnavailableError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        arrived = 0
        while arrived < len(raw):
            data = raw[arrived : arrived + api.IMPORT_CHUNK]
            arrived = self._product.call("import_write", int, id=id, file=file, offset=arrived, data=data)
        self._product.call("import_arrived", api.ImportFile, id=id, file=file, sha256=sha256(raw).hexdigest())

    def get(self, id: int) -> api.ImportInfo:
        """An import as it is now."""
        return self._product.call("import_get", api.ImportInfo, id=id)

    def await_some(self, id: int, *, beyond: int = 0) -> int:
        """Return when some items of an import have been dealt with, beyond so many, or when it is over; how many."""
        deadline = time.monotonic() + 3 * SECONDS
        while (one := self.get(id)).counts.found <= beyond and not one.files_done:
            assert time.monotonic() < deadline, one
            time.sleep(0.01)
        return one.counts.found

    def ended(self, id: int, *, seconds: float = 3 * SECONDS) -> api.ImportInfo:
        """An import that takes no more files, once it is over; its sums have to add up in every file."""
        self._product.call("import_complete", api.ImportInfo, id=id)
        deadline = time.monotonic() + seconds
        while (one := self.get(id)).ended is None:
            assert time.monotonic() < deadline, one
            time.sleep(0.1)
        for counts in (one.counts, *(file.counts for file in one.files)):
            assert counts.found == counts.archived + counts.already + counts.skipped + counts.failed
        return one

    def run(self, archive: str, *paths: Path, **settings: Any) -> api.ImportInfo:
        """Import files."""
        id = self.begin(archive, **settings)
        for path in paths:
            self.send(id, path)
        return self.ended(id)


def mbox(path: Path, count: int, word: str) -> Path:
    """An mbox of so many messages, the n-th of which has the word with that number in its text."""
    path.write_bytes(
        b"".join(
            f"From anna@example.com Sat Jan  3 01:05:{n % 60:02} 2015\nFrom: anna@example.com\nTo: ben@example.com\n"
            f"Subject: {word} {n}\nDate: Sat, 3 Jan 2015 01:05:{n % 60:02} +0000\nMessage-ID: <{word}{n}@x.test>\n\n"
            f"This is {word}{n}.\n\n".encode()
            for n in range(count)
        )
    )
    return path


def figures(counts: api.ImportCounts) -> tuple[int, int, int, int, int]:
    """Found, archived, already, skipped, failed."""
    return counts.found, counts.archived, counts.already, counts.skipped, counts.failed
