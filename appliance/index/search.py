"""Finding: the one interface to the index for whoever asks. Opens the folder that another process writes.

Everything here takes a ``Scope`` and applies it itself; no result, number or order depends on what lies outside.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import tantivy

from appliance.errors import QueryError, UnavailableError
from appliance.index import schema, state
from appliance.index.compile import Compiler, Scope
from appliance.index.engine import is_engine_failure
from appliance.index.snippet import Highlighter
from appliance.mail import query
from appliance.mail.facts import Mailbox

__all__ = ["Facets", "Found", "Index", "Results", "Scope", "Sort"]

Sort = Literal["date", "date-asc", "relevance"]

LONGEST_THREAD = 500
_TOP_SENDERS = 10
_MOST_YEARS = 500
_EXACT_SENDERS = 65_000  # senders a segment reports, so that the first ten are counted exactly
_FIRST_PAGES = 1000  # up to here a page is fetched without counting first
_ENGINE_TROUBLE = (
    "The search index cannot be read. The mail itself is safe; the index mends itself when the archiver is "
    "restarted, or is made anew by “mailkeep rebuild”."
)


class Found(msgspec.Struct, frozen=True):
    """One message of a result, as its owners may see it. ``marks`` are (start, end) in ``snippet``."""

    id: str
    subject: str
    from_: tuple[Mailbox, ...]
    to: tuple[Mailbox, ...]
    recipients: int  # how many stand in To and Cc; ``to`` holds the first of them
    date: int
    received: int
    size: int
    attachments: int
    unparsed: bool
    message_id: str
    snippet: str = ""
    marks: tuple[tuple[int, int], ...] = ()


class Facets(msgspec.Struct, frozen=True):
    """How many of all messages found have which year (newest first), sender (most first), attachments."""

    years: tuple[tuple[int, int], ...] = ()
    senders: tuple[tuple[str, int], ...] = ()
    with_attachment: int = 0
    without_attachment: int = 0


class Results(msgspec.Struct, frozen=True):
    """A page of what was found. ``total`` counts all of it, exactly."""

    total: int
    hits: tuple[Found, ...] = ()
    facets: Facets = Facets()


class _Opened(NamedTuple):
    """An index as of one commit."""

    searcher: tantivy.Searcher
    schema: tantivy.Schema


class Index:
    """The index in ``folder``; a new commit of the writer is seen by the next call. Safe to use from threads.

    A folder without an index is one without messages. Trouble with the index is an UnavailableError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None  # what state.json was when it was read
        self._generation = ""
        self._index: tantivy.Index | None = None
        self._opened: _Opened | None = None

    def search(
        self,
        node: query.Node,
        scope: Scope,
        *,
        sort: Sort = "date",
        offset: int = 0,
        limit: int = 25,
        facets: bool = True,
    ) -> Results:
        """A page of the messages that ``node`` finds within ``scope``.

        Sorted by date, newest (``date``) or oldest (``date-asc``) first, messages of one second always in the
        same order; or by ``relevance``, which is by date where the query holds no words.

        Raises QueryError where a beginning of a word in a phrase stands for too many words.
        """
        opened = self._open()
        if opened is None:
            return Results(0)
        compiler = Compiler(opened.schema, scope)
        wanted = compiler.within_scope(compiler.node(node))
        highlighter = Highlighter(node)
        with _reading():
            if sort == "relevance" and _has_words(node):
                scored = self._scored(opened, node, scope)
                found = _page(opened, scored, offset, limit, weight_by_field="recency")
            else:
                order = tantivy.Order.Asc if sort == "date-asc" else tantivy.Order.Desc
                found = _page(opened, wanted, offset, limit, order_by_field="order", order=order)
            return Results(
                total=found.total,
                hits=tuple(_found(entry, highlighter) for entry in _entries(opened, found.places)),
                facets=_facets(opened, wanted) if facets and found.total else Facets(),
            )

    def documents(self, ids: tuple[str, ...], scope: Scope) -> tuple[Found, ...]:
        """The messages with these ids that ``scope`` holds, in the order asked for; others are left out."""
        opened = self._open()
        if opened is None or not ids:
            return ()
        compiler = Compiler(opened.schema, scope)
        with _reading():
            page = _page(opened, compiler.within_scope(compiler.ids(ids)), 0, len(ids))
            by_id = {entry.id: _found(entry) for entry in _entries(opened, page.places)}
        return tuple(by_id[one] for one in dict.fromkeys(ids) if one in by_id)

    def thread(self, message_id: str, references: tuple[str, ...], scope: Scope) -> tuple[Found, ...]:
        """The conversation of a message: whatever shares its Message-ID or a reference with it, oldest first.

        At most ``LONGEST_THREAD`` messages.
        """
        opened = self._open()
        keys = [schema.id_key(one) for one in (message_id, *references[-schema.MOST_REFERENCES :]) if one]
        if opened is None or not keys:
            return ()
        compiler = Compiler(opened.schema, scope)
        wanted = compiler.within_scope(compiler.thread(keys))
        with _reading():
            page = _page(opened, wanted, 0, LONGEST_THREAD, order_by_field="order", order=tantivy.Order.Asc)
            return tuple(_found(entry) for entry in _entries(opened, page.places))

    def count(self, scope: Scope) -> int:
        """How many messages ``scope`` holds."""
        return self.search(query.Everything(), scope, limit=0, facets=False).total

    def size(self) -> int:
        """Bytes that the index takes on disk."""
        total = 0
        for path in self._folder.rglob("*"):
            with contextlib.suppress(OSError):  # a merge may take a file away while it is counted
                total += path.stat().st_size
        return total

    def _scored(self, opened: _Opened, node: query.Node, scope: Scope) -> tantivy.Query:
        plain = Compiler(opened.schema, scope)

        def count(wanted: tantivy.Query) -> int:
            return _count(opened, plain.within_scope(wanted))

        everything = count(tantivy.Query.all_query())

        def rarity(wanted: tantivy.Query) -> float:
            return math.log(1 + (1 + everything) / (1 + count(wanted)))

        compiler = Compiler(opened.schema, scope, rarity)
        return compiler.within_scope(compiler.node(node))

    def _open(self) -> _Opened | None:
        """The index as of the newest commit; None where there is none yet."""
        with self._lock:
            while (seen := self._stamp()) != self._seen:
                if seen is None:
                    self._index, self._opened, self._seen = None, None, None
                    break
                try:
                    self._opened = self._load()
                except BaseException as error:
                    if not is_engine_failure(error):
                        raise
                    self._index = None
                    if self._stamp() != seen:  # a rebuilt index took its place meanwhile
                        continue
                    raise UnavailableError(_ENGINE_TROUBLE) from error
                self._seen = seen
            return self._opened

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = (self._folder / state.STATE).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _load(self) -> _Opened:
        found = state.read(self._folder)
        if found is None or found.schema != schema.SCHEMA_VERSION:
            raise ValueError("no index of this version")
        if self._index is None or found.generation != self._generation:
            index = tantivy.Index.open(str(self._folder / found.generation))
            index.config_reader("manual")
            self._index, self._generation = index, found.generation
        self._index.reload()
        return _Opened(self._index.searcher(), self._index.schema)


class _Page(NamedTuple):
    total: int
    places: list[tantivy.DocAddress]


def _page(opened: _Opened, wanted: tantivy.Query, offset: int, limit: int, **sorting: Any) -> _Page:
    """The documents from ``offset`` on, at most ``limit``, and how many there are in all.

    A far offset is compared with the total first: Tantivy makes room for as many as are asked for.
    """
    if limit <= 0 or offset > _FIRST_PAGES:
        total = _count(opened, wanted)
        if limit <= 0 or offset >= total:
            return _Page(total, [])
    result = opened.searcher.search(wanted, limit, offset=offset, **sorting)
    return _Page(_total(result), [place for _, place in result.hits])


def _count(opened: _Opened, wanted: tantivy.Query) -> int:
    return _total(opened.searcher.search(wanted, 1))


def _total(result: tantivy.SearchResult) -> int:
    return int(result.count)  # type: ignore[attr-defined]  # it is there; only tantivy's stub leaves it out


def _entries(opened: _Opened, places: list[tantivy.DocAddress]) -> Iterator[schema.Entry]:
    for place in places:
        yield schema.decode_entry(opened.searcher.doc(place)["entry"][0])


def _found(entry: schema.Entry, highlighter: Highlighter | None = None) -> Found:
    cut = highlighter.snippet(entry.excerpt) if highlighter else None
    return Found(
        id=entry.id,
        subject=entry.subject,
        from_=entry.from_,
        to=entry.to,
        recipients=entry.recipients,
        date=entry.date,
        received=entry.received,
        size=entry.size,
        attachments=entry.attachments,
        unparsed=entry.unparsed,
        message_id=entry.message_id,
        snippet=cut.text if cut else "",
        marks=cut.marks if cut else (),
    )


def _facets(opened: _Opened, wanted: tantivy.Query) -> Facets:
    counted = opened.searcher.aggregate(
        wanted,
        {
            "years": {"terms": {"field": "year", "size": _MOST_YEARS, "order": {"_key": "desc"}}},
            "senders": {"terms": {"field": "sender", "size": 2 * _TOP_SENDERS, "segment_size": _EXACT_SENDERS}},
            "attached": {"terms": {"field": "attached"}},
        },
    )
    attached = {bool(bucket["key"]): int(bucket["doc_count"]) for bucket in counted["attached"]["buckets"]}
    senders = [(str(bucket["key"]), int(bucket["doc_count"])) for bucket in counted["senders"]["buckets"]]
    return Facets(
        years=tuple((int(bucket["key"]), int(bucket["doc_count"])) for bucket in counted["years"]["buckets"]),
        senders=tuple(sorted(senders, key=lambda one: (-one[1], one[0]))[:_TOP_SENDERS]),
        with_attachment=attached.get(True, 0),
        without_attachment=attached.get(False, 0),
    )


def _has_words(node: query.Node) -> bool:
    match node:
        case query.Text():
            return True
        case query.And(parts=parts) | query.Or(parts=parts):
            return any(_has_words(part) for part in parts)
        case _:
            return False


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turns the engine's failures into what a person can use."""
    try:
        yield
    except BaseException as error:
        if not is_engine_failure(error):
            raise
        if "max expansions" in str(error).lower() or "too many" in str(error).lower():
            raise QueryError(
                "The last word of a phrase begins too many words to look for all of them; "
                "give more letters before the star.",
                0,
            ) from error
        raise UnavailableError(_ENGINE_TROUBLE) from error
