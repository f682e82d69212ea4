"""An index in a folder of its own, filled and asked in a line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from appliance.index.schema import Document
from appliance.index.search import Index, Results, Scope
from appliance.index.writer import IndexWriter
from appliance.mail.facts import Mailbox
from appliance.mail.query import parse

TODAY = date(2026, 11, 21)
EVERYTHING = Scope(None, ("auditor",))

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


class Shelf:
    """A small index: documents in, answers out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = IndexWriter(folder, heap=15_000_000)
        self.index = Index(folder)

    def put(self, *documents: Document) -> None:
        """Put and commit."""
        for one in documents:
            self.writer.put(one)
        self.writer.commit(self.writer.sequence + len(documents))

    def ask(self, text: str, scope: Scope = EVERYTHING, **how: Any) -> Results:
        """The results for a query."""
        return self.index.search(parse(text, today=TODAY), scope, **how)

    def ids(self, text: str, scope: Scope = EVERYTHING, **how: Any) -> list[str]:
        """The ids of the results, in order."""
        return [hit.id for hit in self.ask(text, scope, **how).hits]


@pytest.fixture
def shelf(tmp_path: Path) -> Any:
    """An empty index."""
    made = Shelf(tmp_path / "index")
    yield made
    made.writer.close()
