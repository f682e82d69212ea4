"""One shard that is being written: a Tantivy index in memory, and how much of it the mirror has."""

from __future__ import annotations

import os
from pathlib import Path

import tantivy

from appliance.index import live, schema
from appliance.index import manifest as m
from appliance.index.engine import engine_trouble, make_index, open_index
from appliance.index.mirror import Facts, Mirror
from appliance.index.place import Place

_THREADS = 1  # the rest of the projection needs the other cores
_TERMS = 4096  # asked for at first: Tantivy makes room for as many as are asked for


class ShardWriter:
    """A shard, restored from the mirror where that has it, else empty.

    Raises DamageError where the mirror's copy is not what was written. All other trouble is an UnavailableError,
    after which the shard has to be opened anew: what was put since the last commit is gone.
    """

    def __init__(self, place: Place, mirror: Mirror, shard: int, found: m.Manifest | None, *, heap: int) -> None:
        self.shard = shard
        self.manifest = found
        """What the mirror holds; None for nothing."""
        self.put_up_to = self.committed = found.sequence if found else 0
        """The change number that puts, and the last commit, have reached."""
        self._place = place
        self._mirror = mirror
        self.folder = f"{shard:05}-{os.urandom(4).hex()}"
        live.make(place.root, place.written)
        try:
            with engine_trouble(place):
                self._index = self._open(found)
                self._writer = self._index.writer(heap_size=heap, num_threads=_THREADS)
                self._searcher = self._index.searcher()
        except BaseException:
            live.remove(place.root, self._path)
            raise

    @property
    def mirrored(self) -> bool:
        """Whether the mirror has all that was committed."""
        return self.manifest is not None and self.manifest.sequence >= self.committed

    @property
    def documents(self) -> int:
        """How many documents the last commit left."""
        return int(self._searcher.num_docs)

    def live_bytes(self) -> int:
        """What it takes in memory."""
        total = 0
        for path in self._path.iterdir():
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # a merge took it away
                continue
        return total

    def put(self, document: schema.Document, change: int) -> None:
        """Add the document, or replace the one with its id. Not to be found before ``commit``."""
        converted = schema.convert(document)
        with engine_trouble(self._place):
            self._writer.delete_documents_by_term("id", schema.clean(document.id))
            self._writer.add_document(converted)
        self.put_up_to = change

    def commit(self) -> None:
        """Make everything put so far searchable."""
        with engine_trouble(self._place):
            self._writer.commit()
            self._index.reload()
            self._searcher = self._index.searcher()
        self.committed = self.put_up_to

    def save(self, *, closing: bool = False) -> None:
        """Bring the mirror up to the last commit. Raises OSError as the disk gives it."""
        with engine_trouble(self._place):
            facts = self._facts(threads=closing)
        self.manifest = self._mirror.save(self.shard, self._path, self.manifest, facts)

    def finish_merges(self) -> None:
        """Wait for merges that run; nothing can be put afterwards."""
        with engine_trouble(self._place):
            self._writer.wait_merging_threads()
            self._index.reload()
            self._searcher = self._index.searcher()

    def close(self) -> None:
        """Give the memory back. What was not committed is dropped."""
        del self._writer, self._searcher, self._index
        live.remove(self._place.root, self._path)

    @property
    def _path(self) -> Path:
        return self._place.written / self.folder

    def _open(self, found: m.Manifest | None) -> tantivy.Index:
        if found is None:
            return make_index(self._path)
        self._mirror.restore(self.shard, found, self._path)
        return open_index(self._path)

    def _facts(self, *, threads: bool) -> Facts:
        return Facts(
            sequence=self.committed,
            documents=self.documents,
            oldest=self._extreme(tantivy.Order.Asc),
            newest=self._extreme(tantivy.Order.Desc),
            archives=frozenset(self._terms("archive")),
            threads=m.key_set(self._terms("thread")) if threads else b"",
        )

    def _terms(self, field: str) -> list[str]:
        limit = _TERMS
        while len(found := self._searcher.terms_with_prefix(field, "", limit=limit)) == limit:
            limit *= 8
        return [term for term, _ in found]

    def _extreme(self, order: tantivy.Order) -> int:
        hits = self._searcher.search(tantivy.Query.all_query(), 1, order_by_field="date", order=order).hits
        return int(hits[0][0]) if hits else 0
