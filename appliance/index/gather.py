"""One answer from many shards: the same as if all documents were in one.

Shards are asked one after another, each once for everything, so that few have to be in memory at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import tantivy

from appliance.index import schema
from appliance.index.compile import Compiler, Scope
from appliance.index.library import Shard
from appliance.mail import query

Sort = Literal["date", "date-asc", "relevance"]

_FIRST_PAGES = 1000  # up to here a page is fetched without counting first
_SAME_SCORE = 4e-7  # relative; a day more of recency changes a score by at least three times as much
_TOP_SENDERS = 10
_MOST_YEARS = 500
_SENDERS = 256  # senders that a shard reports at first …
_MOST_SENDERS = 65_000  # … and at most


class Asked(NamedTuple):
    """A query, and what it is remembered by."""

    key: Hashable
    query: tantivy.Query


class Hit(NamedTuple):
    """A document found: where it is, and what it is sorted by, highest first."""

    score: float
    order: int
    shard: int
    searcher: tantivy.Searcher
    address: tantivy.DocAddress

    def entry(self) -> schema.Entry:
        """What is stored of it."""
        return schema.decode_entry(self.searcher.doc(self.address)["entry"][0])


class Facets(NamedTuple):
    """How many of all messages found have which year (newest first), sender (most first), attachments."""

    years: tuple[tuple[int, int], ...] = ()
    senders: tuple[tuple[str, int], ...] = ()
    with_attachment: int = 0
    without_attachment: int = 0


class Gathered(NamedTuple):
    """A page of hits, how many there are in all, and the facets that were asked for."""

    total: int
    hits: list[Hit]
    facets: Facets


def within(shards: Iterable[Shard], scope: Scope, node: query.Node | None = None) -> list[Shard]:
    """Those of ``shards`` that may hold something of ``scope`` that ``node`` finds, as far as is known unopened."""
    return [one for one in shards if one.manifest is None or _may_hold(one, scope, node)]


def by_date(
    shards: Sequence[Shard],
    asked: Asked,
    *,
    ascending: bool,
    offset: int,
    limit: int,
    facets: bool,
    counted: bool = True,
) -> Gathered:
    """A page sorted by date, newest first or oldest first. Not ``counted``, only the shards that the page needs are
    asked, and ``total`` is what those hold."""
    sign = -1 if ascending else 1
    order = tantivy.Order.Asc if ascending else tantivy.Order.Desc
    wanted = offset + limit if limit else 0
    total, best, tallies = 0, list[Hit](), list[_Tally]()
    for shard in sorted(shards, key=lambda one: _bound(one, sign), reverse=True):
        matters = wanted > 0 and (len(best) < wanted or _bound(shard, sign) >= best[-1].order)
        if not matters and not counted:
            break
        # Tantivy makes room for as many hits as it is asked for, so a far page is counted first.
        count = None if matters and wanted <= _FIRST_PAGES and shard.manifest is None else _count(shard, asked)
        if matters and count != 0:
            searcher, most = shard.searcher, min(wanted, count or wanted)
            found = searcher.search(asked.query, most, order_by_field="order", order=order)
            count = _total(found)
            here = [Hit(0.0, sign * int(value), shard.number, searcher, place) for value, place in found.hits]
            best = sorted([*best, *here], key=_rank)[:wanted]
        total += count or 0
        if facets and count:
            tallies.append(_tally(shard, asked, _SENDERS))
    return Gathered(total, best[offset:], _facets(tallies) if facets else Facets())


def by_relevance(
    shards: Sequence[Shard], asked: Asked, scored: tantivy.Query, *, offset: int, limit: int, facets: bool
) -> Gathered:
    """A page sorted by relevance, the newest first where that is the same. ``scored`` finds what ``asked`` does."""
    wanted = offset + limit if limit else 0
    total, found, tallies = 0, list[Hit](), list[_Tally]()
    for shard in shards:
        count = _count(shard, asked)
        if not count:
            continue
        total += count
        if wanted:
            found += _best(shard, scored, wanted, count)
        if facets:
            tallies.append(_tally(shard, asked, _SENDERS))
    ranked = [hit for group in _of_same_score(found) for hit in sorted(group, key=_rank)]
    return Gathered(total, ranked[offset:wanted], _facets(tallies) if facets else Facets())


def all_of(shard: Shard, asked: Asked) -> list[str]:
    """The ids of all that is found in one shard, oldest first."""
    count = _count(shard, asked)
    if not count:
        return []
    searcher = shard.searcher
    found = searcher.search(asked.query, count, order_by_field="order", order=tantivy.Order.Asc)
    return [Hit(0.0, 0, shard.number, searcher, place).entry().id for _, place in found.hits]


def rarities(
    shards: Sequence[Shard], scope: Scope, compiler: Compiler, node: query.Node
) -> Callable[[query.Text], float]:
    """How rare each text of ``node`` is among what the scope holds, from counts of all ``shards``."""
    texts = {text: compiler.within_scope(compiler.node(text)) for text in _texts(node)}
    everything = compiler.within_scope(tantivy.Query.all_query())
    counts: Counter[query.Text] = Counter()
    documents = 0
    for shard in shards:
        documents += _count(shard, Asked((scope, None), everything))
        for text, found in texts.items():
            counts[text] += _count(shard, Asked((scope, text), found))
    return lambda text: math.log(1 + (1 + documents) / (1 + counts[text]))


def has_words(node: query.Node) -> bool:
    """Whether relevance means anything for it."""
    match node:
        case query.Text():
            return True
        case query.And(parts=parts) | query.Or(parts=parts):
            return any(has_words(part) for part in parts)
        case _:
            return False


def _texts(node: query.Node) -> Iterator[query.Text]:
    match node:
        case query.Text():
            yield node
        case query.And(parts=parts) | query.Or(parts=parts):
            for part in parts:
                yield from _texts(part)
        case query.Not(part=part):
            yield from _texts(part)
        case _:
            return


# -- what one shard says ----------------------------------------------------------------------------------------------


def _may_hold(shard: Shard, scope: Scope, node: query.Node | None) -> bool:
    known = shard.manifest
    assert known is not None
    if not known.documents or (scope.archives is not None and known.archives.isdisjoint(scope.archives)):
        return False
    return node is None or _overlaps(node, known.oldest, known.newest)


def _overlaps(node: query.Node, oldest: int, newest: int) -> bool:
    """Whether documents of these dates can be among what ``node`` finds."""
    match node:
        case query.Dates(start=start, end=end):
            return (start is None or start <= newest) and (end is None or oldest < end)
        case query.And(parts=parts):
            return all(_overlaps(part, oldest, newest) for part in parts)
        case query.Or(parts=parts):
            return any(_overlaps(part, oldest, newest) for part in parts)
        case _:
            return True


def _bound(shard: Shard, sign: int) -> float:
    """What no document of the shard is sorted before; the writer's shards, which are open, come first."""
    if shard.manifest is None:
        return math.inf
    if sign > 0:
        return float((shard.manifest.newest + 1) << schema.FINGERPRINT)
    return float(-(shard.manifest.oldest << schema.FINGERPRINT))


def _rank(hit: Hit) -> tuple[int, int]:
    return -hit.order, -hit.shard


def _count(shard: Shard, asked: Asked) -> int:
    return shard.ask(("count", asked.key), lambda searcher: _total(searcher.search(asked.query, 1)))


def _total(result: tantivy.SearchResult) -> int:
    return int(result.count)  # type: ignore[attr-defined]  # it is there; only tantivy's stub leaves it out


def _best(shard: Shard, scored: tantivy.Query, wanted: int, count: int) -> list[Hit]:
    """The shard's best ``wanted`` hits, and all others that are as good as the last of them."""
    searcher, most = shard.searcher, wanted + 1
    while True:
        hits = searcher.search(scored, min(most, count), weight_by_field="recency").hits
        if len(hits) <= wanted or most >= count or not _same(hits[wanted - 1][0], hits[-1][0]):
            break
        most *= 2
    places = [place for _, place in hits]
    orders = searcher.fast_field_values("order", places)
    return [
        Hit(float(score), int(order or 0), shard.number, searcher, place)
        for (score, place), order in zip(hits, orders, strict=True)
    ]


def _same(score: float, lower: float) -> bool:
    return score - lower <= _SAME_SCORE * abs(score)


def _of_same_score(hits: list[Hit]) -> Iterator[list[Hit]]:
    """Hits that are equally good, best first. Sums of the same worths differ in the last bit from shard to shard."""
    group: list[Hit] = []
    for hit in sorted(hits, key=lambda one: -one.score):
        if group and not _same(group[-1].score, hit.score):
            yield group
            group = []
        group.append(hit)
    if group:
        yield group


# -- facets -----------------------------------------------------------------------------------------------------------


class _Tally(NamedTuple):
    """The facets of one shard. A sender that ``senders`` leaves out has at most ``others`` messages."""

    shard: Shard
    asked: Asked
    years: dict[int, int]
    senders: dict[str, int]
    others: int
    attached: dict[bool, int]


def _tally(shard: Shard, asked: Asked, senders: int) -> _Tally:
    counted = shard.ask(
        ("facets", senders, asked.key),
        lambda searcher: searcher.aggregate(
            asked.query,
            {
                "years": {"terms": {"field": "year", "size": _MOST_YEARS, "order": {"_key": "desc"}}},
                "senders": {"terms": {"field": "sender", "size": senders, "segment_size": _MOST_SENDERS}},
                "attached": {"terms": {"field": "attached"}},
            },
        ),
    )
    named = {str(bucket["key"]): int(bucket["doc_count"]) for bucket in counted["senders"]["buckets"]}
    more = counted["senders"]["sum_other_doc_count"] > 0
    return _Tally(
        shard,
        asked,
        {int(bucket["key"]): int(bucket["doc_count"]) for bucket in counted["years"]["buckets"]},
        named,
        min(named.values(), default=0) if more else 0,
        {bool(bucket["key"]): int(bucket["doc_count"]) for bucket in counted["attached"]["buckets"]},
    )


def _facets(tallies: Sequence[_Tally]) -> Facets:
    years: Counter[int] = Counter()
    attached: Counter[bool] = Counter()
    for one in tallies:
        years.update(one.years)
        attached.update(one.attached)
    return Facets(
        years=tuple(sorted(years.items(), reverse=True)[:_MOST_YEARS]),
        senders=_top_senders(tallies),
        with_attachment=attached[True],
        without_attachment=attached[False],
    )


def _top_senders(tallies: Sequence[_Tally]) -> tuple[tuple[str, int], ...]:
    """The senders with the most messages of all shards, counted exactly.

    Each shard names its first ones. A sender that one of them leaves out may have as many there as the last one named;
    while such a sender could be among the first of all, more are asked for.
    """
    reported = _SENDERS
    while True:
        counts: Counter[str] = Counter()
        for one in tallies:
            counts.update(one.senders)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        top, rest = ranked[:_TOP_SENDERS], ranked[_TOP_SENDERS:]
        if reported >= _MOST_SENDERS or _is_certain(tallies, top, rest):
            return tuple(top)
        reported *= 8
        tallies = [_tally(one.shard, one.asked, reported) if one.others else one for one in tallies]


def _is_certain(tallies: Sequence[_Tally], top: Sequence[tuple[str, int]], rest: Sequence[tuple[str, int]]) -> bool:
    unseen = sum(one.others for one in tallies)
    if not unseen:
        return True
    if len(top) < _TOP_SENDERS or any(_missing(tallies, sender) for sender, _ in top):
        return False
    highest = max((count + _missing(tallies, sender) for sender, count in rest), default=0)
    return top[-1][1] > max(unseen, highest)


def _missing(tallies: Sequence[_Tally], sender: str) -> int:
    """How many more messages of a sender there may be in the shards that do not name him."""
    return sum(one.others for one in tallies if sender not in one.senders)
