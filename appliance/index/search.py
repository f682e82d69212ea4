"""Finding: the one interface to the index for whoever asks. Reads what another process writes.

Everything here takes a ``Scope`` and applies it itself; no result, number or order depends on what lies outside. Nor
does any depend on how the documents are spread over shards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from appliance.errors import QueryError, UnavailableError
from appliance.files import FILES, Files
from appliance.index import gather, schema
from appliance.index.compile import Compiler, Scope
from appliance.index.engine import is_engine_failure
from appliance.index.gather import Asked, Facets, Sort
from appliance.index.library import Library, Shard, StaleError
from appliance.index.manifest import KeySet
from appliance.index.place import Place
from appliance.index.snippet import Highlighter
from appliance.mail import query
from appliance.mail.facts import Mailbox

__all__ = ["Facets", "Found", "Index", "Results", "Scope", "Sort"]

T = TypeVar("T")

LONGEST_THREAD = 500
_TRIES = 20
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


class Results(msgspec.Struct, frozen=True):
    """A page of what was found. ``total`` counts all of it, exactly."""

    total: int
    hits: tuple[Found, ...] = ()
    facets: Facets = Facets()


class Index:
    """The index of ``place``; a new commit of the writer is seen by the next call. Safe to use from threads.

    A place without an index is one without messages. Trouble with the index is an UnavailableError. ``budget`` is how
    many bytes of memory the index may take.
    """

    def __init__(self, place: Place, *, budget: int, files: Files = FILES) -> None:
        self._library = Library(place, budget, files=files)
        self._schema = schema.build()
        self._threads: dict[str, KeySet] = {}

    def close(self) -> None:
        """Give the memory back that copies of shards take."""
        self._library.close()

    def search(
        self,
        node: query.Node,
        scope: Scope,
        *,
        sort: Sort = "date",
        offset: int = 0,
        limit: int = 25,
        facets: bool = True,
        counted: bool = True,
    ) -> Results:
        """A page of the messages that ``node`` finds within ``scope``.

        Sorted by date, newest (``date``) or oldest (``date-asc``) first, messages of one second always in the
        same order; or by ``relevance``, which is by date where the query holds no words, and where it is equal.
        Not ``counted``, a page by date is all there is: no shard is opened for the total alone, which is a lower bound.

        Raises QueryError where a beginning of a word in a phrase stands for too many words.
        """
        plain = Compiler(self._schema, scope)
        asked = Asked((node, scope), plain.within_scope(plain.node(node)))
        highlighter = Highlighter(node)

        def find(shards: Sequence[Shard]) -> Results:
            may_hold = gather.within(shards, scope, node)
            if sort == "relevance" and gather.has_words(node):
                rarity = gather.rarities(gather.within(shards, scope), scope, plain, node)
                scoring = Compiler(self._schema, scope, rarity)
                scored = scoring.within_scope(scoring.node(node))
                found = gather.by_relevance(may_hold, asked, scored, offset=offset, limit=limit, facets=facets)
            else:
                ascending = sort == "date-asc"
                found = gather.by_date(
                    may_hold, asked, ascending=ascending, offset=offset, limit=limit, facets=facets, counted=counted
                )
            return Results(
                total=found.total,
                hits=tuple(_found(hit.entry(), highlighter) for hit in found.hits),
                facets=found.facets,
            )

        return self._with_shards(find)

    def every(self, node: query.Node, scope: Scope) -> Iterator[str]:
        """The ids of all messages that ``node`` finds within ``scope``, quarter by quarter as they came in, those of
        one by date. Each shard is opened once, however many they are."""
        compiler = Compiler(self._schema, scope)
        asked = Asked((node, scope), compiler.within_scope(compiler.node(node)))
        last = -1
        while True:

            def following(shards: Sequence[Shard], after: int = last) -> tuple[int, list[str]]:
                left = [one for one in gather.within(shards, scope, node) if one.number > after]
                if not left:
                    return after, []
                first = min(left, key=lambda one: one.number)
                return first.number, gather.all_of(first, asked)

            number, ids = self._with_shards(following)
            if number == last:
                return
            last = number
            yield from ids

    def documents(self, ids: tuple[str, ...], scope: Scope) -> tuple[Found, ...]:
        """The messages with these ids that ``scope`` holds, in the order asked for; others are left out."""
        if not ids:
            return ()
        compiler = Compiler(self._schema, scope)
        asked = Asked((ids, scope), compiler.within_scope(compiler.ids(ids)))

        def find(shards: Sequence[Shard]) -> dict[str, Found]:
            found = gather.by_date(
                gather.within(shards, scope),
                asked,
                ascending=False,
                offset=0,
                limit=len(ids),
                facets=False,
                counted=False,
            )
            return {entry.id: _found(entry) for hit in found.hits for entry in (hit.entry(),)}

        by_id = self._with_shards(find)
        return tuple(by_id[one] for one in dict.fromkeys(ids) if one in by_id)

    def thread(self, message_id: str, references: tuple[str, ...], scope: Scope) -> tuple[Found, ...]:
        """The conversation of a message: whatever shares its Message-ID or a reference with it, oldest first.

        At most ``LONGEST_THREAD`` messages.
        """
        keys = tuple(schema.id_key(one) for one in (message_id, *references[-schema.MOST_REFERENCES :]) if one)
        if not keys:
            return ()
        compiler = Compiler(self._schema, scope)
        asked = Asked((keys, scope), compiler.within_scope(compiler.thread(keys)))

        def find(shards: Sequence[Shard]) -> tuple[Found, ...]:
            may_hold = [one for one in gather.within(shards, scope) if self._may_hold_thread(one, keys)]
            found = gather.by_date(
                may_hold, asked, ascending=True, offset=0, limit=LONGEST_THREAD, facets=False, counted=False
            )
            return tuple(_found(hit.entry()) for hit in found.hits)

        return self._with_shards(find)

    def count(self, scope: Scope) -> int:
        """How many messages ``scope`` holds."""
        return self.search(query.Everything(), scope, limit=0, facets=False).total

    # -- in numbers, without opening anything -----------------------------------------------------------------

    def all_documents(self) -> int:
        """How many messages the index holds."""
        return self._library.documents()

    def live_bytes(self) -> int:
        """Bytes that the index takes in memory now."""
        return self._library.live_bytes()

    def sealed_bytes(self) -> int:
        """Bytes that the index takes on the disk."""
        return self._library.sealed_bytes()

    def reached(self) -> dict[int, int]:
        """For each shard the change number that it covers."""
        return self._library.reached()

    def _may_hold_thread(self, shard: Shard, keys: tuple[str, ...]) -> bool:
        if shard.manifest is None:
            return True
        known = self._threads.get(shard.manifest.mark)
        if known is None:
            known = self._threads[shard.manifest.mark] = KeySet(shard.manifest.threads)
        return known.may_hold(keys)

    def _with_shards(self, find: Callable[[Sequence[Shard]], T]) -> T:
        """What ``find`` finds in the newest view; in the next one where the writer took that away meanwhile."""
        for _ in range(_TRIES):
            try:
                with _reading():
                    return find(self._library.view())
            except StaleError:
                continue
        raise UnavailableError(_ENGINE_TROUBLE)


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
