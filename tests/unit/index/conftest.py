"""An index in a folder of its own, filled and asked in a line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from appliance.files import FILES, Files
from appliance.index.place import Place
from appliance.index.schema import Document
from appliance.index.search import Index, Results, Scope
from appliance.index.writer import IndexWriter
from appliance.mail.facts import Mailbox
from appliance.mail.query import parse

TODAY = date(2026, 11, 21)
EVERYTHING = Scope(None, ("auditor",))

HEAP = 15_000_000
BUDGET = 2**30
SHARD = 20264

Ask = Callable[..., Results]


def people(*addresses: str) -> tuple[Mailbox, ...]:
    """Mailboxes from "Name <address>" or bare addresses."""
    made = []
    for written in addresses:
        name, _, address = written.rpartition(" <")
        made.append(Mailbox(name=name, address=address.rstrip(">")))
    return tuple(made)


def document(id: str, *, archives: tuple[str, ...] = ("anna",), **facts: Any) -> Document:
    """A document with what is given; people may be written as texts."""
    for field in ("from_", "to", "cc", "participants"):
        if field in facts:
            facts[field] = people(*facts[field])
    return Document(id=id, archives=archives, **facts)


def place_in(folder: Path, name: str = "0001") -> Place:
    """Where an index is whose disk and whose memory are both in ``folder``."""
    return Place(
        root=folder / "live",
        live=folder / "live" / name,
        sealed=folder / "disk" / name / "index",
        key=b"\x07" * 32,
        identity=b"identity",
    )


class Shelf:
    """A small index: documents in, answers out. ``shard_of`` tells each document's shard by its number."""

    def __init__(
        self,
        place: Place,
        *,
        shard_of: Callable[[int], int] = lambda _number: SHARD,
        budget: int = BUDGET,
        files: Files = FILES,
    ) -> None:
        self.place = place
        self.number = 0
        self._files = files
        self._shard_of = shard_of
        self._shards: dict[str, int] = {}
        self.open_writer()
        self.index = Index(place, budget=budget)

    def open_writer(self) -> IndexWriter:
        """A writer of this index; there may be one at a time."""
        self.writer = IndexWriter(self.place, newest=self.number, heap=HEAP, files=self._files)
        self._writing = True
        return self.writer

    def close_writer(self) -> None:
        """From now on all shards are cold."""
        if self._writing:
            self.writer.close()
        self._writing = False

    def close(self) -> None:
        """Give everything back."""
        self.close_writer()
        self.index.close()

    def put(self, *documents: Document) -> None:
        """Put and commit."""
        for one in documents:
            self.number += 1
            shard = self._shards.setdefault(one.id, self._shard_of(self.number))
            self.writer.put(one, shard=shard, change=self.number)
        self.writer.commit()

    def ask(self, text: str, scope: Scope = EVERYTHING, **how: Any) -> Results:
        """The results for a query."""
        return self.index.search(parse(text, today=TODAY), scope, **how)

    def ids(self, text: str, scope: Scope = EVERYTHING, **how: Any) -> list[str]:
        """The ids of the results, in order."""
        return [hit.id for hit in self.ask(text, scope, **how).hits]


@pytest.fixture
def shelf(tmp_path: Path) -> Any:
    """An empty index."""
    made = Shelf(place_in(tmp_path))
    yield made
    made.close()
