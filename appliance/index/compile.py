"""From the tree of a query to Tantivy's queries, within what the caller may see.

Scores never come from Tantivy's own statistics: those count every document of the index, so one person's order
of results would tell of another person's mail. A word found is worth a constant for its field, times how rare the
word is in what the caller may see (docs/decisions/0042-relevance.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Literal

import msgspec
import tantivy

from appliance.index import schema
from appliance.mail import query, words

_MUST, _SHOULD, _NOT = tantivy.Occur.Must, tantivy.Occur.Should, tantivy.Occur.MustNot

_WORTH = {
    "subject": 8.0,
    "from": 4.0,
    "to": 4.0,
    "cc": 4.0,
    "address": 4.0,
    "hidden": 4.0,
    "body": 2.0,
    "filename": 1.0,
    "attachment": 1.0,
}
_FOUND_IN_MORE = 0.1  # of what the word is worth in each further field it is found in
_TOGETHER = 0.5  # of the words' worth, again, where all of them stand side by side
_MOST_SPELLINGS = 8  # of one phrase
_ADDRESS_IN_BRACKETS = re.compile(r"<([^<>\s]+@[^<>\s]+)>")

Mark = Callable[[str], str]
"""Turns a word into the term it is kept as in a field."""

Rarity = Callable[[query.Text], float]
"""How rare what this text finds is among what the caller may see; above 0."""


class Scope(msgspec.Struct, frozen=True):
    """What a caller may see: messages of these ``archives`` (None is all), and hidden people that one of the
    archives in ``hidden`` may know of. An auditor's is ``Scope(None, ("auditor",))``."""

    archives: tuple[str, ...] | None
    hidden: tuple[str, ...] = ()


class Compiler:
    """Makes queries for one schema and one scope; with ``rarity`` they have scores, without it none."""

    def __init__(self, built: tantivy.Schema, scope: Scope, rarity: Rarity | None = None) -> None:
        self._schema = built
        self._scope = scope
        self._rarity = rarity

    def within_scope(self, found: tantivy.Query) -> tantivy.Query:
        """What ``found`` finds of the scope's archives."""
        if self._scope.archives is None:
            return found
        allowed = _any([self._term("archive", schema.clean(one)) for one in dict.fromkeys(self._scope.archives)])
        return tantivy.Query.boolean_query([(_MUST, found), (_MUST, _unscored(allowed))])

    def ids(self, ids: Iterable[str]) -> tantivy.Query:
        """The documents with these ids."""
        return _any([self._term("id", schema.clean(one)) for one in dict.fromkeys(ids)])

    def thread(self, keys: Iterable[str]) -> tantivy.Query:
        """The documents that are, or refer to, a message with one of these keys (``schema.id_key``)."""
        return _any([self._term("thread", key) for key in dict.fromkeys(keys)])

    def node(self, node: query.Node) -> tantivy.Query:
        """What ``node`` finds, without regard to archives."""
        match node:
            case query.Everything():
                return _unscored(tantivy.Query.all_query())
            case query.Text():
                return self._text(node)
            case query.Flag(name="attachment"):
                return _unscored(self._term("attached", True))
            case query.Flag():
                return _unscored(self._term("unparsed", True))
            case query.Dates(start=start, end=end):
                return _unscored(self._range("date", start, end))
            case query.Sizes(above=above, below=below):
                return _unscored(self._range("size", None if above is None else above + 1, below))
            case query.MessageId(value=value):
                by_id = self._term("id", schema.clean(value))
                return _unscored(_any([self._term("message_id", schema.id_key(value)), by_id]))
            case query.InFolder():
                return _unscored(self._in_folder(node))
            case query.Or(parts=parts):
                return _any([self.node(part) for part in parts])
            case query.And(parts=parts):
                return self._all(parts)
            case query.Not():
                return self._all((node,))

    def _in_folder(self, node: query.InFolder) -> tantivy.Query:
        """Nothing, where the caller may not see the archive that the folders are in."""
        if self._scope.archives is not None and node.archive not in self._scope.archives:
            return tantivy.Query.empty_query()
        found = [schema.folder_word(node.archive, one) for one in node.folders]
        return tantivy.Query.term_set_query(self._schema, "folder", found)

    def _all(self, parts: Sequence[query.Node]) -> tantivy.Query:
        clauses = [(_MUST, self.node(part)) for part in parts if not isinstance(part, query.Not)]
        clauses = clauses or [(_MUST, _unscored(tantivy.Query.all_query()))]
        clauses += [(_NOT, self.node(part.part)) for part in parts if isinstance(part, query.Not)]
        if self._rarity:
            clauses += [(_SHOULD, together) for together in self._together(parts)]
        return tantivy.Query.boolean_query(clauses)

    def _together(self, parts: Sequence[query.Node]) -> list[tantivy.Query]:
        """What is worth more: the bare words of ``parts`` side by side in subject or body."""
        bare = [
            part.value
            for part in parts
            if isinstance(part, query.Text) and part.field == "any" and not part.quoted and not part.prefix
        ]
        if len(bare) < 2:
            return []
        side_by_side = query.Text("any", " ".join(bare), quoted=True)
        return [
            tantivy.Query.const_score_query(_any(found), _WORTH[field] * _TOGETHER)
            for field in ("subject", "body")
            if (found := self._phrase(field, side_by_side, str))
        ]

    def _text(self, node: query.Text) -> tantivy.Query:
        fields = {field: _any(found) for field, found in self._places(node) if found}
        found = _any(list(fields.values()))
        if self._rarity is None or not fields:
            return found
        rarity = self._rarity(node)
        return tantivy.Query.disjunction_max_query(
            [tantivy.Query.const_score_query(one, _WORTH[field] * rarity) for field, one in fields.items()],
            tie_breaker=_FOUND_IN_MORE,
        )

    def _places(self, node: query.Text) -> list[tuple[str, list[tantivy.Query]]]:
        """The index's fields in which ``node`` looks, each with the ways to find it there."""
        match node.field:
            case "any":
                return [
                    ("subject", self._phrase("subject", node, str)),
                    ("address", self._person("address", node, str)),
                    ("hidden", self._hidden("participant", node)),
                    ("body", self._phrase("body", node, str)),
                    ("attachment", self._phrase("attachment", node, str)),
                ]
            case "participant":
                return [
                    ("address", self._person("address", node, str)),
                    ("hidden", self._hidden("participant", node)),
                ]
            case "bcc":
                return [("hidden", self._hidden("bcc", node))]
            case "from" | "to" | "cc":
                return [(node.field, self._person(node.field, node, str))]
            case _:
                return [(node.field, self._phrase(node.field, node, str))]

    def _hidden(self, kind: Literal["bcc", "participant"], node: query.Text) -> list[tantivy.Query]:
        archives = tuple(dict.fromkeys(self._scope.hidden))
        several = self._scope.archives is not None and len(archives) > 1
        return [
            self._of(archive, found) if several else found
            for archive in archives
            for found in self._person("hidden", node, partial(schema.hidden_word, archive, kind))
        ]

    def _of(self, archive: str, found: tantivy.Query) -> tantivy.Query:
        """What ``found`` finds of that archive: what one archive may know of is not found in another's mail."""
        mine = self._term("archive", schema.clean(archive))
        return tantivy.Query.boolean_query([(_MUST, found), (_MUST, _unscored(mine))])

    def _person(self, field: str, node: query.Text, mark: Mark) -> list[tantivy.Query]:
        """The ways to find a person: by what is kept whole (addresses, domains), and by words side by side."""
        inside = _ADDRESS_IN_BRACKETS.search(node.value)
        value = inside[1] if inside else node.value
        if "@" in value.strip("@") and " " not in value.strip():
            return [self._whole(field, mark(form), node.prefix) for form in words.exact(value)]
        wholes = words.exact(value.strip("@")) if " " not in value.strip() else ()
        single = {word for forms in words.phrase(value).words for word in forms}
        return [
            *(self._whole(field, mark(form), node.prefix) for form in wholes if form not in single),
            *self._phrase(field, node, mark),
        ]

    def _whole(self, field: str, term: str, prefix: bool) -> tantivy.Query:
        return self._beginning(field, term) if prefix else self._term(field, term)

    def _phrase(self, field: str, node: query.Text, mark: Mark) -> list[tantivy.Query]:
        """The ways to find the words of ``node`` side by side, one for each spelling."""
        wanted = words.phrase(node.value)
        begins = node.prefix or wanted.begins
        return [self._side_by_side(field, [mark(word) for word in one], begins) for one in _spellings(wanted.words)]

    def _side_by_side(self, field: str, terms: list[str], begins: bool) -> tantivy.Query:
        if len(terms) == 1:
            return self._whole(field, terms[0], begins)
        if not begins:
            return tantivy.Query.phrase_query(self._schema, field, list(terms))
        patterns = [re.escape(term) for term in terms]
        patterns[-1] += ".*"
        return tantivy.Query.regex_phrase_query(self._schema, field, list(patterns))

    def _beginning(self, field: str, stem: str) -> tantivy.Query:
        return tantivy.Query.regex_query(self._schema, field, re.escape(stem) + ".*")

    def _term(self, field: str, value: str | bool) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, value, index_option="basic")

    def _range(self, field: str, lowest: int | None, end: int | None) -> tantivy.Query:
        last = None if end is None else end - 1
        return tantivy.Query.range_query(self._schema, field, tantivy.FieldType.Integer, lowest, last)


def _spellings(forms: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The sequences of one form a word: all of them, or, where that is many, without and with digraphs."""
    double = sum(len(one) > 1 for one in forms)
    if 2**double <= _MOST_SPELLINGS:
        return list(product(*forms))
    return [tuple(one[0] for one in forms), tuple(one[-1] for one in forms)]


def _any(queries: Sequence[tantivy.Query]) -> tantivy.Query:
    if not queries:
        return tantivy.Query.empty_query()
    return queries[0] if len(queries) == 1 else tantivy.Query.boolean_query([(_SHOULD, one) for one in queries])


def _unscored(found: tantivy.Query) -> tantivy.Query:
    return tantivy.Query.const_score_query(found, 0.0)
